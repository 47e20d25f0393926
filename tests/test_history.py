"""Reading a CSV of history: which columns are found, what every row becomes, what is refused and how it is told."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.errors import DataError
from forewarn.history import parse_number, parse_time, read_history

SHARED = Path(__file__).parents[2] / "shared" / "data"


def write(folder: Path, text: str, name: str = "freezer.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_time_and_a_number_need_no_option(tmp_path: Path) -> None:
    path = write(tmp_path, "timestamp,value\n2025-01-01 00:00:00,4.1\n2025-01-01T00:01:00Z,4.2\n")
    history = read_history(path)
    assert history.timestamp_text == ["2025-01-01 00:00:00", "2025-01-01T00:01:00Z"]
    assert history.at.tolist() == [1735689600.0, 1735689660.0]
    assert history.values.tolist() == [[4.1], [4.2]]
    assert (history.features, history.target, history.target_index) == (("value",), "value", 0)
    assert history.device == ["freezer", "freezer"]
    assert history.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiter_and_line_ends_are_found(tmp_path: Path, delimiter: str, newline: str) -> None:
    rows = [("time", "device", "temperature"), ("1700000000", "a", "1.5"), ("1700000060", "b", "2.5")]
    text = newline.join(delimiter.join(row) for row in rows)
    history = read_history(write(tmp_path, "\ufeff" + text))
    assert history.device == ["a", "b"]
    assert history.values[:, 0].tolist() == [1.5, 2.5]


def test_every_row_is_kept_in_order_whatever_it_holds(tmp_path: Path) -> None:
    text = "timestamp,value\n2025-01-01,1\nsoon,2\n2025-01-03,oops\n\n2025-01-04\n2025-01-02,inf\n2025-01-02,1_0\n"
    history = read_history(write(tmp_path, text))
    assert history.timestamp_text == ["2025-01-01", "soon", "2025-01-03", "2025-01-04", "2025-01-02", "2025-01-02"]
    assert np.isnan(history.at).tolist() == [False, True, False, False, False, False]
    assert np.array_equal(history.values[:, 0], [1, 2, np.nan, np.nan, np.inf, np.nan], equal_nan=True)


def test_several_features_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "time,a,b,c\n1,10,20,30\n2,11,21,31\n")
    history = read_history(path, features=["c", "a"], target="a")
    assert history.values.tolist() == [[30, 10], [31, 11]]
    assert history.target_index == 1
    assert read_history(path, target="b").features == ("b",)


def test_a_column_named_date_is_the_time_and_another_text_is_no_feature(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, "date,place,OT\n2016-07-01 00:00:00,hall,30.5\n"))
    assert (history.features, history.device) == (("OT",), ["freezer"])


def test_the_only_column_of_times_is_the_time_whatever_its_name(tmp_path: Path) -> None:
    assert read_history(write(tmp_path, "wann,grad\n2025-01-01,1\n")).at.tolist() == [1735689600.0]


def test_numbers_may_name_devices_but_a_sensor_of_numbers_is_a_reading(tmp_path: Path) -> None:
    assert read_history(write(tmp_path, "ts,device_id,x\n1,7,2\n")).device == ["7"]
    assert read_history(write(tmp_path, "ts,sensor\n1,7.5\n")).features == ("sensor",)
    assert read_history(write(tmp_path, "ts,sensor,x\n1,north,7.5\n")).device == ["north"]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, "is empty"),
        ("timestamp,value\n", {}, "no rows"),
        ("2025-01-01,1\n2025-01-02,2\n", {}, "line 1 holds values"),
        ("timestamp,a,b\n1,2,3\n", {}, "Give --target, one of a, b "),
        ("timestamp,a,b\n1,2,3\n", {"features": ["a", "b"]}, "Give --target, one of a, b"),
        ("timestamp,a,b\n1,2,3\n", {"features": ["a"], "target": "b"}, "'b' is not among --features a"),
        ("timestamp,a,b\n1,2,3\n", {"features": ["a", "a"], "target": "a"}, "each column once"),
        ("timestamp,a,b\n1,2,3\n", {"target": "timestamp"}, "which column is the time"),
        ("timestamp,temperature\n1,2\n", {"target": "Temprature"}, "did you mean 'temperature'"),
        ("timestamp,temperature\n1,2\n", {"time_column": "tiemstamp"}, "--time-column.*did you mean 'timestamp'"),
        ("timestamp,value\n1,2\n", {"device_column": "dev"}, "--device-column"),
        ("timestamp,name\n1,a\n", {}, "no column holds numbers"),
        ("timestamp,value\n1,a\n", {"target": "value"}, "'value' holds no number"),
        ("a,b\n1,2\n", {}, "which column is the time.*--time-column, one of a, b"),
        ("time,date,v\n2025-01-01,2025-01-01,1\n", {}, "one of time, date"),
        ("when,v\n01/02/2025,1\n", {"time_column": "when"}, "line 2, column 'when': '01/02/2025' is no time"),
        ("ts,device,device_id,v\n1,a,b,1\n", {}, "--device-column, one of device, device_id"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_to_do(
    tmp_path: Path, text: str, options: dict[str, str | list[str]], said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read_history(write(tmp_path, text), **options)  # type: ignore[arg-type] # strings and lists, as parametrized
    assert str(caught.value).startswith(str(tmp_path / "freezer.csv"))


def test_a_missing_file_a_folder_and_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_history(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"no \.csv or \.parquet file in it"):
        read_history(tmp_path)
    (tmp_path / "bytes.csv").write_bytes(b"timestamp,value\n\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_history(tmp_path / "bytes.csv")


def test_the_files_of_a_folder_are_one_history(tmp_path: Path) -> None:
    write(tmp_path, "timestamp,device,t\n2,a,20\n", "t-2.csv")
    write(tmp_path, "timestamp,device,t\n1,a,10\n1,b,11\n", "t-1.csv")
    write(tmp_path, "timestamp,device,rh\n1,a,60\n", "rh-1.csv")
    write(tmp_path, "nonsense", "notes.txt")
    history = read_history(tmp_path, target="t")
    assert history.values[:, 0].tolist() == [10, 11, 20]
    assert history.device == ["a", "b", "a"]
    single = hashlib.sha256((tmp_path / "rh-1.csv").read_bytes()).hexdigest()
    assert read_history(tmp_path, target="rh").sha256 == single
    assert history.sha256 not in (single, hashlib.sha256((tmp_path / "t-1.csv").read_bytes()).hexdigest())
    with pytest.raises(DataError, match=r"different columns .*rh; .*t.*--target"):
        read_history(tmp_path)
    with pytest.raises(DataError, match="with the columns co2"):
        read_history(tmp_path, target="co2")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2025-01-01T00:00:00+01:00", 1735686000.0),
        ("2025-01-01 00:00:00.250", 1735689600.25),
        ("1735689600", 1735689600.0),
        ("1735689600.5", 1735689600.5),
        ("1735689600500", 1735689600.5),
        ("1735689600500000", 1735689600.5),
        ("1735689600500000000", 1735689600.5),
        ("1969-12-31T23:59:59Z", -1.0),
    ],
)
def test_a_time_is_iso_or_epoch_in_seconds_milli_micro_or_nanoseconds(text: str, at: float) -> None:
    assert parse_time(text) == at


@given(st.text(max_size=20) | st.floats().map(str) | st.integers().map(str) | st.datetimes().map(str))
def test_no_text_breaks_the_parsers(text: str) -> None:
    at = parse_time(text)
    assert math.isnan(at) or -62135596800 <= at <= 253402300800
    assert isinstance(parse_number(text), float)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
def test_real_files_are_read() -> None:
    ambient = read_history(SHARED / "nab" / "realKnownCause" / "ambient_temperature_system_failure.csv")
    assert (len(ambient), ambient.features) == (7267, ("value",))
    ett = read_history(SHARED / "ett" / "ETTh1.csv", features=["HUFL", "OT"], target="OT")
    assert (ett.values.shape, bool(np.isfinite(ett.values).all())) == ((17420, 2), True)
    skab = read_history(SHARED / "skab" / "valve1_0.csv", target="Temperature")
    assert (len(skab), skab.at[1] - skab.at[0]) == (1147, 1.0)
