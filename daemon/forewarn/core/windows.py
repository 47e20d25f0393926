"""The rolling windows of all series, in one array `(n_series, n_step, n_feature)`.

A window restarts after a gap of more than `max_gap` of the series' own cadences in the readings' own time, and what was
forecast before the gap is dropped. In a shorter one, where at most `BRIDGED` readings are missing, `bridge` fills them
by a straight line, as the trainer does; they stand in the window alone and are learnt from nowhere. Without it, and
where more are missing, the reading after the gap follows the one before.

A row is kept in chronological order: a reading shifts it by one. That moves `n_step` numbers where a ring would move
one, but the gathered rows are then exactly the batch that the model wants, so the copy is needed anyway.

Steps that leave a window are kept for a while, `KEPT` with those in it, so that a model with longer windows can take
the place of this one without a warm-up (`refitted`).

Beside its window a series has the standard deviation of its whole history, over about `SPREAD_MEMORY` readings: what a
model takes a window that happens to be flat for.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.core.cadences import Counts
from forewarn.core.readings import Floats, Mask
from forewarn.core.slots import Column, State

SPREAD_MEMORY = 20_000
KEPT = 128
"""Steps of a series that are kept: a model of at most so many takes over full windows."""
BRIDGED = 3
"""The most missing readings that are filled: those that `forewarn-train fit --max-gap` fills by default."""


def columns(n_step: int, n_feature: int) -> dict[str, Column]:
    """`window` in engineering units, `window_at` the steps' times, `filled` how many of them there are.

    And the same of the steps before those: `earlier`, `earlier_at`, `n_earlier`.
    """
    n_earlier = max(KEPT - n_step, 1)
    return {
        "n_history": Column(np.int64),
        "history_mean": Column(np.float64),
        "history_variance": Column(np.float64),
        "window": Column(np.float32, (n_step, n_feature)),
        "window_at": Column(np.float64, (n_step,), np.nan),
        "filled": Column(np.int64),
        "earlier": Column(np.float32, (n_earlier, n_feature)),
        "earlier_at": Column(np.float64, (n_earlier,), np.nan),
        "n_earlier": Column(np.int64),
    }


def restart(state: State, gap: Mask) -> None:
    """Empty the windows of these series; what was learnt of their errors stays."""
    state["filled"][gap] = 0
    state["n_earlier"][gap] = 0
    state["window_at"][gap] = np.nan
    state["forecast"][gap] = np.nan


def push(state: State, at: Floats, values: Floats, target: int) -> Mask:
    """Append one reading to each window and return which windows are now full."""
    _append(state, slice(None), values, at)
    _see_spread(state, values[:, target])
    full: Mask = state["filled"] == state["window"].shape[1]
    return full


def bridge(state: State, at: Floats, values: Floats, missing: Counts) -> None:
    """Put what is missing between the last step of each window and a reading that will be pushed into the window."""
    (rows,) = np.nonzero((missing > 0) & (missing <= BRIDGED) & (state["filled"] > 0))
    if not len(rows):
        return
    n = missing[rows]
    value, time = state["window"][rows, -1].astype(np.float64), state["window_at"][rows, -1]
    rise, elapsed = values[rows] - value, at[rows] - time
    for nth in range(1, BRIDGED + 1):
        some = nth <= n
        share = nth / (n[some] + 1.0)
        _append(state, rows[some], value[some] + share[:, None] * rise[some], time[some] + share * elapsed[some])


def n_known(filled: Counts, n_earlier: Counts, n_step: int) -> Counts:
    """How many steps are known of windows of `n_step` and of what was before them."""
    known: Counts = filled + np.where(filled == n_step, n_earlier, 0)
    return known


def refitted(columns: Mapping[str, NDArray[Any]], n_step: int) -> dict[str, NDArray[Any]]:
    """The columns of a snapshot, with the windows of a model of `n_step` steps."""
    known = n_known(columns["filled"], columns["n_earlier"], columns["window"].shape[1])
    out = dict(columns)
    for name, older in (("window", "earlier"), ("window_at", "earlier_at")):
        steps = np.concatenate([columns[older], columns[name]], axis=1)
        n_kept = max(KEPT, n_step + 1)
        lacking = n_kept - steps.shape[1]
        if lacking > 0:
            steps = np.concatenate([np.repeat(steps[:, :1], lacking, axis=1), steps], axis=1)
        steps = steps[:, -n_kept:]
        out[name] = steps[:, -n_step:]
        out[older] = steps[:, -n_step - max(KEPT - n_step, 1) : -n_step]
    out["filled"] = np.minimum(known, n_step)
    out["n_earlier"] = np.minimum(known - out["filled"], out["earlier"].shape[1])
    return out


def spread(state: State) -> NDArray[np.float32]:
    """Standard deviation of each series' target over its history."""
    deviation: NDArray[np.float32] = np.sqrt(state["history_variance"]).astype(np.float32)
    return deviation


def _append(state: State, rows: NDArray[np.intp] | slice, values: Floats, at: Floats) -> None:
    """Append one step to the windows of these rows."""
    n_step = state["window"].shape[1]
    full = state["filled"][rows] == n_step
    for name, older, newest in (("window", "earlier", values), ("window_at", "earlier_at", at)):
        column, past = state[name], state[older]
        past[rows, :-1] = past[rows, 1:]
        past[rows, -1] = column[rows, 0]
        column[rows, :-1] = column[rows, 1:]
        column[rows, -1] = newest
    state["n_earlier"][rows] = np.minimum(state["n_earlier"][rows] + full, state["earlier"].shape[1])
    state["filled"][rows] = np.minimum(state["filled"][rows] + 1, n_step)


def _see_spread(state: State, value: Floats) -> None:
    """West 1979, doi:10.1145/359146.359153, with a share that stops falling."""
    n = state["n_history"]
    share = np.maximum(1.0 / (n + 1.0), 1.0 / SPREAD_MEMORY)
    away = np.where(n > 0, value - state["history_mean"], 0.0)
    state["history_mean"] = np.where(n > 0, state["history_mean"] + share * away, value)
    state["history_variance"] = (1.0 - share) * (state["history_variance"] + share * away * away)
    state["n_history"] = n + 1
