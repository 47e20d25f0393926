"""How sure a comparison of two forecasts is: moving-block bootstrap of the skill.

Errors of neighbouring windows are alike, so whole blocks of them are drawn (Künsch 1989). Both forecasts are drawn at
the same windows, so that what is hard for both cancels. Windows of several devices follow each other; a block may reach
from one into the next.
"""

import math
from dataclasses import dataclass

import numpy as np

from forewarn_training.data import Floats

DRAWS = 1000
SEED = 0
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Skill:
    """1 - MAE / MAE of a reference, and the 95 % interval of it. NaN where the reference makes no error."""

    value: float
    low: float
    high: float


def block_length(n_window: int, horizon: int) -> int:
    """Windows in a block: twice the horizon, since forecasts that far apart share no target, or n^(1/3) if longer.

    At most a quarter of the windows, so that there is something to draw.
    """
    wanted = max(2 * horizon, math.ceil(math.cbrt(n_window)))
    return max(1, min(wanted, n_window // 4))


def skill(error: Floats, reference: Floats, block: int) -> Skill:
    """Skill of |errors| `(n_window,)` in order of time over those of a reference at the same windows."""
    if not reference.sum() > 0:
        return Skill(math.nan, math.nan, math.nan)
    n_block = math.ceil(len(error) / block)
    first = np.random.default_rng(SEED).integers(0, len(error) - block + 1, (DRAWS, n_block))
    drawn, reference_drawn = (_block_sums(values, block)[first].sum(axis=1) for values in (error, reference))
    possible = reference_drawn > 0
    skills = 1 - drawn[possible] / reference_drawn[possible]
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(skills, [tail, 1 - tail]) if len(skills) else (math.nan, math.nan)
    return Skill(float(1 - error.sum() / reference.sum()), float(low), float(high))


def _block_sums(values: Floats, block: int) -> Floats:
    total = np.concatenate([[0.0], np.cumsum(values)])
    sums: Floats = total[block:] - total[:-block]
    return sums
