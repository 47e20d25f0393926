"""Writes a trained network as one `.onnx` file with its card and golden sample, and proves it before it is kept."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from forewarn import __version__
from forewarn.adapters.onnx_forecaster import OnnxForecaster, load_model
from forewarn.core.card import BLOCKS, CARD_KEY, GOLDEN_KEY, GoldenSample, ModelCard
from forewarn.core.clock import clock
from forewarn.core.ports import Forecast
from forewarn.errors import ModelError
from forewarn_training.graph import build
from forewarn_training.model import Network
from forewarn_training.multivariate import Multivariate

GOLDEN_WINDOWS = 4
_CHUNK = 1024
SPEC_KEY = "forewarn.network"
WRITER_KEY = "forewarn.version"


def forecast_with_torch(
    network: Network,
    windows: NDArray[np.float32],
    spread: NDArray[np.float32],
    at: NDArray[np.float64] | None = None,
    together: Multivariate | None = None,
) -> Forecast:
    """What torch says to windows `(n, n_step, n_feature)`, spreads `(n,)` and, of a network with a clock, times `(n,)`.

    Beside it `together` says how the features go together.

    Raises:
        ValueError: where there are no times for a network that has a clock.
    """
    network.eval()
    given = [windows, spread]
    if network.spec.clock:
        if at is None:
            raise ValueError("a network that has a clock needs the times of the windows")
        given.append(clock(at))
    n, horizon = len(windows), network.spec.horizon
    out = [np.empty((n, width), np.float32) for width in (horizon, len(BLOCKS), len(BLOCKS))]
    with torch.no_grad():
        for i in range(0, n, _CHUNK):
            rows = slice(i, i + _CHUNK)
            found = network(*(torch.from_numpy(values[rows]) for values in given))
            for kept, values in zip(out, found, strict=True):
                kept[rows] = values.numpy()
    return Forecast(*out, *([] if together is None else [together.parts(windows)]))


def golden_sample(
    network: Network,
    windows: NDArray[np.float32],
    spread: NDArray[np.float32],
    scale: float,
    at: NDArray[np.float64] | None = None,
    together: Multivariate | None = None,
) -> GoldenSample:
    """A few windows spread over those given, and torch's forecasts for them.

    Args:
        network: that is exported.
        windows: `(n, n_step, n_feature)` to choose from.
        spread: `(n,)` that belong to them.
        scale: the target's spread. It is taken for at least a hundredth of the level, below which 1e-4 of it would be
            less than float32 resolves.
        at: `(n,)` times of the windows' last readings, of a network that has a clock.
        together: exported beside it.
    """
    chosen = np.linspace(0, len(windows) - 1, min(GOLDEN_WINDOWS, len(windows))).astype(int)
    window, own = np.ascontiguousarray(windows[chosen], np.float32), np.asarray(spread[chosen], np.float32)
    level = float(np.abs(window[:, :, network.spec.target_index]).max())
    times = at[chosen] if at is not None and network.spec.clock else None
    said = forecast_with_torch(network, window, own, times, together)
    return _sample(window, own, said, max(scale, level / 100) or 1.0, times)


def export(
    path: Path,
    network: Network,
    card: ModelCard,
    windows: NDArray[np.float32],
    spread: NDArray[np.float32],
    scale: float,
    at: NDArray[np.float64] | None = None,
    together: Multivariate | None = None,
) -> tuple[OnnxForecaster, float]:
    """Write the file, load it as the daemon does and compare all `windows` with torch.

    Args:
        path: of the `.onnx` file; replaced only by a file that has passed.
        network: to write.
        card: of the model.
        windows: `(n, n_step, n_feature)` engineering units, to compare on and to take the golden sample from.
        spread: `(n,)` that belong to them.
        scale: see `golden_sample`.
        at: see `golden_sample`.
        together: how the features go together, of a card that says `multivariate`.

    Returns:
        The loaded model, and the largest difference from torch in units of the golden sample's scale.

    Raises:
        ModelError: where onnxruntime differs by more than `GoldenSample.TOLERANCE`.
    """
    golden = golden_sample(network, windows, spread, scale, at, together)
    metadata = {CARD_KEY: card.to_json(), GOLDEN_KEY: golden.to_json(), **describe(network)}
    model = build(network.spec, {k: v.numpy() for k, v in network.state_dict().items()}, metadata, together)
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_bytes(model.SerializeToString())
        everything = _sample(windows, spread, forecast_with_torch(network, windows, spread, at, together), golden.scale)
        away = everything.disagreement(*load_model(draft).forecast(windows, spread, at))
        if not away <= GoldenSample.TOLERANCE:
            raise ModelError(f"{path}: onnxruntime differs from torch by {away:.2g} of the scale: please report this")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return load_model(path), away


def _sample(
    windows: NDArray[np.float32],
    spread: NDArray[np.float32],
    said: Forecast,
    scale: float,
    at: NDArray[np.float64] | None = None,
) -> GoldenSample:
    return GoldenSample(windows, spread, said.path, said.block_mean, said.block_log_scale, scale, said.t_squared, at)


def describe(network: Network) -> Mapping[str, str]:
    """What the network is made of, for people: the daemon does not read it."""
    spec = ", ".join(f"{key}={value}" for key, value in asdict(network.spec).items())
    return {SPEC_KEY: spec, WRITER_KEY: __version__}
