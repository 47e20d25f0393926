"""The tasks of the usual LSTM tutorials, forecast by the tutorials' recipe, by ours and by methods without a network.

Rules that hold here:

- Every method of a task forecasts the same readings; a network with a shorter window is given the last readings of it.
- A mean over seeds is of trainings; what has no seed is measured once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from forewarn.errors import SettingsError
from forewarn.history import History
from forewarn_training.classical import ARIMA, Classical
from forewarn_training.compare import trained
from forewarn_training.data import Cut, Dataset, Windows32, prepare
from forewarn_training.evaluate import PERSISTENCE, RIDGE
from forewarn_training.export import forecast_with_torch
from forewarn_training.linear import fit_ridge
from forewarn_training.recipes import RECIPES
from forewarn_training.trainer import Recipe
from forewarn_training.tutorial_series import heated_room, hourly_temperature, irregular, noisy_sine

OURS, TUTORIAL, SARIMA = "ours", "tutorial", "SARIMA"
DEFAULT_STEPS = RECIPES["differences"].n_step
MOST_WINDOWS = 1000
_NOT_INSTALLED = "not installed"


@dataclass(frozen=True, slots=True)
class Task:
    """One task: what is forecast, from how many readings by the tutorials, and how far ahead."""

    name: str
    history: History
    look_back: int
    horizon: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One method at one task.

    Attributes:
        task: its name.
        method: its name.
        n_step: readings that it is given; None for what reads the whole past.
        mae: mean over the leads and seeds, in the task's unit; NaN where the method could not be had.
        ratio: `mae` over persistence's.
        note: why there is no number.
    """

    task: str
    method: str
    n_step: int | None
    mae: float
    ratio: float
    note: str = ""


def tasks(temperature: History | None = None) -> list[Task]:
    """All tasks; a real series of temperatures may take the place of the made-up one."""
    warm = temperature or hourly_temperature()
    return [
        Task("noisy sine, look-back 1", noisy_sine(), 1),
        Task("noisy sine, look-back 10", noisy_sine(), 10),
        Task("hourly temperature", warm, 3),
        Task("irregular series", irregular(), 10),
        Task("several features", heated_room(), 10),
        Task("three steps ahead", warm, 10, horizon=3),
    ]


def run(chosen: Sequence[Task], *, epochs: int, seeds: int, progress: bool = True) -> Iterator[list[Row]]:
    """The rows of each task, task by task.

    Args:
        chosen: the tasks.
        epochs: of each training, at most.
        seeds: trainings of each network.
        progress: whether to show a bar where the terminal can.

    Raises:
        DataError: where a series is too short.
    """
    with tqdm(
        total=3 * seeds * len(chosen), unit=" trainings", desc="tutorials", disable=None if progress else True
    ) as bar:
        for task in chosen:
            bar.set_postfix_str(task.name)
            yield _rows(task, epochs, seeds, bar.update)


def table(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows as text."""
    header = ("task", "method", "readings", "MAE", "over persistence")
    return header, [
        (row.task, row.method, f"{row.n_step or 'past'}", row.note, "")
        if row.note
        else (row.task, row.method, f"{row.n_step or 'past'}", f"{row.mae:#.4g}", f"{row.ratio:.3f}")
        for row in rows
    ]


def about(rows: Sequence[Row], seeds: int) -> str:
    """What the columns are, and what is best at each task."""
    best = {row.task: min((r for r in rows if r.task == row.task), key=_mae_or_last) for row in rows}
    winners = "; ".join(f"{task}: {row.method}, {row.n_step or 'past'}" for task, row in best.items())
    missing = any(row.note == _NOT_INSTALLED for row in rows)
    told = "pip install 'forewarn[baselines]' adds it" if missing else "it is given readings before the window too"
    return (
        f"MAE: mean |error| on the last 20 % of each series, over its leads, mean of {seeds} seed(s) for tutorial and "
        "ours; below 1 of persistence's is better than the last reading. Readings: how many a forecast is made from.\n"
        f"SARIMA is AutoARIMA of statsforecast, its season the day; {told}.\nSmallest error: {winners}."
    )


def _mae_or_last(row: Row) -> float:
    return np.inf if np.isnan(row.mae) else row.mae


def _rows(task: Task, epochs: int, seeds: int, done: Callable[[int], object]) -> list[Row]:
    cut = Cut(max(task.look_back, DEFAULT_STEPS), task.horizon)
    widest = prepare(task.history, cut)
    chosen = widest.test.some(MOST_WINDOWS)
    windows, wanted = widest.test.inputs(chosen), widest.test.targets(chosen)
    ends_at = widest.test.ends_at(chosen)
    naive = _mae(windows[:, -1:, widest.test.target_index], wanted)

    def row(method: str, n_step: int | None, mae: float, note: str = "") -> Row:
        return Row(task.name, method, n_step, mae, mae / naive if naive > 0 else np.nan, note)

    def mean(kind: str, n_step: int) -> float:
        data = prepare(task.history, replace(cut, n_step=n_step))
        total = 0.0
        for seed in range(seeds):
            total += _mae(_network(kind, data, Recipe(epochs=epochs, seed=seed))(windows[:, -n_step:]), wanted)
            done(1)
        return total / seeds

    def ridge(n_step: int) -> float:
        data = prepare(task.history, replace(cut, n_step=n_step))
        return _mae(fit_ridge(data.training, data.validation).forecast(windows[:, -n_step:], ends_at), wanted)

    short = task.look_back
    rows = [row(PERSISTENCE, 1, naive), row(TUTORIAL, short, mean("tutorial", short))]
    for n_step in sorted({short, cut.n_step}):
        rows += [row(OURS, n_step, mean("lstm", n_step)), row(RIDGE, n_step, ridge(n_step))]
    try:
        said = Classical(widest, (ARIMA,), progress=False)
        forecast = said.forecast(widest.test, chosen).get(ARIMA)
    except SettingsError:
        return [*rows, row(SARIMA, None, np.nan, _NOT_INSTALLED)]
    if forecast is None:
        return [*rows, row(SARIMA, None, np.nan, said.note)]
    return [*rows, row(SARIMA, None, _mae(forecast, wanted))]


def _network(kind: str, data: Dataset, recipe: Recipe) -> Callable[[Windows32], Windows32]:
    network = trained(kind, data, recipe, progress=False)
    return lambda windows: forecast_with_torch(network, windows, np.zeros(len(windows), np.float32)).path


def _mae(forecast: Windows32 | np.ndarray, wanted: Windows32) -> float:
    """Mean |error| over windows and leads."""
    return float(np.abs(np.asarray(forecast, np.float64) - wanted).mean())
