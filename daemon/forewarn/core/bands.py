"""The errors to expect at each lead of a forecast, and the bands that hold 80 % and 95 % of them.

Rules that hold here:

- What was forecast is kept and compared with the readings that follow: with 24 leads every seventh forecast, so that
  each reading teaches three or four leads. At most `KEPT` numbers are kept, or one forecast.
- A half-width follows its quantile of |error| by online subgradient steps on the pinball loss, as in adaptive conformal
  prediction (Gibbs and Candes 2021, arXiv:2106.00170; Angelopoulos et al. 2023, arXiv:2307.16895), with steps in units
  of the recent error. It starts from the model's calibration, where it has one, else from the error so far, taken as
  Gaussian; where there is none yet, from the next reading's, growing with the square root of the lead.
- A single error counts for at most `CLIP` times the mean of those before.
- Where readings are missing before a reading, it is compared at the leads that are as far ahead.
- A reading that must not teach, and a long gap, end all comparisons.
"""

import math

import numpy as np

from forewarn.core.cadences import Counts
from forewarn.core.card import Calibration
from forewarn.core.readings import Floats, Mask, Slots
from forewarn.core.slots import Column, State, Table

KEPT = 96
COVERAGE = (0.80, 0.95)
WARM_UP = 30
MEMORY = 256
CLIP = 4.0
STEP = 0.2
_GAUSSIAN = (1.606, 2.456)  # these quantiles of |x| over its mean, x Gaussian: 1.282 and 1.960 times sqrt(pi / 2)
_LARGEST = 1e37  # error: float32 holds a band of it
_NEVER = -(2**30)
_MISS = 1.0 - np.array(COVERAGE)[:, None]
_FACTOR = np.array(_GAUSSIAN)[:, None]


def columns(horizon: int, calibration: Calibration) -> dict[str, Column]:
    """Of the paths kept and of the leads.

    `paths` and when each was made: `path_made` of the `path_n` steps so far, which are readings and missing ones. By
    lead, `lead_error` (mean |error|), `half_width` (80 %, 95 %) and `n_lead` errors learnt.
    """
    n_path = max(1, min(horizon, KEPT // horizon))
    known = calibration.band_80 is not None and calibration.band_95 is not None
    widths = np.array([calibration.band_80, calibration.band_95]) if known else np.zeros((2, horizon))
    return {
        "paths": Column(np.float32, (n_path, horizon), np.nan),
        "path_made": Column(np.int64, (n_path,), _NEVER),
        "path_n": Column(np.int64),
        "lead_error": Column(np.float32, (horizon,), widths[0] / _GAUSSIAN[0]),
        "half_width": Column(np.float32, (2, horizon), widths),
        "n_lead": Column(np.int32, (horizon,), WARM_UP if known else 0),
    }


def restart(state: State, ended: Mask) -> None:
    """End all comparisons of these series."""
    state["paths"][ended] = np.nan


def learn(state: State, value: Floats, missing: Counts) -> None:
    """Compare readings with what was forecast of them, before they enter the window."""
    horizon = state["paths"].shape[2]
    state["path_n"] += missing
    age = state["path_n"][:, None] - state["path_made"]
    row, path = np.nonzero(age < horizon)
    lead = age[row, path]
    error = np.minimum(np.abs(value[row] - state["paths"][row, path, lead]), _LARGEST)
    seen = np.isfinite(error)
    row, lead, error = row[seen], lead[seen], error[seen]
    n, mean = state["n_lead"][row, lead], state["lead_error"][row, lead].astype(np.float64)
    warm = n >= WARM_UP
    mean += (np.where(warm, np.minimum(error, CLIP * mean), error) - mean) * np.maximum(1.0 / (n + 1.0), 1.0 / MEMORY)
    width = state["half_width"][row, :, lead].T.astype(np.float64)
    followed = np.maximum(width + STEP * mean * ((error > width) - _MISS), 0.0)
    state["half_width"][row, :, lead] = np.where(warm, followed, _FACTOR * mean).T
    state["lead_error"][row, lead] = mean
    state["n_lead"][row, lead] = n + 1


def follow(state: State, full: Mask) -> None:
    """Keep the newest forecasts, of the series that have one, for comparison."""
    n_path, horizon = state["paths"].shape[1:]
    every = _every(n_path, horizon)
    n = state["path_n"] + 1
    state["path_n"] = n
    (rows,) = np.nonzero(n % every == 0)
    place = n[rows] // every % n_path
    state["paths"][rows, place] = np.where(full[rows, None], state["forecast"][rows], np.float32(np.nan))
    state["path_made"][rows, place] = n[rows]


def expected_error(state: State, next_error: Floats) -> Floats:
    """`(n, horizon)`: the mean |error| to expect at each lead, in the target's unit.

    Args:
        state: of the series.
        next_error: that of the next reading, for leads that nothing was learnt of.
    """
    lead = np.arange(1.0, state["lead_error"].shape[1] + 1.0)
    return np.where(state["n_lead"] > 0, state["lead_error"], next_error[:, None] * np.sqrt(lead))


def half_widths(table: Table, slots: Slots) -> Floats:
    """`(n, 2, horizon)`: of the 80 % and the 95 % band around each lead, in the target's unit."""
    rows = {name: table[name][slots] for name in ("lead_error", "n_lead", "mean_abs", "half_width")}
    lead = np.arange(1.0, rows["lead_error"].shape[1] + 1.0)
    unknown = _FACTOR * (rows["mean_abs"][:, None] * np.sqrt(lead))[:, None]
    return np.where(rows["n_lead"][:, None] > 0, rows["half_width"], unknown)


def told(table: Table, slot: int) -> tuple[Counts, Floats, Floats]:
    """The latest forecast of each of the last readings of a series that there is one of.

    Returns:
        `(m,)` their places after the last reading, 0 and less; `(m,)` what was forecast; `(2, m)` the half-widths.
    """
    paths = table["paths"][slot].astype(np.float64)
    horizon = paths.shape[1]
    place = np.arange(1 - KEPT, 1)
    age = table["path_n"][slot] - table["path_made"][slot]  # readings since each was made
    ahead = place[:, None] + age - 1  # the lead that each path has for each place
    ahead = np.where(ahead >= 0, ahead, horizon)
    path = ahead.argmin(axis=1)
    lead = ahead[np.arange(KEPT), path]
    forecast = lead < horizon
    place, path, lead = place[forecast], path[forecast], lead[forecast]
    value = paths[path, lead]
    known = np.isfinite(value)
    widths = half_widths(table, np.array([slot]))[0]
    return place[known], value[known], widths[:, lead[known]]


def _every(n_path: int, horizon: int) -> int:
    """A path is kept of every so many readings: a number without 2, 3 and 5 in it, to meet every hour of a day."""
    least = math.ceil(horizon / n_path)
    return next(every for every in range(least, least + 30) if math.gcd(every, 30) == 1)
