"""`forecast_limit`: the forecast path passes a limit that the reading itself has not passed.

Rules that hold here:

- The probability that the limit is passed at a lead is that of a Laplace distribution around the forecast, whose mean
  absolute deviation b is the series' own recent mean absolute error at that lead (`bands.py`): with the distance d of
  the forecast beyond the limit, 1 - exp(-d/b)/2 for d >= 0, else exp(d/b)/2. An alert's probability is the largest of
  the path's leads, a lower bound for "within the horizon".
- A longer lead is never taken to err less than a shorter one.
- A rise or fall such as the series hardly ever had goes on in a straight line, whatever the model says: models expect
  what they never saw to come back. So it is where a line through the window explains `STRAIGHT` of its variance and
  rises by `STEEP` times the usual change from a window's begin to its end. The errors to expect are then those of the
  extended line (Draper and Smith 1998, Applied Regression Analysis, section 1.4).
- Raised where the probability is above the setting at `CONFIRM` readings in a row; ended where no lead of the path is
  beyond the limit for `clear_after` readings in a row, or at once where the limit is passed.
- The lead time is that of the first lead whose forecast is beyond the limit: so many readings, at the median time that
  so many took within the window.
"""

import math
from typing import NamedTuple

import numpy as np

from forewarn.core import bands
from forewarn.core.readings import Floats, Mask
from forewarn.core.residuals import WARM_UP
from forewarn.core.rules import Rules
from forewarn.core.rulings import Ruling, held
from forewarn.core.slots import Column, State

CONFIRM = 2
STRAIGHT = 0.8
STEEP = 4.0
_FEWEST = 8  # readings that a line is drawn through
_MEMORY = 1024
_WARM_UP = 64
_LEAST_SPREAD = 1e-12


COLUMNS = {
    "n_ahead": Column(np.int64),  # readings in a row with a probability above the setting
    "ahead_calm": Column(np.int64),
    "usual_rise": Column(np.float64),  # mean |change| from a window's begin to its end
    "n_rise": Column(np.int64),
}


def learn(state: State, target: int) -> None:
    """Take in how much the target changed from the begin of each full window to its end."""
    window = state["window"][:, :, target].astype(np.float64)
    full = state["filled"] == window.shape[1]
    rise, n, known = np.abs(window[:, -1] - window[:, 0]), state["n_rise"], state["usual_rise"]
    rise = np.where(n >= _WARM_UP, np.minimum(rise, STEEP * known), rise)
    share = np.maximum(1.0 / (n + 1.0), 1.0 / _MEMORY)
    state["usual_rise"] = np.where(full, known + (rise - known) * share, known)
    state["n_rise"] = n + full


class _Ahead(NamedTuple):
    """`(n, horizon)`: what is expected, and the mean absolute error of that."""

    path: Floats
    error: Floats


def _ahead(state: State, target: int) -> _Ahead:
    """The model's path, or the straight line."""
    path, error = state["forecast"].astype(np.float64), spread(state)
    n_step = state["window"].shape[1]
    if n_step < _FEWEST:
        return _Ahead(path, error)
    line = _line(state["window"][:, :, target].astype(np.float64), path.shape[1])
    rises = np.abs(line.slope) * (n_step - 1) > STEEP * np.maximum(state["usual_rise"], state["resolution"])
    known = (state["n_rise"] >= _WARM_UP) & (state["filled"] == n_step) & np.isfinite(path[:, 0])
    steep = (known & rises & (line.explained > STRAIGHT))[:, None]
    return _Ahead(np.where(steep, line.path, path), np.where(steep, np.maximum(line.error, _LEAST_SPREAD), error))


class _Line(NamedTuple):
    """Straight lines through windows, extended over the horizon; `explained` is the share of the variance."""

    slope: Floats
    explained: Floats
    path: Floats
    error: Floats


def _line(window: Floats, horizon: int) -> _Line:
    n = window.shape[1]
    step = np.arange(n) - (n - 1) / 2
    mean = window.sum(axis=1) / n
    away = window - mean[:, None]
    square = float((step * step).sum())
    slope = (away * step).sum(axis=1) / square
    total = (away * away).sum(axis=1)
    left = np.maximum(total - slope * slope * square, 0.0)
    ahead = step[-1] + np.arange(1.0, horizon + 1.0)
    scatter = np.sqrt(left / (n - 2))[:, None] * np.sqrt(1.0 + 1.0 / n + ahead * ahead / square)
    explained = np.where(total > 0, 1.0 - left / np.where(total > 0, total, 1.0), 0.0)
    return _Line(slope, explained, mean[:, None] + slope[:, None] * ahead, math.sqrt(2 / math.pi) * scatter)


def spread(state: State) -> Floats:
    """`(n, horizon)`: the mean absolute error to expect at each lead, in the target's unit."""
    error = bands.expected_error(state, state["mean_abs"])
    return np.maximum(np.maximum.accumulate(error, axis=1), _LEAST_SPREAD)


def rule(state: State, value: Floats, target: int, active: Mask, rules: Rules) -> Ruling:
    """Judge the path that was forecast from the readings up to this one."""
    n = len(value)
    above, below = state["limit_above"], state["limit_below"]
    path, error = _ahead(state, target)
    over = np.maximum(path - above[:, None], below[:, None] - path)
    margin = np.where(np.isfinite(over), over, -np.inf) / error
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
