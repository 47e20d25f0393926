"""Sensor faults, kept apart from what the model finds: a series that is stuck, a series that is silent.

Both compare a series with its own past, so that they need no settings: equal readings are a fault when they last
several times longer than ever before, silence when it lasts several times the series' own cadence. Cadence is measured
on arrivals, not on the devices' own clocks, which may be wrong.
"""

import numpy as np
from numpy.typing import NDArray

from forewarn.core.readings import Floats, Slots
from forewarn.core.rules import Rules
from forewarn.core.slots import Column, Table

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


def run_limit(table: Table, slots: Slots, rules: Rules) -> Floats:
    """How many equal readings are too many, by series; infinite where too little is known of it."""
    limit = np.maximum(rules.stuck_factor * table["longest_run"][slots], rules.stuck_min_run)
    return np.where(table["n_change"][slots] >= MIN_CHANGES, limit, np.inf)


def see_value(table: Table, slots: Slots, change: Floats) -> None:
    """Count equal readings; `change` is the difference from the last reading, NaN for the first."""
    run = table["run"][slots]
    equal = change == 0.0
    ended = ~equal & (run > 0)
    table["longest_run"][slots] = np.where(
        ended, np.maximum(table["longest_run"][slots], run), table["longest_run"][slots]
    )
    table["n_change"][slots] += ended
    table["run"][slots] = np.where(equal, run + 1, 1)


def see_arrival(table: Table, slots: Slots, interval: Floats) -> None:
    """Learn the cadence from arrival intervals in seconds; NaN where there is none to learn from."""
    known = np.isfinite(interval)
    slots, interval = slots[known], interval[known]
    cadence, n = table["cadence"][slots], table["n_interval"][slots]
    followed = cadence * np.where(interval > cadence, _UP, _DOWN)
    table["cadence"][slots] = np.where(n < MIN_INTERVALS, np.fmax(cadence, interval), followed)
    table["n_interval"][slots] = n + 1


def silence_limit(table: Table, n: int, rules: Rules) -> Floats:
    """Seconds without a reading that are too many, for the first n slots; infinite where too little is known."""
    limit = np.maximum(rules.silent_factor * table["cadence"][:n], rules.silent_min_s)
    return np.where(table["n_interval"][:n] >= MIN_INTERVALS, limit, np.inf)


def silent(table: Table, age: Floats, rules: Rules) -> NDArray[np.intp]:
    """The slots whose last reading came `age` seconds ago and should have been followed by another."""
    return np.flatnonzero(age > silence_limit(table, len(age), rules))
