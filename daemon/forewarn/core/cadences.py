"""The cadence of a series, learnt from the intervals between its readings: what is a gap, and what is missing in it.

Rules that hold here:

- Two cadences are followed: of arrivals, for silence, since the devices' own clocks may be wrong; and of the readings'
  own times, which are all that a file of history has. Each is the 95 % quantile of the intervals.
- How many readings are missing is counted in usual intervals (the median of the readings' own), and only of a series
  that is even: one whose intervals are the usual one, but for `EVEN` of it in the mean, where one that is twice as long
  or more counts as half. Nothing is missing in a series that sends when it likes, or when its value changes.
- Nothing is said of a series before `MIN_INTERVALS`. One long first interval, of a clock that was not set yet or a
  device that was switched off again, decides nothing.
"""

import numpy as np
from numpy.typing import NDArray

from forewarn.core.readings import Floats, Mask
from forewarn.core.slots import Column, State

MIN_INTERVALS = 20
EVEN = 0.1
SHORTEST_S, LONGEST_S = 1e-9, 1e9
"""Intervals are taken for at least and at most as long, so that nothing overflows."""
# After an interval that is longer than the cadence it grows by UP, else it shrinks by DOWN, and
# UP * 0.05 + DOWN * 0.95 = 0 in the logarithm (as the band in residuals.py).
_UP, _DOWN = np.exp(0.1 * 0.95), np.exp(-0.1 * 0.05)
_FIRST_STEPS, _LEAST_STEP = 4.0, 0.002  # of the median
_MEMORY = 256  # intervals, of the evenness
_FURTHEST = 0.5
_MOST_MISSING = 1e6

Counts = NDArray[np.int64]

COLUMNS = {
    "cadence": Column(np.float64, (2,), np.nan),  # seconds between arrivals, between the readings' own times
    "longest_interval": Column(np.float64, (2,), np.nan),  # of the first ones
    "n_interval": Column(np.int64),
    "usual_interval": Column(np.float64, (), np.nan),  # seconds between the readings' own times
    "unevenness": Column(np.float64),  # mean |interval - the usual one|, in usual ones
}


def see_interval(state: State, arrivals: Floats, readings: Floats) -> None:
    """Learn from seconds since the last arrival and the last reading's own time; NaN for the first.

    A cadence starts as the second longest of the first intervals, which is about their 95 % quantile.
    """
    interval = np.clip(np.stack([arrivals, readings], axis=1), SHORTEST_S, LONGEST_S)
    cadence, longest, n = state["cadence"], state["longest_interval"], state["n_interval"]
    followed = cadence * np.where(interval > cadence, _UP, _DOWN)
    second = np.fmax(cadence, np.minimum(longest, interval))
    early = (n < MIN_INTERVALS)[:, None]
    state["cadence"] = np.where(early, second, followed)
    state["longest_interval"] = np.where(early, np.fmax(longest, interval), longest)
    _see_usual(state, interval[:, 1])
    state["n_interval"] = n + np.isfinite(readings)


def _see_usual(state: State, interval: Floats) -> None:
    n, usual, uneven = state["n_interval"], state["usual_interval"], state["unevenness"]
    away = np.minimum(np.abs(interval / usual - 1.0), _FURTHEST)
    learnt = uneven + (away - uneven) * np.maximum(1.0 / (n + 1.0), 1.0 / _MEMORY)
    state["unevenness"] = np.where(np.isfinite(away), learnt, uneven)
    step = 1.0 + np.maximum(_FIRST_STEPS / (n + 1.0), _LEAST_STEP)
    followed = np.where(interval > usual, usual * step, np.where(interval < usual, usual / step, usual))
    state["usual_interval"] = np.where(np.isnan(usual), interval, followed)


def after_gap(state: State, interval: Floats, max_gap: float) -> Mask:
    """Which readings come so long after the one before that the window must restart.

    Args:
        state: of the series.
        interval: seconds between the two readings' own times, NaN for the first.
        max_gap: see `Rules`.
    """
    gap: Mask = (interval > max_gap * state["cadence"][:, 1]) & (state["n_interval"] >= MIN_INTERVALS)
    return gap


def even(state: State) -> Mask:
    """Of which series missing readings are counted."""
    regular: Mask = (state["n_interval"] >= MIN_INTERVALS) & (state["unevenness"] <= EVEN)
    return regular


def missing(state: State, interval: Floats) -> Counts:
    """How many readings should have come within these intervals, `(n,)` seconds, NaN for the first."""
    known = np.where(even(state), np.minimum(interval, LONGEST_S) / state["usual_interval"], 1.0)
    n: Counts = np.clip(np.rint(known) - 1.0, 0.0, _MOST_MISSING).astype(np.int64)
    return n
