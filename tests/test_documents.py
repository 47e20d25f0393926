"""The commands that the README shows are run, in their order, as a reader would run them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from forewarn.demo.broker import free_port
from tests.brokers import Mosquitto

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
TOOLS = ("mosquitto_sub", "curl")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("tool", TOOLS)
def test_ci_has_what_the_commands_need(tool: str) -> None:
    if os.environ.get("CI") != "true":
        pytest.skip("only where everything must be run")
    assert shutil.which(tool), f"{tool} is not installed"


def test_every_command_of_the_readme_works_in_its_order(mosquitto: Mosquitto, tmp_path: Path) -> None:
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install -y mosquitto-clients curl")
    script = "set -euo pipefail\n" + "\n".join(blocks("sh"))
    for shown, here in (("1883", str(mosquitto.port)), ("9464", str(free_port()))):
        assert shown in script
        script = script.replace(shown, here)
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lets us in" in done.stdout
    alerts = [json.loads(line) for line in (tmp_path / "alerts.log").read_text("utf-8").splitlines()]
    assert alerts
    assert 'forewarn_alerts_total{kind="residual",severity="critical",type="raised"}' in done.stdout
    assert "smaller than persistence" in done.stdout
    assert (tmp_path / "scores.csv").read_text("utf-8").startswith("timestamp,device,value,expected")


def test_the_alert_that_the_readme_shows_is_one() -> None:
    schema = json.loads((ROOT / "docs" / "schema" / "alert.schema.json").read_text("utf-8"))
    (alert,) = (json.loads(block) for block in blocks("json"))
    jsonschema.validate(alert, schema)


PAGES = sorted(page for page in ROOT.glob("**/*.md") if ".venv" not in page.parts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
