"""Trains the model that ships with forewarn: it works on any sensor before anything was trained.

Each window is scaled by its own spread, so the model has no idea of level or unit; it was trained on made-up series
only and brings no sensor's errors, so a device's own error is learnt while it warms up. Its default threshold is
the median of those of made-up series, without events, that training did not see. The same seed gives the same
file on the same machine, to the bit: its date is that of `VERSION`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from forewarn.core.card import BLOCKS, Calibration, Feature, ModelCard
from forewarn_training.calibrate import scores, threshold_of
from forewarn_training.data import Part, Windows32, running_spread
from forewarn_training.export import export, forecast_with_torch
from forewarn_training.model import Network, NetworkSpec
from forewarn_training.synthetic import pool
from forewarn_training.trainer import Recipe, Trainer

SPEC = NetworkSpec(n_step=16, n_feature=1, target_index=0, horizon=24, units=48, per_window=True)
VERSION, CREATED_AT = "2", "2026-11-21T00:00:00Z"
# The blocks count for as much as the mean over the leads and lead 1 together.
RECIPE = Recipe(epochs=1, batch_size=512, learning_rate=3e-3, warm_up=0.3, clip=0.5, lead_one=0.52, block_weight=0.5)
LEADS = (1, 3, 12, 24)
_LEVEL = 20.0  # of the golden sample: a sensor near 20
_N_READING, _N_CALM = 2400, 900


def train_starter(
    out: Path, *, seed: int = 0, n_series: int = 4000, n_window: int = 768_000, progress: bool = True
) -> ModelCard:
    """Train and write the starter; the defaults take half a minute on one core.

    Args:
        out: the model file.
        seed: of series, weights and order.
        n_series: series to train on, of 2400 readings each.
        n_window: windows cut from them, each seen once.
        progress: whether to show a bar where the terminal can.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    n_held = max(n_series // 10, 2)
    training = as_part(pool(n_series, _N_READING, seed), n_window, seed)
    validation = as_part(pool(n_held, _N_READING, seed + 1), n_window // 10, seed)
    calm = as_part(pool(n_held, _N_CALM, seed + 2, events=False))
    network = Network(SPEC)
    trainer = Trainer(network, training, validation, replace(RECIPE, seed=seed))
    disable = None if progress else True
    with tqdm(total=len(training), unit=" windows", unit_scale=True, desc="training", disable=disable) as bar:

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
        created_at=CREATED_AT,
        calibration=Calibration(threshold_errors=typical_threshold(network, calm)),
        metrics=against_persistence(network, validation),
    )
    export(out, network, card, *unit_windows(validation), 1.0)
    return card


def unit_windows(part: Part) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows of very different sensors, and their spreads, brought to one level and scale, so that one fits all."""
    chosen = part.some(2048)
    windows = part.inputs(chosen)
    change = windows - windows[:, -1:]
    scale = np.maximum(change.std(axis=(1, 2)), np.float32(1e-6))
    windows = _LEVEL + change / scale[:, None, None]
    return np.asarray(windows, np.float32), np.minimum(part.spreads(chosen) / scale, 1e3).astype(np.float32)


def as_part(series: NDArray[np.float32], n_window: int | None = None, seed: int = 0) -> Part:
    """Series `(n_series, n_reading)` as rows, with `n_window` of their windows drawn at random, or all."""
    n, length = series.shape
    first = np.arange(length - SPEC.n_step - SPEC.horizon + 1)
    starts = (np.arange(n)[:, None] * length + first).ravel()
    if n_window is not None and n_window < len(starts):
        starts = np.sort(np.random.default_rng(seed).choice(starts, n_window, replace=False))
    at = np.tile(np.arange(length, dtype=np.float64), n)
    device = np.repeat(np.arange(n), length)
    spread = running_spread(series.ravel(), device)
    return Part(at, device, series.reshape(-1, 1), starts, SPEC.n_step, SPEC.horizon, SPEC.target_index, spread)


def typical_threshold(network: Network, part: Part) -> float:
    """The median over series of the threshold that each would get by itself, as `calibrate` does."""
    expected = forecast_with_torch(network, part.inputs(), part.spreads()).path[:, 0].astype(np.float64)
    owner = part.device[part.starts]
    score = scores(part.targets()[:, 0].astype(np.float64), expected, owner, Calibration())
    return round(float(np.median([threshold_of(score[owner == one]) for one in np.unique(owner)])), 2)


def against_persistence(network: Network, part: Part) -> dict[str, float]:
    """Geometric means over series of mean |error| divided by persistence's, at some leads and of the blocks' means."""
    inputs, owner = part.inputs(), part.device[part.starts]
    said, last = forecast_with_torch(network, inputs, part.spreads()), inputs[:, -1, 0]
    wanted, blocks = part.targets(), part.block_targets()
    name = "synthetic_mae_over_persistence"
    found = {
        name if lead == 1 else f"{name}_lead_{lead}": (said.path[:, lead - 1], wanted[:, lead - 1]) for lead in LEADS
    }
    found |= {f"{name}_mean_{n}": (said.block_mean[:, i], blocks[:, i]) for i, n in enumerate(BLOCKS)}
    return {name: _ratio(forecast, actual, last, owner) for name, (forecast, actual) in found.items()}


def _ratio(forecast: Windows32, actual: Windows32, last: Windows32, owner: NDArray[np.int64]) -> float:
    there = np.isfinite(actual)
    error = np.bincount(owner[there], np.abs(forecast - actual)[there])
    naive = np.bincount(owner[there], np.abs(last - actual)[there])
    known = (error > 0) & (naive > 0)
    return round(float(np.exp(np.mean(np.log(error[known] / naive[known])))), 4)
