"""`forecast_limit`: the forecast path passes a limit that the reading itself has not passed.

Rules that hold here:

- The probability that the limit is passed at a lead is that of a Laplace distribution around the forecast, whose mean
  absolute deviation b is the series' own recent mean absolute error at that lead (`bands.py`): with the distance d of
  the forecast beyond the limit, 1 - exp(-d/b)/2 for d >= 0, else exp(d/b)/2. An alert's probability is the largest of
  the path's leads, a lower bound for "within the horizon".
- A longer lead is never taken to err less than a shorter one.
- Raised where the probability is above the setting at `CONFIRM` readings in a row; ended where no lead of the path is
  beyond the limit for `clear_after` readings in a row, or at once where the limit is passed.
- The lead time is that of the first lead whose forecast is beyond the limit: so many readings, at the median time that
  so many took within the window.
"""

import math

import numpy as np

from forewarn.core import bands
from forewarn.core.readings import Floats, Mask
from forewarn.core.residuals import WARM_UP
from forewarn.core.rules import Rules
from forewarn.core.rulings import Ruling, held
from forewarn.core.slots import Column, State

CONFIRM = 2
_LEAST_SPREAD = 1e-12


COLUMNS = {
    "n_ahead": Column(np.int64),  # readings in a row with a probability above the setting
    "ahead_calm": Column(np.int64),
}


def spread(state: State) -> Floats:
    """`(n, horizon)`: the mean absolute error to expect at each lead, in the target's unit."""
    error = bands.expected_error(state, state["mean_abs"])
    return np.maximum(np.maximum.accumulate(error, axis=1), _LEAST_SPREAD)


def rule(state: State, value: Floats, active: Mask, rules: Rules) -> Ruling:
    """Judge the path that was forecast from the readings up to this one."""
    n = len(value)
    above, below = state["limit_above"], state["limit_below"]
    path = state["forecast"].astype(np.float64)
    over = np.maximum(path - above[:, None], below[:, None] - path)
    margin = np.where(np.isfinite(over), over, -np.inf) / spread(state)
    most = margin.max(axis=1)
    passed = (value > above) | (value < below)
    likely = ~passed & (most > quantile(rules.limit_probability)) & (state["n_residual"] >= WARM_UP)
    state["n_ahead"] = np.where(likely, state["n_ahead"] + 1, 0)
    still = held(state, "ahead_calm", ~passed & (most > 0.0), active, rules.clear_after)
    now = ~passed & ((active & still) | (state["n_ahead"] >= CONFIRM))

    probability, lead_s, limit = np.zeros(n), np.full(n, np.nan), np.full(n, np.nan)
    for i in np.flatnonzero(now | active).tolist():
        probability[i] = 1.0 if passed[i] else laplace(float(most[i]))
        first = int(np.argmax(margin[i] > 0.0))
        lead_s[i] = _lead_s(state["window_at"][i], first + 1) if margin[i, first] > 0.0 else np.nan
        limit[i] = above[i] if path[i, first] - above[i] >= below[i] - path[i, first] else below[i]
    threshold = np.full(n, rules.limit_probability)
    return Ruling(now, probability, threshold, limit=limit, lead_s=lead_s, probability=probability)


def laplace(margin: float) -> float:
    """The distribution function of the Laplace distribution with mean absolute deviation 1."""
    return 1.0 - math.exp(-margin) / 2 if margin >= 0 else math.exp(margin) / 2


def quantile(probability: float) -> float:
    """Its inverse, for a probability of at least a half."""
    return -math.log(2.0 * (1.0 - probability))


def _lead_s(window_at: Floats, lead: int) -> float:
    """Seconds that so many readings take: the median of the spans in the window, scaled up where it is too short."""
    span = min(lead, max(1, len(window_at) // 2))
    spans = window_at[span:] - window_at[:-span]
    spans = spans[np.isfinite(spans)]
    return float(np.median(spans)) * lead / span if len(spans) else 0.0
