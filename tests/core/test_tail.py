from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forewarn.core import anomalies, deviations
from forewarn.core.alerts import AlertCleared, AlertRaised, AlertUpdated, Kind, SeriesEvicted
from forewarn.core.card import BLOCKS
from forewarn.core.deviations import STREAMS
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecast
from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.rules import Limits, Rules
from forewarn.core.slots import Column, Table
from forewarn.core.snapshot import Snapshot
from tests.core.scalar import Said, ScalarSeries
from tests.core.scalar_tail import ScalarTail
from tests.core.streams import Log, Row, batch, cut, entry, stream
from tests.forecasters import HalfTrend, card
from tests.thorough import examples

KEY = SeriesKey("d0", "temperature")
LIMITS = Limits(low=-100.0, high=100.0, max_rate_per_s=30.0)
TAIL = Rules(sensitivity=7.0, clear_after=2, stuck_min_run=6, update_every_s=300.0, accept_after=40, limits=(LIMITS,))


def walk(seed: int, n: int, step_s: float = 300.0) -> list[Row]:
    """One calm series, to a hundredth, with a daily rhythm; every now and then something lasting, in turn, or a gap."""
    rng = np.random.default_rng(seed)
    rows, clock, level, spread, left = [], 1.7e9, 20.0, 0.3, 0
    for i in range(n):
        clock += step_s * (40.0 if rng.random() < 0.001 else rng.choice([0.5, 1.0, 1.5]))
        left -= 1
        if left == 0:
            level, spread = 20.0, 0.3
        elif left < -150 and rng.random() < 0.01:
            left = int(rng.integers(1, 60))
            level, spread = (20.0 + rng.normal(0, 4.0), 0.3) if i % 2 else (20.0, 2.0)
        value = level + 2.0 * np.sin(2 * np.pi * clock / 86_400.0) + rng.normal(0, spread)
        odd = rng.random() < 0.001
        rows.append(Row(KEY, clock, clock, round(float(500.0 if odd else value), 2)))
    return rows


def doors(seed: int, n: int) -> list[Row]:
    """A count that is nearly always 0."""
    counts = np.random.default_rng(seed).poisson(0.004, n)
    at = 1.7e9 + 300.0 * np.arange(n)
    return [Row(KEY, t, t, float(count)) for t, count in zip(at.tolist(), counts, strict=True)]


def spikes(seed: int, n: int) -> list[Row]:
    """Noise with a spike in about every 70th reading: more excursions than are remembered."""
    noise = np.random.default_rng(seed).normal(20.0, 0.1, n)
    noise[150::70] += np.random.default_rng(seed).uniform(2.0, 4.0, len(noise[150::70]))
    at = 1.7e9 + 300.0 * np.arange(float(n))
    return [Row(KEY, t, t, value) for t, value in zip(at.tolist(), noise.tolist(), strict=True)]


Entries = list[tuple[object, ...]]
Followed = tuple[Entries, Entries, Counter[str]]


def follow(rows: list[Row], rules: Rules) -> Followed:
    """What the scalar reference says: verdicts, changes of alerts, and the branches that it went through."""
    said = {row.key: ScalarSeries(HalfTrend(), rules, 8.0, absolute=False, limits=rules.limits[0]) for row in rows}
    verdicts: Entries = []
    changes: Entries = []
    visited: Counter[str] = Counter()
    for row in rows:
        one = said[row.key].take(row.at, row.received_at, row.value, row.seed)
        verdicts.append(_numbers(one))
        visited["fault"] += one.unusual is None and one.status in ("scored", "warming_up")
        changes += [(row.key, row.at, *change, *_about(one, change)) for change in one.changes]
    for series in said.values():
        visited += series.tail.visited if series.tail else Counter()
    return verdicts, changes, visited


def _numbers(said: Said) -> tuple[object, ...]:
    forecast = [None if np.isnan(x) else x for x in (said.expected, said.lower, said.upper)]
    news = 0.0 if said.unusual is None else said.unusual.score
    return (said.status, *forecast, said.score, news, said.alert)


def _about(said: Said, change: tuple[str, str]) -> tuple[object, ...]:
    """What an anomaly alert says of the reading; once it is over it says what it said before."""
    if change[0] != "anomaly" or change[1] == "cleared" or said.unusual is None or said.unusual.z <= 0:
        return ()
    of = said.unusual
    return (of.z, of.stream, *(None if np.isnan(x) else x for x in (of.observed, of.usual, of.since_at)))


def judge(rows: list[Row], rules: Rules) -> tuple[Entries, Entries]:
    """The same from the engine."""
    verdicts = Engine(HalfTrend(), rules).ingest(batch(rows))
    entries = [entry(verdicts, i) for i in range(len(rows))]
    names = {AlertRaised: "raised", AlertUpdated: "updated", AlertCleared: "cleared"}
    changes: Entries = []
    for e in verdicts.events:
        if not isinstance(e, SeriesEvicted):
            a, told = e.alert, names[type(e)]
            known = a.kind is Kind.ANOMALY and told != "cleared" and a.score > 0
            about = (a.score, a.stream, a.observed, a.usual, a.since_at) if known else ()
            changes.append((a.series, a.at, str(a.kind), told, *about))
    return [(one[0], *one[1:4], *one[5:]) for one in entries], changes


@pytest.mark.parametrize(("seed", "sensitivity"), [(0, 30.0), (1, 7.0), (2, 1.0), (3, 7.0)])
def test_the_tail_judge_agrees_with_the_scalar_reference_on_rough_streams(seed: int, sensitivity: float) -> None:
    rules, rows = replace(TAIL, sensitivity=sensitivity), stream(seed, n=900)
    verdicts, changes, _ = follow(rows, rules)
    found, told = judge(rows, rules)
    for i, (one, other) in enumerate(zip(found, verdicts, strict=True)):
        if other[0] in ("scored", "warming_up"):
            assert one == other, i
    assert sorted(told, key=str) == sorted(changes, key=str)


SERIES = {"walk 2": walk(2, 6000), "walk 3": walk(3, 6000), "walk 8": walk(8, 6000), "doors": doors(0, 3000)}


@pytest.fixture(scope="module")
def followed() -> dict[str, Followed]:
    """What the scalar reference says of each series alone."""
    return {name: follow(rows, TAIL) for name, rows in SERIES.items()}


@pytest.fixture(scope="module")
def judged() -> dict[str, tuple[Entries, Entries]]:
    """What the engine says of each series among the others."""
    keys = {name: SeriesKey(name, KEY.metric) for name in SERIES}
    rows = [row._replace(key=keys[name]) for name, of in SERIES.items() for row in of]
    found, told = judge(rows, TAIL)
    verdicts = {name: [one for one, row in zip(found, rows, strict=True) if row.key == keys[name]] for name in SERIES}
    return {name: (verdicts[name], [(KEY, *one[1:]) for one in told if one[0] == keys[name]]) for name in SERIES}


@pytest.mark.parametrize("name", SERIES)
def test_the_tail_judge_agrees_with_the_scalar_reference_on_long_series(
    name: str, followed: dict[str, Followed], judged: dict[str, tuple[Entries, Entries]]
) -> None:
    verdicts, changes, _ = followed[name]
    found, told = judged[name]
    assert found == verdicts
    assert sorted(told, key=str) == sorted(changes, key=str)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(walk(4, 3000), {"level_1_50", "day_25", "volatility_12"}), (spikes(0, 4000), {"level_1_50"})],
    ids=["walk", "spikes"],
)
def test_every_reading_is_explained_as_the_scalar_reference_does(rows: list[Row], expected: set[str]) -> None:
    state = Table(anomalies.COLUMNS, {"resolution": Column(np.float64, (), 0.01)}).take(np.array([0]))
    scalar, last_at, streams = ScalarTail(), np.nan, set()
    for i, row in enumerate(rows):
        at, value, interval = np.array([row.at]), np.array([row.value]), np.array([row.at - last_at])
        found = anomalies.judge(state, at, value, interval)
        deviations.expect(state, None, np.zeros(1, np.bool_))
        wanted = scalar.take(row.at, row.value, float(interval[0]), 0.01)
        scalar.expect(None)
        said = (found.score.item(), found.z.item(), found.warm.item(), found.since_at.item())
        assert said == (wanted.score, wanted.z, wanted.warm, wanted.since_at), i
        if wanted.z > 0:
            about = (STREAMS[found.stream.item()].name, found.observed.item(), found.usual.item())
            assert about == (wanted.stream, wanted.observed, wanted.usual), i
        streams |= {wanted.stream} if wanted.z > 0 else set()
        last_at = row.at
    assert expected <= streams


def test_the_series_above_go_through_every_branch_of_the_reference(followed: dict[str, Followed]) -> None:
    visited: Counter[str] = Counter()
    changes: set[tuple[object, ...]] = set()
    for _, told, some in followed.values():
        visited += some
        changes |= {change[2:4] for change in told}
    streams = {f"{stream.name} {how}" for stream in STREAMS for how in ("seen", "not seen")}
    assert visited.keys() >= streams | {
        "gap", "first", "median follows", "moved", "flat", "least threshold", "day ago here", "day ago near",
        "second in its bin", "excursion begins", "excursion goes on", "as high before", "ring is full",
        "notable begins", "notable goes on", "notable as high before", "notable ring is full",
        "nothing was told: told", "hold: told", "hold: held back", "fade: told", "fade: held back", "faded: told",
        "fault",
    }  # fmt: skip
    assert changes >= {("anomaly", told) for told in ("raised", "updated", "cleared")} | {("range", "raised")}


class Linear(HalfTrend):
    """Shaped as a model from an ONNX file: 48 readings in, 12 leads out, float32 weights."""

    def __init__(self) -> None:
        super().__init__(replace(card(n_step=48), horizon=12))
        rng = np.random.default_rng(0)
        self._weights = rng.normal(0, 0.05, (48, 12 + 2 * len(BLOCKS))).astype(np.float32)

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:  # noqa: ARG002 - a port
        """Row by row, so that no row depends on another."""
        last = windows[:, -1:, 0]
        scale = (np.abs(last) + spread[:, None]) * np.float32(1e-3) + np.float32(1e-3)
        unit = (windows[:, :, 0] - last) / scale
        out = np.stack([(row[:, None] * self._weights).sum(axis=0) for row in unit])
        path, mean, log_scale = np.split(out, [12, 12 + len(BLOCKS)], axis=1)
        return Forecast(last + path * scale, last + mean * scale, np.log(scale) + np.tanh(log_scale))


FORECASTERS = [HalfTrend, Linear]


@pytest.mark.parametrize("forecaster", FORECASTERS)
@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(0, 200), max_size=20))
@settings(max_examples=examples(5), deadline=None)
def test_batch_sizes_change_nothing_for_the_tail_judge(
    forecaster: type[HalfTrend], seed: int, sizes: list[int]
) -> None:
    rows = stream(seed, n=900)
    whole, parts = Log(), Log()
    whole.feed(Engine(forecaster(), TAIL), rows)
    engine = Engine(forecaster(), TAIL)
    for part in cut(rows, sizes):
        parts.feed(engine, part)
    assert parts.verdicts == whole.verdicts
    assert parts.events == whole.events


@pytest.mark.parametrize("forecaster", FORECASTERS)
@given(seed=st.integers(0, 1000), at=st.integers(0, 900))
@settings(max_examples=examples(5), deadline=None)
def test_a_snapshot_and_restore_at_any_index_change_nothing_for_the_tail_judge(
    forecaster: type[HalfTrend], seed: int, at: int
) -> None:
    rows = stream(seed, n=900)
    whole, parts = Log(), Log()
    whole.feed(Engine(forecaster(), TAIL), rows)
    engine = Engine(forecaster(), TAIL)
    parts.feed(engine, rows[:at])
    restored = Engine(forecaster(), TAIL)
    restored.restore(Snapshot.from_bytes(engine.snapshot().to_bytes()))
    parts.feed(restored, rows[at:])
    assert parts.verdicts == whole.verdicts
    assert parts.events == whole.events


@given(seed=st.integers(0, 1000), at=st.integers(0, 900))
@settings(max_examples=examples(5), deadline=None)
def test_the_future_of_a_stream_changes_no_earlier_verdict_of_the_tail_judge(seed: int, at: int) -> None:
    rows = stream(seed, n=900)
    noise = np.random.default_rng(seed).normal(500.0, 300.0, len(rows))
    other = rows[:at] + [row._replace(value=float(x)) for row, x in zip(rows[at:], noise[at:], strict=True)]
    first, second, before = Log(), Log(), Log()
    first.feed(Engine(HalfTrend(), TAIL), rows)
    second.feed(Engine(HalfTrend(), TAIL), other)
    before.feed(Engine(HalfTrend(), TAIL), rows[:at])
    assert second.verdicts[:at] == first.verdicts[:at] == before.verdicts
    assert first.events[: len(before.events)] == before.events == second.events[: len(before.events)]


@pytest.mark.parametrize("forecaster", FORECASTERS)
@pytest.mark.parametrize("n_series", [2, 19])
def test_other_series_in_the_batch_change_nothing(forecaster: type[HalfTrend], n_series: int) -> None:
    of = [
        [row._replace(key=SeriesKey(f"d{i}", "t"), value=row.value * 10.0 ** (i % 5 - 2)) for row in walk(i, 400)]
        for i in range(n_series)
    ]
    together = [row for one in zip(*of, strict=True) for row in one]
    verdicts = Engine(forecaster(), TAIL).ingest(batch(together))
    scores = 0
    compared = range(n_series) if n_series < 8 else (0, 7, 14, 15, 18)  # at every place of a vector of 16, and after it
    for i in compared:
        alone = Engine(forecaster(), TAIL).ingest(batch(of[i]))
        entries = [entry(alone, k) for k in range(400)]
        assert [entry(verdicts, k * n_series + i) for k in range(400)] == entries
        scores += sum(alone.score > 0)
    assert scores > len(compared)  # there was something to agree on


class Judged(NamedTuple):
    """What was said of one series: the score of each reading, and all the numbers, which must be finite."""

    scores: NDArray[np.float64]
    said: NDArray[np.float64]


Made = tuple[NDArray[np.float64], NDArray[np.float64]]  # the values and the times of a series of `N` readings
N = 800


def judged_by(forecaster: HalfTrend, series: Sequence[Made]) -> list[Judged]:
    """Of series side by side in one engine, which takes little longer than one alone; judged by everything there is."""
    engine = Engine(forecaster, replace(TAIL, stuck=False, limits=(Limits(limit_above=1e9),)))
    values, at = (np.column_stack(column) for column in zip(*series, strict=True))
    keys = [SeriesKey(f"d{i}", "t") for i in range(len(series))]
    times = at.ravel()
    verdicts = engine.ingest(Batch(keys * N, times, np.maximum(times, 1.7e9), values.reshape(-1, 1)))
    of = {key: [e.alert for e in verdicts.events if not isinstance(e, SeriesEvicted) and e.alert.series == key]
          for key in keys}  # fmt: skip
    every = zip(
        verdicts.score.reshape(at.shape).T, verdicts.anomaly_score.reshape(at.shape).T, of.values(), strict=True
    )
    return [
        Judged(news, np.concatenate([score, *([a.score, a.threshold] for a in alerts)]))
        for score, news, alerts in every
    ]


MINUTES = 1.7e9 + 60.0 * np.arange(float(N))
GAUSSIAN = np.random.default_rng(0).normal(size=N)
MAX = float(np.finfo(np.float32).max)
OUTPUTS = ("path", "block_mean", "block_log_scale")
ANSWERS = (np.nan, np.inf, -np.inf, MAX, -MAX, 1e4, -1e4)
ANSWERED = [(output, answer) for answer in ANSWERS for output in OUTPUTS]


class Overflowing(HalfTrend):
    """As silent as an ONNX model about what it cannot count."""

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:
        with np.errstate(over="ignore", invalid="ignore"):
            return super().forecast(windows, spread, at)


class Answering(Overflowing):
    """Gives the n-th of `ANSWERED` to the series that read in the n-th second of the minute."""

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:
        usual = super().forecast(windows, spread, at)
        for row, second in enumerate((at - MINUTES[0]) % 60.0):
            output, answer = ANSWERED[int(second)]
            getattr(usual, output)[row] = answer
        return usual


@pytest.fixture(scope="module")
def answered() -> list[Judged]:
    """For each of `ANSWERED`, usual and large readings."""
    return judged_by(
        Answering(),
        [(GAUSSIAN * x, MINUTES + second) for second in range(len(ANSWERED)) for x in (1.0, 1e37)],
    )


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_the_model_answers_scores_are_numbers(output: str, answer: float, answered: list[Judged]) -> None:
    nth = [repr(one) for one in ANSWERED].index(repr((output, answer)))
    usual, large = answered[2 * nth : 2 * nth + 2]
    assert usual.scores.max() > 0
    assert np.isfinite([*usual.said, *large.said]).all()


LEVELS = (1e30, 1e37, 1e-30, -1e30, -1e-30)


@pytest.fixture(scope="module")
def levels() -> list[Judged]:
    return judged_by(HalfTrend(), [(np.abs(GAUSSIAN) * x, MINUTES) for x in (1.0, *LEVELS)])


@pytest.mark.parametrize("level", LEVELS)
def test_the_unit_of_a_series_changes_no_score_but_by_rounding(level: float, levels: list[Judged]) -> None:
    usual, other = levels[0], levels[1 + LEVELS.index(level)]
    assert np.isfinite([*usual.said, *other.said]).all()
    assert (other.scores > 0).sum() > 0
    if abs(level) > 1.0:  # HalfTrend expects an error of at least a thousandth
        assert other.scores == pytest.approx(usual.scores, rel=0.02, abs=0.02)


ABSURD = [
    np.where(np.arange(N) % 2, MAX, -MAX),
    np.where(GAUSSIAN > 0, MAX, -MAX),
    np.repeat([0.0, MAX, -MAX, 0.0], N // 4),
    np.repeat([MAX, 0.0, 1e-300, 5e-324], N // 4),
    np.repeat([0.0, 5e-324, 0.0, MAX, 0.0], N // 5),
    np.full(N, MAX),
    np.full(N, 5e-324),
    np.round(GAUSSIAN) * 5e-324,
    np.cumsum(GAUSSIAN) * 1e36,
    -(np.abs(GAUSSIAN) ** 30) * 1e20,
]
CADENCES = (2.4e-7, 20.0, 600.0, 86_400.0, 1e12)


@pytest.fixture(scope="module")
def absurd() -> dict[tuple[float, int], Judged]:
    """By cadence and index in `ABSURD`."""
    before = np.arange(-float(N), 0.0)
    of = [(step_s, i) for step_s in CADENCES for i in range(len(ABSURD))]
    return dict(zip(of, judged_by(Overflowing(), [(ABSURD[i], 1.7e9 + s * before) for s, i in of]), strict=True))


@pytest.mark.parametrize("nth", range(len(ABSURD)), ids=[f"{of[0]:.1g} to {of[-1]:.1g}" for of in ABSURD])
@pytest.mark.parametrize("step_s", CADENCES)
def test_absurd_readings_at_absurd_cadences_get_scores_that_are_numbers(
    nth: int, step_s: float, absurd: dict[tuple[float, int], Judged]
) -> None:
    assert np.isfinite(absurd[step_s, nth].said).all()


def test_a_series_that_is_back_at_0_from_an_absurd_level_gets_scores_that_are_numbers() -> None:
    state = Table(anomalies.COLUMNS, {"resolution": Column(np.float64, (), 5e-324)}).take(np.array([0]))
    for i in range(100):
        if i == 99:
            state["level"][0, 3] = 1e25  # the slowest level is years from where it was, the fastest is not
        found = anomalies.judge(state, MINUTES[i : i + 1], np.zeros(1), np.array([60.0]))
        deviations.expect(state, None, np.zeros(1, np.bool_))
    assert np.isfinite([found.score.item(), found.z.item()]).all()
    assert found.z.item() > 0


FIRST_TIMES = (0.0, -1e15, -1e300)


@pytest.fixture(scope="module")
def after_wrong_times() -> list[Judged]:
    """The usual one first."""
    times = [np.concatenate([[first_at], MINUTES[1:]]) for first_at in FIRST_TIMES]
    return judged_by(HalfTrend(), [(GAUSSIAN, at) for at in (MINUTES, *times)])


@pytest.mark.parametrize("first_at", FIRST_TIMES)
def test_a_first_reading_before_the_clock_was_set_is_soon_forgotten(
    first_at: float, after_wrong_times: list[Judged]
) -> None:
    usual, other = after_wrong_times[0], after_wrong_times[1 + FIRST_TIMES.index(first_at)]
    assert np.isfinite([*usual.said, *other.said]).all()
    assert other.scores[200:] == pytest.approx(usual.scores[200:], abs=0.1)


class Persisting(HalfTrend):
    """It stays as it is."""

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:  # noqa: ARG002 - a port
        last = np.repeat(windows[:, -1, :1], 2, axis=1)
        return Forecast(last, last, np.zeros_like(last))


FLAT = [
    np.zeros(N), np.full(N, 4.1), np.full(N, -273.15),
    np.repeat([0.0, 5.0, 0.0], [500, 1, 299]), np.repeat([0.0, 5.0], [500, 300]),
    np.repeat([0.0, -1e30], [500, 300]), np.repeat([0.0, 1e-30], [500, 300]),
    np.repeat([4.0, 4.1, 4.0], [500, 1, 299]), np.repeat([4.0, 4.1], [500, 300]),
]  # fmt: skip
STEPS = (60.0, 300.0, 3600.0)


@pytest.fixture(scope="module")
def flat() -> dict[tuple[float, int], Judged]:
    """By cadence and index in `FLAT`."""
    of = [(step_s, i) for step_s in STEPS for i in range(len(FLAT))]
    series = [(FLAT[i], 1.7e9 + step_s * np.arange(float(N))) for step_s, i in of]
    return dict(zip(of, judged_by(Persisting(), series), strict=True))


@pytest.mark.parametrize("nth", range(len(FLAT)), ids=[f"{of[0]:.4g} to {of[-1]:.4g}" for of in FLAT])
@pytest.mark.parametrize("step_s", STEPS)
def test_what_never_moved_or_moved_for_the_first_time_stands_out_in_nothing(
    nth: int, step_s: float, flat: dict[tuple[float, int], Judged]
) -> None:
    assert np.isfinite(flat[step_s, nth].said).all()
    assert flat[step_s, nth].scores.max() <= anomalies.threshold_of(1.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rare_counts_get_scores_and_a_burst_of_them_stands_out(sign: float) -> None:
    counts = np.random.default_rng(0).poisson(0.3, N).astype(np.float64)
    more = counts + np.repeat([0.0, 6.0, 0.0], [700, 20, 80])
    calm, burst = judged_by(HalfTrend(), [(sign * counts, MINUTES), (sign * more, MINUTES)])
    assert np.isfinite([*calm.said, *burst.said]).all()
    assert calm.scores[:700].tolist() == burst.scores[:700].tolist()
    assert burst.scores[700:720].max() > max(anomalies.threshold_of(1.0), calm.scores.max())


def test_no_sensitivity_makes_everything_an_alert() -> None:
    for sensitivity in (1e-3, 1.0, 7.0, 15.0, 1e6):
        engine = Engine(HalfTrend(), replace(TAIL, sensitivity=sensitivity))
        verdicts = engine.ingest(batch(walk(0, 200)))
        assert not verdicts.alert[:60].any()
        assert verdicts.alert.mean() < 0.5


def test_a_sensitivity_and_its_threshold_say_the_same() -> None:
    for sensitivity in (0.01, 1.0, 7.0):
        assert anomalies.rate_of(anomalies.threshold_of(sensitivity)) == pytest.approx(sensitivity)


def test_a_series_of_48_steps_takes_at_most_16_kilobytes() -> None:
    assert Engine(Linear(), Rules())._groups[0].table._dtype.itemsize <= 16 * 1024
