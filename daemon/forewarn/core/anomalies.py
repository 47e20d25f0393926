"""The `tail` judge: many streams of deviation, one score, and an alert only for what is new.

Rules that hold here:

- The tail scores of a reading are fused as S = (sum (weight * score)^3)^(1/3), damped by the m earlier fused peaks that
  were as high, and brought to one scale for all cadences: z = S / (1 + m)^(1/4) - log10(readings a day / 100) / 2.
- About 10^(1.15 - z/2) times per device and month a score goes over z, so that the operator's one knob, `sensitivity`,
  is an expected number of alerts per device and month; docs/quality.md has how well that holds.
- What was told is not told again: after a reading that stood out with z, only 1.4 times as much counts for three days
  (or 6,000 readings, where that is sooner), then less and less. So a reading's score is z where it stands out, else 0,
  and one score serves every threshold.
- An alert lasts until z itself, which is not held back, stays below the threshold.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.core import deviations, tails
from forewarn.core.deviations import STREAMS, Deviations
from forewarn.core.readings import Floats, Mask
from forewarn.core.rules import Rules
from forewarn.core.rulings import Ruling, held
from forewarn.core.slots import Column, State

WARM_UP = 60
"""Readings before the first score."""
_POWER = 3.0
_PEAKS = 16
_NOTABLE = 1.0  # a fused score that counts as an excursion
_APART = 50  # readings, between two excursions
_PAUSE = 5  # readings, that end what is unusual: excursions chain up to days, which is no time to go and look at
_HABIT = 0.25
_DAY_S = 86_400.0
_LONGEST_S = 1e9  # between two readings
_USUAL_A_DAY, _MOST_A_DAY = 100.0, 2_000.0
_CADENCE = 0.5
_HOLD, _FADE = 300.0, 50.0  # readings, at 100 a day
_HOLD_RATIO = 1.4
_LEAST = 0.5
_RATE_AT_ZERO, _RATE_SLOPE = 1.15, 0.5
_NEVER = -(2**30)
_WEIGHTS = np.array([stream.weight for stream in STREAMS])
_IS_VOLATILITY = np.array([stream.family == "volatility" for stream in STREAMS])

COLUMNS = {
    **deviations.COLUMNS,
    **tails.COLUMNS,
    "typical_interval": Column(np.float64, (), np.nan),  # median of the readings' own intervals, seconds
    "notable_peak": Column(np.float32, (), -1.0),  # of the present or last excursion of the fused score
    "notable_n": Column(np.int64, (), _NEVER),  # its last reading
    "n_notable": Column(np.int32),  # excursions before it
    "notable_peaks": Column(np.float32, (_PEAKS,), -1.0),
    "unusual_n": Column(np.int64, (), _NEVER),  # the last reading that was notable
    "unusual_at": Column(np.float64, (), np.nan),  # the first one of those that led to it without a pause
    "told_score": Column(np.float32),  # of the last reading that stood out
    "told_n": Column(np.int64, (), _NEVER),
    "anomaly_calm": Column(np.int64),
}


def threshold_of(sensitivity: float) -> float:
    """The score that is exceeded about `sensitivity` times per device and month; none is told below `_LEAST`."""
    return max((_RATE_AT_ZERO - math.log10(sensitivity)) / _RATE_SLOPE, _LEAST)


def rate_of(score: float) -> float:
    """About how many times per device and month a score is exceeded."""
    return float(10.0 ** (_RATE_AT_ZERO - _RATE_SLOPE * score))


class Anomaly(NamedTuple):
    """Columns `(n,)` for the readings of a round.

    Attributes:
        score: z where the reading stands out, else 0.
        z: how unusual the reading is, whether or not that was told; 0 where nothing is.
        warm: whether the series is judged yet.
        stream: index in `STREAMS` of the one with the largest share.
        observed: what came, of that stream, in the target's unit.
        usual: what was expected of it.
        since_at: when it began, UTC epoch seconds; where nothing is unusual, the reading's own time.
    """

    score: Floats
    z: Floats
    warm: Mask
    stream: NDArray[np.intp]
    observed: Floats
    usual: Floats
    since_at: Floats


def judge(state: State, at: Floats, value: Floats, interval_s: Floats) -> Anomaly:
    """Score readings of distinct series with what was known before them, and learn from them.

    Args:
        state: of the series; `deviations.expect` must follow before its next reading.
        at: `(n,)` UTC epoch seconds.
        value: `(n,)` of the target.
        interval_s: `(n,)` seconds since the last reading, NaN for the first.
    """
    _see_interval(state, interval_s)
    warm = state["n_taken"] >= WARM_UP
    measured = deviations.measure(state, at, value, state["typical_interval"])
    shares = tails.score(state, measured, warm) * _WEIGHTS
    fused = _fused(shares)
    stream = shares.argmax(axis=1)
    z = _damped(state, fused)
    score = _held_back(state, z)
    observed, usual = _explanation(state, measured, stream)
    since_at = _since(state, at, fused)
    deviations.learn(state, value)
    return Anomaly(score, z, warm, stream, observed, usual, since_at)


def silence(state: State) -> Anomaly:
    """What is said of readings that are not judged."""
    n = len(state)
    score, z = np.zeros((2, n))
    observed, usual, since_at = np.full((3, n), np.nan)
    return Anomaly(score, z, state["n_taken"] >= WARM_UP, np.zeros(n, np.intp), observed, usual, since_at)


def rule(state: State, anomaly: Anomaly, active: Mask, rules: Rules) -> Ruling:
    """Raised where a reading stands out above the threshold; it ends after `clear_after` readings with a z below."""
    threshold = np.full(len(active), threshold_of(rules.sensitivity))
    raised = anomaly.score > threshold
    lasting = held(state, "anomaly_calm", anomaly.z > threshold, active, rules.clear_after)
    return Ruling(
        active=raised | (active & lasting),
        score=anomaly.z,
        threshold=threshold,
        critical=anomaly.z > rules.critical_ratio * threshold,
        stream=anomaly.stream,
        observed=anomaly.observed,
        usual=anomaly.usual,
        since_at=anomaly.since_at,
    )


def _see_interval(state: State, interval_s: Floats) -> None:
    """Follow the median of the logarithm of the intervals.

    In large steps at first: many a device sends its first reading before its clock is set, decades before the second.
    """
    interval = np.minimum(interval_s, _LONGEST_S)
    known = state["typical_interval"]
    share = np.maximum(4.0 / (state["n_taken"] + 1.0), 0.002)
    followed = known * np.exp(share * np.sign(interval - known))
    state["typical_interval"] = np.where(np.isfinite(followed), followed, interval)


def _fused(shares: Floats) -> Floats:
    most = shares.max(axis=1)
    out = np.zeros(len(shares))
    (rows,) = np.nonzero(most > 0)
    if len(rows):
        relative = shares[rows] / most[rows, None]
        out[rows] = most[rows] * (relative * relative * relative).sum(axis=1) ** (1.0 / _POWER)
    return out


def _damped(state: State, fused: Floats) -> Floats:
    """The z of each reading: habituation and cadence."""
    z = np.zeros(len(fused))
    (rows,) = np.nonzero(fused > 0)
    if not len(rows):
        return z
    s = fused[rows]
    before = (state["notable_peaks"][rows] >= s[:, None].astype(np.float32)).sum(axis=1)
    cadence = _CADENCE * np.log10(_a_day(state)[rows] / _USUAL_A_DAY)
    z[rows] = np.maximum(s / (1.0 + before) ** _HABIT - cadence, 0.0)
    rows, s = rows[s > _NOTABLE], s[s > _NOTABLE]
    nth, peak = state["n_taken"][rows], state["notable_peak"][rows]
    new = nth - state["notable_n"][rows] > _APART
    kept = new & (peak > 0)
    place = state["n_notable"][rows] % _PEAKS
    state["notable_peaks"][rows[kept], place[kept]] = peak[kept]
    state["n_notable"][rows] += kept
    state["notable_peak"][rows] = np.where(new, s, np.maximum(peak, s))
    state["notable_n"][rows] = nth
    return z


def _since(state: State, at: Floats, fused: Floats) -> Floats:
    """When what is unusual about each reading began."""
    nth = state["n_taken"]
    since = np.where(nth - state["unusual_n"] > _PAUSE, at, state["unusual_at"])
    notable = fused > _NOTABLE
    state["unusual_at"] = np.where(notable, since, state["unusual_at"])
    state["unusual_n"] = np.where(notable, nth, state["unusual_n"])
    return since


def _held_back(state: State, z: Floats) -> Floats:
    score = np.zeros(len(z))
    (rows,) = np.nonzero(z > _LEAST)
    if not len(rows):
        return score
    scale = _a_day(state)[rows] / _USUAL_A_DAY
    ago = state["n_taken"][rows] - state["told_n"][rows] - _HOLD * scale
    fade = np.exp(-np.clip(ago, 0.0, None) / (_FADE * scale))
    stands_out = z[rows] > state["told_score"][rows] * _HOLD_RATIO * fade
    rows = rows[stands_out]
    score[rows] = z[rows]
    state["told_score"][rows] = z[rows]
    state["told_n"][rows] = state["n_taken"][rows]
    return score


def _a_day(state: State) -> Floats:
    known = np.isfinite(state["typical_interval"])
    interval = np.where(known, state["typical_interval"], _DAY_S / _USUAL_A_DAY)
    return np.minimum(_DAY_S / np.maximum(interval, 1.0), _MOST_A_DAY)


def _explanation(state: State, measured: Deviations, stream: NDArray[np.intp]) -> tuple[Floats, Floats]:
    everyone = np.arange(len(stream))
    observed, usual = measured.observed[everyone, stream], measured.usual[everyone, stream]
    return observed, np.where(_IS_VOLATILITY[stream], state["tail_median"][everyone, stream], usual)
