import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from forewarn.cli import main
from forewarn.history import read_for
from forewarn.settings.judging import AlertSettings
from tests.forecasters import card

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "models" / "tiny.onnx"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["demo", "--devices", "200"], 2, "--devices 200"),
        (["simulate", "--out", "f.csv", "--faults", "flood"], 2, "spike"),
        (["replay", "f.csv", "--broker", "host:port"], 1, "f.csv"),
        (["backtest", "--model", "starter", "--data", "nowhere.csv", "--out", "o.csv"], 1, "nowhere.csv"),
        (["backtest", "--model", "nowhere.onnx", "--data", "f.csv", "--out", "o.csv"], 78, "nowhere.onnx"),
        (["check", "--config", "nowhere.toml"], 78, "nowhere.toml"),
        (["model", "show", "nowhere.onnx"], 78, "nowhere.onnx"),
        (["simulate", "--out", "/nowhere/f.csv"], 1, "/nowhere/f.csv"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_with_its_exit_code(
    arguments: list[str],
    code: int,
    told: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run"],
        ["fly"],
        ["simulate"],
        ["simulate", "--broker", "a", "--config", "f.toml"],
        ["replay", "f.csv", "--broker", "a", "--config", "f.toml"],
        ["backtest", "--model", "starter"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize("command", ["run", "check", "backtest", "simulate", "replay", "demo", "model"])
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert "usage: forewarn " + command in capsys.readouterr().out


def test_a_backtest_writes_a_row_for_each_row_and_a_finite_score_in_every_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out, report = tmp_path / "d.csv", tmp_path / "o.csv", tmp_path / "r.html"
    rows = [f"2026-01-01 {h:02}:{m:02}:00,{4 + (h + m) % 3 * 0.1}" for h in range(24) for m in range(0, 60, 10)]
    rows[50] = "not a time,4.0"
    rows[60] = rows[60].rpartition(",")[0] + ",broken"
    rows[70] = rows[69]
    rows[100] = rows[100].rpartition(",")[0] + ",44.0"
    data.write_text("timestamp,value\n" + "\n".join(rows) + "\n")
    arguments = ["backtest", "--model", str(TINY), "--data", str(data), "--out", str(out), "--report", str(report)]
    assert main(arguments) == 0
    with out.open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert [row["timestamp"] for row in written] == [row.partition(",")[0] for row in rows]
    assert all(float(row["anomaly_score"]) >= 0 for row in written)
    assert [written[i]["status"] for i in (0, 90, 60, 70)] == ["warming_up", "scored", "not_finite", "duplicate"]
    assert written[50]["anomaly_score"] == "0.0"
    assert written[100]["alert"] == "1"
    printed = capsys.readouterr().out
    assert "44.0 °C" in printed
    assert re.search(r"\d readings/s$", printed, re.MULTILINE)
    page = report.read_text("utf-8")
    assert "<svg" in page
    assert "44.0 °C" in page


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Readings each ten minutes with a spike at 06:00 and one at 18:00."""
    path = tmp_path / "day.csv"
    rows = [f"2026-01-01 {h:02}:{m:02}:00,{4 + (h + m) % 3 * 0.1}" for h in range(24) for m in range(0, 60, 10)]
    for i in (36, 108):
        rows[i] = rows[i].rpartition(",")[0] + ",44.0"
    path.write_text("timestamp,value\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def residual(tmp_path: Path) -> list[str]:
    """The option that chooses the residual judge."""
    path = tmp_path / "residual.toml"
    path.write_text('[alerts]\ndetector = "residual"\n' if "detector" in AlertSettings.model_fields else "")
    return ["--config", str(path)]


def test_a_backtest_is_held_against_labels_after_its_probation(
    day: Path, residual: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(
        '{"day.csv": [["2026-01-01 05:00", "2026-01-01 07:00"], ["2026-01-01 17:50", "2026-01-01 19:00"]]}'
    )
    arguments = ["backtest", "--model", str(TINY), "--data", str(day), "--labels", str(labels), *residual]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "labels: 2 of 2 windows found" in printed
    assert "2026-01-01 17:50 to 2026-01-01 19:00  found after 10 min (residual)" in printed
    assert main([*arguments, "--probation", "0.5"]) == 0
    printed = capsys.readouterr().out
    assert "labels: 1 of 1 windows found, median delay 10 min" in printed
    assert "1 more without a reading that counts" in printed
    assert "06:00" not in printed


MONITORED = """
model = "{tiny}"
[[monitors]]
device = "freezer-*"
metric = "temperature"
model = "{pair}"
alerts = {{ sensitivity = 0.5 }}
"""


def test_without_a_model_the_one_that_judges_the_devices_by_the_settings_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, data, report = tmp_path / "forewarn.toml", tmp_path / "days.csv", tmp_path / "report.html"
    config.write_text(MONITORED.format(tiny=TINY, pair=TINY.with_name("pair.onnx")))

    def rows(*devices: str) -> None:
        lines = [f"{1767225600 + 60 * i},{device},{4 + i % 3 * 0.1},40" for i in range(50) for device in devices]
        data.write_text("timestamp,device,temperature,humidity\n" + "\n".join(lines) + "\n")

    arguments = ["backtest", "--config", str(config), "--data", str(data)]
    for device, name, sensitivity in (("freezer-1", "pair", "0.5"), ("room", "tiny", "1.0")):
        rows(device)
        assert main([*arguments, "--report", str(report)]) == 0
        page = report.read_text("utf-8")
        assert f"{name}, version 1" in page
        assert re.search(rf"alerts.sensitivity</t[hd]>\s*<td>{sensitivity}<", page)
    rows("freezer-1", "room")
    capsys.readouterr()
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"several monitors \(freezer-1 by \S+pair.onnx, room by \S+tiny.onnx\)", line)
    assert main([*arguments, "--model", str(TINY)]) == 0


def test_bad_labels_are_told_before_anything_is_judged(
    day: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, out = tmp_path / "labels.json", tmp_path / "o.csv"
    labels.write_text("{}")
    arguments = ["backtest", "--model", str(TINY), "--data", str(day), "--labels", str(labels), "--out", str(out)]
    assert main(arguments) == 1
    assert "has no labels for" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--probation", value) for value in ("-1", "1.5", "nan", "inf", "x")),
        *(("--sensitivity", value) for value in ("0", "-1", "nan", "inf")),
    ],
)
def test_a_probation_or_sensitivity_that_cannot_be_is_wrong_usage(day: Path, option: str, value: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["backtest", "--model", str(TINY), "--data", str(day), option, value])
    assert stopped.value.code == 2


def test_a_judge_without_a_sensitivity_refuses_one(
    day: Path, residual: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["backtest", "--model", str(TINY), "--data", str(day), *residual]
    assert main([*arguments, "--sensitivity", "2"]) == 2
    assert "--sensitivity 2" in capsys.readouterr().err


def test_of_several_columns_the_one_that_the_model_was_trained_on_is_judged(tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    data.write_text("time,humidity,temperature\n2026-01-01,40,4\n2026-01-02,41,5\n")
    options = {"time_column": None, "device_column": None}
    assert read_for(data, card(), target=None, **options).target == "temperature"
    assert read_for(data, card(), target="humidity", **options).target == "humidity"
    both = read_for(data, card(features=("humidity", "temperature")), target=None, **options)
    assert both.features == ("humidity", "temperature")


def test_python_m_forewarn_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "forewarn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("forewarn ")
