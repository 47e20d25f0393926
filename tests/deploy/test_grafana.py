"""The shipped dashboards: written by their code, and what they ask is asked of a real Prometheus."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.daemon import FAULTY
from tests.deploy.fleet_job import filled_fleet
from tests.deploy.prometheus import Prometheus, series_names

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
FILES = {path.stem: path.read_text("utf-8") for path in sorted((GRAFANA / "dashboards").glob("*.json"))}
DASHBOARDS = {name: json.loads(text) for name, text in FILES.items()}
VARIABLES = {name: {v["name"]: v for v in board["templating"]["list"]} for name, board in DASHBOARDS.items()}
ANNOTATIONS = [
    pytest.param(name, annotation["expr"], id=f"{name}-{annotation['name']}")
    for name, board in DASHBOARDS.items()
    for annotation in board["annotations"].get("list", ())
]
QUERIES = [
    pytest.param(name, target["expr"], id=f"{name}-{panel['title']}-{target['refId']}")
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
    for target in panel.get("targets", ())
]
QUERY_VARIABLES = [
    pytest.param(name, variable["name"], id=f"{name}-{variable['name']}")
    for name, variables in VARIABLES.items()
    for variable in variables.values()
    if variable["type"] == "query"
]
SHOWN = {"device": FAULTY, "metric": "temperature"}
OF_A_FLEET = "spark"
"""The dashboard of a fleet job; the others are of daemons."""
every_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


def _asked(board: str, request: pytest.FixtureRequest) -> Prometheus:
    """The Prometheus that has what a dashboard shows."""
    found: Prometheus = request.getfixturevalue("fleet_prometheus" if board == OF_A_FLEET else "prometheus")
    return found


def _filled_in(text: str, prometheus: Prometheus) -> str:
    """What Grafana makes of a query when one series with an alert is chosen."""
    (instance,) = prometheus.get("label/instance/values", {})
    chosen = {"instance": instance, "__rate_interval": "1m", **SHOWN}
    text = re.sub(r"\$(\w+)", lambda found: chosen[found[1]], text)
    assert "$" not in text
    return text


@pytest.mark.skipif(
    importlib.util.find_spec("grafana_foundation_sdk") is None and os.environ.get("CI") != "true",
    reason="grafana-foundation-sdk is not installed: pip install -e '.[dev]' -c constraints.txt",
)
def test_the_command_writes_the_shipped_files(tmp_path: Path) -> None:
    assert shutil.which("make")
    given = [f"BIN={Path(sys.executable).parent}", f"ARGS={tmp_path}"]
    subprocess.run(["make", "-o", ".venv/test", "dashboards", *given], cwd=ROOT, check=True, timeout=60)
    assert {path.stem: path.read_text("utf-8") for path in tmp_path.iterdir()} == FILES
    assert len(FILES) == 4


@pytest.mark.parametrize(("board", "expression"), [*QUERIES, *ANNOTATIONS])
def test_every_panel_and_annotation_has_data(board: str, expression: str, request: pytest.FixtureRequest) -> None:
    prometheus = _asked(board, request)
    asked = _filled_in(expression, prometheus)
    deadline = time.monotonic() + 10
    while not prometheus.query(asked):
        assert time.monotonic() < deadline, f"no data: {asked}"
        time.sleep(0.2)


def test_the_daemon_that_was_asked_had_something_to_tell(prometheus: Prometheus) -> None:
    for happened in ('rejections_total{reason="not_json"}', 'reloads_total{result="taken"}', "alerts_active"):
        assert prometheus.query(f"forewarn_{happened} > 0"), happened


@pytest.mark.parametrize(("board", "name"), QUERY_VARIABLES)
def test_every_variable_offers_something(board: str, name: str, request: pytest.FixtureRequest) -> None:
    prometheus = _asked(board, request)
    asked = re.fullmatch(r"label_values\((.+), (\w+)\)", _filled_in(VARIABLES[board][name]["definition"], prometheus))
    assert asked
    assert VARIABLES[board][name]["query"]["query"] == VARIABLES[board][name]["definition"]
    offered = prometheus.get(f"label/{asked[2]}/values", {"match[]": asked[1]})
    assert SHOWN[name] in offered if name in SHOWN else offered


def test_every_metric_in_the_dashboards_and_the_rules_is_on_the_page() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    known = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text("utf-8")
    for text in (*(text for name, text in FILES.items() if name != OF_A_FLEET), rules):
        assert _metrics(text)
        assert _metrics(text) <= known


def test_the_dashboard_and_the_rules_of_a_fleet_job_ask_for_what_it_exposes_and_leave_nothing_out() -> None:
    exposed = set(re.findall(r"^# TYPE (\w+)", filled_fleet().exposition()[0].decode(), re.MULTILINE))
    rules = (ROOT / "deploy" / "prometheus" / "fleet_rules.yml").read_text("utf-8")
    assert _metrics(rules) <= exposed
    assert _metrics(FILES[OF_A_FLEET]) <= exposed
    left_out = {name for name in exposed - _metrics(FILES[OF_A_FLEET]) if not name.startswith("process_")}
    assert left_out == {"forewarn_fleet_batch"}  # a number that the log has, and nothing to draw


def _metrics(text: str) -> set[str]:
    return {re.sub("_(bucket|count|sum)$", "", name) for name in series_names(text)}


@every_dashboard
def test_panels_have_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    panels = DASHBOARDS[name]["panels"]
    assert sorted(panel["id"] for panel in panels) == list(range(1, len(panels) + 1))
    cells = [cell for panel in panels for cell in _cells(panel["gridPos"])]
    assert len(set(cells)) == len(cells)
    assert all(0 <= x < 24 for x, _ in cells)


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


@every_dashboard
def test_a_panel_has_a_title_of_its_own_and_asks_each_query_once_under_a_letter_of_its_own(name: str) -> None:
    panels = [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["targets"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
        assert len({target["expr"] for target in panel["targets"]}) == len(letters)
        assert all(target["instant"] != target["range"] for target in panel["targets"])


@every_dashboard
def test_an_override_is_of_a_line_or_column_that_the_panel_has(name: str) -> None:
    for panel in DASHBOARDS[name]["panels"]:
        lines = {target.get("legendFormat") for target in panel.get("targets", ())}
        columns = [step["options"] for step in panel.get("transformations", ()) if step["id"] == "organize"]
        lines.update(*(options["indexByName"] for options in columns), *(o["renameByName"].values() for o in columns))
        for override in panel.get("fieldConfig", {}).get("overrides", ()):
            if override["matcher"]["id"] == "byName" and "{{state}}" not in lines:  # the states of devices: of the data
                assert override["matcher"]["options"] in lines, panel["title"]


@every_dashboard
def test_every_variable_that_is_used_is_defined_and_the_data_source_is_provisioned(name: str) -> None:
    of_grafana = {"__rate_interval", "__all", "__data", "__url_time_range"}
    assert set(re.findall(r"\$\{?(\w+)", FILES[name])) - of_grafana == set(VARIABLES[name])
    yaml: Any = pytest.importorskip("yaml")
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text("utf-8"))
    assert VARIABLES[name]["datasource"]["current"]["value"] == sources["datasources"][0]["uid"]


def test_dashboards_lead_to_each_other() -> None:
    by_uid = {board["uid"]: name for name, board in DASHBOARDS.items()}
    assert len(by_uid) == len(DASHBOARDS)
    for name, board in DASHBOARDS.items():
        assert board["schemaVersion"] == 41  # of the Grafana below
        (link,) = board["links"]
        assert set(link["tags"]) <= set(board["tags"])
        for uid, query in re.findall(r"/d/([\w-]+)\?([^\"]+)", FILES[name]):
            assert set(re.findall(r"var-(\w+)=", query)) <= set(VARIABLES[by_uid[uid]])
    compose = (ROOT / "deploy" / "compose.yaml").read_text("utf-8")
    (home,) = re.findall(r"HOME_DASHBOARD_PATH: /var/lib/grafana-dashboards/(\w+).json", compose)
    assert "/d/forewarn-device?" in FILES[home]
    assert "image: grafana/grafana:12.1." in compose
