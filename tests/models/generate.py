"""Writes the tiny models that the daemon's tests run, so that they need no torch.

All are LSTMs with small random weights whose forecasts stay within 0.05 of the last reading of `temperature`:
predictable for a test, and still moved by every reading of the window. The spread does not move them; the time moves
`timed`, which has a clock. Run from the repository's root with `python -m tests.models.generate` where the training
extra is installed; the files are committed.
"""

from pathlib import Path

import numpy as np
import torch

from forewarn.core.card import Calibration, Feature, ModelCard
from forewarn_training.export import export
from forewarn_training.model import Network, NetworkSpec

HERE = Path(__file__).parent
TEMPERATURE = Feature("temperature", "°C")
HUMIDITY = Feature("humidity", "%")
REACH = 0.05  # the most that a forecast is away from the last reading


def write(name: str, features: tuple[Feature, ...], n_step: int, horizon: int, *, clock: bool = False) -> None:
    """Write one model."""
    torch.manual_seed(1)
    network = Network(NetworkSpec(n_step, len(features), 0, horizon, units=4, clock=clock))
    with torch.no_grad():
        network.head.weight.mul_(0.5)
        network.head.bias.zero_()
        network.output_scale.fill_(REACH)
        network.block_scale.fill_(REACH)
    card = ModelCard(
        name=name,
        version="1",
        features=features,
        target="temperature",
        n_step=n_step,
        horizon=horizon,
        created_at="2025-01-01T00:00:00Z",
        interval_s=60.0,
        training_data_sha256="0" * 64,
        calibration=Calibration(0.1, (0.15,) * horizon, (0.25,) * horizon, threshold_errors=6.0),
        metrics={"mae": 0.1},
    )
    windows = np.random.default_rng(1).normal(20, 2, (16, n_step, len(features))).astype(np.float32)
    export(HERE / f"{name}.onnx", network, card, windows, np.full(16, 2, np.float32), 2.0, np.arange(0.0, 16e5, 1e5))


if __name__ == "__main__":
    write("tiny", (TEMPERATURE,), 6, 3)
    write("pair", (TEMPERATURE, HUMIDITY), 5, 2)
    write("timed", (TEMPERATURE,), 6, 3, clock=True)
