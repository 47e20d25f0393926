"""Residual to standardised score, against the series' own recent errors.

Rules that hold here:

- A reading is scored with what was learnt before it, then learnt from.
- "Recent error" is an exponentially weighted mean of |residual| over about `MEMORY` readings. Once warmed up, a single
  residual counts for at most `CLIP` times the mean, so that a fault widens it slowly and a real change of noise is
  still accepted in time.
- The error is never taken for smaller than the sensor's resolution (the smallest change that the series ever showed):
  one step of a quantised sensor that has been flat for hours is no event.
"""

from dataclasses import dataclass

import numpy as np

from forewarn.core.card import Calibration
from forewarn.core.readings import Floats, Mask
from forewarn.core.rules import Rules
from forewarn.core.rulings import Ruling
from forewarn.core.slots import Column, State

WARM_UP = 30
MEMORY = 256
CLIP = 4.0
BAND_MISS = 0.05
BAND_STEP = 0.05
_HISTORY = np.uint64((1 << 32) - 1)
_GAUSSIAN_BAND = 2.456  # 95 % quantile of |x| over its mean, x Gaussian: 1.960 * sqrt(pi / 2)
_RELATIVE_FLOOR = 1e-6  # a window is float32: below this share of its level a residual is rounding


def columns(calibration: Calibration) -> dict[str, Column]:
    """`n_residual` learnt so far (a calibrated model counts as warmed up), `mean_abs`, `band`, `resolution`."""
    known = calibration.mean_abs_residual
    band = None if calibration.band_95 is None else calibration.band_95[0]
    start = 0.0 if known is None else known
    return {
        "n_residual": Column(np.int64, (), 0 if known is None else WARM_UP),
        "mean_abs": Column(np.float64, (), start),
        "band": Column(np.float64, (), start * _GAUSSIAN_BAND if band is None else band),
        "resolution": Column(np.float64, (), np.inf),
        "threshold": Column(np.float64, (), np.nan),
        "absolute": Column(np.bool_),
        "exceeded": Column(np.uint64),  # a bit for each of the last 32 readings
        "calm": Column(np.int64),  # readings in a row below the clear threshold
    }


@dataclass(frozen=True, slots=True)
class Judgement:
    """Columns `(n,)` for n readings: see `Verdicts`. `warm` says whether the score may be used, `scale` is its unit."""

    expected: Floats
    lower: Floats
    upper: Floats
    residual: Floats
    score: Floats
    threshold: Floats
    warm: Mask
    scale: Floats


def judge(state: State, value: Floats, expected: Floats) -> Judgement:
    """Score readings against their forecasts; everything is NaN where `expected` is, but the score is 0."""
    residual = value - expected
    band = state["band"]
    scale = _scale(state, expected)
    warm = (state["n_residual"] >= WARM_UP) & np.isfinite(residual)
    return Judgement(
        expected=expected,
        lower=expected - band,
        upper=expected + band,
        residual=residual,
        score=np.where(warm, np.abs(residual) / np.where(state["absolute"], 1.0, scale), 0.0),
        threshold=state["threshold"].copy(),
        warm=warm,
        scale=scale,
    )


def rule(state: State, judged: Judgement, active: Mask, rules: Rules) -> Ruling:
    """Raised at k of the last m readings over the threshold, with hysteresis."""
    score, threshold = judged.score, judged.threshold
    exceeds = judged.warm & (score > threshold)
    history = ((state["exceeded"] << np.uint64(1)) | exceeds) & _HISTORY
    state["exceeded"] = history
    recent = np.bitwise_count(history & np.uint64((1 << rules.raise_within) - 1))
    calm = np.where(score < rules.clear_ratio * threshold, state["calm"] + 1, 0)
    state["calm"] = calm
    raised = exceeds & (recent >= rules.raise_after)
    return Ruling(
        active=np.where(active, calm < rules.clear_after, raised),
        score=score,
        threshold=threshold,
        critical=score > rules.critical_ratio * threshold,
    )


def learn(state: State, judged: Judgement, teaches: Mask) -> None:
    """Take the residuals of those readings that may teach into the recent error and the band.

    The band's half-width follows the 95 % quantile of |residual| by online subgradient steps on the pinball loss, as in
    adaptive conformal prediction (Gibbs and Candes 2021, arXiv:2106.00170; Angelopoulos et al. 2023,
    arXiv:2307.16895), with steps in units of the recent error.
    """
    size = np.abs(judged.residual)
    n, mean, band = state["n_residual"], state["mean_abs"], state["band"]
    warm = n >= WARM_UP
    taken = np.where(warm, np.minimum(size, CLIP * judged.scale), size)
    learnt = mean + (taken - mean) * np.maximum(1.0 / (n + 1.0), 1.0 / MEMORY)
    followed = np.maximum(band + BAND_STEP * learnt * ((size > band) - BAND_MISS), 0.0)
    state["band"] = np.where(teaches, np.where(warm, followed, _GAUSSIAN_BAND * learnt), band)
    state["mean_abs"] = np.where(teaches, learnt, mean)
    state["n_residual"] = n + teaches


def see_change(state: State, change: Floats) -> None:
    """Remember the smallest change between consecutive readings that is not zero; NaN is no change."""
    size = np.abs(change)
    state["resolution"] = np.fmin(state["resolution"], np.where(size > 0, size, np.inf))


def _scale(state: State, expected: Floats) -> Floats:
    resolution = state["resolution"]
    known = np.where(np.isfinite(resolution), resolution, 0.0)
    tiny = np.maximum(_RELATIVE_FLOOR * np.abs(expected), 1e-12)
    scale: Floats = np.maximum(np.maximum(state["mean_abs"], known), tiny)
    return scale
