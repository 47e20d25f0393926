"""Deviations to tail scores: how rare a deviation of this size is on this series, as -log10 of a probability.

Rules that hold here, for each series and stream by itself:

- A size a is taken as g = ln(1 + a / median), where the median is that of the first `MEDIAN_FROM` sizes: one that kept
  following would take a fault that lasts for the usual.
- The threshold u follows the 98 % quantile of g by stochastic steps on the pinball loss (Robbins and Monro 1951), in
  units of the mean deviation of g. Excesses over it are taken as exponentially distributed with mean beta, a decayed
  mean with a wide prior (peaks over threshold: Coles 2001, chapter 4; as for streams in Siffer et al. 2017,
  doi:10.1145/3097983.3098144, with shape 0).
- The score is 0 up to u, and -log10(2 %) + log10(e) (g - u) / beta above it, divided by the square root of 1 plus the
  number of the last `PEAKS` excursions that peaked as high: what came often is not news.
- g is never scored below one doubling of the median or one step of the sensor: u is at least ln 2.
- What a series keeps is 11 numbers and 32 peaks for a stream, not its history.
"""

import math

import numpy as np

from forewarn.core.deviations import STREAMS, Deviations
from forewarn.core.readings import Floats, Mask
from forewarn.core.slots import Column, State

QUANTILE = 0.98
PEAKS = 32
FIRST = 20
"""Sizes that are gathered, in the place of the peaks, before the stream is scored."""
MEDIAN_FROM = 100
_APART = 20  # readings, between two excursions
_MEMORY = 8000.0
_PRIOR_N, _PRIOR_MEAN = 60.0, 0.3
_STEP, _LEAST_STEP, _LEAST_DEVIATION = 10.0, 0.001, 0.05
_HABIT = 0.5
_LEAST_THRESHOLD = math.log(2.0)
_FLAT = 0.003  # share of the unit below which the median of the first sizes is taken for nothing
_LARGEST = 1e38  # size: float32 holds it and a step of the median beyond it
_LOG10_E = math.log10(math.e)
_NEVER = -(2**30)

_M = (len(STREAMS),)
COLUMNS = {
    "tail_n": Column(np.int32, _M),  # sizes seen
    "tail_median": Column(np.float32, _M),
    "tail_mean": Column(np.float32, _M),  # of the sizes, until the median stands still
    "tail_threshold": Column(np.float32, _M),
    "tail_centre": Column(np.float32, _M),  # mean of g
    "tail_deviation": Column(np.float32, _M),  # mean |g - its mean|
    "tail_excess": Column(np.float32, _M),  # decayed sum of excesses
    "tail_n_excess": Column(np.float32, _M),  # decayed number of them
    "tail_peak": Column(np.float32, _M, -1.0),  # of the present or last excursion
    "tail_peak_n": Column(np.int32, _M, _NEVER),  # its last reading
    "tail_n_peak": Column(np.int32, _M),  # excursions before it
    "tail_peaks": Column(np.float32, (len(STREAMS), PEAKS), -1.0),
}


def score(state: State, deviations: Deviations, warm: Mask) -> Floats:
    """Tail scores `(n, n_stream)`, and learn; 0 for series that are not `warm`."""
    seen = np.isfinite(deviations.size)
    size = np.where(seen & (deviations.size > deviations.floor), np.minimum(deviations.size, _LARGEST), 0.0)
    n = state["tail_n"].copy()
    early = seen & (n < FIRST)
    if early.any():
        _gather(state, size, deviations.unit, early)
    late = seen & (n >= FIRST)
    g = np.log1p(size / _denominator(state, deviations.unit))
    threshold = state["tail_threshold"].astype(np.float64)
    over = late & (g > threshold)
    out = _excursions(state, g, threshold, over, warm)
    _learn(state, g, threshold, over, late)
    follow = late & (n < MEDIAN_FROM)
    if follow.any():
        _follow_median(state, size, follow)
    state["tail_n"] = n + seen
    return out


def _denominator(state: State, unit: Floats) -> Floats:
    return _usual(state["tail_median"] + 0.001 * state["tail_mean"].astype(np.float64), unit)


def _usual(median: Floats, unit: Floats) -> Floats:
    """What a size is compared with: of a series that hardly ever moved, one step of the sensor."""
    return np.where(median > _FLAT * unit, median, unit)


def _gather(state: State, size: Floats, unit: Floats, early: Mask) -> None:
    """Keep the first sizes; once there are enough, start from their median and maximum."""
    row, stream = np.nonzero(early)
    nth = state["tail_n"][row, stream]
    state["tail_peaks"][row, stream, nth] = size[row, stream]
    enough = nth == FIRST - 1
    row, stream = row[enough], stream[enough]
    if not len(row):
        return
    first = state["tail_peaks"][row, stream, :FIRST].astype(np.float64)
    mean = first.mean(axis=1)
    median = np.median(first, axis=1)
    median = np.where(median > 0, median, mean)
    g = np.log1p(first / _usual(median + 0.001 * mean, unit[row, stream])[:, None])
    state["tail_median"][row, stream], state["tail_mean"][row, stream] = median, mean
    state["tail_threshold"][row, stream] = np.maximum(g.max(axis=1), _LEAST_THRESHOLD)
    state["tail_centre"][row, stream] = g.mean(axis=1)
    state["tail_deviation"][row, stream] = np.abs(g - g.mean(axis=1)[:, None]).mean(axis=1)
    state["tail_peaks"][row, stream] = -1.0


def _excursions(state: State, g: Floats, threshold: Floats, over: Mask, warm: Mask) -> Floats:
    """The scores, damped by what peaked as high before; and the peaks kept."""
    out = np.zeros(g.shape)
    row, stream = np.nonzero(over)
    if not len(row):
        return out
    at = (row, stream)
    beta = (state["tail_excess"][at] + _PRIOR_N * _PRIOR_MEAN) / (state["tail_n_excess"][at] + _PRIOR_N)
    peaks = state["tail_peaks"][at]
    before = (peaks >= g[at][:, None].astype(np.float32)).sum(axis=1)
    rare = -math.log10(1.0 - QUANTILE) + _LOG10_E * (g[at] - threshold[at]) / beta.astype(np.float64)
    out[at] = np.where(warm[row], rare / (1.0 + before) ** _HABIT, 0.0)
    nth = state["n_taken"][row]
    new = nth - state["tail_peak_n"][at] > _APART
    peak = state["tail_peak"][at]
    kept = new & (peak >= 0)
    place = state["tail_n_peak"][at] % PEAKS
    state["tail_peaks"][row[kept], stream[kept], place[kept]] = peak[kept]
    state["tail_n_peak"][at] += kept
    state["tail_peak"][at] = np.where(new, g[at], np.maximum(peak, g[at]))
    state["tail_peak_n"][at] = nth
    return out


def _learn(state: State, g: Floats, threshold: Floats, over: Mask, late: Mask) -> None:
    keep = 1.0 - 1.0 / _MEMORY
    share = 1.0 / (state["tail_n"] + 1.0)
    slow = np.maximum(share, _LEAST_STEP)
    centre, deviation = (state[name].astype(np.float64) for name in ("tail_centre", "tail_deviation"))
    deviation = deviation + slow * (np.abs(np.minimum(g, threshold + 1.0) - centre) - deviation)
    step = np.maximum(2.0 * share, _LEAST_STEP) * np.maximum(deviation, _LEAST_DEVIATION) * _STEP
    learnt = {
        "tail_excess": state["tail_excess"] * keep + np.where(over, g - threshold, 0.0),
        "tail_n_excess": state["tail_n_excess"] * keep + over,
        "tail_centre": centre + slow * (g - centre),
        "tail_deviation": deviation,
        "tail_threshold": np.maximum(threshold + step * (over - (1.0 - QUANTILE)), _LEAST_THRESHOLD),
    }
    for name, value in learnt.items():
        state[name] = np.where(late, value, state[name])


def _follow_median(state: State, size: Floats, follow: Mask) -> None:
    share = 1.0 / (state["tail_n"] + 1.0)
    median, mean = (state[name].astype(np.float64) for name in ("tail_median", "tail_mean"))
    state["tail_median"] = np.where(follow, median * np.exp(2.0 * share * np.sign(size - median)), median)
    state["tail_mean"] = np.where(follow, mean + (size - mean) * share, mean)
