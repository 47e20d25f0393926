"""From a CSV to a model file: reads, splits, trains, calibrates, measures, exports and reports."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
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
from forewarn_training.evaluate import MODEL, PERSISTENCE, RIDGE, Evaluation, about_blocks, evaluate
from forewarn_training.export import export, forecast_with_torch
from forewarn_training.learner import learn
from forewarn_training.model import Cell, Network, NetworkSpec, linear_network
from forewarn_training.multivariate import fit_multivariate, over_limit
from forewarn_training.recipes import Name
from forewarn_training.report import render
from forewarn_training.start import BLOCK_WEIGHT, RATE, Start, starter_network, validation_error
from forewarn_training.story import Story
from forewarn_training.time_channels import TimeChannels, choose, choose_ridge
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
        start: whether an LSTM starts from the shipped model, from scratch, or as validates better ("auto"). The others
            than "scratch" need what `start.obstacles` says.
        time_channels: whether the model is told the time of day and of week, or as validates better ("auto"). A
            training that starts from the shipped model is not.
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
    start: Start = "scratch"
    time_channels: TimeChannels = "no"
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
        choices: a sentence for each choice that was made on the validation part.
        sentence: whether the network earns its place.
        notes: what the blocks and bands are worth on the test part.
        cell: of the written model.
        parity: largest difference between torch and onnxruntime, in units of the target's spread.
    """

    card: ModelCard
    evaluation: Evaluation
    course: Course
    choices: tuple[str, ...]
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
    network, course, choices = train(history, data, plan)
    if network.spec.n_step != plan.cut.n_step:  # the shipped model's
        plan = replace(plan, cut=replace(plan.cut, n_step=network.spec.n_step))
        data = prepare(history, plan.cut)
    validation, test = data.validation, data.test
    expected = forecast_with_torch(network, validation.inputs(), validation.spreads(), validation.ends_at()).path
    calibration = calibrate(validation.targets(), expected, validation.device[validation.starts])
    rivals = {}
    if network.spec.cell != "linear":
        rivals[RIDGE] = choose_ridge(data, plan.time_channels)[0].forecast
    model = partial(forecast_with_torch, network)
    evaluation = evaluate(model, data, test, rivals)
    metrics = metrics_of(evaluation)
    if baselines is not None:
        evaluation = evaluate(model, data, test, rivals, baselines)
    sentence = place(evaluation, network.spec.cell)
    together = fit_multivariate(data.training, data.validation)
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
        multivariate=together is not None,
    )
    some = validation.some(_PARITY_WINDOWS)
    scale = float(data.training.targets().std())
    proof = validation.inputs(some), validation.spreads(some), scale, validation.ends_at(some), together
    _, parity = export(plan.out, network, card, *proof)
    said = forecast_with_torch(network, test.inputs(), test.spreads(), test.ends_at())
    notes = [about_blocks(said.block_mean, test), coverage(test.targets(), said.path, calibration)]
    if together is not None:
        notes.append(over_limit(together, test))
    settings = _settings(plan, network.spec)
    story = Story(card, settings, data, course, evaluation, sentence, choices, tuple(notes), said.path)
    _write_report(plan.report, story)
    return Fitted(card, evaluation, course, choices, sentence, tuple(notes), network.spec.cell, parity)


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


def train(history: History, data: Dataset, plan: Plan) -> tuple[Network, Course, tuple[str, ...]]:
    """Train what `plan` says; of the cell "auto" an LSTM, exchanged for the ridge where that validates better.

    Returns:
        The network, its training, and a sentence for each choice that was made. The network may have a shorter window
        than `data`: that of the shipped model.
    """
    if plan.cell == "linear":
        linear, told = _linear(data, plan)
        return linear, Course(), told
    network, course, choices = _started(history, data, plan)
    if plan.cell == "auto":
        linear, told = _linear(data, plan)
        if _error(linear, data) <= _error(network, data):
            return linear, course, told
    return network, course, choices


def _started(history: History, data: Dataset, plan: Plan) -> tuple[Network, Course, tuple[str, ...]]:
    """Train an LSTM from the shipped model's weights, from scratch, or both."""
    if plan.start == "starter":
        return *_tuned(history, plan), ("Training started from the shipped model.",)
    (network, course), of_time = _from_scratch(data, plan)
    if plan.start == "scratch":
        return network, course, of_time
    tuned, of_tuned = _tuned(history, plan)
    errors = validation_error(tuned, data), validation_error(network, data)
    better = errors[0] < errors[1]
    told = (
        f"On the validation part the mean |error| over all leads is {errors[0]:.3f} of persistence's for the training "
        f"that started from the shipped model and {errors[1]:.3f} for the one from scratch: the "
        f"{'first' if better else 'second'} was kept."
    )
    return (tuned, of_tuned, (told,)) if better else (network, course, (*of_time, told))


def _tuned(history: History, plan: Plan) -> tuple[Network, Course]:
    network = starter_network(plan.cut.horizon)
    data = prepare(history, replace(plan.cut, n_step=network.spec.n_step))
    recipe = replace(plan.recipe, learning_rate=RATE * plan.recipe.learning_rate, block_weight=BLOCK_WEIGHT)
    return learn(data, network.spec, recipe, network=network, label="training on", progress=plan.progress)


def _linear(data: Dataset, plan: Plan) -> tuple[Network, tuple[str, ...]]:
    index = data.features.index(data.target)
    ridge, told = choose_ridge(data, plan.time_channels)
    told_time = ridge.clock_scale is not None
    spec = NetworkSpec(plan.cut.n_step, len(data.features), index, plan.cut.horizon, "linear", 0, 0, clock=told_time)
    return linear_network(spec, ridge), tuple(filter(None, [told]))


def _error(network: Network, data: Dataset) -> float:
    """Mean |error| at lead 1 on the validation part."""
    part = data.validation
    windows = part.inputs()[:, -network.spec.n_step :]
    said = forecast_with_torch(network, windows, part.spreads(), part.ends_at()).path
    return float(np.abs(said[:, 0] - part.targets()[:, 0]).mean())


def _from_scratch(data: Dataset, plan: Plan) -> tuple[tuple[Network, Course], tuple[str, ...]]:
    """With the time of day and of week, without, or as validates better."""
    trained, told = choose(
        plan.time_channels,
        data,
        lambda told_time: _train(data, plan, told_time=told_time),
        lambda trained: validation_error(trained[0], data),
    )
    return trained, tuple(filter(None, [told]))


def _train(data: Dataset, plan: Plan, *, told_time: bool) -> tuple[Network, Course]:
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
        clock=told_time,
    )
    checkpoint = plan.checkpoint
    if checkpoint is not None and told_time and plan.time_channels == "auto":  # the other training has the file
        checkpoint = checkpoint.with_name(f"{checkpoint.name}.time")
    resume = plan.resume and (checkpoint == plan.checkpoint or checkpoint is None or checkpoint.exists())
    return learn(data, spec, plan.recipe, checkpoint=checkpoint, resume=resume, progress=plan.progress)


def _write_report(path: Path, story: Story) -> None:
    try:
        path.write_text(render(story), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: the report cannot be written ({error.strerror})") from error


def _settings(plan: Plan, spec: NetworkSpec) -> list[tuple[str, str]]:
    network = {name: getattr(spec, name) for name in ("cell", "layers", "units", "dropout")}
    start = {"start": "starter" if spec.per_window else "scratch"}
    flat = {"recipe": plan.recipe_name, **asdict(plan.cut), **network, **start, **asdict(plan.recipe)}
    return [(name, str(value)) for name, value in flat.items()]
