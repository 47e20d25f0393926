"""Trains every kind of model that the contract allows on one history, and measures them on the same windows.

The tutorial's model reads fewer readings than the others; it is given the last ones of the same windows, so that every
method forecasts the same readings.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.adapters.onnx_forecaster import OnnxForecaster
from forewarn.core.card import Feature, ModelCard
from forewarn.history import History
from forewarn_training.data import Cut, Dataset, Floats, Part, Windows32, prepare
from forewarn_training.export import export
from forewarn_training.learner import learn, tutorial
from forewarn_training.linear import fit_ridge
from forewarn_training.model import Cell, Network, NetworkSpec, count_parameters, linear_network
from forewarn_training.recipes import RECIPES
from forewarn_training.trainer import Recipe

BATCHES = (1, 64)
_MOST_WINDOWS = 50_000
_PARITY_WINDOWS = 512
_ROUNDS, _ROUND_S = 5, 0.02


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of model: its cell, its layers, whether it is the tutorial's, and whether it is told the time."""

    cell: Cell
    layers: int = 1
    level: bool = False
    clock: bool = False


KINDS = {
    "linear": Kind("linear"),
    "linear-time": Kind("linear", clock=True),
    "lstm": Kind("lstm"),
    "lstm-time": Kind("lstm", clock=True),
    "gru": Kind("gru"),
    "lstm-2": Kind("lstm", layers=2),
    "transformer": Kind("transformer"),
    "tutorial": Kind("lstm", level=True),
}


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one kind, mean over the seeds.

    Attributes:
        name: of the kind.
        ratio: MAE / MAE of persistence at each lead that was asked for.
        parameters: trained weights.
        window_us: microseconds a window for each of `BATCHES`.
        training_s: seconds that one training took.
    """

    name: str
    ratio: Sequence[float]
    parameters: int
    window_us: Sequence[float]
    training_s: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The table, the leads of its columns, persistence's MAE at each, and the number of windows."""

    rows: Sequence[Row]
    leads: Sequence[int]
    persistence: Sequence[float]
    n_window: int


def compare(
    history: History, cut: Cut, names: Sequence[str], *, epochs: int, seeds: int = 1, progress: bool = True
) -> Comparison:
    """Train and measure the kinds that `names` lists.

    Args:
        history: of the readings.
        cut: how it becomes windows.
        names: of `KINDS`.
        epochs: of each training, at most.
        seeds: trainings of each kind, of which the mean is told.
        progress: whether to show bars where the terminal can.

    Raises:
        DataError: where the history is too short.
        ModelError: where onnxruntime does not agree with torch.
    """
    data = prepare(history, cut)
    short = prepare(history, replace(cut, n_step=min(cut.n_step, RECIPES["tutorial"].n_step)))
    chosen = data.test.some(_MOST_WINDOWS)
    windows, wanted = data.test.inputs(chosen), data.test.targets(chosen)
    asked = _Asked(windows, data.test.spreads(chosen), data.test.ends_at(chosen))
    leads = [lead for lead in (1, 3, 12, 24) if lead <= cut.horizon]
    naive = _errors(windows[:, -1:, data.test.target_index], wanted, leads)
    rows = []
    for name in names:
        parts = short if KINDS[name].level else data
        tries = 1 if KINDS[name].cell == "linear" else seeds
        measured = [
            _measure(
                name,
                parts,
                asked._replace(windows=windows[:, -parts.test.n_step :]),
                wanted,
                leads,
                Recipe(epochs=epochs, seed=seed),
                progress=progress,
            )
            for seed in range(tries)
        ]
        rows.append(_mean(name, measured, naive))
    return Comparison(rows, leads, naive.tolist(), len(chosen))


class _Asked(NamedTuple):
    windows: Windows32
    spread: Windows32
    at: Floats

    def first(self, n: int) -> "_Asked":
        return _Asked(self.windows[:n], self.spread[:n], self.at[:n])


@dataclass(frozen=True, slots=True)
class _Measured:
    mae: Floats
    parameters: int
    window_us: Floats
    training_s: float


def _measure(
    name: str,
    data: Dataset,
    asked: _Asked,
    wanted: Windows32,
    leads: list[int],
    recipe: Recipe,
    *,
    progress: bool,
) -> _Measured:
    began = time.perf_counter()
    network = trained(name, data, recipe, progress=progress)
    training_s = time.perf_counter() - began
    with TemporaryDirectory() as folder:
        model = _exported(Path(folder) / "model.onnx", network, data)
        mae = _errors(model.forecast(*asked).path, wanted, leads)
        cost = np.array([_window_us(model, asked.first(batch)) for batch in BATCHES])
    return _Measured(mae, count_parameters(network), cost, training_s)


def trained(name: str, data: Dataset, recipe: Recipe, *, progress: bool) -> Network:
    """The network of one of `KINDS`, trained with its recipe's own batches and rate and `recipe`'s epochs and seed."""
    kind, part = KINDS[name], data.training
    defaults = RECIPES["tutorial" if kind.level else "differences"]
    spec = NetworkSpec(
        part.n_step,
        len(data.features),
        part.target_index,
        part.horizon,
        kind.cell,
        kind.layers,
        defaults.units,
        defaults.dropout,
        level=kind.level,
        clock=kind.clock,
    )
    if kind.cell == "linear":
        return linear_network(spec, fit_ridge(part, data.validation, told_time=kind.clock))
    recipe = replace(recipe, batch_size=defaults.batch_size, learning_rate=defaults.learning_rate)
    if kind.level:
        recipe = tutorial(recipe, part.horizon)
    return learn(data, spec, recipe, label=name, progress=progress)[0]


def _exported(path: Path, network: Network, data: Dataset) -> OnnxForecaster:
    part: Part = data.validation
    card = ModelCard(
        "compared",
        "1",
        tuple(map(Feature, data.features)),
        data.target,
        part.n_step,
        part.horizon,
        datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    scale, chosen = float(data.training.targets().std()), part.some(_PARITY_WINDOWS)
    return export(path, network, card, part.inputs(chosen), part.spreads(chosen), scale, part.ends_at(chosen))[0]


def _errors(forecast: NDArray[np.float32], wanted: Windows32, leads: list[int]) -> Floats:
    """MAE at each lead; `forecast` has one column for all leads or one for each."""
    size = np.abs(forecast.astype(np.float64) - wanted)
    return np.asarray(size.mean(axis=0)[np.asarray(leads) - 1])


def _window_us(model: OnnxForecaster, asked: _Asked) -> float:
    """Least of a few rounds: what else runs on the machine only adds."""
    model.forecast(*asked)
    best = np.inf
    for _ in range(_ROUNDS):
        began, calls = time.perf_counter(), 0
        while time.perf_counter() - began < _ROUND_S:
            model.forecast(*asked)
            calls += 1
        best = min(best, (time.perf_counter() - began) / calls / len(asked.windows))
    return float(best * 1e6)


def _mean(name: str, measured: Sequence[_Measured], naive: Floats) -> Row:
    mae = np.mean([one.mae for one in measured], axis=0)
    ratio = np.divide(mae, naive, out=np.full(len(naive), np.nan), where=naive > 0)
    cost = np.min([one.window_us for one in measured], axis=0)
    seconds = float(np.mean([one.training_s for one in measured]))
    return Row(name, ratio.tolist(), measured[0].parameters, cost.tolist(), seconds)
