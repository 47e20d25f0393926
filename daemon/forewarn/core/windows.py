"""The rolling windows of all series, in one array `(n_series, n_step, n_feature)`.

A row is kept in chronological order: a reading shifts it by one. That moves `n_step` numbers where a ring would move
one, but the gathered rows are then exactly the batch that the model wants, so the copy is needed anyway.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.core.readings import Floats, Slots
from forewarn.core.slots import Column, Table


def columns(n_step: int, n_feature: int) -> dict[str, Column]:
    """`window` in engineering units, `window_at` the readings' times, `filled` how many of its steps are readings."""
    return {
        "window": Column(np.float32, (n_step, n_feature)),
        "window_at": Column(np.float64, (n_step,), np.nan),
        "filled": Column(np.int64),
    }


def push(table: Table, slots: Slots, at: Floats, values: Floats) -> NDArray[np.float32]:
    """Append one reading to each of these distinct slots.

    Returns:
        `(n_full, n_step, n_feature)`: the windows of those slots, in order, whose window is now full.
    """
    windows = _shifted(table["window"], slots, values)
    _shifted(table["window_at"], slots, at)
    n_step = windows.shape[1]
    filled = np.minimum(table["filled"][slots] + 1, n_step)
    table["filled"][slots] = filled
    full: NDArray[np.float32] = windows[filled == n_step]
    return full


def _shifted(column: NDArray[Any], slots: Slots, newest: Floats) -> NDArray[Any]:
    rows = np.empty((len(slots), *column.shape[1:]), column.dtype)
    rows[:, :-1] = column[slots, 1:]
    rows[:, -1] = newest
    column[slots] = rows
    return rows
