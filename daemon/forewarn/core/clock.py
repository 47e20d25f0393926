"""Time of day and of week as a model with the input `clock` sees them.

The rows come from a table, so that a time gives the same bits whatever else is in the batch: numpy computes the sine of
several numbers at once and of those left over one by one, in other bits.
"""

import numpy as np
from numpy.typing import NDArray

from forewarn.core.readings import Floats

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
CHANNELS = 4
_MINUTE_S = 60.0
_TURNS = np.arange(int(WEEK_S / _MINUTE_S))[:, None] * np.array([_MINUTE_S / DAY_S, _MINUTE_S / WEEK_S])
_TABLE = np.stack([np.sin(2 * np.pi * _TURNS), np.cos(2 * np.pi * _TURNS)], axis=2).reshape(-1, CHANNELS)
_TABLE32 = _TABLE.astype(np.float32)


def clock(at: Floats) -> NDArray[np.float32]:
    """Sine and cosine of the time of day, then of the time of week, `(n, 4)`, in UTC and by the minute that has begun.

    The week starts where the epoch did, on a Thursday at 00:00.

    Args:
        at: `(n,)` UTC epoch seconds. What is not finite is taken for the epoch.
    """
    minute = np.where(np.isfinite(at), at, 0.0) % WEEK_S // _MINUTE_S
    # The remainder of a time just before the epoch is rounded to a whole week.
    return _TABLE32[minute.astype(np.int64) % len(_TABLE32)]
