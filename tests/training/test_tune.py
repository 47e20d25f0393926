"""The search: blind to the test part, resumable, pruned, and its best settings trained."""

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

from forewarn.adapters.onnx_forecaster import load_model
from forewarn.errors import DataError, SettingsError
from forewarn.history import History
from forewarn_training import tune as tuning
from forewarn_training.cli import main
from forewarn_training.data import Cut
from forewarn_training.trainer import Recipe
from forewarn_training.tune import Search, Settings, tune
from tests.training.sensors import history, wave, write_csv

CUT = Cut(10, 3)
RECIPE = Recipe(epochs=1, batch_size=64)


def search(readings: History, study: Path, trials: int = 2, n_steps: tuple[int, ...] = (4, 8)) -> Search:
    return tune(readings, CUT, study, trials=trials, recipe=RECIPE, n_steps=n_steps, progress=False)


def readings_of(values: np.ndarray) -> History:
    return history(Path("a.csv"), values)


def test_readings_of_the_test_part_change_no_score(tmp_path: Path) -> None:
    values = wave(400)
    changed = values.copy()
    changed[321:] = 1e6
    first = search(readings_of(values), tmp_path / "a.study")
    assert search(readings_of(changed), tmp_path / "b.study") == first
    assert first.trials == 2


def test_a_search_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Settings] = []
    measure = tuning._Folds._measure

    def counting(self: "tuning._Folds", fold: int, settings: Settings, recipe: Recipe) -> float:
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append(settings)
        return measure(self, fold, settings, recipe)

    monkeypatch.setattr(tuning._Folds, "_measure", counting)
    readings, study = readings_of(wave(400)), tmp_path / "a.study"
    with pytest.raises(KeyboardInterrupt):
        search(readings, study)
    first = trained.copy()
    assert len(first) == 4, "one whole trial and a fold of the next"
    trained.clear()
    assert search(readings, study).trials == 2
    assert len(trained) == 3
    assert trained[0] != first[0], "the same trial is not drawn again"
    trained.clear()
    assert search(readings, study).trials == 2
    assert not trained


def test_other_readings_have_a_study_of_their_own_in_the_same_file(tmp_path: Path) -> None:
    readings = readings_of(wave(400))
    search(readings, tmp_path / "a.study", trials=1)
    other = search(replace(readings, sha256="1" * 64), tmp_path / "a.study", trials=2)
    assert other.trials == 2
    assert search(readings, tmp_path / "a.study", trials=1).trials == 1


def test_a_trial_that_is_worse_after_a_fold_is_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    def worse_each_time(self: "tuning._Folds", fold: int, settings: Settings, recipe: Recipe) -> float:  # noqa: ARG001 - the face of what it stands for
        trained.append(fold)
        return 0.1 * len(trained)

    monkeypatch.setattr(tuning._Folds, "_measure", worse_each_time)
    found = search(readings_of(wave(400)), tmp_path / "a.study", trials=7)
    assert found.trials == 7
    assert found.pruned == 3
    assert trained == [0, 1, 2] * 4 + [0] * 3
    assert found.score == pytest.approx(0.2)


def test_every_trial_is_measured_on_the_same_readings() -> None:
    folds = tuning._Folds(readings_of(wave(400)), CUT, (4, 8))
    ends = [(part.starts[0] + part.n_step, part.starts[-1]) for part in (one.validation for one in folds._widest)]
    assert all(first == 8 and len(one.validation.at) == 64 for (first, _), one in zip(ends, folds._widest, strict=True))
    assert folds._prepared(0, 4).training.at[-1] < folds._widest[0].validation.at[0]
    assert folds._widest[2].validation.at[-1] < folds._widest[2].test.at[0]


def test_a_history_that_is_too_short_for_the_folds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give more history"):
        search(readings_of(wave(60)), tmp_path / "a.study", n_steps=(40,))


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.study").write_bytes(b"no database" * 100)
    with pytest.raises(SettingsError, match="give another --study"):
        search(readings_of(wave(400)), tmp_path / "a.study")


def test_tune_writes_the_model_that_fit_writes_with_the_settings_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = write_csv(tmp_path / "a.csv", {"x": wave(400)})
    base = ["--data", str(csv), "--target", "temperature", "--horizon", "2", "--epochs", "1", "--batch-size", "64"]
    out = tmp_path / "tuned.onnx"
    command = ["tune", *base, "--out", str(out), "--trials", "1", "--trial-epochs", "1", "--n-steps", "6,7"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "1 trials, 0 of them pruned" in printed
    found = next(line for line in printed.splitlines() if line.startswith("best")).split("): ")[1]
    assert main(["fit", *base, "--out", str(tmp_path / "b.onnx"), *shlex.split(found)]) == 0
    windows = wave(70).reshape(-1, 7, 1)[:, -load_model(out).card.n_step :].astype(np.float32)
    spread = np.ones(len(windows), np.float32)
    tuned, fitted = (load_model(path).forecast(windows, spread).path for path in (out, tmp_path / "b.onnx"))
    assert tuned == pytest.approx(fitted, abs=1e-4)
    assert sorted(path.name for path in tmp_path.glob("tuned*")) == ["tuned.html", "tuned.onnx", "tuned.study"]
