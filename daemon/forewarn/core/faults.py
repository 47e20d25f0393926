"""Sensor faults that are learnt from the series' own past: one that is stuck, one that is silent.

Both compare a series with its own past, so that they need no settings: equal readings are a fault when they last
several times longer than ever before, silence when it lasts several times the series' own cadence (`cadences.py`).
"""

import numpy as np

from forewarn.core.cadences import MIN_INTERVALS
from forewarn.core.readings import Floats, Mask, Slots
from forewarn.core.rules import Rules
from forewarn.core.rulings import Ruling
from forewarn.core.slots import Column, State, Table

MIN_CHANGES = 10
_TOLD_RUN = 1.25

COLUMNS = {
    "run": Column(np.int64),  # equal readings up to the last one
    "longest_run": Column(np.int64),  # before the present one
    "n_change": Column(np.int64),
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


def silence_limit(table: Table, rows: Slots, rules: Rules) -> Floats:
    """Seconds without a reading that are too many, for these rows; infinite where too little is known."""
    limit = np.maximum(rules.silent_factor * table["cadence"][rows, 0], rules.silent_min_s)
    return np.where(table["n_interval"][rows] >= MIN_INTERVALS, limit, np.inf)
