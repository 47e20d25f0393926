"""Ridge autoregression: the linear forecast that a network has to beat, and that is exported where it does not.

One weight for each reading and lead, fitted directly for each lead (no lead is forecast from another). Inputs and
outputs are normalised as the network's are, so the level of the readings is no input here either. The penalty of each
lead is the one with the smallest mean absolute error on the validation part (Hoerl and Kennard 1970 for the ridge).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn_training.data import DIFFERENCE_LIMIT, INPUT_LIMIT, Floats, Part, Windows32, scales

# Shares of the mean square of an input; an input has a mean square of about 1.
PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-6, 2))
_MOST_WINDOWS = 100_000
_CHUNK = 2048


@dataclass(frozen=True, slots=True)
class Ridge:
    """A fitted ridge autoregression.

    Attributes:
        weights: `(horizon, n_step * n_feature)` of the scaled inputs, oldest reading first.
        bias: `(horizon,)`.
        input_scale: `(n_feature,)` see `data.scales`.
        output_scale: `(horizon,)` see `data.scales`.
        penalties: `(horizon,)` what validation chose, of `PENALTIES`.
        target_index: the column that is forecast.
    """

    weights: Windows32
    bias: Windows32
    input_scale: Windows32
    output_scale: Windows32
    penalties: Floats
    target_index: int

    def forecast(self, windows: Windows32) -> Windows32:
        """Forecast `(n, horizon)` from windows `(n, n_step, n_feature)`, both in engineering units."""
        out = np.empty((len(windows), len(self.bias)), np.float32)
        for i in range(0, len(windows), _CHUNK):
            chunk = windows[i : i + _CHUNK]
            scaled = _scaled(chunk, self.input_scale) @ self.weights.T + self.bias
            out[i : i + _CHUNK] = chunk[:, -1, self.target_index, None] + scaled * self.output_scale
        return out


def fit_ridge(training: Part, validation: Part) -> Ridge:
    """Fit on one part, choose the penalty of each lead on the other."""
    of_inputs, of_outputs = scales(training)
    mean_x, mean_y, gram, cross = _moments(training, of_inputs, of_outputs)
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ cross
    candidates = np.stack([vectors @ (rotated / (np.maximum(values, 0) + p)[:, None]) for p in PENALTIES])
    biases = mean_y - np.einsum("p,kph->kh", mean_x, candidates)
    chosen = np.argmin(_validation_errors(validation, of_inputs, of_outputs, candidates, biases), axis=0)
    leads = np.arange(training.horizon)
    return Ridge(
        weights=np.ascontiguousarray(candidates[chosen, :, leads], np.float32),
        bias=biases[chosen, leads].astype(np.float32),
        input_scale=of_inputs,
        output_scale=of_outputs,
        penalties=np.asarray(PENALTIES)[chosen],
        target_index=training.target_index,
    )


def _scaled(windows: Windows32, of_inputs: Windows32) -> Windows32:
    """`(n, n_step * n_feature)` differences from the last reading, as `Network.normalise` scales them."""
    difference = np.clip(windows - windows[:, -1:, :], -DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)
    scaled = np.clip(difference / of_inputs, -INPUT_LIMIT, INPUT_LIMIT)
    return np.asarray(scaled.reshape(len(windows), -1), np.float32)


def _rows(part: Part, chosen: NDArray[np.int64], of_inputs: Windows32, of_outputs: Windows32) -> tuple[Floats, Floats]:
    windows = part.inputs(chosen)
    change = part.targets(chosen) - windows[:, -1, part.target_index, None]
    return _scaled(windows, of_inputs).astype(np.float64), (change / of_outputs).astype(np.float64)


def _moments(part: Part, of_inputs: Windows32, of_outputs: Windows32) -> tuple[Floats, Floats, Floats, Floats]:
    """Means of inputs and outputs, and their second moments about them, summed in chunks."""
    width = part.n_step * len(of_inputs)
    sum_x, sum_y = np.zeros(width), np.zeros(part.horizon)
    gram, cross = np.zeros((width, width)), np.zeros((width, part.horizon))
    chosen = part.some(_MOST_WINDOWS)
    for i in range(0, len(chosen), _CHUNK):
        x, y = _rows(part, chosen[i : i + _CHUNK], of_inputs, of_outputs)
        sum_x, sum_y, gram, cross = sum_x + x.sum(axis=0), sum_y + y.sum(axis=0), gram + x.T @ x, cross + x.T @ y
    n = len(chosen)
    mean_x, mean_y = sum_x / n, sum_y / n
    return mean_x, mean_y, gram / n - np.outer(mean_x, mean_x), cross / n - np.outer(mean_x, mean_y)


def _validation_errors(
    part: Part, of_inputs: Windows32, of_outputs: Windows32, candidates: Floats, biases: Floats
) -> Floats:
    """Sum of |error| of each penalty and lead, `(n_penalty, horizon)`."""
    total = np.zeros(biases.shape)
    chosen = part.some(_MOST_WINDOWS)
    for i in range(0, len(chosen), _CHUNK):
        x, y = _rows(part, chosen[i : i + _CHUNK], of_inputs, of_outputs)
        for k, (weights, bias) in enumerate(zip(candidates, biases, strict=True)):
            total[k] += np.abs(x @ weights + bias - y).sum(axis=0)
    return total
