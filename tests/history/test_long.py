"""Tables with a column that says what each number is of: which rows they make, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from forewarn.errors import DataError
from forewarn.history import read_history

LONG = """\
device,metric,time,value
a,temperature,1735689600,4.1
a,humidity,1735689600,60
b,temperature,1735689600,9
a,temperature,1735689660,4.2
b,humidity,1735689660,70
a,temperature,soon,oops
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "long.csv"
    file.write_text(LONG, "utf-8")
    return file


def test_one_metric_is_a_series_of_each_device(path: Path) -> None:
    history = read_history(path, target="temperature")
    assert history.features == ("temperature",)
    assert history.device == ["a", "b", "a", "a"]
    assert history.timestamp_text == ["1735689600", "1735689600", "1735689660", "soon"]
    assert np.array_equal(history.values[:, 0], [4.1, 9.0, 4.2, np.nan], equal_nan=True)
    assert np.isnan(history.at).tolist() == [False, False, False, True]


def test_several_metrics_of_one_time_are_a_row(path: Path) -> None:
    history = read_history(path, features=["humidity", "temperature"], target="temperature")
    assert history.device == ["a", "b", "a", "b", "a"]
    expected = [[60, 4.1], [np.nan, 9], [np.nan, 4.2], [70, np.nan], [np.nan, np.nan]]
    assert np.array_equal(history.values, expected, equal_nan=True)


def test_which_metric_is_asked_where_there_are_several(path: Path) -> None:
    with pytest.raises(DataError, match=r"which metric is forecast.*--target, one of humidity, temperature"):
        read_history(path)
    with pytest.raises(DataError, match=r"has no metric 'temprature'.*did you mean 'temperature'"):
        read_history(path, target="temprature")
    assert read_history(path, prefer="humidity").values[:, 0].tolist() == [60, 70]


def test_a_column_of_another_name_says_the_metric_where_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "hall.csv"
    file.write_text("ts,quantity,n,reading\n1,t,1,20\n1,rh,2,50\n2,t,3,21\n", "utf-8")
    with pytest.raises(DataError, match="which column is forecast"):
        read_history(file, metric_column="quantity", target="t")
    file.write_text("ts,quantity,reading\n1,t,20\n1,rh,50\n2,t,21\n", "utf-8")
    history = read_history(file, metric_column="quantity", target="t")
    assert (history.values[:, 0].tolist(), history.device) == ([20, 21], ["hall", "hall"])


def test_a_column_of_numbers_called_metric_is_a_reading(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_text("time,metric\n1,20\n2,21\n", "utf-8")
    assert read_history(file).features == ("metric",)


def test_a_folder_of_long_files_is_one_history(path: Path) -> None:
    (path.parent / "more.csv").write_text("device,metric,time,value\na,temperature,1735689720,4.3\n", "utf-8")
    assert read_history(path.parent, target="temperature").values[-1].tolist() == [4.3]
