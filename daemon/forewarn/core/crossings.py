"""`forecast_limit`: the forecast path passes a limit that the reading itself has not passed.

Rules that hold here:

- The probability that the limit is passed at a lead is that of a Laplace distribution around the forecast, whose mean
  absolute deviation b is the series' own recent mean absolute error at that lead: with the distance d of the forecast
  beyond the limit, 1 - exp(-d/b)/2 for d >= 0, else exp(d/b)/2. An alert's probability is the largest of the path's
  leads, a lower bound for "within the horizon".
- The errors at the leads are learnt from one path at a time: the readings that follow are compared with it until its
  last lead, then the next path is taken. Each lead so learns once in `horizon` readings, over about `MEMORY_PATHS`
  paths; a longer lead is never taken to err less than a shorter one. Before `MIN_PATHS` paths were seen, b is the
  recent error of the next reading times the square root of the lead, as for a random walk.
- Raised where the probability is above the setting at `CONFIRM` readings in a row; ended where no lead of the path is
  beyond the limit for `clear_after` readings in a row, or at once where the limit is passed.
- The lead time is that of the first lead whose forecast is beyond the limit: so many readings, at the median time that
  so many took within the window.
"""

import math

import numpy as np

from forewarn.core.readings import Floats, Mask
from forewarn.core.residuals import WARM_UP
from forewarn.core.rules import Rules
from forewarn.core.rulings import Ruling, held
from forewarn.core.slots import Column, State

CONFIRM = 2
MIN_PATHS = 8
MEMORY_PATHS = 32
_LEAST_SPREAD = 1e-12


def columns(horizon: int) -> dict[str, Column]:
    """`path` under comparison, `path_age` its next lead (-1 for no path), `lead_error` by lead, `n_path` compared."""
    return {
        "path": Column(np.float32, (horizon,), np.nan),
        "path_age": Column(np.int64, (), -1),
        "lead_error": Column(np.float64, (horizon,)),
        "n_path": Column(np.int64),
        "n_ahead": Column(np.int64),  # readings in a row with a probability above the setting
        "ahead_calm": Column(np.int64),
    }


def learn(state: State, value: Floats, teaches: Mask) -> None:
    """Compare readings with the path that was forecast; one that must not teach ends the comparison."""
    state["path_age"][~teaches] = -1
    (rows,) = np.nonzero(state["path_age"] >= 0)
    lead = state["path_age"][rows]
    error = np.abs(value[rows] - state["path"][rows, lead])
    known = state["lead_error"][rows, lead]
    share = np.maximum(1.0 / (state["n_path"][rows] + 1.0), 1.0 / MEMORY_PATHS)
    state["lead_error"][rows, lead] = known + (error - known) * share
    ended = lead + 1 == state["path"].shape[1]
    state["path_age"][rows] = np.where(ended, -1, lead + 1)
    state["n_path"][rows] += ended


def follow(state: State) -> None:
    """Take the newest path where none is under comparison."""
    free = (state["path_age"] < 0) & np.isfinite(state["forecast"][:, 0])
    if free.any():
        state["path"][free] = state["forecast"][free]
        state["path_age"][free] = 0


def spread(state: State) -> Floats:
    """`(n, horizon)`: the mean absolute error to expect at each lead, in the target's unit."""
    lead = np.arange(1.0, state["path"].shape[1] + 1.0)
    walk = state["mean_abs"][:, None] * np.sqrt(lead)
    own = np.maximum.accumulate(state["lead_error"], axis=1)
    known = state["n_path"] >= MIN_PATHS
    return np.maximum(np.where(known[:, None], own, walk), _LEAST_SPREAD)


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
