"""Labels: read from both forms, matched to the file, and held against the alerts."""

import json
from pathlib import Path

import numpy as np
import pytest

from forewarn.errors import DataError
from forewarn.findings import hold_against
from forewarn.history import History, parse_time, read_history
from forewarn.labels import Window, read_labels
from forewarn.simulate import FleetSpec, simulate
from tests.backtests import BEGIN_AT, STEP_S, history_file, judged, moment, of_scores

NAB = Path(__file__).parents[2] / "shared" / "data" / "nab"


@pytest.fixture
def history(tmp_path: Path) -> History:
    (tmp_path / "corpus").mkdir()
    return read_history(history_file(tmp_path / "corpus", n=5))


def written(history: History, text: str, name: str = "labels.json") -> Path:
    path = history.path.parent / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "device"), [("corpus/h.csv", None), ("h.csv", None), ("b", "b"), ("elsewhere/h.csv", None)]
)
def test_a_name_is_a_device_or_the_end_of_the_file_s_path(history: History, name: str, device: str | None) -> None:
    labels = {name: [["2026-01-01 00:10:00.000000", "2026-01-01 00:20"]], "x/y.csv": [["2020-01-01", "2020-01-02"]]}
    (window,) = read_labels(written(history, json.dumps(labels)), history)
    assert window == Window(device, parse_time("2026-01-01T00:10:00Z"), parse_time("2026-01-01T00:20:00Z"))


def test_the_longest_common_path_wins(history: History) -> None:
    labels = {"corpus/h.csv": [[1, 2]], "other/h.csv": [[3, 4]]}
    assert read_labels(written(history, json.dumps(labels)), history) == [Window(None, 1.0, 2.0)]


def test_a_file_that_is_named_without_windows_has_none(history: History) -> None:
    assert read_labels(written(history, '{"corpus/h.csv": []}'), history) == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_says_the_same(history: History, delimiter: str) -> None:
    rows = [["Begin", "device", "end"], [moment(1), "a", moment(2)], [moment(1), "z", moment(2)], []]
    path = written(history, "\n".join(delimiter.join(row) for row in rows), "l.csv")
    assert read_labels(path, history) == [Window("a", BEGIN_AT + STEP_S, BEGIN_AT + 2 * STEP_S)]


def test_the_truth_of_a_simulation_is_labels(tmp_path: Path) -> None:
    simulation = simulate(FleetSpec(n_device=2, duration_s=40_000.0, fault_every_s=8_000.0))
    simulation.write_csv(tmp_path / "h.csv")
    simulation.write_truth(tmp_path / "t.csv")
    windows = read_labels(tmp_path / "t.csv", read_history(tmp_path / "h.csv"))
    assert len(windows) == len(simulation.labels) > 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1: is no JSON"),
        ('["a"]', "holds no windows by name"),
        ('{"a": "2026-01-01"}', "holds no windows by name"),
        ('{"a": [["2026-01-01"]]}', "'a', window 1: ['2026-01-01'] is no pair of times"),
        ('{"a": [["2026-01-01", "2026-01-02"], ["soon", "later"]]}', "'a', window 2: 'soon' is no time"),
        ('{"a": [["2026-01-02", "2026-01-01"]]}', "window 1: begins at 2026-01-02, after its end"),
        ('{"other.csv": []}', "has no labels for"),
        ('{"x/h.csv": [], "y/h.csv": []}', "which of x/h.csv, y/h.csv is"),
        ("[" * 100_000, "cannot be understood"),
        ("device,begin\na,2026-01-01\n", "line 1 has no column 'end'"),
        ("device,begin,end\na,2026-01-01,soon\n", "line 2: 'soon' is no time"),
        ("device,begin,end\na,2026-01-01\n", "line 2: '' is no time"),
        ("device,begin,end\n", "has no labels for"),
        ("", "line 1 has no column 'device'"),
        ("device,begin,end\n\udcff", "is not UTF-8 text"),
    ],
)
def test_bad_labels_are_one_clear_error(history: History, text: str, told: str) -> None:
    path = history.path.parent / "labels"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError) as error:
        read_labels(path, history)
    assert str(error.value).startswith(f"{path}: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_labels_that_are_not_there_are_an_error(history: History) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(history.path.parent / "nowhere.json", history)


def window(first: int, last: int, device: str | None = None) -> Window:
    return Window(device, BEGIN_AT + STEP_S * first, BEGIN_AT + STEP_S * last)


def test_windows_are_found_with_a_delay_and_other_alerts_are_false() -> None:
    scores = np.zeros(100)
    scores[[12, 40, 60, 61]] = 5.0
    held = hold_against(of_scores(scores), [window(10, 20), window(30, 35), window(50, 60), window(200, 300)])
    assert [one.row for one in held.findings] == [12, None, 60]
    assert [one.delay_s for one in held.findings] == [2 * STEP_S, 0.0, 10 * STEP_S]
    assert [len(one.rows) for one in held.findings] == [11, 6, 11]
    assert (held.n_found, held.n_empty, held.n_false, held.n_counted) == (2, 1, 2, 100)
    assert held.false_per_1000() == pytest.approx(20.0)
    assert held.normal.sum() == 100 - 28
    text = held.summary()
    assert "2 of 3 windows found, median delay 60 min; 2 false alerts (20.00 per 1000 readings)" in text
    assert text.count("missed") == 1
    assert text.count("found after") == 2
    assert "1 more without a reading that counts" in text


def test_both_ends_of_a_window_are_in_it() -> None:
    scores = np.zeros(30)
    scores[[10, 20]] = 5.0
    held = hold_against(of_scores(scores), [window(10, 12), window(18, 20)])
    assert (held.n_found, held.n_false) == (2, 0)


def test_a_window_in_probation_is_left_out_and_one_that_reaches_in_counts_from_its_end(tmp_path: Path) -> None:
    path = history_file(tmp_path, spikes=(60, 210, 300), devices="a")
    result = judged(path, probation=200.0)
    held = hold_against(result, [window(50, 100), window(190, 220), window(320, 350)])
    assert held.n_empty == 1
    assert [one.row for one in held.findings] == [210, None]
    assert held.findings[0].delay_s == 10 * STEP_S
    assert held.n_counted == 200
    assert result.history.at[300] in {a.at for a in result.of_judge()}


def test_a_window_holds_for_its_device_and_one_of_the_file_for_each(tmp_path: Path) -> None:
    result = judged(history_file(tmp_path, spikes=(200,)))
    assert [(one.device, one.row is not None) for one in hold_against(result, [window(195, 205)]).findings] == [
        ("a", True),
        ("b", False),
    ]
    held = hold_against(result, [window(195, 205, "b")])
    assert held.n_found == 0
    assert held.n_false >= 1


def test_readings_in_alarm_are_those_from_the_raise_to_the_clear(tmp_path: Path) -> None:
    result = judged(history_file(tmp_path, spikes=(200, 300, 399), devices="abc", spiking="ac"))
    held = hold_against(result, [])
    assert held.n_in_alarm == np.count_nonzero(result.verdicts.alert) > 0
    assert held.n_false == len(result.alerts)
    assert held.alarm_percent() == pytest.approx(100 * held.n_in_alarm / len(result.history))


def test_a_window_is_found_by_a_reading_in_an_alert_that_began_before_it(tmp_path: Path) -> None:
    result = judged(history_file(tmp_path, spikes=(200, 202), devices="a"))
    assert [a.at for a in result.of_judge()] == [result.history.at[200]]
    held = hold_against(result, [window(202, 202)])
    assert (held.n_found, held.n_false) == (1, 1)


def test_the_labels_of_the_benchmark_are_read() -> None:
    data = NAB / "realKnownCause" / "ambient_temperature_system_failure.csv"
    if not data.exists():
        pytest.skip("the real data is not here")
    windows = read_labels(NAB / "labels.json", read_history(data))
    assert [w.device for w in windows] == [None, None]
    assert windows[0].begin_at == parse_time("2013-12-15 07:00:00")
