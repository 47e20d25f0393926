"""When a series will be silent, as `Engine.silent_from` says it ahead of `Engine.tick`."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.core.alerts import Kind
from forewarn.core.engine import Engine, Monitor
from forewarn.core.readings import SeriesKey
from forewarn.core.rules import Rules
from tests.core.streams import Row, batch, cut, stream
from tests.forecasters import HalfTrend
from tests.thorough import examples

AT = 1.7e9
RULES = Rules(detector="residual", silent_min_s=20.0)
MUTE = replace(RULES, silent=False)
ROUNDING_S = 1e-6  # of sums of epoch seconds


def engine(mute: str | None = None, rules: Rules = RULES) -> Engine:
    """With monitors whose limits differ; `mute` is the device whose silence is not looked for."""
    monitors = [Monitor("d1", "*", HalfTrend(), replace(rules, silent_min_s=90.0))]
    if mute is not None:
        monitors.insert(0, Monitor(mute, "*", HalfTrend(), replace(rules, silent=False)))
    return Engine(HalfTrend(), rules, monitors)


def calm(n: int, device: str = "d0", step: float = 10.0) -> list[Row]:
    key = SeriesKey(device, "temperature")
    return [Row(key, AT + step * i, AT + step * i, 4.0 + 0.1 * (i % 3)) for i in range(n)]


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(0, 300),
    mute=st.sampled_from([None, "d0", "d1", "d2", "*"]),
    listening_after=st.sampled_from([0.0, 500.0, 5000.0]),
    before=st.floats(0.0, 1.0),
)
@settings(max_examples=examples(60), deadline=None)
def test_silence_is_told_from_the_time_that_was_said_on_and_not_before(
    seed: int, n: int, mute: str | None, listening_after: float, before: float
) -> None:
    rows = stream(seed, n=300, n_device=4)
    one, listening_since = engine(mute), AT + listening_after
    for part in cut(rows[:n], [n // 2]):
        one.ingest(batch(part))
    told = 0
    while math.isfinite(silent_from := one.silent_from(listening_since)):
        kept = one.snapshot()
        for at in (silent_from - ROUNDING_S, AT + before * (silent_from - ROUNDING_S - AT)):
            assert one.tick(at, listening_since) == []
        assert one.snapshot().to_bytes() == kept.to_bytes()
        events = one.tick(silent_from + 1e-3, listening_since)
        assert {event.alert.kind for event in events} == {Kind.SILENT}
        assert all(event.alert.series.device != mute for event in events)
        other = engine(mute)
        other.restore(kept)
        assert other.silent_from(listening_since) == silent_from
        assert [event.alert for event in other.tick(silent_from + 1e-3, listening_since)] == [e.alert for e in events]
        told += len(events)
    assert told <= one.n_series
    assert one.tick(AT + 1e9, listening_since) == []


def test_those_streams_make_series_silent_with_each_choice_of_monitors() -> None:
    for mute, expected in ((None, {"d0", "d1", "d2", "d3"}), ("d1", {"d0", "d2", "d3"}), ("*", set())):
        one = engine(mute)
        one.ingest(batch(stream(3, n=300, n_device=4)))
        assert {event.alert.series.device for event in one.tick(AT + 1e9, 0.0)} == expected


@pytest.mark.parametrize(("rules", "n"), [(RULES, 0), (RULES, 20), (MUTE, 60)])
def test_nothing_becomes_silent_where_nothing_is_known_or_silence_is_not_judged(rules: Rules, n: int) -> None:
    one = Engine(HalfTrend(), rules)
    one.ingest(batch(calm(n)))
    assert one.silent_from(0.0) == np.inf
    assert one.tick(AT + 1e9, 0.0) == []


def test_of_several_series_the_first_counts_and_each_is_told_once() -> None:
    one = engine()
    one.ingest(batch(sorted([*calm(60), *calm(60, "d1")], key=lambda row: row.at)))
    last = AT + 590.0
    assert one.silent_from(0.0) == pytest.approx(last + 50.0, abs=0.5)
    assert len(one.tick(last + 51.0, 0.0)) == 1
    assert one.silent_from(0.0) == pytest.approx(last + 90.0)
    assert len(one.tick(last + 91.0, 0.0)) == 1
    assert one.silent_from(0.0) == np.inf


def test_a_series_that_is_heard_again_can_become_silent_again() -> None:
    one = Engine(HalfTrend(), RULES)
    rows = calm(61)
    one.ingest(batch(rows[:60]))
    one.tick(AT + 1000.0, 0.0)
    assert one.silent_from(0.0) == np.inf
    again = rows[60]._replace(at=AT + 2000.0, received_at=AT + 2000.0)
    one.ingest(batch([again]))
    assert AT + 2020.0 < one.silent_from(0.0) < np.inf


def test_nothing_is_silent_sooner_than_it_was_listened_for() -> None:
    one = Engine(HalfTrend(), RULES)
    one.ingest(batch(calm(60)))
    usual = one.silent_from(0.0) - (AT + 590.0)
    assert one.silent_from(AT + 5000.0) == pytest.approx(AT + 5000.0 + usual)


def test_the_number_of_series_is_that_of_the_slots() -> None:
    one = Engine(HalfTrend(), replace(RULES, max_series=3))
    assert one.n_series == 0
    one.ingest(batch([*calm(2), *calm(2, "d1")]))
    assert one.n_series == 2
    one.ingest(batch([row for i in range(5) for row in calm(1, f"other{i}")]))
    assert one.n_series == 3
