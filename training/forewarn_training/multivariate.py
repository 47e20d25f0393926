"""Whether several features go together as they did in the training: Hotelling's T² of a vector autoregression.

Each reading is forecast from the `LAGS` before it, all features from all (vector autoregression, Lütkepohl 2005,
chapter 3, with a small ridge penalty). An exponentially weighted mean of the errors, over the readings of one window,
is measured against their covariance: T² of a multivariate EWMA chart (Lowry, Woodall, Champ and Rigdon 1992,
doi:10.2307/1269551). The limit is `LIMIT` times the largest T² of the history that it was fitted to, the training and
validation parts.

All of it but the clipping is linear in the window, so a model carries it as two small matrices, and it follows from one
window alone.
"""

from dataclasses import dataclass

import numpy as np

from forewarn_training.data import Floats, Part, Windows32

LAGS = 5
WEIGHT = 0.2
LIMIT = 3.5
_RIDGE = 1.0  # in units of a standardised reading
_SHRINK = 0.1  # of the covariance towards its diagonal
_LEAST_VARIANCE = 1e-2  # of an error, in units of the feature's own variance: below it, it is rounding
LARGEST = 50.0  # standard deviations: a reading further away counts as this far
_MOST = 20_000  # readings that it is fitted to, of each part
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Multivariate:
    """T² over its limit, as arithmetic on windows `(n, n_step, n_feature)`.

    Attributes:
        mean: `(n_feature,)` of that history.
        deviation: `(n_feature,)` its standard deviation.
        weights: `(n_step * n_feature, n_feature)` from a standardised window, oldest reading first, to the weighted
            mean of its errors.
        bias: `(n_feature,)` of that mean.
        precision: `(n_feature, n_feature)` inverse of its covariance, over the limit.
    """

    mean: Windows32
    deviation: Windows32
    weights: Windows32
    bias: Windows32
    precision: Windows32

    def parts(self, windows: Windows32) -> Windows32:
        """What each feature contributes to T² over its limit, `(n, n_feature)`; their sum is over 1 beyond it."""
        error = _standardised(windows, self.mean, self.deviation) @ self.weights + self.bias
        return np.asarray(error * (error @ self.precision), np.float32)

    def of(self, part: Part) -> Windows32:
        """T² over its limit, `(n_window,)` of a part."""
        chunks = [slice(i, i + _CHUNK) for i in range(0, len(part), _CHUNK)]
        return np.concatenate([self.parts(part.inputs(chunk)).sum(axis=1) for chunk in chunks])


def fit_multivariate(training: Part, validation: Part) -> Multivariate | None:
    """Fit on both parts; None where windows or features are too few for it."""
    n_step, n_feature = training.n_step, training.values.shape[1]
    lags = min(LAGS, n_step - 1)
    if lags < 1 or n_feature < 2:
        return None
    readings = np.concatenate([_stretches(part, lags + 1) for part in (training, validation)])
    mean, deviation = _scale(readings[:, -1])
    recent = _standardised(readings, mean, deviation).astype(np.float64)
    slope, constant = _regression(recent[:, : lags * n_feature], recent[:, lags * n_feature :])
    error = recent[:, lags * n_feature :] - recent[:, : lags * n_feature] @ slope - constant
    weights, bias = _averaged(slope, constant, n_step)
    precision = np.linalg.inv(_covariance(error) * WEIGHT / (2 - WEIGHT))
    plain = Multivariate(mean, deviation, weights, bias, precision.astype(np.float32))
    largest = max(float(plain.of(part).max()) for part in (training, validation))
    return Multivariate(mean, deviation, weights, bias, (precision / (LIMIT * max(largest, 1.0))).astype(np.float32))


def over_limit(together: Multivariate, test: Part) -> str:
    """How often the test part is over the limit, in a sentence."""
    over = together.of(test) > 1.0
    raised = int(np.count_nonzero(over[1:] & ~over[:-1])) + int(over[:1].sum())
    return (
        f"Of the {len(over)} windows of the test part {100 * over.mean():.2f} % are over the limit of T² over the "
        f"{len(together.mean)} features, in {raised} stretches."
    )


def _standardised(windows: Windows32, mean: Windows32, deviation: Windows32) -> Windows32:
    """`(n, n_step * n_feature)`."""
    scaled = np.clip((windows - mean) / deviation, -LARGEST, LARGEST)
    return np.asarray(scaled.reshape(len(windows), -1), np.float32)


def _stretches(part: Part, length: int) -> Windows32:
    """`(n, length, n_feature)` readings in a row of one device: also those that are too few for a window."""
    starts = np.arange(max(0, len(part.values) - length + 1))
    bad = np.concatenate([[0], np.cumsum(~np.isfinite(part.values).all(axis=1))])
    whole = (bad[starts + length] == bad[starts]) & (part.device[starts + length - 1] == part.device[starts])
    starts = starts[whole]
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(_MOST, len(starts))).astype(np.int64))
    out: Windows32 = part.values[starts[chosen, None] + np.arange(length)]
    return out


def _scale(readings: Windows32) -> tuple[Windows32, Windows32]:
    """Mean and standard deviation of each feature; one that never changed has what float32 resolves of its level."""
    wide = readings.astype(np.float64)
    mean = wide.mean(axis=0)
    return mean.astype(np.float32), np.maximum(wide.std(axis=0), 1e-6 * np.abs(mean) + 1e-12).astype(np.float32)


def _regression(inputs: Floats, outputs: Floats) -> tuple[Floats, Floats]:
    """Slopes `(n_input, n_feature)` and constants of the least squares with the penalty `_RIDGE`."""
    centre, level = inputs.mean(axis=0), outputs.mean(axis=0)
    x = inputs - centre
    slope = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ (outputs - level))
    return slope, level - centre @ slope


def _covariance(error: Floats) -> Floats:
    own = np.cov(error.T)
    shrunk = (1 - _SHRINK) * own + _SHRINK * np.diag(np.diag(own))
    out: Floats = shrunk + _LEAST_VARIANCE * np.eye(len(own))
    return out


def _averaged(slope: Floats, constant: Floats, n_step: int) -> tuple[Windows32, Windows32]:
    """The weighted mean of the errors at every step that has its lags, as one matrix over the whole window."""
    n_feature = len(constant)
    width = len(slope)
    weights = np.zeros((n_step * n_feature, n_feature))
    total = 0.0
    for age in range(n_step - width // n_feature):
        share = WEIGHT * (1 - WEIGHT) ** age
        end = (n_step - age) * n_feature
        weights[end - n_feature : end] += share * np.eye(n_feature)
        weights[end - n_feature - width : end - n_feature] -= share * slope
        total += share
    return weights.astype(np.float32), (-total * constant).astype(np.float32)
