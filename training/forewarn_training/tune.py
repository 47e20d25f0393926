"""Searches the settings of a network by rolling-origin cross-validation; the only importer of optuna.

Rules that hold here:

- Only the training and validation parts are read, cut into folds that each validate on what comes after their training.
- Every trial of a fold is measured at the same readings, those that the longest window allows, so that a longer window
  is not judged on fewer of them.
- A trial that is worse after a fold than the median of the earlier ones is pruned. Each trial is in the study's SQLite
  file as soon as it ends, so a search that was stopped goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
from tqdm import tqdm

from forewarn.errors import SettingsError
from forewarn.history import History
from forewarn_training.data import Cut, Dataset, prepare
from forewarn_training.export import forecast_with_torch
from forewarn_training.learner import learn
from forewarn_training.model import Cell, NetworkSpec
from forewarn_training.trainer import Recipe

N_STEPS = (10, 20, 30, 48, 96)
CELLS: tuple[Cell, ...] = ("lstm", "gru")
UNITS = (8, 16, 32, 64)
LAYERS = (1, 2)
LEARNING_RATES = (5e-4, 8e-3)
# Of the training and validation parts together: where each fold's training ends. Each validates on the fifth after it.
_ORIGINS = (0.4, 0.6, 0.8)
_FOLD = 0.2
_MOST_WINDOWS = 20_000
_FIRST_UNPRUNED = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """What is searched."""

    n_step: int
    cell: Cell
    layers: int
    units: int
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found.

    Attributes:
        best: the settings with the smallest score.
        score: of it: half of MAE / MAE of persistence at lead 1, half of the mean of it at the other leads, mean of the
            folds.
        trials: that were finished, pruned ones among them.
        pruned: of them.
    """

    best: Settings
    score: float
    trials: int
    pruned: int


def tune(
    history: History,
    cut: Cut,
    study_file: Path,
    *,
    trials: int,
    recipe: Recipe,
    n_steps: Sequence[int] = N_STEPS,
    progress: bool = True,
) -> Search:
    """Search until the study has `trials` finished trials.

    Args:
        history: of the readings.
        cut: its shares say what the search may see; its `n_step` is not used.
        study_file: SQLite; one that exists is continued where it is of the same readings, target, shares and horizon.
        trials: finished trials to reach, those of an earlier run among them.
        recipe: of each training; its learning rate is not used.
        n_steps: lengths of a window to choose from.
        progress: whether to show a bar where the terminal can.

    Raises:
        DataError: where the history is too short for the folds.
        SettingsError: where the study file cannot be used.
    """
    folds = _Folds(history, cut, tuple(n_steps))
    study = _study(study_file, history, cut, recipe, folds.n_steps)
    done = len(_finished(study))
    with tqdm(
        total=trials, initial=min(done, trials), unit=" trials", desc="searching", disable=None if progress else True
    ) as bar:

        def count(study: optuna.Study, _: optuna.trial.FrozenTrial) -> None:
            bar.update(1)
            bar.set_postfix_str(f"best {study.best_value:.4f}")

        if done < trials:
            study.optimize(lambda trial: folds.score(trial, recipe), n_trials=trials - done, callbacks=[count])
    finished = _finished(study)
    pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in finished)
    return Search(Settings(**study.best_params), float(study.best_value), len(finished), pruned)


def _study(path: Path, history: History, cut: Cut, recipe: Recipe, n_steps: Sequence[int]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    about = f"{history.sha256[:16]} {history.target} of {','.join(history.features)} {cut.horizon} {cut.shares}"
    about += f" {cut.max_gap} {n_steps} {recipe.epochs} {recipe.seed}"
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        study = optuna.create_study(
            study_name=about,
            storage=storage,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST_UNPRUNED),
        )
    except Exception as error:  # of SQLAlchemy, which is not imported here
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(f"{path}: cannot be used for the study ({reason}): give another --study") from error
    # A search that goes on must not draw the first one's trials again.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.trials))
    return study


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return list(study.get_trials(deepcopy=False, states=states))


class _Folds:
    """The folds of a history, for windows of several lengths."""

    def __init__(self, history: History, cut: Cut, n_steps: tuple[int, ...]) -> None:
        seen = sum(cut.shares)
        self.n_steps = n_steps
        self._history = history
        self._cuts = [replace(cut, shares=(seen * origin, seen * _FOLD)) for origin in _ORIGINS]
        self._widest = [self._prepared(fold, max(n_steps)) for fold in range(len(_ORIGINS))]

    def _prepared(self, fold: int, n_step: int) -> Dataset:
        return prepare(self._history, replace(self._cuts[fold], n_step=n_step))

    def score(self, trial: optuna.Trial, recipe: Recipe) -> float:
        """Train and measure one trial on each fold in turn."""
        settings = _drawn(trial, self.n_steps)
        scores: list[float] = []
        for fold in range(len(_ORIGINS)):
            scores.append(self._measure(fold, settings, replace(recipe, learning_rate=settings.learning_rate)))
            trial.report(float(np.mean(scores)), fold)
            if fold + 1 < len(_ORIGINS) and trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(scores))

    def _measure(self, fold: int, settings: Settings, recipe: Recipe) -> float:
        data = self._prepared(fold, settings.n_step)
        spec = NetworkSpec(
            settings.n_step,
            len(data.features),
            data.training.target_index,
            data.training.horizon,
            settings.cell,
            settings.layers,
            settings.units,
        )
        network, _ = learn(data, spec, recipe, progress=False)
        part = self._widest[fold].validation
        chosen = part.some(_MOST_WINDOWS)
        windows, wanted = part.inputs(chosen)[:, -settings.n_step :], part.targets(chosen)
        away = np.abs(forecast_with_torch(network, windows, part.spreads(chosen)).path - wanted).mean(axis=0)
        naive = np.abs(windows[:, -1:, part.target_index] - wanted).mean(axis=0)
        ratio = away / np.maximum(naive, np.finfo(np.float32).tiny)
        return float(ratio[0] if len(ratio) == 1 else (ratio[0] + ratio[1:].mean()) / 2)


def _drawn(trial: optuna.Trial, n_steps: Sequence[int]) -> Settings:
    return Settings(
        n_step=trial.suggest_categorical("n_step", list(n_steps)),
        cell=trial.suggest_categorical("cell", list(CELLS)),
        layers=trial.suggest_categorical("layers", list(LAYERS)),
        units=trial.suggest_categorical("units", list(UNITS)),
        learning_rate=trial.suggest_float("learning_rate", *LEARNING_RATES, log=True),
    )
