"""Bands around a forecast that hold a given share of the readings, by split conformal prediction.

The half-width at a lead is the ceil((n + 1) q)-th smallest of the n |residuals| of the validation part at that lead
(Vovk, Gammerman and Shafer 2005; Papadopoulos et al. 2002 for the split). That the share is reached is proven for
residuals that could come in any order. Those of a series are not quite so, hence `coverage` measures it on readings
that neither training nor calibration saw.
"""

import math

import numpy as np

from forewarn.core.card import Calibration
from forewarn_training.data import Windows32


def half_widths(wanted: Windows32, path: Windows32, share: float) -> tuple[float, ...]:
    """The half-width at each lead, in the target's unit.

    Args:
        wanted: `(n, horizon)` readings.
        path: `(n, horizon)` what was forecast for them.
        share: of the readings that the band is to hold. Where n is too small for it, the largest residual is taken.
    """
    size = np.sort(np.abs(wanted.astype(np.float64) - path), axis=0)
    rank = min(math.ceil((len(size) + 1) * share), len(size))
    return tuple(size[rank - 1].tolist())


def coverage(wanted: Windows32, path: Windows32, calibration: Calibration) -> str:
    """One sentence about the share of readings that are within the model's bands; "" for a model that has none."""
    if calibration.band_80 is None or calibration.band_95 is None:
        return ""
    size, last = np.abs(wanted.astype(np.float64) - path), wanted.shape[1]
    told = [
        f"lead {lead} {np.mean(size[:, lead - 1] <= calibration.band_80[lead - 1]):.1%} and "
        f"{np.mean(size[:, lead - 1] <= calibration.band_95[lead - 1]):.1%}"
        for lead in sorted({1, last})
    ]
    return f"Readings within the model's 80 % and 95 % bands: {', '.join(told)}."
