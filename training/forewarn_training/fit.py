"""From a CSV to a model file: reads, splits, trains, calibrates, measures, exports and reports."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from forewarn.core.card import Feature, ModelCard
from forewarn.errors import DataError, SettingsError
from forewarn.history import History
from forewarn_training.bands import coverage
from forewarn_training.calibrate import calibrate
from forewarn_training.classical import Classical
from forewarn_training.data import Cut, Dataset, prepare
from forewarn_training.evaluate import MODEL, PERSISTENCE, RIDGE, Evaluation, Rival, about_blocks, evaluate
from forewarn_training.export import export, forecast_with_torch
from forewarn_training.learner import learn
from forewarn_training.linear import Ridge, fit_ridge
from forewarn_training.model import Cell, Network, NetworkSpec, linear_network
from forewarn_training.recipes import Name
from forewarn_training.report import Story, render
from forewarn_training.trainer import Course, Recipe
from forewarn_training.verdict import place

_PARITY_WINDOWS = 2048


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train and where to write it.

    Attributes:
        out: the model file.
        report: the training report.
        cut: how history becomes windows.
        cell: see `NetworkSpec`; "auto" is an LSTM or the linear model, whichever validates better at lead 1.
        layers: how many.
        units: of each.
        dropout: see `NetworkSpec`.
        recipe: of the training.
        recipe_name: "tutorial" reads and forecasts the level; `recipe` is then the one of `learner.tutorial`.
        name: of the model.
        version: of the model.
        feature_units: unit of each feature that has one.
        checkpoint: a file written after each epoch.
        resume: whether to go on from it.
        progress: whether to show a bar where the terminal can.
        baselines: whether the table has AutoARIMA, AutoETS and Theta too; the card's metrics stay those of all windows.
    """

    out: Path
    report: Path
    cut: Cut
    name: str
    version: str
    cell: Cell | Literal["auto"] = "lstm"
    layers: int = 1
    units: int = 32
    dropout: float = 0.0
    recipe: Recipe = field(default_factory=Recipe)
    recipe_name: Name = "differences"
    feature_units: Mapping[str, str] = field(default_factory=dict)
    checkpoint: Path | None = None
    resume: bool = False
    progress: bool = True
    baselines: bool = False


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of it.

    Attributes:
        card: of the written model.
        evaluation: on the test part.
        course: of the training; empty for the linear model.
        sentence: whether the network earns its place.
        notes: what the blocks and bands are worth on the test part.
        cell: of the written model.
        parity: largest difference between torch and onnxruntime, in units of the target's spread.
    """

    card: ModelCard
    evaluation: Evaluation
    course: Course
    sentence: str
    notes: tuple[str, ...]
    cell: Cell
    parity: float


def fit(history: History, plan: Plan) -> Fitted:
    """Train a model and write it with its report.

    Raises:
        DataError: where the history is too short, or a unit is given for a feature it has not.
        SettingsError: where a file cannot be written, the checkpoint cannot be resumed from, or the extra for the
            baselines is not installed.
        ModelError: where onnxruntime does not agree with torch.
    """
    _check(history, plan)
    data = prepare(history, plan.cut)
    baselines = Classical(data, progress=plan.progress) if plan.baselines else None
    ridge = fit_ridge(data.training, data.validation)
    network, course = train(data, plan, ridge)
    validation, test = data.validation, data.test
    expected = forecast_with_torch(network, validation.inputs(), validation.spreads()).path
    calibration = calibrate(validation.targets(), expected, validation.device[validation.starts])
    rivals = {} if network.spec.cell == "linear" else {RIDGE: ridge.forecast}
    model = partial(forecast_with_torch, network)
    evaluation = evaluate(model, data, test, rivals)
    metrics = metrics_of(evaluation)
    if baselines is not None:
        evaluation = evaluate(model, data, test, rivals, baselines)
    sentence = place(evaluation, network.spec.cell)
    card = ModelCard(
        name=plan.name,
        version=plan.version,
        features=tuple(Feature(name, plan.feature_units.get(name, "")) for name in data.features),
        target=data.target,
        n_step=plan.cut.n_step,
        horizon=plan.cut.horizon,
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        interval_s=data.interval_s,
        training_data_sha256=data.sha256,
        calibration=calibration,
        metrics=metrics,
    )
    some = validation.some(_PARITY_WINDOWS)
    scale = float(data.training.targets().std())
    _, parity = export(plan.out, network, card, validation.inputs(some), validation.spreads(some), scale)
    said = forecast_with_torch(network, test.inputs(), test.spreads())
    notes = about_blocks(said.block_mean, test), coverage(test.targets(), said.path, calibration)
    _write_report(plan.report, Story(card, _settings(plan), data, course, evaluation, sentence, notes, said.path))
    return Fitted(card, evaluation, course, sentence, notes, network.spec.cell, parity)


def metrics_of(evaluation: Evaluation) -> dict[str, float]:
    """What the card tells of the test part: errors at lead 1, and persistence's."""
    model, naive, ridge = (evaluation.of(method, 1) for method in (MODEL, PERSISTENCE, RIDGE))
    if model is None or naive is None:
        return {}
    metrics = {"test_mae": model.mae, "test_rmse": model.rmse, "test_mase": model.mase}
    metrics |= {"test_mae_persistence": naive.mae, "test_windows": float(evaluation.n_window)}
    metrics |= {"test_mae_ridge": ridge.mae} if ridge is not None else {}
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _check(history: History, plan: Plan) -> None:
    unknown = sorted(set(plan.feature_units) - set(history.features))
    if unknown:
        raise DataError(f"--unit names {', '.join(unknown)}, the features are {', '.join(history.features)}")
    check_writable(plan.out, plan.report, plan.checkpoint)


def check_writable(*paths: Path | None) -> None:
    """Refuse, before anything is trained, paths that cannot be files.

    Raises:
        SettingsError: naming the path.
    """
    for path in filter(None, paths):
        if not path.parent.is_dir():
            raise SettingsError(f"{path}: its folder does not exist: make it first")
        if path.is_dir():
            raise SettingsError(f"{path}: is a folder: give the name of a file")


def train(data: Dataset, plan: Plan, ridge: Ridge) -> tuple[Network, Course]:
    """Train what `plan` says; of the cell "auto" an LSTM, exchanged for the ridge where that validates better."""
    if plan.cell == "linear":
        return _linear(data, plan, ridge), Course()
    network, course = _train(data, plan)
    if plan.cell == "auto" and _validation_error(ridge.forecast, data) <= _validation_error(
        lambda windows: forecast_with_torch(network, windows, data.validation.spreads()).path, data
    ):
        return _linear(data, plan, ridge), course
    return network, course


def _linear(data: Dataset, plan: Plan, ridge: Ridge) -> Network:
    index = data.features.index(data.target)
    spec = NetworkSpec(plan.cut.n_step, len(data.features), index, plan.cut.horizon, "linear", 0, 0)
    return linear_network(spec, ridge)


def _validation_error(forecast: Rival, data: Dataset) -> float:
    """Mean |error| at lead 1 on the validation part."""
    part = data.validation
    return float(np.abs(forecast(part.inputs())[:, 0] - part.targets()[:, 0]).mean())


def _train(data: Dataset, plan: Plan) -> tuple[Network, Course]:
    index = data.features.index(data.target)
    cell: Cell = "lstm" if plan.cell == "auto" else plan.cell
    spec = NetworkSpec(
        plan.cut.n_step,
        len(data.features),
        index,
        plan.cut.horizon,
        cell,
        plan.layers,
        plan.units,
        plan.dropout,
        level=plan.recipe_name == "tutorial",
    )
    return learn(data, spec, plan.recipe, checkpoint=plan.checkpoint, resume=plan.resume, progress=plan.progress)


def _write_report(path: Path, story: Story) -> None:
    try:
        path.write_text(render(story), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: the report cannot be written ({error.strerror})") from error


def _settings(plan: Plan) -> list[tuple[str, str]]:
    cut, network = asdict(plan.cut), {"cell": plan.cell, "layers": plan.layers, "units": plan.units}
    flat = {"recipe": plan.recipe_name, **cut, **network, "dropout": plan.dropout, **asdict(plan.recipe)}
    return [(name, str(value)) for name, value in flat.items()]
