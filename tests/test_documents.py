"""The commands that the documents show are run, in their order, as a reader would run them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from forewarn.adapters.onnx_forecaster import load_model
from forewarn.history import read_history
from tests.brokers import Mosquitto
from tests.deploy.prometheus import need_prometheus
from tests.history.servers import openmetrics, prometheus
from tests.ports import free_port
from tests.thorough import THOROUGH
from tests.training.sensors import wave

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
TOOLS = ("mosquitto_sub", "curl")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_as_shown(script: str, folder: Path) -> str:
    """What a script prints in a folder, with the commands of this environment first."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_ci_has_what_the_commands_need(tool: str) -> None:
    if os.environ.get("CI") != "true":
        pytest.skip("only where everything must be run")
    assert shutil.which(tool), f"{tool} is not installed"


@pytest.mark.slow
def test_every_command_of_the_readme_works_in_its_order(mosquitto: Mosquitto, tmp_path: Path) -> None:
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install -y mosquitto-clients curl")
    script = "\n".join(blocks("sh"))
    quick = [] if THOROUGH else [("--unit °C", "--unit °C --epochs 3")]
    for shown, here in (("1883", str(mosquitto.port)), ("9464", str(free_port())), *quick):
        assert shown in script
        script = script.replace(shown, here)
    printed = run_as_shown(script, tmp_path)
    assert "lets us in" in printed
    alerts = [json.loads(line) for line in (tmp_path / "alerts.log").read_text("utf-8").splitlines()]
    assert alerts
    assert 'forewarn_alerts_total{kind="anomaly",severity="critical",type="raised"}' in printed
    assert "smaller than persistence" in printed
    assert (tmp_path / "scores.csv").read_text("utf-8").startswith("timestamp,device,value,expected")


def test_the_backtest_that_its_page_shows_works(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "backtest.md").read_text("utf-8")
    commands = "\n".join(blocks("sh", text))
    printed = run_as_shown(commands, tmp_path)
    assert re.search(r"^labels: \d+ of \d+ windows found", printed, re.MULTILINE)
    assert "How many alerts at which" in (tmp_path / "backtest.html").read_text("utf-8")
    assert "fridge-1 in 2 parts" in (tmp_path / "course.html").read_text("utf-8")
    (labels,) = blocks("json", text)
    (tmp_path / "truth.csv").write_text(labels, "utf-8")
    printed = run_as_shown(commands.partition("\n")[2], tmp_path)
    assert "freezer-1  2026-01-04 00:00 to 2026-01-04 02:00" in printed


def test_the_sources_of_history_that_their_page_shows_work(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pa, pq = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    need_prometheus()
    text = (ROOT / "docs" / "history.md").read_text("utf-8")
    at = [f"2025-01-01T{i // 60:02}:{i % 60:02}:00Z" for i in range(480)]
    columns = {"timestamp": at, "device": ["freezer-1"] * 480, "temperature": wave(480)}
    pq.write_table(pa.table(columns), tmp_path / "freezer.parquet")
    series = {f'{name}{{device="hall",job="hall"}}': wave(480).tolist() for name in ("temperature", "humidity")}
    with prometheus(tmp_path, openmetrics(series, 60)) as url:
        commands = "\n".join(blocks("sh", text))
        for shown, here in (("http://127.0.0.1:9090", url), ("--out hall.onnx", "--out hall.onnx --epochs 1")):
            assert shown in commands
            commands = commands.replace(shown, here)
        printed = run_as_shown(commands, tmp_path)
    assert "starter 2 on temperature of freezer.parquet" in printed
    assert load_model(tmp_path / "hall.onnx").card.target == "temperature"


def test_the_tables_of_history_that_their_page_shows_are_read(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "history.md").read_text("utf-8")
    shown = blocks("csv", text)
    assert len(shown) == 3
    for table, values in zip(shown, ([-18.2, -18.1], [-18.2], [20.1]), strict=True):
        (tmp_path / "h.csv").write_text(table, "utf-8")
        assert read_history(tmp_path / "h.csv", target="temperature").values[:, 0].tolist() == values


def test_the_alert_that_the_readme_shows_is_one() -> None:
    schema = json.loads((ROOT / "docs" / "schema" / "alert.schema.json").read_text("utf-8"))
    (alert,) = (json.loads(block) for block in blocks("json"))
    jsonschema.validate(alert, schema)


PAGES = sorted(page for page in ROOT.glob("**/*.md") if not str(page.relative_to(ROOT)).startswith("."))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
