"""The tutorials' tasks: the same readings for every method, the tutorials' look-back, and what is told of the rest."""

import math
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from forewarn_training import tutorial_tasks
from forewarn_training.cli import UNUSABLE, main
from forewarn_training.data import Cut, Dataset, prepare
from forewarn_training.evaluate import PERSISTENCE, RIDGE, evaluate
from forewarn_training.linear import fit_ridge
from forewarn_training.option_types import file_and_column
from forewarn_training.trainer import Recipe
from forewarn_training.tutorial_series import heated_room, hourly_temperature, irregular, noisy_sine
from forewarn_training.tutorial_tasks import OURS, SARIMA, TUTORIAL, Row, Task, about, run, table, tasks
from tests.training.sensors import history, saying, wave, write_csv

SERIES = (noisy_sine, hourly_temperature, irregular, heated_room)
SHORT = Task("short", history(Path("a.csv"), wave(240)), 4, horizon=2)


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, np.ndarray, int, int]]:
    """Kind, windows, seed and epochs of each training; networks repeat the last reading plus their seed."""
    found: list[tuple[str, np.ndarray, int, int]] = []

    def network(kind: str, data: Dataset, recipe: Recipe) -> Callable[[np.ndarray], np.ndarray]:
        def forecast(windows: np.ndarray) -> np.ndarray:
            found.append((kind, windows, recipe.seed, recipe.epochs))
            return windows[:, -1:, data.test.target_index] + np.float32(100 * recipe.seed)

        return forecast

    monkeypatch.setattr(tutorial_tasks, "_network", network)
    return found


def rows_of(task: Task, seeds: int = 1) -> list[Row]:
    return next(run([task], epochs=1, seeds=seeds, progress=False))


@pytest.mark.parametrize("make", SERIES)
def test_a_series_is_the_same_each_time_and_long_enough(make: type) -> None:
    first, second = make(), make()
    assert first.values.tobytes() == second.values.tobytes()
    assert first.at.tobytes() == second.at.tobytes()
    assert np.isfinite(first.values).all()
    data = prepare(first, Cut(30, 3))
    assert len(data.test) > 200
    assert data.target == first.features[0]


def test_the_irregular_series_has_what_its_name_says() -> None:
    data = irregular()
    steps = np.diff(data.at)
    assert (steps > 0).all()
    assert steps[steps < 100].std() > 10, "jitter"
    assert (steps > 5 * 60).sum() >= 5, "gaps that are too long to bridge"
    assert ((steps > 105) & (steps < 180)).sum() > 50, "single readings that are missing"


def test_the_temperature_rises_beyond_what_training_saw() -> None:
    y = hourly_temperature().values[:, 0]
    assert y[-600:].max() > y[:1800].max() + 1


def test_the_tasks_are_those_of_the_tutorials_and_a_real_temperature_takes_two_of_them() -> None:
    real = SHORT.history
    named = {task.name: task for task in tasks(real)}
    assert [(task.look_back, task.horizon) for task in named.values()] == [
        (1, 1),
        (10, 1),
        (3, 1),
        (10, 1),
        (10, 1),
        (10, 3),
    ]
    assert {name for name, task in named.items() if task.history is real} == {"hourly temperature", "three steps ahead"}
    assert len(named["several features"].history.features) == 3


@pytest.mark.usefixtures("without_library")
def test_every_method_forecasts_the_same_readings_from_the_last_ones_before_them(
    asked: list[tuple[str, np.ndarray, int, int]],
) -> None:
    rows = rows_of(SHORT, seeds=3)
    assert [(row.method, row.n_step) for row in rows] == [
        (PERSISTENCE, 1),
        (TUTORIAL, 4),
        (OURS, 4),
        (RIDGE, 4),
        (OURS, 30),
        (RIDGE, 30),
        (SARIMA, None),
    ]
    assert [(kind, windows.shape[1], seed, epochs) for kind, windows, seed, epochs in asked] == [
        (kind, n_step, seed, 1) for kind, n_step in (("tutorial", 4), ("lstm", 4), ("lstm", 30)) for seed in range(3)
    ]
    widest = asked[-1][1]
    assert all(
        windows.tobytes() == np.ascontiguousarray(widest[:, -windows.shape[1] :]).tobytes() for _, windows, *_ in asked
    )
    naive = rows[0].mae
    for row in rows[1:3]:
        assert row.mae == pytest.approx((naive + 100 + 200) / 3, rel=0.01)
        assert row.ratio == pytest.approx(row.mae / naive)


@pytest.mark.usefixtures("asked", "without_library")
def test_errors_are_those_of_the_table_of_fit() -> None:
    rows = rows_of(SHORT)
    data = prepare(SHORT.history, Cut(30, 2))
    ridge = fit_ridge(data.training, data.validation)
    measured = evaluate(lambda windows, _, at: saying(ridge.forecast(windows, at)), data, data.test)
    for row, method in ((rows[0], PERSISTENCE), (rows[5], "model")):
        each = [measured.of(method, lead) for lead in (1, 2)]
        assert row.mae == pytest.approx(np.mean([line.mae for line in each if line is not None]), rel=1e-4)


@pytest.mark.usefixtures("asked", "without_library")
def test_without_the_extra_the_row_says_so() -> None:
    rows = rows_of(SHORT)
    assert (rows[-1].method, rows[-1].note) == (SARIMA, "not installed")
    assert math.isnan(rows[-1].mae)
    assert table(rows)[1][-1] == ("short", SARIMA, "past", "not installed", "")
    told = about(rows, 1)
    assert "pip install 'forewarn[baselines]'" in told
    best = min(rows[:-1], key=lambda row: row.mae)
    assert f"short: {best.method}, {best.n_step}" in told


@pytest.mark.usefixtures("asked")
@pytest.mark.skipif(find_spec("statsforecast") is None, reason="pip install 'forewarn[baselines]'")
def test_sarima_knows_the_season_of_the_sine() -> None:
    rows = rows_of(Task("sine", noisy_sine(400), 1))
    assert rows[-1].note == ""
    assert rows[-1].ratio < 0.95
    assert "SARIMA is AutoARIMA" in about(rows, 1)


@pytest.mark.usefixtures("without_library")
def test_the_recipes_are_trained_as_fit_trains_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", {"a": wave(300)}, 3600.0)
    assert main(["tutorial-tasks", "--temperature", f"{file}:temperature", "--epochs", "1", "--seeds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["task", "method", "readings", "MAE", "over", "persistence"]
    assert len(lines) == 1 + 6 * 7 + 3
    assert sum(" SARIMA " in line and "not installed" in line for line in lines) == 6
    naive = float(next(line for line in lines if line.startswith("hourly") and " persistence " in line).split()[-2])
    data = prepare(history(file, wave(300)), Cut(30, 1))
    changes = data.test.targets()[:, 0] - data.test.inputs()[:, -1, 0]
    assert naive == pytest.approx(np.abs(changes).mean(), rel=1e-3)
    assert main(["tutorial-tasks", "--temperature", str(file)]) == UNUSABLE
    assert "FILE.csv:COLUMN" in capsys.readouterr().err


def test_a_file_and_its_column_are_told_apart(tmp_path: Path) -> None:
    odd = tmp_path / "a:b"
    odd.write_text("")
    assert file_and_column("a.csv") == (Path("a.csv"), None)
    assert file_and_column("x/a.csv:OT") == (Path("x/a.csv"), "OT")
    assert file_and_column(str(odd)) == (odd, None)
    assert file_and_column(f"{odd}:c") == (odd, "c")
