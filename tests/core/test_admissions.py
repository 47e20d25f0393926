"""Who gets a slot at the device cap, and who loses his."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.core import admissions
from forewarn.core.admissions import PROTECTED_S
from forewarn.core.alerts import AlertCleared, AlertRaised, SeriesEvicted
from forewarn.core.engine import Engine
from forewarn.core.readings import Outcome, SeriesKey
from forewarn.core.rules import Limits, Rules
from tests.core.scalar import ScalarSeries
from tests.core.scalar_fleet import ScalarFleet
from tests.core.streams import Log, Row, batch, cut, stream
from tests.forecasters import HalfTrend

LIMITS = Limits(limit_below=-15.0, limit_above=22.0)
RULES = Rules(detector="residual", max_series=7, limits=(LIMITS,))
SHORT_S = 600.0
"""Of protection, so that it ends now and then in a stream that is as long as a test may be."""


def crowd(seed: int, n: int = 400) -> list[Row]:
    """Four devices with all their troubles, and names among them of which few come often, most of them once."""
    rng = np.random.default_rng([seed, 2])
    rows = []
    for row in stream(seed, n, n_device=4):
        rows.append(row)
        for name in rng.zipf(1.3, rng.poisson(0.7)).tolist():
            key = SeriesKey(f"made-up-{name % 997}", "temperature")
            late = float(rng.choice([0.0, 0.0, 0.01, 20.0]))
            value = round(float(rng.normal(4.0, 12.0)), 1)
            rows.append(Row(key, row.received_at - late, row.received_at, value, bool(rng.random() < 0.05)))
    return rows


def fleet(cap: int) -> ScalarFleet:
    forecaster = HalfTrend()
    return ScalarFleet(
        lambda: ScalarSeries(forecaster, RULES, 8.0, absolute=False, limits=LIMITS), cap, forecaster.card.n_step
    )


def left(log: Log) -> list[object]:
    """The series that lost their slots."""
    return [what for name, what in log.events if name == "SeriesEvicted"]


@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 150), max_size=40), cap=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_the_same_ones_go_as_if_each_reading_were_judged_alone(seed: int, sizes: list[int], cap: int) -> None:
    rows, log, one_by_one = crowd(seed), Log(), fleet(cap)
    engine = Engine(HalfTrend(), replace(RULES, max_series=cap))
    with patch.object(admissions, "PROTECTED_S", SHORT_S):
        for part in cut(rows, sizes):
            log.feed(engine, part)
        said = [one_by_one.take(row) for row in rows]
    assert [verdict[0] for verdict in log.verdicts] == [one.status for one in said]
    assert left(log) == one_by_one.left
    assert list(engine.fleet().keys) == [key for key, _ in one_by_one.slots]


@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 150), max_size=40))
@settings(max_examples=20, deadline=None)
def test_batch_sizes_change_no_verdict_and_no_event(seed: int, sizes: list[int]) -> None:
    rows, whole, parts = crowd(seed), Log(), Log()
    with patch.object(admissions, "PROTECTED_S", SHORT_S):
        whole.feed(Engine(HalfTrend(), RULES), rows)
        engine = Engine(HalfTrend(), RULES)
        for part in cut(rows, sizes):
            parts.feed(engine, part)
    assert parts.verdicts == whole.verdicts
    assert parts.events == whole.events


def test_a_crowd_has_in_it_what_the_tests_above_are_about() -> None:
    log, again, ended = Log(), 0, 0
    with patch.object(admissions, "PROTECTED_S", SHORT_S):
        for seed in range(4):
            log.feed(Engine(HalfTrend(), RULES), crowd(seed))
    again = len(left(log)) - len(set(left(log)))
    known = [key for key in left(log) if isinstance(key, SeriesKey) and key.device.startswith("d")]
    ended = sum(
        name == "AlertCleared" and after == "SeriesEvicted"
        for (name, _), (after, _) in zip(log.events, log.events[1:], strict=False)
    )
    assert min(len(left(log)), again, len(known), ended) > 0
    assert {"retained", "duplicate", "out_of_order", "scored"} <= {str(verdict[0]) for verdict in log.verdicts}


def known(engine: Engine, n: int, n_reading: int = 6) -> list[SeriesKey]:
    """So many series that had a window's worth of readings."""
    keys = [SeriesKey(f"known-{i}", "t") for i in range(n)]
    for nth in range(n_reading):
        engine.ingest(batch([Row(key, 1.7e9 + nth, 1.7e9 + nth, 1.0) for key in keys]))
    return keys


def flood(n: int, at: float, step: float = 0.0) -> list[Row]:
    """One reading each of made-up names."""
    return [Row(SeriesKey(f"made-up-{i}", "t"), at + i * step, at + i * step, 1.0) for i in range(n)]


@pytest.mark.parametrize("step", [0.0, 0.001])
def test_a_flood_of_new_names_evicts_itself_and_spares_known_devices(step: float) -> None:
    engine = Engine(HalfTrend(), Rules(max_series=10))
    keys = known(engine, 5)
    events = engine.ingest(batch(flood(300, 1.7e9 + 10, step))).events
    assert len(events) == 295
    assert all(isinstance(event, SeriesEvicted) and event.series.device.startswith("made-up") for event in events)
    assert set(keys) <= set(engine.fleet().keys)
    assert len(engine.fleet().keys) == 10


def test_a_device_whose_window_restarts_after_a_gap_keeps_its_slot() -> None:
    engine = Engine(HalfTrend(), Rules(max_series=10))
    keys = known(engine, 5)
    later = 1.7e9 + 7200.0
    engine.ingest(batch([Row(key, later, later, 1.0) for key in keys]))
    engine.ingest(batch(flood(300, later + 1.0)))
    assert set(keys) <= set(engine.fleet().keys)


def test_newcomers_are_judged_together() -> None:
    engine = Engine(HalfTrend(), Rules(max_series=100))
    known(engine, 50)
    with patch.object(Engine, "_round", autospec=True, side_effect=Engine._round) as judged:
        engine.ingest(batch(flood(1000, 1.7e9 + 10, 0.001)))
        assert judged.call_count <= 21  # 50 free slots
        judged.reset_mock()
        engine.ingest(batch(flood(30, 1.7e9 + 20, 0.001)))
        assert judged.call_count == 1


def test_a_device_that_is_gone_for_long_gives_way_to_a_new_one_and_ends_its_alerts() -> None:
    engine = Engine(HalfTrend(), Rules(max_series=1))
    known(engine, 1, n_reading=60)
    (silent,) = engine.tick(1.7e9 + 5000.0, 0.0)
    assert isinstance(silent, AlertRaised)
    later = 1.7e9 + PROTECTED_S + 10.0
    verdicts = engine.ingest(batch([Row(SeriesKey("new", "t"), later, later, 1.0)]))
    assert [type(event) for event in verdicts.events] == [AlertCleared, SeriesEvicted]
    assert engine.fleet().keys == (SeriesKey("new", "t"),)
    assert verdicts.outcome.tolist() == [Outcome.WARMING_UP]


def test_the_cap_may_be_reached_and_passed_in_one_batch() -> None:
    engine = Engine(HalfTrend(), Rules(max_series=100))
    keys = known(engine, 64)  # as many as a table begins with
    rows = flood(40, 1.7e9 + 10, 0.001)
    verdicts = engine.ingest(batch(rows))
    assert verdicts.slot.tolist() == [*range(64, 100), *range(64, 68)]
    assert engine.fleet().keys == (*keys, *(row.key for row in rows[36:]), *(row.key for row in rows[4:36]))
