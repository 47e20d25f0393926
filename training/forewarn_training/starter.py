"""Trains the model that ships with forewarn: it works on any sensor before anything was trained.

Each window is scaled by its own spread, so the model has no idea of level or unit; it was trained on made-up series
only and brings no sensor's errors, so a device's own error is learnt while it warms up. Its default threshold is
the median of those of made-up series, without spikes and steps, that training did not see.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from forewarn.core.card import Calibration, Feature, ModelCard
from forewarn_training.calibrate import scores, threshold_of
from forewarn_training.data import Part
from forewarn_training.export import export, forecast_with_torch
from forewarn_training.model import Network, NetworkSpec
from forewarn_training.synthetic import pool
from forewarn_training.trainer import Recipe, Trainer

SPEC = NetworkSpec(n_step=30, n_feature=1, target_index=0, horizon=8, units=30, per_window=True)
VERSION = "1"
_LEVEL = 20.0  # of the golden sample: a sensor near 20


def train_starter(
    out: Path, *, seed: int = 0, n_series: int = 8000, n_window: int = 600_000, epochs: int = 8, progress: bool = True
) -> ModelCard:
    """Train and write the starter; the defaults take two minutes on one core.

    Args:
        out: the model file.
        seed: of series, weights and order.
        n_series: series to train on, of 900 readings each.
        n_window: windows cut from them.
        epochs: over these windows.
        progress: whether to show a bar where the terminal can.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    n_held = max(n_series // 10, 2)
    training = as_part(pool(n_series, 900, seed), n_window, seed)
    validation = as_part(pool(n_held, 900, seed + 1), n_window // 10, seed)
    calm = as_part(pool(n_held, 900, seed + 2, events=False))
    network = Network(SPEC)
    recipe = Recipe(epochs=epochs, batch_size=256, learning_rate=3e-3, seed=seed)
    trainer = Trainer(network, training, validation, recipe)
    disable = None if progress else True
    with tqdm(total=epochs * len(training), unit=" windows", unit_scale=True, desc="training", disable=disable) as bar:

        def step(n: int) -> None:
            bar.update(n)

        trainer.run(on_batch=step)
    card = ModelCard(
        name="starter",
        version=VERSION,
        features=(Feature("value"),),
        target="value",
        n_step=SPEC.n_step,
        horizon=SPEC.horizon,
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        calibration=Calibration(threshold_errors=typical_threshold(network, calm)),
        metrics={"synthetic_mae_over_persistence": against_persistence(network, validation)},
    )
    export(out, network, card, unit_windows(validation), 1.0)
    return card


def unit_windows(part: Part) -> NDArray[np.float32]:
    """Windows of very different sensors brought to one level and spread, so that one scale fits all."""
    windows = part.inputs(part.some(2048))
    change = windows - windows[:, -1:]
    windows = _LEVEL + change / np.maximum(change.std(axis=1, keepdims=True), np.float32(1e-6))
    return np.asarray(windows, np.float32)


def as_part(series: NDArray[np.float32], n_window: int | None = None, seed: int = 0) -> Part:
    """Series `(n_series, n_reading)` as rows, with `n_window` of their windows drawn at random, or all."""
    n, length = series.shape
    first = np.arange(length - SPEC.n_step - SPEC.horizon + 1)
    starts = (np.arange(n)[:, None] * length + first).ravel()
    if n_window is not None and n_window < len(starts):
        starts = np.sort(np.random.default_rng(seed).choice(starts, n_window, replace=False))
    at = np.tile(np.arange(length, dtype=np.float64), n)
    device = np.repeat(np.arange(n), length)
    return Part(at, device, series.reshape(-1, 1), starts, SPEC.n_step, SPEC.horizon, SPEC.target_index)


def typical_threshold(network: Network, part: Part) -> float:
    """The median over series of the threshold that each would get by itself, as `calibrate` does."""
    expected = forecast_with_torch(network, part.inputs())[:, 0].astype(np.float64)
    owner = part.device[part.starts]
    score = scores(part.targets()[:, 0].astype(np.float64), expected, owner, Calibration())
    return round(float(np.median([threshold_of(score[owner == one]) for one in np.unique(owner)])), 2)


def against_persistence(network: Network, part: Part) -> float:
    """Geometric mean over series of the mean absolute error at lead 1 divided by persistence's."""
    inputs, wanted = part.inputs(), part.targets()[:, 0]
    owner = part.device[part.starts]
    error = np.bincount(owner, np.abs(forecast_with_torch(network, inputs)[:, 0] - wanted))
    naive = np.bincount(owner, np.abs(inputs[:, -1, 0] - wanted))
    known = (error > 0) & (naive > 0)
    return round(float(np.exp(np.mean(np.log(error[known] / naive[known])))), 4)
