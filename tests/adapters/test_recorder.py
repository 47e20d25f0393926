"""Readings that are kept: as history they are what came, and they stay within their size."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from forewarn.adapters import recorder
from forewarn.adapters.recorder import Recorder
from forewarn.core.readings import Batch, Outcome, SeriesKey
from forewarn.core.verdicts import Verdicts
from forewarn.history import read_history

Made = Callable[..., Recorder]
NOW = 1767225600.0


def batch(rows: list[tuple[str, str, float, tuple[float, ...]]]) -> Batch:
    at = np.array([row[2] for row in rows])
    return Batch([SeriesKey(row[0], row[1]) for row in rows], at, at, np.array([row[3] for row in rows]))


@pytest.fixture
def recorder_of() -> Iterator[Made]:
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(closing(Recorder(*arguments)))


def accepted(n: int) -> Verdicts:
    verdicts = Verdicts.blank(n)
    verdicts.outcome[:] = Outcome.WARMING_UP
    return verdicts


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_was_accepted_can_be_read_as_history(tmp_path: Path, recorder_of: Made) -> None:
    folder = tmp_path / "made" / "here"
    one = recorder_of(folder, 1_000_000, ("value",))
    rows = [("a", "temperature", NOW + 0.125, (4.25,)), ('b "x", y', "temperature", NOW + 1, (-0.1,))]
    verdicts = accepted(4)
    verdicts.outcome[2] = Outcome.DUPLICATE
    one.write(batch([*rows, ("a", "temperature", NOW, (9.0,)), ("a", "humidity", NOW, (60.0,))]), verdicts)
    one.write(batch([("a", "temperature", NOW + 60, (1e-300,))]), accepted(1))
    assert names(folder) == ["humidity-2026-01-01T000000.000Z.csv", "temperature-2026-01-01T000000.125Z.csv"]
    history = read_history(folder, target="temperature")
    assert history.device == ["a", 'b "x", y', "a"]
    assert history.at.tolist() == [NOW + 0.125, NOW + 1, NOW + 60]
    assert history.values[:, 0].tolist() == [4.25, -0.1, 1e-300]


def test_the_features_of_a_model_are_columns(tmp_path: Path, recorder_of: Made) -> None:
    one = recorder_of(tmp_path, 1_000_000, ("temperature", "humidity"))
    one.write(batch([("a", "temperature", NOW, (4.0, 60.0))]), accepted(1))
    history = read_history(tmp_path, features=["humidity", "temperature"], target="temperature")
    assert history.values.tolist() == [[60.0, 4.0]]


def test_a_metric_cannot_name_a_file_elsewhere(tmp_path: Path, recorder_of: Made) -> None:
    folder = tmp_path / "history"
    one = recorder_of(folder, 1_000_000, ("value",))
    for metric in ("..", "é" * 128, "%2F", ". hidden"):
        one.write(batch([("a", metric, NOW, (4.0,))]), accepted(1))
    assert names(tmp_path) == ["history"]
    assert len(names(folder)) == 4


def test_all_files_together_keep_their_size_and_the_newest_readings(tmp_path: Path, recorder_of: Made) -> None:
    one = recorder_of(tmp_path, 16_000, ("value",))
    for i in range(2000):
        one.write(batch([("a", "temperature", NOW + i, (4.0,))]), accepted(1))
        if i % 20 == 0:
            os.utime(max(tmp_path.iterdir()), (NOW + i, NOW + i))
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 16_000
    at = read_history(tmp_path).at
    assert at[-1] == NOW + 1999
    assert len(at) > 300
    assert np.array_equal(np.diff(at), np.ones(len(at) - 1))


def test_files_of_many_metrics_keep_their_size_too(tmp_path: Path, recorder_of: Made) -> None:
    one = recorder_of(tmp_path, 100_000, ("value",))
    for i in range(500):
        one.write(batch([("a", f"m{n}", NOW + i, (4.0,)) for n in range(recorder.MOST_FILES)]), accepted(32))
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 100_000
    assert len({file.name.partition("-")[0] for file in tmp_path.iterdir()}) == recorder.MOST_FILES


def test_more_metrics_than_files_are_left_out_and_told_once(
    tmp_path: Path, recorder_of: Made, caplog: pytest.LogCaptureFixture
) -> None:
    one = recorder_of(tmp_path, 1_000_000, ("value",))
    for i in range(recorder.MOST_FILES + 5):
        one.write(batch([("a", f"m{i}", NOW, (4.0,))]), accepted(1))
    assert len(names(tmp_path)) == recorder.MOST_FILES
    assert len(caplog.records) == 1


def test_a_folder_that_cannot_be_written_is_told_once_and_tried_again(
    tmp_path: Path, recorder_of: Made, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "RETRY_S", 0.0)
    (tmp_path / "file").write_text("")
    one = recorder_of(tmp_path / "file" / "below", 1_000_000, ("value",))
    one.write(batch([("a", "t", NOW, (4.0,))]), accepted(1))
    assert "readings are not kept" in caplog.text
    (tmp_path / "file").unlink()
    one.write(batch([("a", "t", NOW + 1, (5.0,))]), accepted(1))
    assert read_history(tmp_path / "file" / "below").values.tolist() == [[5.0]]


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Recorder(None, 1_000_000, ("value",)).write(batch([("a", "t", NOW, (4.0,))]), accepted(1))
    assert names(tmp_path) == []
