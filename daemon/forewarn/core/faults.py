"""Sensor faults, kept apart from what the model finds: a series that is stuck, a series that is silent.

Both compare a series with its own past, so that they need no settings: equal readings are a fault when they last
several times longer than ever before, silence when it lasts several times the series' own cadence. Cadence is measured
on arrivals, not on the devices' own clocks, which may be wrong.
"""

import numpy as np
from numpy.typing import NDArray

from forewarn.core.readings import Floats
from forewarn.core.rules import Rules
from forewarn.core.slots import Column, State, Table

MIN_CHANGES = 10
MIN_INTERVALS = 20
# The cadence follows the 95 % quantile of the arrival intervals: after one that is longer it grows by UP, else it
# shrinks by DOWN, and UP * 0.05 + DOWN * 0.95 = 0 in the logarithm (as the band in residuals.py).
_UP, _DOWN = np.exp(0.1 * 0.95), np.exp(-0.1 * 0.05)

COLUMNS = {
    "run": Column(np.int64),  # equal readings up to the last one
    "longest_run": Column(np.int64),  # before the present one
    "n_change": Column(np.int64),
    "cadence": Column(np.float64, (), np.nan),  # seconds
    "n_interval": Column(np.int64),
}


def run_limit(state: State, rules: Rules) -> Floats:
    """How many equal readings are too many, by series; infinite where too little is known of it."""
    limit = np.maximum(rules.stuck_factor * state["longest_run"], rules.stuck_min_run)
    return np.where(state["n_change"] >= MIN_CHANGES, limit, np.inf)


def see_value(state: State, change: Floats) -> None:
    """Count equal readings; `change` is the difference from the last reading, NaN for the first."""
    run, longest = state["run"], state["longest_run"]
    equal = change == 0.0
    ended = ~equal & (run > 0)
    state["longest_run"] = np.where(ended, np.maximum(longest, run), longest)
    state["n_change"] += ended
    state["run"] = np.where(equal, run + 1, 1)


def see_arrival(state: State, interval: Floats) -> None:
    """Learn the cadence from arrival intervals in seconds; NaN where there is none to learn from."""
    cadence, n = state["cadence"], state["n_interval"]
    followed = cadence * np.where(interval > cadence, _UP, _DOWN)
    known = np.isfinite(interval)
    state["cadence"] = np.where(known, np.where(n < MIN_INTERVALS, np.fmax(cadence, interval), followed), cadence)
    state["n_interval"] = n + known


def silence_limit(table: Table, n: int, rules: Rules) -> Floats:
    """Seconds without a reading that are too many, for the first n slots; infinite where too little is known."""
    limit = np.maximum(rules.silent_factor * table["cadence"][:n], rules.silent_min_s)
    return np.where(table["n_interval"][:n] >= MIN_INTERVALS, limit, np.inf)


def silent(table: Table, age: Floats, rules: Rules) -> NDArray[np.intp]:
    """The slots whose last reading came `age` seconds ago and should have been followed by another."""
    return np.flatnonzero(age > silence_limit(table, len(age), rules))
