"""Sensor faults that are learnt from the series' own past: one that is stuck, one that is silent; and the cadence.

Both compare a series with its own past, so that they need no settings: equal readings are a fault when they last
several times longer than ever before, silence when it lasts several times the series' own cadence. For silence the
cadence is measured on arrivals, not on the devices' own clocks, which may be wrong; for gaps between readings it is
measured on their own times, which are all that a file of history has.
"""

import numpy as np
from numpy.typing import NDArray

from forewarn.core.readings import Floats, Mask
from forewarn.core.rules import Rules
from forewarn.core.rulings import Ruling
from forewarn.core.slots import Column, State, Table

MIN_CHANGES = 10
MIN_INTERVALS = 20
_TOLD_RUN = 1.25
# The cadence follows the 95 % quantile of the arrival intervals: after one that is longer it grows by UP, else it
# shrinks by DOWN, and UP * 0.05 + DOWN * 0.95 = 0 in the logarithm (as the band in residuals.py).
_UP, _DOWN = np.exp(0.1 * 0.95), np.exp(-0.1 * 0.05)

COLUMNS = {
    "run": Column(np.int64),  # equal readings up to the last one
    "longest_run": Column(np.int64),  # before the present one
    "n_change": Column(np.int64),
    "cadence": Column(np.float64, (2,), np.nan),  # seconds between arrivals, between the readings' own times
    "n_interval": Column(np.int64),
}


def run_limit(state: State, rules: Rules) -> Floats:
    """How many equal readings are too many, by series; infinite where too little is known of it."""
    limit = np.maximum(rules.stuck_factor * state["longest_run"], rules.stuck_min_run)
    return np.where(state["n_change"] >= MIN_CHANGES, limit, np.inf)


def see_value(state: State, change: Floats, active: Mask, rules: Rules) -> None:
    """Count equal readings.

    A run that was told as stuck counts as one that raises the limit by a quarter: faults hardly teach, and a series
    that has become honestly flat is accepted after some alerts.

    Args:
        state: of the series.
        change: the difference from the last reading, NaN for the first.
        active: whether the run was told as stuck.
        rules: see `Rules`.
    """
    run, longest = state["run"], state["longest_run"]
    equal = change == 0.0
    ended = ~equal & (run > 0)
    if active.any():
        told = _TOLD_RUN * np.maximum(longest, rules.stuck_min_run / rules.stuck_factor)
        run = np.where(active, np.minimum(run, np.ceil(told).astype(np.int64)), run)
    state["longest_run"] = np.where(ended, np.maximum(longest, run), longest)
    state["n_change"] += ended
    state["run"] = np.where(equal, state["run"] + 1, 1)


def stuck(state: State, active: Mask, rules: Rules) -> Ruling:
    """Equal readings up to this one. The score is their number."""
    limit = run_limit(state, rules)
    run = state["run"].astype(np.float64)
    return Ruling((run >= limit) | (active & (run > 1)), run, limit)


def see_interval(state: State, arrivals: Floats, readings: Floats) -> None:
    """Learn the cadences from seconds since the last arrival and the last reading's own time; NaN for the first."""
    interval = np.stack([arrivals, readings], axis=1)
    cadence, n = state["cadence"], state["n_interval"]
    followed = cadence * np.where(interval > cadence, _UP, _DOWN)
    early = np.fmax(cadence, interval)
    state["cadence"] = np.where((n < MIN_INTERVALS)[:, None], early, followed)
    state["n_interval"] = n + np.isfinite(readings)


def after_gap(state: State, interval: Floats, max_gap: float) -> Mask:
    """Which readings come so long after the one before that the window must restart.

    Args:
        state: of the series.
        interval: seconds between the two readings' own times, NaN for the first.
        max_gap: see `Rules`.
    """
    gap: Mask = (interval > max_gap * state["cadence"][:, 1]) & (state["n_interval"] >= MIN_INTERVALS)
    return gap


def silence_limit(table: Table, n: int, rules: Rules) -> Floats:
    """Seconds without a reading that are too many, for the first n slots; infinite where too little is known."""
    limit = np.maximum(rules.silent_factor * table["cadence"][:n, 0], rules.silent_min_s)
    return np.where(table["n_interval"][:n] >= MIN_INTERVALS, limit, np.inf)


def silent(table: Table, age: Floats, rules: Rules) -> NDArray[np.intp]:
    """The slots whose last reading came `age` seconds ago and should have been followed by another."""
    return np.flatnonzero(age > silence_limit(table, len(age), rules))
