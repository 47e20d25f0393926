"""Readings that are kept as Parquet: nothing is lost on the way, whatever ends the process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forewarn.adapters import parquet
from forewarn.adapters.recorder import Conversion, Recorder
from forewarn.errors import DataError, SettingsError
from forewarn.history import read_history
from tests.adapters.test_recorder import NOW, accepted, batch, names

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'forewarn[parquet]'")

TO_PARQUET = Conversion(parquet.SUFFIX, parquet.from_csv)
# Writes readings as fast as it can and says so, with files that end after some twenty.
_WRITER = """
import itertools, sys
from pathlib import Path
from forewarn.adapters import parquet
from forewarn.adapters.recorder import Conversion, Recorder
from tests.adapters.test_recorder import accepted, batch
recorder = Recorder(Path(sys.argv[1]), 10**8, ("value",), Conversion(parquet.SUFFIX, parquet.from_csv, most_bytes=1000))
for i in itertools.count(int(sys.argv[2])):
    recorder.write(batch([("a", "t", 1767225600.0 + i, (float(i),))]), accepted(1))
    sys.stdout.write(f"{i}\\n")
    sys.stdout.flush()
"""


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Recorder]:
    with closing(Recorder(tmp_path, 1_000_000, ("value",), TO_PARQUET)) as one:
        yield one


def test_a_file_that_ends_becomes_parquet_of_the_same_readings(tmp_path: Path, kept: Recorder) -> None:
    rows: list[tuple[str, str, float, tuple[float, ...]]] = [
        ("a", "t\n", NOW + 0.125, (4.25,)),
        ('b "x",\ny', "t\n", NOW + 1, (-0.1,)),
        ("NA", "t\n", NOW + 2, (1e-300,)),
    ]
    kept.write(batch(rows), accepted(3))
    as_csv = read_history(tmp_path)
    kept.close()
    assert names(tmp_path) == ["t%0A-2026-01-01T000000.125Z.parquet"]
    history = read_history(tmp_path)
    assert history.device == as_csv.device == ["a", 'b "x",\ny', "NA"]
    assert history.at.tolist() == as_csv.at.tolist() == [NOW + 0.125, NOW + 1, NOW + 2]
    assert history.values[:, 0].tolist() == [4.25, -0.1, 1e-300]
    schema = pq.read_schema(tmp_path / names(tmp_path)[0])
    assert [str(field.type) for field in schema] == ["timestamp[ms, tz=UTC]", "string", "double"]


def test_features_may_be_called_as_other_columns_and_be_missing(tmp_path: Path) -> None:
    with closing(Recorder(tmp_path, 1_000_000, ("device", "rh"), TO_PARQUET)) as one:
        one.write(batch([("a", "t", NOW, (4.0, np.nan)), ("a", "t", NOW + 1, (5.0, 60.0))]), accepted(2))
    table = pq.ParquetFile(tmp_path / names(tmp_path)[0]).read()
    assert table.column_names == ["timestamp", "device", "device", "rh"]
    assert table.column(3).to_pylist() == [None, 60.0]


def test_files_end_by_size_and_by_age(tmp_path: Path) -> None:
    for limits in ({"most_bytes": 500}, {"most_s": 0.0}):
        folder = tmp_path / next(iter(limits))
        with closing(Recorder(folder, 10**8, ("value",), replace(TO_PARQUET, **limits))) as one:
            for i in range(30):
                one.write(batch([("a", "t", NOW + i, (4.0,))]), accepted(1))
            assert len(list(folder.glob("*.parquet"))) == (1 if "most_bytes" in limits else 30)
        assert read_history(folder).at.tolist() == [NOW + i for i in range(30)]


def test_parquet_files_count_towards_the_size_and_the_oldest_go(tmp_path: Path) -> None:
    with closing(Recorder(tmp_path, 48_000, ("value",), TO_PARQUET)) as one:
        for i in range(2000):
            one.write(batch([("a", "t", NOW + i, (float(i),))]), accepted(1))
            assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 48_000
    history = read_history(tmp_path)
    assert history.at[-1] == NOW + 1999
    assert 300 < len(history) < 2000
    assert np.array_equal(np.diff(history.at), np.ones(len(history) - 1))


def test_readings_of_a_time_that_a_file_is_named_after_get_another_file(tmp_path: Path) -> None:
    for value in (4.0, 5.0, 6.0):
        with closing(Recorder(tmp_path, 1_000_000, ("value",), TO_PARQUET)) as one:
            one.write(batch([("a", "t", NOW, (value,))]), accepted(1))
    assert read_history(tmp_path).values[:, 0].tolist() == [4, 5, 6]


def test_what_a_killed_process_left_behind_is_tidied(tmp_path: Path, kept: Recorder) -> None:
    with closing(Recorder(tmp_path, 1_000_000, ("value",))) as one:
        one.write(batch([("a", "t", NOW, (4.0,))]), accepted(1))
    (left,) = tmp_path.iterdir()
    content = left.read_bytes()
    parquet.from_csv(left)
    left.write_bytes(content)  # killed between the rename and the removal
    (tmp_path / ".t-2.csv.part").write_bytes(b"PAR1")
    kept.write(batch([("a", "t", NOW + 60, (5.0,))]), accepted(1))
    kept.close()
    assert read_history(tmp_path).at.tolist() == [NOW, NOW + 60]
    assert {file.suffix for file in tmp_path.iterdir()} == {".parquet"}


def test_a_file_that_cannot_be_converted_stays_csv(
    tmp_path: Path, kept: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    kept.write(batch([("a", "t", NOW, (4.0,))]), accepted(1))
    with monkeypatch.context() as patched:
        patched.setattr(pq, "write_table", full)
        kept.close()
    assert "stays CSV ([Errno 28] No space left on device)" in caplog.text
    assert read_history(tmp_path).values.tolist() == [[4.0]]
    assert [file.suffix for file in tmp_path.iterdir()] == [".csv"]


def test_a_file_of_somebody_else_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("timestamp,device,t\nsoon,a,1\n", "utf-8")
    with pytest.raises(DataError, match="cannot become a Parquet file"):
        parquet.from_csv(path)
    assert names(tmp_path) == ["x.csv"]


def test_where_pyarrow_is_missing_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingsError, match=r"^record.format needs pyarrow.*pip install 'forewarn\[parquet\]'"):
        parquet.check_installed("record.format")


def test_killed_at_any_moment_it_loses_nothing_that_was_written(tmp_path: Path) -> None:
    n = 0
    for turn in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), str(n)], stdout=subprocess.PIPE, text=True, env=os.environ
        ) as process:
            assert process.stdout is not None
            for _ in range(25):  # until the first conversion is over
                process.stdout.readline()
            time.sleep(0.11 * turn)
            process.send_signal(signal.SIGKILL)
            told = process.stdout.read().splitlines()
        n = int(told[-1] if told and told[-1].isdecimal() else n + 24) + 1
        history = read_history(tmp_path)
        at, values = np.unique(history.at), np.unique(history.values)
        assert len(at) in {n, n + 1, n + 2}, "the last one may have been written and not told, or told in part"
        assert np.array_equal(values, np.arange(len(at), dtype=np.float64))
        n = len(at)
    assert len(list(tmp_path.glob("*.parquet"))) > 10
