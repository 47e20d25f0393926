"""Devices that say that they are going are silent at once; the next reading ends it."""

from collections.abc import Sequence

import pytest

from forewarn.core.alerts import AlertCleared, AlertRaised, Event, Kind
from forewarn.core.engine import Engine
from forewarn.core.readings import SeriesKey
from forewarn.core.rules import Rules
from forewarn.messages import sentence
from tests.core.streams import Row, batch
from tests.forecasters import HalfTrend

DEVICES = ("plug", "plug:probe", "plug:probe:2", "plugged", "other")


def row(device: str, at: float) -> Row:
    return Row(SeriesKey(device, "t"), at, at, 20.0)


def engine(rules: Rules | None = None, n: int = 8) -> Engine:
    """Readings each 10 s up to and with second 10 n."""
    one = Engine(HalfTrend(), rules or Rules(detector="residual"))
    for i in range(n + 1):
        one.ingest(batch([row(device, 10.0 * i) for device in DEVICES]))
    return one


def devices(events: Sequence[Event]) -> list[str]:
    assert all(isinstance(event, AlertRaised) and event.alert.kind is Kind.SILENT for event in events)
    return [event.alert.series.device for event in events if isinstance(event, AlertRaised)]


def test_a_name_speaks_for_itself_and_for_those_below_it() -> None:
    assert devices(engine().lost([("plug", 85.0)])) == ["plug", "plug:probe", "plug:probe:2"]
    assert devices(engine().lost([("plug:probe", 85.0), ("nobody", 85.0)])) == ["plug:probe", "plug:probe:2"]


def test_it_is_told_once_and_the_next_reading_ends_it() -> None:
    one = engine()
    (event,) = one.lost([("other", 85.0)])
    assert isinstance(event, AlertRaised)
    assert (event.alert.raised_at, event.alert.score) == (85.0, 5.0)
    assert sentence(event, "°C") == "other t is said to be offline; its last reading was 5 s before"
    assert one.lost([("other", 86.0)]) == []
    assert "other" not in devices(one.tick(10_000.0, 0.0))
    (cleared,) = one.ingest(batch([row("other", 90.0)])).events
    assert isinstance(cleared, AlertCleared)
    assert cleared.alert.id == event.alert.id


def test_a_word_from_before_the_last_reading_is_of_no_account() -> None:
    assert engine().lost([("other", 79.0)]) == []


@pytest.mark.parametrize("n", [0, 1, 30])
@pytest.mark.parametrize("after", [0.0, 5.0, 1e6])
def test_its_numbers_are_finite_however_little_is_known_of_the_series(n: int, after: float) -> None:
    (event,) = engine(n=n).lost([("other", 10.0 * n + after)])
    assert isinstance(event, AlertRaised)
    assert event.alert.threshold < 1e7
    assert (event.alert.score > event.alert.threshold) == (n == 30 and after > 1000)


def test_who_does_not_want_silence_told_is_not_told() -> None:
    assert engine(Rules(silent=False)).lost([("other", 85.0)]) == []
