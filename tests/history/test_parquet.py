"""Parquet as history: it reads as the CSV of the same columns does, and says what it needs."""

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forewarn.errors import DataError
from forewarn.history import History, read_history
from tests.history.test_long import LONG

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'forewarn[parquet]'")
pq = pytest.importorskip("pyarrow.parquet")

AT = [dt.datetime(2026, 1, 1, 0, i, 0, 125_000, dt.UTC) for i in range(3)]
EPOCHS = [at.timestamp() for at in AT]


def write(path: Path, columns: dict[str, Any], **options: object) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def same(a: History, b: History) -> bool:
    return (
        np.array_equal(a.at, b.at, equal_nan=True)
        and a.device == b.device
        and np.array_equal(a.values, b.values, equal_nan=True)
        and (a.features, a.target) == (b.features, b.target)
    )


def test_a_wide_file_is_what_its_csv_is(tmp_path: Path) -> None:
    values = [4.25, None, 1e-300]
    path = write(tmp_path / "x.parquet", {"timestamp": AT, "device": ["a", "b", None], "t": values})
    csv = tmp_path / "x.csv"
    rows = [f"{at.isoformat()},{d},{v}" for at, d, v in zip(AT, ("a", "b", ""), ("4.25", "", "1e-300"), strict=True)]
    csv.write_text("\n".join(["timestamp,device,t", *rows]), "utf-8")
    assert same(read_history(path), read_history(csv))
    assert read_history(path).at.tolist() == EPOCHS
    assert len(read_history(path).sha256) == 64


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_of_every_unit_and_zone_are_the_same_moment(tmp_path: Path, unit: str, zone: str | None) -> None:
    whole = [at.replace(microsecond=0) for at in AT]
    typed = pa.array([at.replace(tzinfo=None) for at in whole], pa.timestamp(unit)).cast(pa.timestamp(unit, zone))
    path = write(tmp_path / "x.parquet", {"t": typed, "value": [1, 2, 3]})
    assert read_history(path).at.tolist() == [at.timestamp() for at in whole]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(EPOCHS),
        pa.array([round(at * 1e9) for at in EPOCHS]),
        pa.array([at.isoformat() for at in AT]).dictionary_encode(),
        pa.array([at.isoformat().encode() for at in AT]),
    ],
    ids=["seconds", "nanoseconds", "categories", "bytes"],
)
def test_times_may_be_numbers_or_texts(tmp_path: Path, column: object) -> None:
    path = write(tmp_path / "x.parquet", {"time": column, "value": pa.array([1, 2, 3], pa.float32())})
    assert np.allclose(read_history(path).at, EPOCHS, rtol=0, atol=1e-6)


def test_a_long_file_is_what_its_csv_is(tmp_path: Path) -> None:
    csv = tmp_path / "long.csv"
    csv.write_text(LONG, "utf-8")
    header, *rows = [line.split(",") for line in LONG.splitlines()]
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    path = write(tmp_path / "long.parquet", {name: list(texts) for name, texts in columns.items()})
    asked: dict[str, Any] = {"features": ["humidity", "temperature"], "target": "temperature"}
    assert same(read_history(path, **asked), read_history(csv, **asked))


def test_columns_of_lists_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"time": EPOCHS, "tags": [["a"], ["b"], []], "v": [1, 2, 3]})
    assert read_history(path).features == ("v",)


def test_the_content_says_what_a_file_is(tmp_path: Path) -> None:
    write(tmp_path / "history.dat", {"time": EPOCHS, "v": [1, 2, 3]})
    assert len(read_history(tmp_path / "history.dat")) == 3


def test_files_of_both_kinds_in_a_folder_are_one_history_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path / "t-1.parquet", {"timestamp": AT, "device": ["a"] * 3, "t": [1.0, 2.0, 3.0]}, row_group_size=1)
    (tmp_path / "t-2.csv").write_text("timestamp,device,t\n2026-01-02,a,4\n", "utf-8")
    write(tmp_path / "rh-1.parquet", {"timestamp": AT, "device": ["a"] * 3, "rh": [1.0, 2.0, 3.0]})
    (tmp_path / ".t-3.csv.part").write_bytes(b"PAR1")
    assert read_history(tmp_path, target="t").values[:, 0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 and no more PAR1", b"timestamp,value\n1,2\n"])
def test_what_is_no_whole_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no Parquet file that can be read") as caught:
        read_history(path)
    assert len(str(caught.value).splitlines()) == 1


def test_where_pyarrow_is_missing_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.parquet", {"time": EPOCHS, "v": [1, 2, 3]})
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=r"pyarrow, which is not installed: pip install 'forewarn\[parquet\]'"):
        read_history(path)


def test_csv_is_read_without_pyarrow(tmp_path: Path) -> None:
    csv = tmp_path / "x.csv"
    csv.write_text("time,v\n1,2\n", "utf-8")
    code = (
        "import sys; from pathlib import Path; from forewarn.history import read_history;"
        f"read_history(Path({str(csv)!r})); sys.exit('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
