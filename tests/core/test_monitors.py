"""Several models in one engine: each judges its series as if it were alone, under one cap."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forewarn.core import admissions
from forewarn.core.alerts import Alert, AlertCleared, AlertRaised, Kind
from forewarn.core.card import Feature
from forewarn.core.engine import Engine, Monitor
from forewarn.core.group import alike
from forewarn.core.patterns import Choice, SeriesPattern
from forewarn.core.ports import Forecast
from forewarn.core.readings import Batch, Floats, Outcome, SeriesKey, SeriesState
from forewarn.core.rules import Limits, Rules
from forewarn.core.snapshot import Snapshot
from forewarn.guard import Guard
from forewarn.logs import Complaints
from tests.core.streams import Log, Row, batch, cut, entry, stream, told
from tests.core.test_admissions import SHORT_S, crowd, left
from tests.forecasters import HalfTrend, card
from tests.thorough import examples

RULES = Rules(detector="residual", silent_min_s=20.0, limits=(Limits(limit_above=22.0),), update_every_s=300.0)
TAIL = Rules(sensitivity=7.0, silent_min_s=20.0)
LONG = HalfTrend(card(n_step=6, horizon=5))
SHORT = HalfTrend(card(n_step=3))
PAIR = HalfTrend(card(features=("temperature", "humidity")))
MONITORS = (Monitor("d1", "temperature", SHORT, TAIL), Monitor("d2", "*", LONG, replace(RULES, raise_after=2)))
SIZES = st.lists(st.integers(0, 60), max_size=30)


def several() -> Engine:
    return Engine(HalfTrend(), RULES, MONITORS)


def alone(device: str) -> Engine:
    """With the model alone that judges this device."""
    found = {"d1": MONITORS[0], "d2": MONITORS[1]}.get(device)
    return Engine(HalfTrend(), RULES) if found is None else Engine(found.forecaster, found.rules)


def numbered(events: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Events without the number of the slot, which is that of the fleet."""
    return [(name, replace(what, slot=0) if isinstance(what, Alert) else what) for name, what in events]


@given(seed=st.integers(0, 1000), sizes=SIZES)
@settings(max_examples=examples(12), deadline=None)
def test_a_series_is_judged_as_by_its_model_alone_whatever_the_batches(seed: int, sizes: list[int]) -> None:
    rows, log, engine = stream(seed, n=500, n_device=5), Log(), several()
    for part in cut(rows, sizes):
        log.feed(engine, part)
    for device in (f"d{i}" for i in range(5)):
        own, other = Log(), alone(device)
        own.feed(other, [row for row in rows if row.key.device == device])
        assert [said for row, said in zip(rows, log.verdicts, strict=True) if row.key.device == device] == own.verdicts
        mine = [event for event in log.events if isinstance(event[1], Alert) and event[1].series.device == device]
        assert numbered(mine) == numbered(own.events)
        slot = engine.fleet().keys.index(SeriesKey(device, "temperature"))
        shown, expected = engine.fleet(np.array([slot])), other.fleet()
        assert shown.forecast.tobytes() == expected.forecast.tobytes()
        assert shown.half_width.tobytes() == expected.half_width.tobytes()
        assert (shown.state[0], shown.threshold[0]) == (expected.state[0], expected.threshold[0])


@given(seed=st.integers(0, 1000), at=st.integers(0, 400))
@settings(max_examples=examples(10), deadline=None)
def test_a_snapshot_and_restore_at_any_index_change_nothing(seed: int, at: int) -> None:
    rows, whole, parts = stream(seed, n=400, n_device=5), Log(), Log()
    engine, restored = several(), several()
    for one in ([row] for row in rows):
        whole.feed(engine, one)
    before = several()
    for one in ([row] for row in rows[:at]):
        parts.feed(before, one)
    assert restored.restore(Snapshot.from_bytes(before.snapshot().to_bytes())) == ([], [])
    for one in ([row] for row in rows[at:]):
        parts.feed(restored, one)
    assert (parts.verdicts, parts.events) == (whole.verdicts, whole.events)
    assert restored.snapshot().to_bytes() == engine.snapshot().to_bytes()
    now = rows[-1].received_at + 900.0
    assert list(map(told, restored.tick(now, 0.0))) == list(map(told, engine.tick(now, 0.0)))


# Where all models are alike, it must not be seen which of them judges what: who gets a slot and who loses his, what is
# taken back, and in which order the alerts come, is as with one model.


def twins(cap: int, forecaster: Callable[[], HalfTrend] = HalfTrend) -> tuple[Engine, Engine]:
    """One with one model, one with three of the same."""
    rules = replace(RULES, max_series=cap)
    patterns = [SeriesPattern("*[02468]", "*"), SeriesPattern("d*", "*")]
    monitors = [Monitor(one.device, one.metric, forecaster(), rules) for one in patterns]
    return Engine(forecaster(), rules), Engine(forecaster(), rules, monitors)


@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 150), max_size=40), cap=st.integers(1, 12))
@settings(max_examples=examples(20), deadline=None)
def test_the_cap_is_one_over_all_models(seed: int, sizes: list[int], cap: int) -> None:
    rows, whole, parts = crowd(seed), Log(), Log()
    one, three = twins(cap)
    with patch.object(admissions, "PROTECTED_S", SHORT_S):
        whole.feed(one, rows)
        for part in cut(rows, sizes):
            parts.feed(three, part)
    assert left(parts)
    assert (parts.verdicts, parts.events) == (whole.verdicts, whole.events)
    assert three.fleet().keys == one.fleet().keys
    now = rows[-1].received_at + 60.0
    gone = [("d1", now), ("made-up-1", now)]
    for engine in (one, three):
        engine.lost(gone)
    assert sorted(alert.id for alert in three.active()) == sorted(alert.id for alert in one.active())


class Poisoned(HalfTrend):
    """Raises at a window that ends with a reading of 77.25, which no stream has."""

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:
        if (windows[:, -1, 0] == 77.25).any():
            raise ZeroDivisionError
        return super().forecast(windows, spread, at)


@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 150), max_size=40), cap=st.integers(2, 12))
@settings(max_examples=examples(20), deadline=None)
def test_what_one_model_fails_at_costs_the_others_nothing(seed: int, sizes: list[int], cap: int) -> None:
    rows = [row._replace(value=77.25) if i % 31 == 30 else row for i, row in enumerate(crowd(seed))]
    one, three = twins(cap, Poisoned)
    guard, said = Guard(Complaints()), []
    with patch.object(admissions, "PROTECTED_S", SHORT_S):
        for engine in (one, three):
            log: list[object] = []
            for part in cut(rows, sizes):
                verdicts = guard.ingest(engine, batch(part))
                log += [(entry(verdicts, i), int(verdicts.slot[i])) for i in range(len(part))]
                log += map(told, verdicts.events)
            said.append(log)
    assert said[0] == said[1]
    assert one.fleet().keys == three.fleet().keys
    assert sorted(one.active(), key=lambda alert: alert.id) == sorted(three.active(), key=lambda alert: alert.id)


def test_a_newcomer_of_another_model_gives_the_slot_back_when_its_reading_fails() -> None:
    rules = replace(RULES, max_series=2)
    engine = Engine(HalfTrend(), rules, [Monitor("bad", "*", HalfTrend(), rules)])
    rows = [Row(SeriesKey(f"d{i % 2}", "t"), 1.7e9 + i, 1.7e9 + i, 4.0 + 0.1 * (i % 3)) for i in range(40)]
    engine.ingest(batch(rows))
    before = engine.snapshot().to_bytes()
    with (
        patch.object(engine._groups[0]._judges, "judge", side_effect=ZeroDivisionError),
        pytest.raises(ZeroDivisionError),
    ):
        engine.ingest(batch([Row(SeriesKey("bad", "t"), 1.7e9 + 90, 1.7e9 + 90, 4.0)]))
    assert engine.snapshot().to_bytes() == before
    (evicted,) = engine.ingest(batch([Row(SeriesKey("bad", "t"), 1.7e9 + 90, 1.7e9 + 90, 4.0)])).events
    assert told(evicted) == ("SeriesEvicted", SeriesKey("d0", "t"))
    assert engine.fleet().keys == (SeriesKey("bad", "t"), SeriesKey("d1", "t"))


# What is shown


def test_models_that_look_less_far_show_nothing_behind_their_horizon() -> None:
    engine = several()
    engine.ingest(
        batch(
            [Row(SeriesKey(f"d{i % 4}", "temperature"), 1.7e9 + i, 1.7e9 + i, 4.0 + 0.1 * (i % 7)) for i in range(300)]
        )
    )
    fleet = engine.fleet()
    at = dict(zip((key.device for key in fleet.keys), range(4), strict=True))
    assert fleet.forecast.shape == (4, 5)
    assert fleet.horizon[[at["d0"], at["d1"], at["d2"]]].tolist() == [2, 2, 5]
    for row, horizon in enumerate(fleet.horizon.tolist()):
        assert np.isnan(fleet.forecast[row, horizon:]).all()
        assert np.isfinite(fleet.forecast[row, :horizon]).all()
        assert np.isnan(fleet.half_width[row, :, horizon:]).all()
    some = np.array([3, 1, 0])
    part, recent = engine.fleet(some), engine.recent(some)
    assert part.keys == recent.keys == tuple(fleet.keys[slot] for slot in some)
    assert part.slot.tolist() == some.tolist()
    assert part.value.tolist() == fleet.value[some].tolist()
    assert recent.value[:, -1].tolist() == pytest.approx(part.value.tolist())
    assert engine.state(some).tolist() == fleet.state[some].tolist()
    for slot in range(4):
        course, kept = engine.course(fleet.keys[slot]), engine.recent(np.array([slot])).value[0]
        assert course is not None
        assert course.value.tolist() == kept[np.isfinite(kept)].tolist()
        assert course.last.forecast.shape == (1, fleet.horizon[slot])
    assert engine.fleet(np.array([], np.int64)).keys == ()


def test_each_model_is_asked_once_for_a_batch_and_monitors_that_are_equal_judge_together() -> None:
    first, rest = HalfTrend(), HalfTrend()
    monitors = [Monitor("a*", "*", first, RULES), Monitor("b*", "*", first, RULES), Monitor("c*", "*", rest, RULES)]
    engine = Engine(rest, RULES, monitors)
    for i in range(4):
        engine.ingest(
            batch([Row(SeriesKey(f"{n}{d}", "t"), 1.7e9 + i, 1.7e9 + i, 1.0) for d in range(9) for n in "abcd"])
        )
    assert (first.calls, rest.calls) == (1, 1)


def test_a_model_of_several_features_takes_its_own_columns() -> None:
    engine = Engine(HalfTrend(), RULES, [Monitor("pair", "*", PAIR, RULES)])
    other, n = Engine(PAIR, RULES), 50
    keys = [SeriesKey(("pair", "one")[i % 2], "temperature") for i in range(2 * n)]
    value = np.random.default_rng(1).normal(4.0, 1.0, (2 * n, 2))
    value[1::2, 1] = 0.0
    at: Floats = 1.7e9 + 10.0 * np.arange(2.0 * n)
    verdicts = engine.ingest(Batch(keys, at, at, value))
    expected = other.ingest(Batch(keys[::2], at[::2], at[::2], value[::2]))
    assert verdicts.score[::2].tobytes() == expected.score.tobytes()
    assert verdicts.outcome[1::2].tolist().count(Outcome.SCORED) > 10
    assert [len(engine.card_of(key).features) for key in keys[:2]] == [2, 1]


# Other monitors, after a restart or a reload


def running(engine: Engine, seed: int = 1) -> list[Row]:
    """Readings until each of `d0` to `d2` has an active alert of its limit."""
    rows = stream(seed, n=400)
    last = rows[-1].received_at
    rows += [
        Row(SeriesKey(f"d{i % 3}", "temperature"), last + 10.0 + i, last + 10.0 + i, 4.0 + 0.01 * i) for i in range(300)
    ]
    rows += [Row(SeriesKey(f"d{i}", "temperature"), last + 400.0, last + 400.0, 25.0 + i) for i in range(3)]
    engine.ingest(batch(rows))
    return rows


def after(rows: Sequence[Row], n: int = 30) -> list[Row]:
    at = rows[-1].received_at + 10.0
    return [Row(SeriesKey(f"d{i % 3}", "temperature"), at + i, at + i, 25.0 + 0.1 * i) for i in range(n)]


def test_a_series_that_gets_another_model_of_the_same_features_goes_on_with_its_window_and_its_alerts() -> None:
    before, now = Engine(HalfTrend(), RULES), Engine(HalfTrend(), RULES, [Monitor("d1", "*", LONG, RULES)])
    rows = running(before)
    alerts = before.active()
    assert {alert.series.device for alert in alerts if alert.kind is Kind.LIMIT} == {"d0", "d1", "d2"}
    assert now.restore(Snapshot.from_bytes(before.snapshot().to_bytes())) == ([], [])
    assert now.active() == alerts
    swapped = Engine(LONG, RULES)
    swapped.restore(before.snapshot())
    for engine, device in ((before, "d0"), (swapped, "d1"), (before, "d2")):
        one, own = Log(), Log()
        mine = [row for row in after(rows) if row.key.device == device]
        one.feed(now, mine)
        own.feed(engine, mine)
        assert (one.verdicts, one.events) == (own.verdicts, own.events)
        assert one.verdicts[1][0] == "scored"  # the first one, where the forecast before it has other leads, is not
    assert not {alert.id for alert in alerts} & {
        event.alert.id for event in now.ingest(batch(after(after(rows)))).events if isinstance(event, AlertRaised)
    }


def test_a_series_whose_model_has_other_features_begins_anew_and_its_alerts_are_cleared() -> None:
    before, now = Engine(HalfTrend(), RULES), Engine(HalfTrend(), RULES, [Monitor("d1", "*", PAIR, RULES)])
    running(before)
    renewed = now.restore(before.snapshot())
    (slot,) = (slot for slot, key in enumerate(before.fleet().keys) if key.device == "d1")
    assert renewed.series == [(SeriesKey("d1", "temperature"), slot)]
    ended = [alert for alert in before.active() if alert.slot == slot]
    assert [event.alert for event in renewed.cleared] == [replace(a, sequence=a.sequence + 1) for a in ended]
    assert all(isinstance(event, AlertCleared) for event in renewed.cleared)
    assert now.active() == tuple(alert for alert in before.active() if alert.slot != slot)
    assert now.fleet().keys == before.fleet().keys
    assert now.state(np.array([slot])).tolist() == [SeriesState.WARMING_UP]
    assert [event for event in now.tick(4e9, 0.0) if event.alert.slot == slot] == []  # nothing is known of it
    n, at = 40, 1.8e9 + 10.0 * np.arange(40.0)
    values = np.random.default_rng(1).normal(4.0, 1.0, (n, 2))
    later = Batch([SeriesKey("d1", "temperature")] * n, at, at, values)
    said, fresh = now.ingest(later), Engine(PAIR, RULES).ingest(later)
    assert [entry(said, i) for i in range(n)] == [entry(fresh, i) for i in range(n)]


def test_a_series_that_began_anew_and_was_not_heard_of_is_the_first_to_go() -> None:
    rules = replace(RULES, max_series=3)
    before, now = Engine(HalfTrend(), rules), Engine(HalfTrend(), rules, [Monitor("d[12]", "*", PAIR, rules)])
    running(before)
    now.restore(before.snapshot())
    at = 1.7e9 + 1e6
    newcomers = [Row(SeriesKey(f"new-{i}", "t"), at, at, 1.0) for i in range(2)]
    log = Log()
    log.feed(now, newcomers)
    assert {key.device for key in left(log) if isinstance(key, SeriesKey)} == {"d1", "d2"}


def test_a_snapshot_none_of_whose_models_is_there_any_more_is_refused_and_changes_nothing() -> None:
    before, now = (
        Engine(HalfTrend(), RULES, [Monitor("d1", "*", PAIR, RULES)]),
        Engine(HalfTrend(card(features=("temperature", "x", "y"))), RULES),
    )
    rows = batch(stream(1, n=60))
    now.ingest(replace(rows, values=np.repeat(rows.values, 3, axis=1)))
    state = now.snapshot().to_bytes()
    with pytest.raises(ValueError, match="other features"):
        now.restore(before.snapshot())
    assert now.snapshot().to_bytes() == state


def test_a_snapshot_that_is_damaged_in_one_part_is_refused_and_changes_nothing() -> None:
    before, now = several(), several()
    running(before)
    good = before.snapshot()
    parts = list(good.parts)
    parts[-1] = replace(
        parts[-1], columns={**parts[-1].columns, "score": parts[-1].columns["score"].astype(np.float32)}
    )
    state = now.snapshot().to_bytes()
    with pytest.raises(ValueError, match="score has another type"):
        now.restore(replace(good, parts=tuple(parts)))
    assert now.snapshot().to_bytes() == state
    short = replace(parts[0], columns={name: column[:0] for name, column in parts[0].columns.items()})
    for bad in (
        replace(good, parts=(short, *good.parts[1:])),
        replace(good, patterns=good.patterns[:-1]),
        replace(good, patterns=(("*", "*", 7),)),
    ):
        with pytest.raises(ValueError, match="no snapshot"):
            Snapshot.from_bytes(bad.to_bytes())


def test_a_snapshot_says_of_which_features_a_series_was_though_it_has_none() -> None:
    snapshot = Engine(HalfTrend(), RULES, [Monitor("pair-*", "temp*", PAIR, RULES)]).snapshot()
    again = Snapshot.from_bytes(snapshot.to_bytes())
    assert again.features_of(SeriesKey("pair-1", "temperature")) == PAIR.card.features
    assert again.features_of(SeriesKey("pair-1", "humidity")) == HalfTrend().card.features


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ([("value", "")], [("temperature", "°C")], True), ([("value", "")], [("t", "°F")], False),
        ([("t", "°C")], [("t", "°F")], False), ([("t", "°F")], [("u", "°F")], True),
        ([("value", "")], [("humidity", "%")], True), ([("a", "kWh")], [("b", "W")], True),
        ([("t", "°C")], [("t", "°C"), ("h", "%")], False), ([("t", ""), ("h", "")], [("h", ""), ("t", "")], False),
        ([("t", ""), ("h", "")], [("t", ""), ("h", "")], True),
    ],
)  # fmt: skip
def test_models_of_one_feature_are_given_the_same_but_for_units_of_temperature(
    before: list[tuple[str, str]], after: list[tuple[str, str]], same: bool
) -> None:
    one, other = ([Feature(*names) for names in features] for features in (before, after))
    assert alike(one, other) == alike(other, one) == same


def test_the_first_pattern_that_matches_counts() -> None:
    choice = Choice("rest", [(SeriesPattern("a*", "t"), "first"), (SeriesPattern("ab", "*"), "second")])
    said = [choice.of(SeriesKey(*names)) for names in (("ab", "t"), ("ab", "u"), ("ac", "u"), ("A", "t"))]
    assert said == ["first", "second", "rest", "rest"]
    assert choice.every == ("first", "second", "rest")
    assert Choice("rest").of(SeriesKey("ab", "t")) == "rest"
