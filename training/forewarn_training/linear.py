"""Ridge autoregression: the linear forecast that a network has to beat, and that is exported where it does not.

One weight for each reading and output, fitted directly for each lead and each block's mean (none is forecast from
another). Inputs and outputs are normalised as the network's are, so the level of the readings is no input here either.
The penalty of each output is the one with the smallest mean absolute error on the validation part (Hoerl and Kennard
1970 for the ridge).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.core.clock import CHANNELS, clock
from forewarn_training.data import DIFFERENCE_LIMIT, INPUT_LIMIT, Floats, Part, Windows32, clock_scale, scales

# Shares of the mean square of an input; an input has a mean square of about 1.
PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-6, 2))
_MOST_WINDOWS = 100_000
_CHUNK = 2048

Targets = Callable[[Part, NDArray[np.int64]], Windows32]


class _Given(NamedTuple):
    """Scales of the inputs: `(n_feature,)`, and of the clock where it is one."""

    inputs: Windows32
    clock: Windows32 | None


@dataclass(frozen=True, slots=True)
class Ridge:
    """A fitted ridge autoregression.

    Attributes:
        path: the part that forecasts each lead.
        blocks: the part that forecasts the mean of each block.
        block_error: `(n_block,)` mean |error| of `blocks` on the validation part, in units of their scale; 1 where no
            window of it is followed by a whole block.
        input_scale: `(n_feature,)` see `data.scales`.
        target_index: the column that is forecast.
        clock_scale: see `data.clock_scale`; None where the time is no input.
    """

    path: "Weights"
    blocks: "Weights"
    block_error: Floats
    input_scale: Windows32
    target_index: int
    clock_scale: Windows32 | None = None

    def forecast(self, windows: Windows32, at: Floats) -> Windows32:
        """Forecast `(n, horizon)` from windows `(n, n_step, n_feature)` that end at times `(n,)`; engineering units."""
        given = _Given(self.input_scale, self.clock_scale)
        out = np.empty((len(windows), len(self.path.bias)), np.float32)
        for i in range(0, len(windows), _CHUNK):
            chunk = windows[i : i + _CHUNK]
            scaled = _scaled(chunk, at[i : i + _CHUNK], given) @ self.path.weights.T + self.path.bias
            out[i : i + _CHUNK] = chunk[:, -1, self.target_index, None] + scaled * self.path.scale
        return out


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of n outputs.

    Attributes:
        weights: `(n, n_step * n_feature)` of the scaled inputs, oldest reading first; then those of the clock, if any.
        bias: `(n,)`.
        scale: `(n,)` of the outputs, see `data.scales`.
        penalties: `(n,)` what validation chose, of `PENALTIES`.
    """

    weights: Windows32
    bias: Windows32
    scale: Windows32
    penalties: Floats


def fit_ridge(training: Part, validation: Part, *, told_time: bool = False) -> Ridge:
    """Fit on one part, choose the penalty of each output on the other.

    Args:
        training: what it is fitted to.
        validation: what chooses.
        told_time: whether the time of day and of week are inputs.
    """
    of_inputs, of_outputs, of_blocks = scales(training)
    given = _Given(of_inputs, clock_scale(training) if told_time else None)
    path, _ = _solve(training, validation, given, of_outputs, Part.targets)
    blocks, error = _solve(training, validation, given, of_blocks, Part.block_targets)
    return Ridge(path, blocks, error, of_inputs, training.target_index, given.clock)


def _solve(
    training: Part, validation: Part, given: _Given, scale: Windows32, targets: Targets
) -> tuple[Weights, Floats]:
    """The weights for some targets, and their mean |error| on the validation part in units of `scale`."""
    mean_x, mean_y, gram, cross = _moments(training, given, scale, targets)
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ cross
    candidates = np.stack([vectors @ (rotated / (np.maximum(values, 0) + p)[:, None]) for p in PENALTIES])
    biases = mean_y - np.einsum("p,kph->kh", mean_x, candidates)
    errors = _validation_errors(validation, given, scale, candidates, biases, targets)
    known = np.isfinite(errors).all()
    chosen = np.argmin(errors, axis=0) if known else np.full(len(scale), len(PENALTIES) - 1)
    outputs = np.arange(len(scale))
    fitted = Weights(
        weights=np.ascontiguousarray(candidates[chosen, :, outputs], np.float32),
        bias=biases[chosen, outputs].astype(np.float32),
        scale=scale,
        penalties=np.asarray(PENALTIES)[chosen],
    )
    return fitted, errors[chosen, outputs] if known else np.ones(len(scale))


def _scaled(windows: Windows32, at: Floats, given: _Given) -> Windows32:
    """`(n, n_input)` differences from the last reading, as `Network.normalise` scales them, and the clock."""
    difference = np.clip(windows - windows[:, -1:, :], -DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)
    scaled = np.clip(difference / given.inputs, -INPUT_LIMIT, INPUT_LIMIT)
    flat = np.asarray(scaled.reshape(len(windows), windows.shape[1] * windows.shape[2]), np.float32)
    return flat if given.clock is None else np.concatenate([flat, clock(at) * given.clock], axis=1)


def _rows(
    part: Part, chosen: NDArray[np.int64], given: _Given, scale: Windows32, targets: Targets
) -> tuple[Floats, Floats]:
    """Scaled inputs and outputs of the windows that have all of their targets."""
    wanted = targets(part, chosen)
    whole = np.isfinite(wanted).all(axis=1)
    windows = part.inputs(chosen[whole])
    change = wanted[whole] - windows[:, -1, part.target_index, None]
    return _scaled(windows, part.ends_at(chosen[whole]), given).astype(np.float64), (change / scale).astype(np.float64)


def _moments(part: Part, given: _Given, scale: Windows32, targets: Targets) -> tuple[Floats, Floats, Floats, Floats]:
    """Means of inputs and outputs, and their second moments about them, summed in chunks."""
    width, outputs, n = part.n_step * len(given.inputs) + CHANNELS * (given.clock is not None), len(scale), 0
    sum_x, sum_y = np.zeros(width), np.zeros(outputs)
    gram, cross = np.zeros((width, width)), np.zeros((width, outputs))
    chosen = part.some(_MOST_WINDOWS)
    for i in range(0, len(chosen), _CHUNK):
        x, y = _rows(part, chosen[i : i + _CHUNK], given, scale, targets)
        sum_x, sum_y, gram, cross = sum_x + x.sum(axis=0), sum_y + y.sum(axis=0), gram + x.T @ x, cross + x.T @ y
        n += len(x)
    n = max(n, 1)
    mean_x, mean_y = sum_x / n, sum_y / n
    return mean_x, mean_y, gram / n - np.outer(mean_x, mean_x), cross / n - np.outer(mean_x, mean_y)


def _validation_errors(
    part: Part, given: _Given, scale: Windows32, candidates: Floats, biases: Floats, targets: Targets
) -> Floats:
    """Mean |error| of each penalty and output, `(n_penalty, n)`; NaN where no window has all of its targets."""
    total, n = np.zeros(biases.shape), 0
    chosen = part.some(_MOST_WINDOWS)
    for i in range(0, len(chosen), _CHUNK):
        x, y = _rows(part, chosen[i : i + _CHUNK], given, scale, targets)
        n += len(x)
        for k, (weights, bias) in enumerate(zip(candidates, biases, strict=True)):
            total[k] += np.abs(x @ weights + bias - y).sum(axis=0)
    return total / n if n else np.full(biases.shape, np.nan)
