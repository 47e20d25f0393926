import warnings
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forewarn.core import cadences
from forewarn.core.alerts import AlertRaised, Kind, SeriesEvicted
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecast
from forewarn.core.readings import Outcome, SeriesKey
from forewarn.core.rules import Limits, Rules
from forewarn.core.slots import Table
from tests.core.scalar import ScalarSeries
from tests.core.streams import Log, Row, batch, cut, entry
from tests.forecasters import HalfTrend, card
from tests.thorough import examples

KEY = SeriesKey("d0", "temperature")
STEP_S = 60.0
HORIZON = 6
LIMITS = Limits(low=-45.0, high=55.0, max_rate_per_s=0.4, limit_below=-15.0, limit_above=24.0)
RULES = Rules(detector="residual", stuck_min_run=6, update_every_s=300.0, accept_after=20, limits=(LIMITS,))


class Ahead(HalfTrend):
    """Half of the last difference goes on, over six leads."""

    def __init__(self, interval_s: float | None = STEP_S) -> None:
        super().__init__(replace(card(n_step=8), horizon=HORIZON, interval_s=interval_s))

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:
        short = super().forecast(windows, spread, at)
        step = short.path[:, :1] - windows[:, -1]
        path = (windows[:, -1] + step * np.arange(1, HORIZON + 1)).astype(np.float32)
        return short._replace(path=path)


def gappy(seed: int, n: int = 900) -> list[Row]:
    """A series that is even but for a few percent, with one to eight readings missing here and there, and faults."""
    rng = np.random.default_rng(seed)
    rows, clock, level = [], 1.7e9, 20.0
    for _ in range(n):
        steps = rng.choice([1, 2, 3, 4, 5, 9, 40], p=[0.9, 0.04, 0.02, 0.02, 0.01, 0.005, 0.005])
        clock += STEP_S * float(steps)
        level += float(rng.normal(0, 0.2)) + (20.0 - level) / 50.0
        odd = float(rng.choice([0.0, 60.0, 100.0], p=[0.98, 0.01, 0.01]))
        rows.append(Row(KEY, clock + float(rng.normal(0, 1.0)), clock + 5.0, round(level + odd, 2)))
    return rows


def even(n: int, start: float = 1.7e9, step: float = STEP_S) -> list[Row]:
    return [Row(KEY, start + i * step, start + i * step, float(i)) for i in range(n)]


@pytest.mark.parametrize("detector", ["tail", "residual"])
@pytest.mark.parametrize("interval_s", [None, STEP_S])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=examples(3), deadline=None)
def test_the_engine_agrees_with_the_scalar_reference_where_readings_are_missing(
    detector: Literal["tail", "residual"], interval_s: float | None, seed: int
) -> None:
    rules = replace(RULES, detector=detector)
    rows, engine = gappy(seed), Engine(Ahead(interval_s), rules)
    scalar = ScalarSeries(Ahead(interval_s), rules, 8.0, absolute=False, limits=LIMITS)
    verdicts = engine.ingest(batch(rows))
    wanted = [scalar.take(row.at, row.received_at, row.value, row.seed) for row in rows]
    for i, one in enumerate(wanted):
        status, expected, lower, upper, _, score, _, alert = entry(verdicts, i)
        numbers = [None if np.isnan(x) else x for x in (one.expected, one.lower, one.upper)]
        assert [status, expected, lower, upper, score, alert] == [one.status, *numbers, one.score, one.alert], i
    window = np.array(scalar.window, np.float32)
    assert engine._groups[0].table["window"][0, -len(window) :, 0].tolist() == window.tolist()
    assert engine._groups[0].table["half_width"][0].tolist() == scalar.bands.width
    assert engine._groups[0].table["n_history"][0] == scalar.n_history


def test_series_with_missing_readings_have_every_number_of_them() -> None:
    state, found = Table(cadences.COLUMNS).take(np.array([0])), set()
    at = np.array([row.at for row in gappy(0)])
    for interval in np.diff(at)[:, None]:
        found |= set(cadences.missing(state, interval).tolist())
        cadences.see_interval(state, interval, interval)
    assert {0, 1, 2, 3, 4, 8} <= found


@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(0, 40), max_size=40))
@settings(max_examples=examples(5), deadline=None)
def test_batch_sizes_change_nothing_where_readings_are_missing(seed: int, sizes: list[int]) -> None:
    rows = gappy(seed, 400) + [row._replace(key=SeriesKey("d1", "temperature")) for row in gappy(seed + 1, 400)]
    rows.sort(key=lambda row: row.received_at)
    whole, parts = Log(), Log()
    whole.feed(Engine(Ahead(), RULES), rows)
    engine = Engine(Ahead(), RULES)
    for part in cut(rows, sizes):
        parts.feed(engine, part)
    assert parts.verdicts == whole.verdicts
    assert parts.events == whole.events


def counted(intervals: NDArray[np.float64]) -> list[int]:
    """How many readings are missing in each interval of one series."""
    state, found = Table(cadences.COLUMNS).take(np.array([0])), []
    for interval in intervals[:, None]:
        found += cadences.missing(state, interval).tolist()
        cadences.see_interval(state, interval, interval)
    return found


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("jitter", [0.0, 0.05])
def test_missing_readings_of_an_even_series_are_counted(share: float, jitter: float) -> None:
    rng = np.random.default_rng(0)
    steps = np.flatnonzero(rng.random(3000) > share)
    at = STEP_S * (steps + rng.uniform(-jitter, jitter, len(steps)))
    right = np.array(counted(np.diff(at))) == np.diff(steps) - 1
    assert right[200:].mean() > 0.99


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_missing_in_a_series_that_sends_when_it_likes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 1, 60_000))
    sent = [0]
    for i, value in enumerate(walk):
        if abs(value - walk[sent[-1]]) > 5.0:
            sent.append(i)
    for intervals in (rng.exponential(60.0, 2000), rng.uniform(30.0, 90.0, 2000), np.diff(sent).astype(np.float64)):
        assert np.mean(np.array(counted(intervals))[100:] > 0) < 0.01


@pytest.mark.parametrize(("missing", "wanted"), [(1, [0.5]), (2, [1 / 3, 2 / 3]), (3, [0.25, 0.5, 0.75]), (4, [])])
def test_up_to_three_missing_readings_are_bridged_by_a_line_in_the_window_alone(
    missing: int, wanted: list[float]
) -> None:
    rows = even(40)
    for interval_s, line in ((STEP_S, wanted), (None, [])):
        engine = Engine(Ahead(interval_s), RULES)
        at = rows[-1].at + (missing + 1) * STEP_S
        engine.ingest(batch([*rows, Row(KEY, at, at, 49.0)]))
        table = engine._groups[0].table
        steps = [35.0, 36.0, 37.0, 38.0, 39.0, *(39.0 + 10.0 * share for share in line), 49.0]
        assert table["window"][0, -len(steps) + 1 :, 0] == pytest.approx(steps[1:])
        if line:
            assert np.diff(table["window_at"][0]) == pytest.approx(STEP_S)
        assert table["n_history"][0] == 41
        assert table["n_residual"][0] == 33
        assert table["resolution"][0] == 1.0


@pytest.mark.parametrize("interval_s", [None, STEP_S])
def test_a_reading_after_missing_ones_is_held_against_the_lead_as_far_ahead_or_last(interval_s: float | None) -> None:
    rows = even(40)
    for missing in range(8):
        at = rows[-1].at + (missing + 1) * STEP_S
        verdicts = Engine(Ahead(interval_s), RULES).ingest(batch([*rows, Row(KEY, at, at, 40.0)]))
        assert verdicts.expected[-1] == pytest.approx(39.0 + 0.5 * min(missing + 1, HORIZON))
        assert verdicts.outcome[-1] == Outcome.SCORED


def test_one_long_first_interval_hides_no_gap_and_no_silence() -> None:
    first = Row(KEY, 1.7e9 - 86_400.0, 1.7e9 - 86_400.0, 0.0)
    engine = Engine(Ahead(), RULES)
    rows = [first, *even(30)]
    engine.ingest(batch(rows))
    (event,) = engine.tick(rows[-1].received_at + 10 * STEP_S, 0.0)
    assert not isinstance(event, SeriesEvicted)
    assert event.alert.kind is Kind.SILENT
    after = engine.ingest(batch(even(1, rows[-1].at + 20 * STEP_S)))
    assert np.isnan(after.expected[0])
    assert engine._groups[0].table["filled"][0] == 1


def test_intervals_of_no_length_overflow_nothing() -> None:
    at = 1e-306 * np.arange(1.0, 40.0)
    values = np.where(np.arange(39) % 2 == 0, 1e37, -1e37)
    rows = [Row(KEY, t, 1.0, v) for t, v in zip(at.tolist(), values.tolist(), strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        events = Engine(HalfTrend(), RULES).ingest(batch(rows)).events
    (rate,) = [e.alert for e in events if isinstance(e, AlertRaised) and e.alert.kind is Kind.RATE]
    assert np.isfinite(rate.score)
    assert rate.score > LIMITS.max_rate_per_s


def test_a_clock_that_jumps_by_ages_overflows_nothing() -> None:
    rows = [Row(KEY, t, 1.7e9, 4.0) for t in (-1.7e308, -1.6e308, -1e200, *(1e9 + np.arange(40.0) * 60.0).tolist())]
    engine = Engine(Ahead(), RULES)
    engine.ingest(batch(rows))
    assert engine._groups[0].table["usual_interval"][0] < 1e9
