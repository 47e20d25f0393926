"""The rolling windows of all series, in one array `(n_series, n_step, n_feature)`.

A window restarts after a gap of more than `max_gap` of the series' own cadences in the readings' own time, and what was
forecast before the gap is dropped. In a shorter one, where at most `BRIDGED` readings are missing, `bridge` fills them
by a straight line, as the trainer does; they stand in the window alone and are learnt from nowhere. Without it, and
where more are missing, the reading after the gap follows the one before.

A row is kept in chronological order: a reading shifts it by one. That moves `n_step` numbers where a ring would move
one, but the gathered rows are then exactly the batch that the model wants, so the copy is needed anyway.

Beside its window a series has the standard deviation of its whole history, over about `SPREAD_MEMORY` readings: what a
model takes a window that happens to be flat for.
"""

import numpy as np
from numpy.typing import NDArray

from forewarn.core.cadences import Counts
from forewarn.core.readings import Floats, Mask
from forewarn.core.slots import Column, State

SPREAD_MEMORY = 20_000
BRIDGED = 3
"""The most missing readings that are filled: those that `forewarn-train fit --max-gap` fills by default."""


def columns(n_step: int, n_feature: int) -> dict[str, Column]:
    """`window` in engineering units, `window_at` the steps' times, `filled` how many of them there are."""
    return {
        "n_history": Column(np.int64),
        "history_mean": Column(np.float64),
        "history_variance": Column(np.float64),
        "window": Column(np.float32, (n_step, n_feature)),
        "window_at": Column(np.float64, (n_step,), np.nan),
        "filled": Column(np.int64),
    }


def restart(state: State, gap: Mask) -> None:
    """Empty the windows of these series; what was learnt of their errors stays."""
    state["filled"][gap] = 0
    state["window_at"][gap] = np.nan
    state["forecast"][gap] = np.nan


def push(state: State, at: Floats, values: Floats, target: int) -> Mask:
    """Append one reading to each window and return which windows are now full."""
    for name, newest in (("window", values), ("window_at", at)):
        column = state[name]
        column[:, :-1] = column[:, 1:]
        column[:, -1] = newest
    _see_spread(state, values[:, target])
    n_step = state["window"].shape[1]
    filled = np.minimum(state["filled"] + 1, n_step)
    state["filled"] = filled
    full: Mask = filled == n_step
    return full


def bridge(state: State, at: Floats, values: Floats, missing: Counts) -> None:
    """Put what is missing between the last step of each window and a reading that will be pushed into the window."""
    (rows,) = np.nonzero((missing > 0) & (missing <= BRIDGED) & (state["filled"] > 0))
    if not len(rows):
        return
    n = missing[rows]
    for name, newest in (("window", values), ("window_at", at)):
        column = state[name]
        before = column[rows, -1].astype(np.float64)
        rise = newest[rows] - before
        for nth in range(1, BRIDGED + 1):
            some = nth <= n
            row, share = rows[some], nth / (n[some] + 1.0)
            column[row, :-1] = column[row, 1:]
            column[row, -1] = before[some] + share.reshape(-1, *(1,) * (rise.ndim - 1)) * rise[some]
    state["filled"][rows] = np.minimum(state["filled"][rows] + n, state["window"].shape[1])


def spread(state: State) -> NDArray[np.float32]:
    """Standard deviation of each series' target over its history."""
    deviation: NDArray[np.float32] = np.sqrt(state["history_variance"]).astype(np.float32)
    return deviation


def _see_spread(state: State, value: Floats) -> None:
    """West 1979, doi:10.1145/359146.359153, with a share that stops falling."""
    n = state["n_history"]
    share = np.maximum(1.0 / (n + 1.0), 1.0 / SPREAD_MEMORY)
    away = np.where(n > 0, value - state["history_mean"], 0.0)
    state["history_mean"] = np.where(n > 0, state["history_mean"] + share * away, value)
    state["history_variance"] = (1.0 - share) * (state["history_variance"] + share * away * away)
    state["n_history"] = n + 1
