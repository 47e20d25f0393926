"""What the residuals on the validation part say about a new device: its error, its bands, its threshold.

The threshold counts multiples of a device's own recent mean absolute error, scored by the daemon's own code, and is
set for one false alarm in `READINGS_PER_ALARM` readings. So rare an event is not in a validation part of a thousand
readings, so its size is extrapolated: excesses over the 98 % quantile are taken as exponentially distributed
(peaks over threshold, Coles 2001, chapter 4, with shape 0), with the scale from their median, which a few real
anomalies in the validation part do not move.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forewarn.core import residuals
from forewarn.core.card import Calibration
from forewarn.core.slots import Table
from forewarn_training.bands import half_widths
from forewarn_training.data import Floats, Windows32

READINGS_PER_ALARM = 5000.0
LEAST_THRESHOLD = 4.0
_TAIL = 0.02


def calibrate(wanted: Windows32, path: Windows32, device: NDArray[np.int64]) -> Calibration:
    """Calibrate on the validation part.

    Args:
        wanted: `(n, horizon)` readings, windows of one device together and in order.
        path: `(n, horizon)` what was forecast for them.
        device: `(n,)` index of the device of each window.
    """
    value, expected = wanted[:, 0].astype(np.float64), path[:, 0].astype(np.float64)
    band_80, band_95 = (half_widths(wanted, path, share) for share in (0.8, 0.95))
    known = Calibration(float(np.abs(value - expected).mean()), band_80, band_95)
    return replace(known, threshold_errors=threshold_of(scores(value, expected, device, known)))


def scores(value: Floats, expected: Floats, device: NDArray[np.int64], start: Calibration) -> Floats:
    """Each reading's score as the daemon computes it; NaN while it would be warming up."""
    names, slots = np.unique(device, return_inverse=True)
    table = Table(residuals.columns(start), rows=len(names))
    out = np.full(len(value), np.nan)
    previous = np.full(len(names), np.nan)
    for rows in _rounds(slots):
        slot = slots[rows]
        state = table.take(slot)
        judged = residuals.judge(state, value[rows], expected[rows])
        out[rows] = np.where(judged.warm, judged.score, np.nan)
        residuals.learn(state, judged, np.isfinite(judged.residual))
        residuals.see_change(state, value[rows] - previous[slot])
        table.put(slot, state)
        previous[slot] = value[rows]
    return out


def _rounds(slots: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The first rows of all devices, then the second ones, and so on."""
    order = np.argsort(slots, kind="stable")
    first = np.searchsorted(slots[order], slots[order])
    nth = np.arange(len(slots)) - first
    by_round = order[np.argsort(nth, kind="stable")]
    return np.split(by_round, np.cumsum(np.bincount(nth))[:-1])


def threshold_of(score: Floats) -> float:
    """The score that one reading in `READINGS_PER_ALARM` exceeds, at least `LEAST_THRESHOLD`."""
    score = score[np.isfinite(score)]
    if not len(score):
        return LEAST_THRESHOLD
    start = float(np.quantile(score, 1 - _TAIL))
    excess = score[score > start] - start
    scale = float(np.median(excess)) / math.log(2) if len(excess) else 0.0
    return round(max(LEAST_THRESHOLD, start + scale * math.log(_TAIL * READINGS_PER_ALARM)), 2)
