"""Which devices the list shows, and in which order."""

from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.core.readings import Fleet, SeriesKey, SeriesState
from forewarn.page.view import ROWS, View, deviation

ALERT, OK, WARM = SeriesState.ALERT, SeriesState.OK, SeriesState.WARMING_UP


def fleet(*series: tuple[str, SeriesState, float]) -> Fleet:
    """Series by name, state and residual; the band is ± 2."""
    n = len(series)
    residual = np.array([residual for _, _, residual in series], np.float64)
    expected = np.where(np.isnan(residual), np.nan, 10.0)
    zeros = np.zeros(n)
    return Fleet(
        keys=tuple(SeriesKey(*name.split(" ")) if " " in name else SeriesKey(name, "t") for name, _, _ in series),
        slot=np.arange(n),
        state=np.array([state for _, state, _ in series], np.uint8),
        at=zeros,
        received_at=zeros,
        value=expected + residual,
        expected=expected,
        lower=expected - 2.0,
        upper=expected + 2.0,
        residual=residual,
        score=zeros,
        threshold=zeros,
        horizon=np.ones(n, np.int64),
        forecast=np.zeros((n, 1), np.float32),
        half_width=np.zeros((n, 2, 1)),
    )


FLEET = fleet(
    ("b", OK, 1.0),
    ("a", OK, -3.0),
    ("young", WARM, np.nan),
    ("d", ALERT, 0.1),
    ("c", ALERT, -9.0),
    ("e humidity", OK, 0.0),
)


def names(view: View, of: Fleet = FLEET) -> list[str]:
    return [of.keys[row].device for row in view.choose(of, deviation(of)).rows]


def test_alerts_come_first_then_what_is_furthest_from_expected() -> None:
    assert names(View()) == ["c", "d", "a", "b", "e", "young"]
    assert deviation(FLEET).tolist() == [0.5, 1.5, -1.0, 0.05, 4.5, 0.0]
    assert names(View(sort="name")) == ["a", "b", "c", "d", "e", "young"]


def test_a_state_and_a_text_leave_what_has_both() -> None:
    assert names(View(state="alert")) == ["c", "d"]
    assert names(View(state="warming_up")) == ["young"]
    assert names(View(text="HUMID")) == ["e"]
    assert names(View(text="e h")) == ["e"]
    assert names(View(text="nothing")) == []
    three = fleet(("Ab", OK, 0.0), ("ba", ALERT, 0.0), ("c", OK, 0.0))
    choice = View(text="a", state="ok").choose(three, deviation(three))
    assert (choice.n, choice.counts) == (1, {"alert": 1, "ok": 1, "warming_up": 0})


def test_pages_cut_the_same_order_and_one_that_is_not_there_is_the_last() -> None:
    many = fleet(*((f"d{i:04}", OK, i / 100) for i in range(2 * ROWS + 5)))
    pages = [View(page=page).choose(many, deviation(many)) for page in (1, 2, 3)]
    assert [len(one.rows) for one in pages] == [ROWS, ROWS, 5]
    assert [row for one in pages for row in one.rows] == list(reversed(range(2 * ROWS + 5)))
    for page in (4, 10**6):
        assert View(page=page).choose(many, deviation(many)) == pages[2]._replace(page=3)
    assert View(page=0).choose(many, deviation(many)).page == 1


def test_an_empty_fleet_has_one_empty_page() -> None:
    choice = View().choose(fleet(), np.zeros(0))
    assert (choice.rows, choice.n, choice.page, choice.n_page) == ((), 0, 1, 1)


def test_a_band_without_width_says_nothing_of_a_deviation() -> None:
    flat = fleet(("a", OK, 1.0))
    flat.upper[:] = flat.lower[:]
    assert deviation(flat).tolist() == [-1.0]


@pytest.mark.parametrize(
    "view",
    [
        View(),
        View("q"),
        View("a&b=c#d é/..%2e", "alert", "name", 3),
        View(state="warming_up"),
        View(page=2),
    ],
)
def test_the_address_of_a_view_asks_for_it(view: View) -> None:
    address = urlsplit(view.address())
    assert address.path == "/"
    assert View.of(dict(parse_qsl(address.query))) == view


@given(st.dictionaries(st.sampled_from(["q", "state", "sort", "page", "x"]), st.text(max_size=200)))
def test_no_address_is_an_error(query: dict[str, str]) -> None:
    view = View.of(query)
    assert len(view.text) <= 128
    View.of(query).choose(FLEET, deviation(FLEET))
