"""The rolling windows of all series, in one array `(n_series, n_step, n_feature)`.

A window restarts after a gap of more than `max_gap` of the series' own cadences in the readings' own time, and what was
forecast before the gap is dropped. A shorter gap is passed over: the reading after it follows the one before. A row is
kept in chronological order: a reading shifts it by one. That moves `n_step` numbers where a ring would move
one, but the gathered rows are then exactly the batch that the model wants, so the copy is needed anyway.
"""

import numpy as np

from forewarn.core.readings import Floats, Mask
from forewarn.core.slots import Column, State


def columns(n_step: int, n_feature: int) -> dict[str, Column]:
    """`window` in engineering units, `window_at` the readings' times, `filled` how many of its steps are readings."""
    return {
        "window": Column(np.float32, (n_step, n_feature)),
        "window_at": Column(np.float64, (n_step,), np.nan),
        "filled": Column(np.int64),
    }


def restart(state: State, gap: Mask) -> None:
    """Empty the windows of these series; what was learnt of their errors stays."""
    state["filled"][gap] = 0
    state["window_at"][gap] = np.nan
    state["forecast"][gap] = np.nan
    state["path_age"][gap] = -1


def push(state: State, at: Floats, values: Floats) -> Mask:
    """Append one reading to each window and return which windows are now full."""
    for name, newest in (("window", values), ("window_at", at)):
        column = state[name]
        column[:, :-1] = column[:, 1:]
        column[:, -1] = newest
    n_step = state["window"].shape[1]
    filled = np.minimum(state["filled"] + 1, n_step)
    state["filled"] = filled
    full: Mask = filled == n_step
    return full
