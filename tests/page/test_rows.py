"""A row of the list, and its sparkline."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.page.figures import UNKNOWN, amount, band, moment, number
from forewarn.page.rows import READINGS, WIDTH, sparklines
from tests.page.engines import World
from tests.page.html import texts, tree

DAY = 86_400.0


def drawn(value: list[float], lower: float = np.nan, upper: float = np.nan) -> str:
    (path,) = sparklines(np.array([value]), np.array([lower]), np.array([upper]))
    return path


def line_points(svg: str) -> list[tuple[float, float]]:
    """Where the line goes, read as SVG says: `M x y`, then relative moves."""
    (d,) = (path.get("d", "") for path in tree(svg).iter("path") if path.get("class") is None)
    x, y, *moves = (float(number) for number in re.findall(r"-?\d+", d))
    points = [(x, y)]
    for dx, dy in zip(moves[::2], moves[1::2], strict=False):
        points.append((points[-1][0] + dx, points[-1][1] + dy))
    return points


def test_a_sparkline_goes_from_its_highest_to_its_lowest_reading() -> None:
    points = line_points(drawn([0.0, 10.0, 5.0, 0.0]))
    assert [y for _, y in points] == [28, 0, 14, 28]
    assert [x for x, _ in points] == [WIDTH - 9, WIDTH - 6, WIDTH - 3, WIDTH]


def test_it_begins_where_the_readings_begin_and_ends_at_the_right() -> None:
    points = line_points(drawn([np.nan] * (READINGS - 2) + [1.0, 2.0]))
    assert [x for x, _ in points] == [WIDTH - 3, WIDTH]
    assert line_points(drawn([1.0] * READINGS))[0] == (0, 14)
    assert drawn([np.nan] * 5) == ""


def test_the_band_of_the_last_reading_is_drawn_to_the_same_scale() -> None:
    svg = drawn([0.0, 0.0, 4.0, 4.0], lower=-4.0, upper=3.0)
    assert [y for _, y in line_points(svg)] == [14, 14, 0, 0]
    assert re.search(r'class="band" d="M\d+ 4h12v24h-12z"', svg)
    assert "band" not in drawn([1.0, 2.0], lower=np.nan, upper=3.0)


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=6, max_size=6), max_size=5)
)
def test_no_readings_leave_the_drawing(values: list[list[float]]) -> None:
    value = np.array(values, np.float64).reshape(-1, 6)
    paths = list(sparklines(value[:, :4], value[:, 4], value[:, 5]))
    assert len(paths) == len(values)
    for path in paths:
        assert all(0 <= y <= 28 and 0 <= x <= WIDTH for x, y in line_points(path))


def test_a_row_says_what_came_and_what_was_expected() -> None:
    world = World()
    world.warm(["freezer-1", "attic humidity"])
    world.move(["freezer-1", "attic humidity"], [9.5, 4.1])
    html = world.get("/")
    rows = tree(html).findall(".//tbody[@id='rows']/tr")
    assert [row.get("id") for row in rows] == ["s0", "s1"]
    alert, fine = ([text.strip() for text in row.itertext() if text.strip()] for row in rows)
    assert alert[:3] == ["freezer-1", "temperature", "alert"]
    assert "limit" in alert[3].split(", ")
    assert re.fullmatch(r"9\.5\d* °C", alert[4])
    assert re.fullmatch(r"4\.\d+ ± [\d.]+ °C", alert[5])
    assert alert[6:] == ["22:13:20"]
    assert fine[:3] == ["attic", "humidity", "ok"]
    assert re.fullmatch(r"4\.1\d* %", fine[3])
    assert all(row.find(".//svg") is not None for row in rows)
    assert rows[0].find("th/a").get("href") == "/device?device=freezer-1&metric=temperature"  # type: ignore[union-attr]  # else it fails


def test_a_young_series_has_dashes_for_what_is_not_known() -> None:
    world = World()
    world.move(["new"], [4.0])
    found = texts(world.get("/"))
    assert found.count(UNKNOWN) >= 1
    assert "warming up" in found


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (4.127, 0.6, "4.1"),
        (4.127, 0.06, "4.13"),
        (4.127, 0.0, "4.13"),
        (4.127, np.nan, "4.13"),
        (-0.0, 0.6, "-0.0"),
        (1.5e30, 1e29, "1.5e+30"),
        (np.nan, 1.0, UNKNOWN),
        (np.inf, 1.0, UNKNOWN),
        (4.0, np.inf, "4.00"),
        (4.0, 1e-30, "4.000000"),
    ],
)
def test_numbers_have_the_decimals_of_their_band(value: float, half: float, text: str) -> None:
    assert number(value, half) == text


def test_units_are_text() -> None:
    assert amount(4.0, 0.5, "<b>") == "4.0 &lt;b&gt;"
    assert band(4.0, 0.5, "<b>") == "4.0 ± 0.5 &lt;b&gt;"
    assert band(np.nan, 0.5, "°C") == band(4.0, np.nan, "°C") == UNKNOWN
    assert band(4.0, 0.5, "") == "4.0 ± 0.5"


def test_a_time_of_today_has_no_date() -> None:
    assert moment(1.7e9, 1.7e9 + 60) == '<time datetime="2023-11-14T22:13:20Z">22:13:20</time>'
    assert moment(1.7e9, 1.7e9 + DAY) == '<time datetime="2023-11-14T22:13:20Z">2023-11-14 22:13:20</time>'


@pytest.mark.parametrize("at", [np.nan, np.inf, -np.inf, -1e300, 1e300, -6.3e10])
def test_a_time_that_no_calendar_has_is_not_known(at: float) -> None:
    assert moment(at, 1.7e9) == UNKNOWN
    assert "2023" in moment(1.7e9, at)
