from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forewarn.core.alerts import AlertCleared, AlertRaised, AlertUpdated, Kind, SeriesEvicted, Severity
from forewarn.core.card import Calibration
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecast
from forewarn.core.readings import Batch, Outcome, SeriesKey, SeriesState, status_name
from forewarn.core.rules import Limits, Override, Rules, Threshold
from forewarn.core.snapshot import Snapshot
from tests.core.scalar import ScalarSeries
from tests.core.streams import Log, Row, batch, cut, entry, stream
from tests.forecasters import HalfTrend, card
from tests.thorough import examples

KEY = SeriesKey("d0", "temperature")
LIMITS = Limits(low=-45.0, high=55.0, max_rate_per_s=3.0, limit_below=-15.0, limit_above=22.0)
RESIDUAL = Rules(detector="residual")
QUICK = replace(
    RESIDUAL, raise_after=2, raise_within=3, clear_after=2, stuck_min_run=6, update_every_s=300.0, accept_after=40
)
LIMITED = replace(QUICK, limits=(LIMITS,))


def calm(n: int, *, start: float = 1.7e9, key: SeriesKey = KEY, seed: int = 0, step: float = 10.0) -> list[Row]:
    noise = np.random.default_rng(seed).normal(4.0, 0.2, n)
    return [Row(key, start + i * step, start + i * step, float(value)) for i, value in enumerate(noise)]


def following(rows: list[Row], values: list[float], step: float = 10.0) -> list[Row]:
    last = rows[-1]
    return [
        Row(last.key, last.at + (i + 1) * step, last.received_at + (i + 1) * step, value)
        for i, value in enumerate(values)
    ]


@pytest.mark.parametrize("absolute", [False, True])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=examples(8), deadline=None)
def test_the_engine_agrees_with_the_scalar_reference(absolute: bool, seed: int) -> None:
    rules = replace(LIMITED, threshold=Threshold(5.0, absolute))
    engine, forecaster = Engine(HalfTrend(), rules), HalfTrend()
    rows = stream(seed)
    said = {row.key: ScalarSeries(forecaster, rules, 5.0, absolute, LIMITS) for row in rows}
    verdicts = engine.ingest(batch(rows))
    changes = []
    for i, row in enumerate(rows):
        scalar = said[row.key].take(row.at, row.received_at, row.value, row.seed)
        status, expected, lower, upper, _, score, anomaly_score, alert = entry(verdicts, i)
        assert status == scalar.status, i
        if status in ("scored", "warming_up"):
            numbers = [None if np.isnan(x) else x for x in (scalar.expected, scalar.lower, scalar.upper)]
            assert [expected, lower, upper, score, alert] == [*numbers, scalar.score, scalar.alert], i
            assert anomaly_score == score
            changes += [(row.key, row.at, *change) for change in scalar.changes]
    names = {AlertRaised: "raised", AlertUpdated: "updated", AlertCleared: "cleared"}
    told = [
        (e.alert.series, e.alert.at, str(e.alert.kind), names[type(e)])
        for e in verdicts.events
        if not isinstance(e, SeriesEvicted)
    ]
    assert sorted(told) == sorted(changes)


def test_random_streams_have_every_outcome_and_every_change_in_them() -> None:
    outcomes: set[int] = set()
    told: set[tuple[type, Kind]] = set()
    for seed in range(8):
        engine = Engine(HalfTrend(), replace(LIMITED, update_every_s=20.0))
        verdicts = engine.ingest(batch(stream(seed, n=2000)))
        outcomes |= set(verdicts.outcome.tolist())
        told |= {(type(e), e.alert.kind) for e in verdicts.events if not isinstance(e, SeriesEvicted)}
    assert outcomes == set(Outcome) - {Outcome.FAILED}
    changes = (AlertRaised, AlertUpdated, AlertCleared)
    assert told == {
        (change, kind) for change in changes for kind in set(Kind) - {Kind.SILENT, Kind.ANOMALY, Kind.MULTIVARIATE}
    }


@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(0, 40), max_size=40))
@settings(max_examples=examples(12), deadline=None)
def test_batch_sizes_change_nothing(seed: int, sizes: list[int]) -> None:
    rows = stream(seed)
    whole, parts = Log(), Log()
    whole.feed(Engine(HalfTrend(), LIMITED), rows)
    engine = Engine(HalfTrend(), LIMITED)
    for part in cut(rows, sizes):
        parts.feed(engine, part)
    assert parts.verdicts == whole.verdicts
    assert parts.events == whole.events


@given(seed=st.integers(0, 1000), at=st.integers(0, 600))
@settings(max_examples=examples(12), deadline=None)
def test_a_snapshot_and_restore_at_any_index_change_nothing(seed: int, at: int) -> None:
    rows = stream(seed)
    whole, parts = Log(), Log()
    whole.feed(Engine(HalfTrend(), LIMITED), rows)
    engine = Engine(HalfTrend(), LIMITED)
    for one in ([row] for row in rows[:at]):
        parts.feed(engine, one)
    restored = Engine(HalfTrend(), LIMITED)
    restored.restore(Snapshot.from_bytes(engine.snapshot().to_bytes()))
    for one in ([row] for row in rows[at:]):
        parts.feed(restored, one)
    assert parts.verdicts == whole.verdicts
    assert parts.events == whole.events


@given(seed=st.integers(0, 1000), at=st.integers(0, 600))
@settings(max_examples=examples(8), deadline=None)
def test_the_future_of_a_stream_changes_no_earlier_verdict(seed: int, at: int) -> None:
    rows = stream(seed)
    noise = np.random.default_rng(seed).normal(500.0, 300.0, len(rows))
    other = rows[:at] + [row._replace(value=float(x)) for row, x in zip(rows[at:], noise[at:], strict=True)]
    first, second = Log(), Log()
    first.feed(Engine(HalfTrend(), LIMITED), rows)
    second.feed(Engine(HalfTrend(), LIMITED), other)
    assert second.verdicts[:at] == first.verdicts[:at]
    before = Log()
    before.feed(Engine(HalfTrend(), LIMITED), rows[:at])
    assert first.events[: len(before.events)] == before.events == second.events[: len(before.events)]


def test_a_snapshot_of_another_model_is_refused_and_changes_nothing() -> None:
    engine = Engine(HalfTrend(card(n_step=4)), QUICK)
    engine.ingest(batch(calm(60)))
    fresh = Engine(HalfTrend(card(features=("temperature", "humidity"))), QUICK)
    with pytest.raises(ValueError, match="other features"):
        fresh.restore(engine.snapshot())
    assert fresh.fleet().keys == ()


def test_bytes_that_are_no_snapshot_are_refused() -> None:
    good = Engine(HalfTrend(), QUICK).snapshot().to_bytes()
    for bad in (b"", b"garbage", good[:-20], good[:100]):
        with pytest.raises(ValueError, match=r"snapshot|pickle"):
            Snapshot.from_bytes(bad)


def test_a_rejected_reading_changes_nothing() -> None:
    engine = Engine(HalfTrend(), QUICK)
    rows = calm(60)
    engine.ingest(batch(rows))
    before = engine.snapshot().to_bytes()
    last = rows[-1]
    bad = [
        last._replace(at=last.at + 1, value=np.nan), last._replace(at=last.at + 1, value=np.inf),
        last._replace(at=last.at + 1, value=1e39), last._replace(at=last.received_at + 301), last,
        last._replace(at=last.at - 5), last._replace(at=np.nan),
    ]  # fmt: skip
    verdicts = engine.ingest(batch(bad))
    assert [status_name(outcome) for outcome in verdicts.outcome.tolist()] == [
        "not_finite", "not_finite", "out_of_range", "from_future", "duplicate", "out_of_order", "not_finite",
    ]  # fmt: skip
    assert engine.snapshot().to_bytes() == before


def test_a_first_reading_that_is_rejected_takes_no_slot() -> None:
    engine = Engine(HalfTrend(), QUICK)
    engine.ingest(batch([Row(KEY, 1.7e9, 1.7e9, np.nan)]))
    assert engine.fleet().keys == ()


def test_one_alert_has_one_id_from_raise_to_clear_and_says_what_was_expected() -> None:
    engine = Engine(HalfTrend(), replace(QUICK, raise_after=1))
    rows = calm(80)
    engine.ingest(batch(rows))
    after = following(rows, [30.0, 4.0, 4.1, 3.9, 4.0, 4.1, 4.0])
    events = engine.ingest(batch(after)).events
    assert [type(event) for event in events] == [AlertRaised, AlertCleared]
    raised, cleared = (event.alert for event in events if not isinstance(event, SeriesEvicted))
    assert raised.id == cleared.id
    assert raised.severity is Severity.CRITICAL
    assert cleared.severity is Severity.CRITICAL
    assert raised.value == 30.0
    assert raised.expected == pytest.approx(4.0, abs=1.0)
    assert raised.lower is not None
    assert raised.upper is not None
    assert raised.lower < 5.0 < raised.value
    assert raised.upper < raised.value
    assert raised.score > raised.threshold
    assert raised.raised_at == raised.at == after[0].at
    assert raised.window_started_at == rows[-4].at
    assert cleared.duration_s == cleared.at - raised.at > 0


def test_k_of_the_last_m_readings_must_exceed() -> None:
    rows = calm(80)
    for rules, raised in ((replace(QUICK, raise_after=2, raise_within=2), 1), (replace(QUICK, raise_after=3), 0)):
        engine = Engine(HalfTrend(), rules)
        engine.ingest(batch(rows))
        events = engine.ingest(batch(following(rows, [30.0, 30.0, 30.0, 30.0]))).events
        assert sum(isinstance(event, AlertRaised) for event in events) == raised


def test_an_absolute_threshold_counts_in_the_unit_and_an_override_wins_by_glob() -> None:
    rules = Rules(
        detector="residual",
        threshold=Threshold(5.0, absolute=True),
        overrides=(Override("freezer-*", "temp*", Threshold(50.0, absolute=True)),),
    )
    for device, raised in (("room-1", 1), ("freezer-1", 0)):
        key = SeriesKey(device, "temperature")
        engine = Engine(HalfTrend(), rules)
        rows = calm(80, key=key)
        engine.ingest(batch(rows))
        verdicts = engine.ingest(batch(following(rows, [14.0])))
        assert verdicts.score[0] == pytest.approx(10.0, abs=1.0)
        assert len(verdicts.events) == raised, device


def test_a_calibrated_model_judges_as_soon_as_its_window_is_full() -> None:
    calibrated = Calibration(mean_abs_residual=0.2, band_80=(0.3, 0.4), band_95=(0.5, 0.6), threshold_errors=6.0)
    engine = Engine(HalfTrend(card(calibration=calibrated)), RESIDUAL)
    verdicts = engine.ingest(batch(calm(6)))
    assert verdicts.outcome.tolist() == [Outcome.WARMING_UP] * 4 + [Outcome.SCORED] * 2
    assert verdicts.threshold[-1] == 6.0
    assert verdicts.upper[4] - verdicts.expected[4] == pytest.approx(0.5)


def test_one_step_of_a_quantised_sensor_that_was_flat_is_no_event() -> None:
    engine = Engine(HalfTrend(), RESIDUAL)
    flat = [Row(KEY, 1.7e9 + i, 1.7e9 + i, 4.1 if i % 50 == 0 else 4.0) for i in range(400)]
    assert [event for event in engine.ingest(batch(flat)).events if isinstance(event, AlertRaised)] == []


def test_stuck_is_told_once_it_lasts_longer_than_ever_and_cleared_by_the_next_change() -> None:
    engine = Engine(HalfTrend(), QUICK)
    rows = calm(60)
    engine.ingest(batch(rows))
    stuck = following(rows, [rows[-1].value] * 10 + [4.2])
    events = [event for event in engine.ingest(batch(stuck)).events if not isinstance(event, SeriesEvicted)]
    assert [(type(e), e.alert.kind, e.alert.at) for e in events] == [
        (AlertRaised, Kind.STUCK, stuck[4].at),
        (AlertCleared, Kind.STUCK, stuck[-1].at),
    ]


def test_a_signal_that_is_honestly_flat_most_of_the_time_is_not_stuck() -> None:
    engine = Engine(HalfTrend(), replace(QUICK, threshold=Threshold(1e9, absolute=True)))
    steps = [Row(KEY, 1.7e9 + i, 1.7e9 + i, float((i // 25) % 7)) for i in range(2000)]
    raised = [e for e in engine.ingest(batch(steps)).events if isinstance(e, AlertRaised)]
    assert raised == []


def test_silence_is_several_of_the_series_own_cadences_and_ends_with_the_next_reading() -> None:
    engine = Engine(HalfTrend(), QUICK)
    hourly = calm(40, step=3600.0)
    engine.ingest(batch(hourly))
    last = hourly[-1].received_at
    assert engine.tick(last + 4 * 3600.0, 0.0) == []
    (event,) = engine.tick(last + 6 * 3600.0, 0.0)
    assert isinstance(event, AlertRaised)
    assert event.alert.kind is Kind.SILENT
    assert event.alert.score == pytest.approx(6 * 3600.0)
    assert engine.tick(last + 7 * 3600.0, 0.0) == []
    assert engine.state(np.array([0])).tolist() == [SeriesState.ALERT]
    back = Row(KEY, last + 8 * 3600.0, last + 8 * 3600.0, 4.0)
    (cleared,) = engine.ingest(batch([back])).events
    assert isinstance(cleared, AlertCleared)
    assert cleared.alert.id == event.alert.id
    assert cleared.alert.duration_s == pytest.approx(2 * 3600.0)


def test_silence_is_not_counted_while_nobody_listened() -> None:
    engine = Engine(HalfTrend(), QUICK)
    rows = calm(60)
    engine.ingest(batch(rows))
    last = rows[-1].received_at
    assert engine.tick(last + 5000.0, listening_since=last + 4990.0) == []
    assert len(engine.tick(last + 5000.0, listening_since=0.0)) == 1


def test_a_model_of_several_features_is_fed_all_of_them_and_judged_by_its_target() -> None:
    two = HalfTrend(card(features=("temperature", "humidity")))
    engine = Engine(two, Rules())
    values = np.column_stack([np.arange(50.0), np.full(50, 40.0)])
    at = 1.7e9 + np.arange(50.0)
    verdicts = engine.ingest(Batch([KEY] * 50, at, at, values))
    assert verdicts.expected[10] == 9.5
    assert engine.fleet().value.tolist() == [49.0]
    values[0, 1] = np.nan
    again = Engine(two, Rules()).ingest(Batch([KEY] * 50, at, at, values))
    assert again.outcome[0] == Outcome.NOT_FINITE


def test_a_batch_of_distinct_series_asks_the_model_once() -> None:
    forecaster = HalfTrend()
    engine = Engine(forecaster, Rules())
    for i in range(4):
        engine.ingest(batch([Row(SeriesKey(f"d{d}", "t"), 1.7e9 + i, 1.7e9 + i, 1.0) for d in range(100)]))
    assert forecaster.calls == 1


def test_a_model_is_told_the_time_of_each_windows_last_reading() -> None:
    class Timed(HalfTrend):
        def forecast(
            self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]
        ) -> Forecast:
            path = np.repeat(at[:, None], 2, axis=1).astype(np.float32)
            return super().forecast(windows, spread, at)._replace(path=path)

    engine = Engine(Timed(), QUICK)
    rows = calm(60, start=1000.0)
    engine.ingest(batch(rows[:30]))
    later = calm(30, start=1297.0, key=SeriesKey("d1", "temperature"))  # its window is not full when the first one's is
    both = sorted(rows[30:] + later, key=lambda row: row.at)
    verdicts = engine.ingest(batch(both))
    expected = {row: value for row, value in zip(both, verdicts.expected.tolist(), strict=True) if np.isfinite(value)}
    assert len(expected) > 50
    assert all(value == row.at - 10.0 for row, value in expected.items())


def test_a_model_that_overflows_says_nothing_and_the_series_goes_on_when_it_is_back() -> None:
    class Overflowing(HalfTrend):
        def forecast(
            self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]
        ) -> Forecast:
            forecast = super().forecast(windows, spread, at)
            return forecast._replace(path=np.where(windows[:, -1] > 100.0, np.float32(np.inf), forecast.path))

    engine = Engine(Overflowing(), QUICK)
    rows = calm(60)
    engine.ingest(batch(rows))
    verdicts = engine.ingest(batch(following(rows, [150.0, 4.0, 4.1, 4.0])))
    assert verdicts.outcome.tolist() == [Outcome.SCORED, Outcome.WARMING_UP, Outcome.SCORED, Outcome.SCORED]
    assert np.isnan(verdicts.expected[1])
    assert np.isfinite(verdicts.score).all()


def test_the_band_holds_about_95_percent_of_the_readings() -> None:
    rows = calm(4000)
    verdicts = Engine(HalfTrend(), Rules()).ingest(batch(rows))
    value = np.array([row.value for row in rows])
    inside = (value >= verdicts.lower) & (value <= verdicts.upper)
    assert inside[200:].mean() == pytest.approx(0.95, abs=0.01)
