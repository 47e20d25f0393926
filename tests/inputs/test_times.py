import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.times import epoch_seconds, trusted_seconds

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC).timestamp()
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(autouse=True, scope="module")
def _gateway_in_another_zone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (NOON, NOON),
        (int(NOON), NOON),
        (int(NOON) * 1000 + 250, NOON + 0.25),
        (str(NOON), NOON),
        (f" {NOON:.0f}000 ", NOON),
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31T12:00:00", NOON),
        ("2026-01-31 12:00:00.500+00:00", NOON + 0.5),
        ("2026-01-31T13:30:00+01:30", NOON),
        ("2026-01-31T04:00:00-08:00", NOON),
        ("20260131T120000Z", NOON),
        (0, 0.0),
        (-1.5, -1.5),
        (99_999_999_999, 99_999_999_999.0),
        (100_000_000_000, 100_000_000.0),
        ("1969-12-31T23:59:59Z", -1.0),
    ],
)
def test_times_are_read_as_devices_write_them(written: object, seconds: float) -> None:
    assert epoch_seconds(written) == seconds


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_a_number_is_in_the_unit_that_makes_a_year_of_our_time_of_it(unit: int) -> None:
    assert epoch_seconds(int(NOON) * unit) == int(NOON)
    assert epoch_seconds(str(int(NOON) * unit)) == int(NOON)


@pytest.mark.parametrize(
    "written",
    [
        *(None, True, False, [], {}, [NOON], math.nan, math.inf, 10**400, -(10**400)),
        *("", " ", "nan", "inf", "-inf", "1e400", "9" * 5000, "yesterday", "\ud800", "12\0", "24:00", "2026-13-01"),
        *("2026-02-30T00:00:00Z", "2026-01-31T12:00:00\u0661", "0001-01-01T00:00:00+99:00"),
    ],
)
def test_what_is_no_time_is_refused(written: object) -> None:
    with pytest.raises(PayloadError) as caught:
        epoch_seconds(written)
    assert caught.value.reason is Rejection.BAD_TIME
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@given(ANYTHING)
def test_a_time_is_finite_or_refused(written: object) -> None:
    try:
        seconds = epoch_seconds(written)
    except PayloadError as error:
        reason = error.reason
    else:
        assert math.isfinite(seconds)
        return
    assert reason is Rejection.BAD_TIME


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), st.integers(-23 * 60, 23 * 60))  # noqa: DTZ001 - zones are put on
def test_iso_8601_with_any_zone_is_the_moment_that_it_names(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert epoch_seconds(aware.isoformat()) == aware.timestamp()
    assert epoch_seconds(moment.isoformat()) == moment.replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-01-31T12:00:00Z", 1769860800.0), ("2026-01-31T13:00:00.5+01:00", 1769860800.5),
        ("2026-01-31T05:00:00-07:00", 1769860800.0), (1769860800250, 1769860800.25), ("1769860800", 1769860800.0),
        ("2026-01-31T12:00:00", None), ("2026-01-31", None), (None, None), ("", None), (12.5, None), (0, None),
        ("1970-01-01T00:00:09+00:00", None),
    ],
)  # fmt: skip
def test_a_time_without_a_zone_or_of_a_clock_that_was_not_set_is_not_relied_on(
    value: object, seconds: float | None
) -> None:
    assert trusted_seconds(value) == seconds


@pytest.mark.parametrize("value", ["noon", True, [], {}, "nan"])
def test_what_is_no_time_is_not_relied_on_but_rejected(value: object) -> None:
    with pytest.raises(PayloadError):
        trusted_seconds(value)
