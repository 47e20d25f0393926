"""A mistake of our own costs the readings at which it is made, and nothing else."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forewarn.core.engine import Engine
from forewarn.core.readings import Outcome, SeriesKey
from forewarn.core.records import Tick
from forewarn.core.rules import Limits, Rules
from forewarn.core.slots import State
from forewarn.guard import Guard
from forewarn.logs import Complaints
from tests.core.streams import Log, Row, batch, cut, entry, stream, told
from tests.forecasters import HalfTrend

POISON = 77.25  # no reading of `stream`, which has tenths
RULES = Rules(detector="residual", silent_min_s=20.0, max_gap=3.0, limits=(Limits(limit_above=22.0),), max_series=7)
KEY = SeriesKey("d0", "temperature")
PLACES = ("judges", "write", "tell")


class BugError(Exception):
    """What nobody foresaw."""


def poisoned(engine: Engine, place: str) -> Engine:
    """The engine, which raises at one place once a round has a reading of `POISON`, after all was done there."""
    owner, name = (engine._groups[0]._judges, "judge") if place == "judges" else (engine._groups[0], f"_{place}")
    whole: Callable[..., Any] = getattr(owner, name)

    def part(state: State, *args: Any) -> Any:  # noqa: ANN401 - as it comes
        done = whole(state, *args)
        if (state["value"] == POISON).any():
            raise BugError("a value that nobody foresaw")
        return done

    setattr(owner, name, part)
    return engine


def guard() -> Guard:
    return Guard(Complaints())


class Guarded(Log):
    """What an engine under guard said; of `POISON` nothing but that it is rejected."""

    def feed(self, engine: Engine, rows: Sequence[Row]) -> None:
        verdicts = guard().ingest(engine, batch(rows))
        for i, row in enumerate(rows):
            if row.value != POISON:
                self.verdicts.append(entry(verdicts, i))
            else:
                assert verdicts.outcome[i] > Outcome.WARMING_UP
        self.events += [told(event) for event in verdicts.events]


@pytest.mark.parametrize("place", PLACES)
@given(
    seed=st.integers(0, 1000),
    sizes=st.lists(st.integers(1, 60), max_size=12),
    poison=st.sets(st.integers(0, 399), min_size=1, max_size=30),
)
@example(seed=202, sizes=[], poison={0})
@example(seed=38, sizes=[], poison={0, 1})
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_others_are_judged_as_if_the_poison_had_not_been_there(
    place: str, seed: int, sizes: list[int], poison: set[int]
) -> None:
    """Devices above the cap evict each other, some begin with a retained reading, and any may begin with the poison."""
    clean = stream(seed, n=400, n_device=10)
    rows = [row._replace(value=POISON) if i in poison else row for i, row in enumerate(clean)]
    engine, other = poisoned(Engine(HalfTrend(), RULES), place), Engine(HalfTrend(), RULES)
    said, expected = Guarded(), Log()
    for part in cut(rows, sizes):
        said.feed(engine, part)
    expected.feed(other, [row for row in rows if row.value != POISON])
    assert said.verdicts == expected.verdicts
    assert said.events == expected.events
    assert engine.snapshot().to_bytes() == other.snapshot().to_bytes()
    assert engine.fleet().keys == other.fleet().keys


def test_the_streams_of_that_test_evict_and_alert() -> None:
    log = Log()
    log.feed(Engine(HalfTrend(), RULES), stream(1, n=400, n_device=10))
    assert {name for name, _ in log.events} == {"AlertRaised", "AlertUpdated", "AlertCleared", "SeriesEvicted"}
    assert {verdict[0] for verdict in log.verdicts} >= {"scored", "warming_up", "retained", "duplicate"}


def calm(n: int, device: str = "d0", at: float = 1.7e9) -> list[Row]:
    key = SeriesKey(device, "temperature")
    return [Row(key, at + 10.0 * i, at + 10.0 * i, 4.0 + 0.1 * (i % 3)) for i in range(n)]


def test_a_newcomer_at_which_the_engine_fails_takes_nobody_s_slot_and_ends_no_alert() -> None:
    engine = poisoned(Engine(HalfTrend(), replace(RULES, max_series=1)), "judges")
    engine.ingest(batch(calm(60)))
    assert len(engine.tick(1.7e9 + 5000.0, 0.0)) == 1
    before, alerts = engine.snapshot().to_bytes(), engine.alerts(0)
    late = 1.7e9 + 10 * 86_400.0
    verdicts = guard().ingest(engine, batch([Row(SeriesKey("new", "t"), late, late, POISON)]))
    assert (verdicts.outcome.tolist(), verdicts.events) == ([Outcome.FAILED], [])
    assert engine.snapshot().to_bytes() == before
    assert engine.alerts(0) == alerts
    assert len(alerts) == 1


def test_a_retained_reading_begins_a_series_whose_first_one_failed() -> None:
    engine = poisoned(Engine(HalfTrend(), RULES), "tell")
    rows = [Row(KEY, 1.7e9, 1.7e9, POISON), Row(KEY, 1.7e9 - 5.0, 1.7e9, 4.0, seed=True)]
    assert guard().ingest(engine, batch(rows)).outcome.tolist() == [Outcome.FAILED, Outcome.WARMING_UP]


def test_an_engine_that_fails_at_everything_rejects_everything_in_bounded_time() -> None:
    engine = Engine(HalfTrend(), RULES)
    calls = 0

    def judge(*_: object) -> None:
        nonlocal calls
        calls += 1
        raise BugError

    engine._groups[0]._judges.judge = judge  # type: ignore[assignment,method-assign]  # that is what this is for
    verdicts = guard().ingest(engine, batch(calm(256)))
    assert set(verdicts.outcome.tolist()) == {Outcome.FAILED}
    assert calls == 2 * 256 - 1
    assert engine.fleet().keys == ()


def test_what_fails_once_costs_no_reading() -> None:
    class Once(HalfTrend):
        def forecast(self, *args: Any) -> Any:  # noqa: ANN401 - a port
            if not self.calls:
                self.calls += 1
                raise MemoryError
            return super().forecast(*args)

    engine, other = Engine(Once(), RULES), Engine(HalfTrend(), RULES)
    verdicts = guard().ingest(engine, batch(calm(50)))
    expected = other.ingest(batch(calm(50)))
    assert [entry(verdicts, i) for i in range(50)] == [entry(expected, i) for i in range(50)]
    assert engine.snapshot().to_bytes() == other.snapshot().to_bytes()


def test_a_failing_search_for_silent_series_changes_nothing_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(HalfTrend(), RULES)
    engine.ingest(batch([*calm(60), *calm(60, "d1")]))
    before = engine.snapshot().to_bytes()
    silent = engine._groups[0]._teller.silent

    def part(slot: int, *args: Any) -> Any:  # noqa: ANN401 - as it comes
        if slot == 1:
            raise BugError
        return silent(slot, *args)

    tick = Tick(1.7e9 + 5000.0, 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(engine._groups[0]._teller, "silent", part)
        assert guard().tick(engine, tick) == ()
    assert engine.snapshot().to_bytes() == before
    assert ["looking for silent series fails" in line for line in caplog.messages] == [True]
    assert len(guard().tick(engine, tick)) == 2


def test_a_failure_is_told_once_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    one = guard()
    engine = poisoned(Engine(HalfTrend(), RULES), "judges")
    for i in range(5):
        row = calm(1, at=1.7e9 + i)[0]
        one.ingest(engine, batch([row, row._replace(key=SeriesKey("bad", "t"), value=POISON)]))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "the engine fails: with 2 readings" in record.getMessage()
    assert record.exc_info
    assert record.exc_info[0] is BugError


def test_an_attempt_gives_what_there_is() -> None:
    assert guard().attempt("halving", np.divide, 3.0, 2.0) == 1.5
    assert guard().attempt("reading", int, "three") is None
