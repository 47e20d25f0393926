"""The model that the benchmark runs: an LSTM of 30 steps and 50 units with random weights, written by the exporter."""

from pathlib import Path

import numpy as np
import torch

from forewarn.core.card import Feature, ModelCard
from forewarn_training.export import export
from forewarn_training.model import Network, NetworkSpec

N_STEP = 30
UNITS = 50


def write_model(path: Path) -> None:
    """Write the model; its speed does not depend on its weights, its forecasts stay near the last reading."""
    torch.manual_seed(0)
    network = Network(NetworkSpec(n_step=N_STEP, n_feature=1, target_index=0, horizon=1, units=UNITS))
    card = ModelCard(
        name="bench",
        version="1",
        features=(Feature("temperature", "°C"),),
        target="temperature",
        n_step=N_STEP,
        horizon=1,
        created_at="2026-01-01T00:00:00Z",
    )
    windows = np.random.default_rng(0).normal(20.0, 1.0, (64, N_STEP, 1)).astype(np.float32)
    export(path, network, card, windows, np.ones(64, np.float32), 1.0)
