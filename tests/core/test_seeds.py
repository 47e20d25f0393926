"""Old readings that the broker kept: they begin a window and raise nothing."""

from dataclasses import replace

import numpy as np
import pytest

from forewarn.core.alerts import AlertRaised, Kind
from forewarn.core.engine import Engine
from forewarn.core.readings import Outcome, SeriesKey, SeriesState
from forewarn.core.rules import Limits, Rules
from tests.core.streams import Row, batch
from tests.forecasters import HalfTrend

KEY = SeriesKey("d0", "temperature")
RULES = Rules(detector="residual", limits=(Limits(low=-50.0, high=50.0, limit_above=10.0),))


def row(at: float, value: float, *, seed: bool = False, key: SeriesKey = KEY) -> Row:
    return Row(key, at, 1e9 + 1000.0, value, seed)


@pytest.mark.parametrize(("value", "kind"), [(12.0, Kind.LIMIT), (70.0, Kind.RANGE)])
def test_no_alert_begins_with_a_seed_and_one_does_with_the_next_reading(value: float, kind: Kind) -> None:
    engine = Engine(HalfTrend(), RULES)
    verdicts = engine.ingest(batch([row(1e9, value, seed=True)]))
    assert verdicts.events == []
    assert (verdicts.outcome[0], verdicts.alert[0]) == (Outcome.WARMING_UP, False)
    assert engine.alerts(0) == []
    assert engine.state(np.array([0])).tolist() == [SeriesState.WARMING_UP]
    assert engine.fleet().value.tolist() == [value]
    raised = [e.alert.kind for e in engine.ingest(batch([row(1e9 + 10.0, value)])).events if isinstance(e, AlertRaised)]
    assert kind in raised


@pytest.mark.parametrize("at", [1e9 - 10.0, 1e9, 1e9 + 10.0])
@pytest.mark.parametrize("apart", [False, True])
def test_a_seed_of_a_known_series_changes_nothing(at: float, apart: bool) -> None:
    engine = Engine(HalfTrend(), RULES)
    rows = [row(1e9, 4.0), row(at, 12.0, seed=True)]
    parts = [[one] for one in rows] if apart else [rows]
    outcomes = [outcome for part in parts for outcome in engine.ingest(batch(part)).outcome.tolist()]
    assert outcomes == [Outcome.WARMING_UP, Outcome.RETAINED]
    assert engine.fleet().at.tolist() == [1e9]
    assert engine.fleet().value.tolist() == [4.0]


def test_a_seed_is_the_first_step_of_the_window() -> None:
    seeded, live = Engine(HalfTrend(), RULES), Engine(HalfTrend(), RULES)
    rows = [row(1e9 + 10.0 * i, 4.0 + i % 3) for i in range(80)]
    seeded.ingest(batch([rows[0]._replace(seed=True), *rows[1:]]))
    live.ingest(batch(rows))
    assert seeded.snapshot().to_bytes() == live.snapshot().to_bytes()


def test_a_seed_takes_no_slot_of_another_series() -> None:
    engine = Engine(HalfTrend(), replace(RULES, max_series=2))
    keys = [SeriesKey(name, "temperature") for name in "abc"]
    verdicts = engine.ingest(batch([row(1e9, 4.0, seed=True, key=key) for key in keys]))
    assert verdicts.outcome.tolist() == [Outcome.WARMING_UP, Outcome.WARMING_UP, Outcome.RETAINED]
    assert engine.fleet().keys == tuple(keys[:2])
    engine.ingest(batch([row(1e9, 4.0, key=keys[2])]))
    assert keys[2] in engine.fleet().keys


@pytest.mark.parametrize(
    ("at", "value", "outcome"),
    [(1e9, np.nan, Outcome.NOT_FINITE), (1e9, 1e39, Outcome.OUT_OF_RANGE), (1e9 + 5000.0, 4.0, Outcome.FROM_FUTURE)],
)
def test_a_seed_that_cannot_be_used_has_the_reason_of_any_other(at: float, value: float, outcome: Outcome) -> None:
    engine = Engine(HalfTrend(), RULES)
    assert engine.ingest(batch([row(at, value, seed=True)])).outcome.tolist() == [outcome]
    assert engine.fleet().keys == ()
