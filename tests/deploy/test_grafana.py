"""The shipped dashboard: what its panels and variables ask is asked of a real Prometheus."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.prometheus import Prometheus, series_names

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "fleet.json").read_text("utf-8"))
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
]
SHOWN = ("freezer-1", "temperature")


def _filled_in(text: str) -> str:
    """What Grafana makes of a query when one series of all daemons is chosen."""
    device, metric = SHOWN
    chosen = {"instance": ".+", "device": device, "metric": metric, "__rate_interval": "1m"}
    text = re.sub(r"\$(\w+)", lambda found: chosen[found[1]], text)
    assert "$" not in text
    return text


@pytest.mark.parametrize("expression", QUERIES)
def test_every_panel_has_data(expression: str, prometheus: Prometheus) -> None:
    assert prometheus.query(_filled_in(expression))


def test_every_variable_offers_something(prometheus: Prometheus) -> None:
    offered = {}
    for name, variable in VARIABLES.items():
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", _filled_in(variable["definition"]))
            assert asked, variable["definition"]
            offered[name] = prometheus.get(f"label/{asked[2]}/values", {"match[]": asked[1]})
    assert offered["instance"]
    assert SHOWN[0] in offered["device"]
    assert SHOWN[1] in offered["metric"]


def test_every_metric_in_the_dashboard_and_the_rules_is_on_the_page() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    known = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text("utf-8")
    asked = series_names(json.dumps(DASHBOARD)) | series_names(rules)
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in asked} <= known


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [cell for panel in panels for cell in _cells(panel["gridPos"])]
    assert len(set(cells)) == len(cells)
    assert all(0 <= x < 24 for x, _ in cells)


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def test_every_variable_that_is_used_is_defined_and_the_data_source_is_provisioned() -> None:
    text = json.dumps(DASHBOARD)
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__all"}
    assert used == set(VARIABLES)
    yaml: Any = pytest.importorskip("yaml")
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text("utf-8"))
    assert VARIABLES["datasource"]["current"]["value"] == sources["datasources"][0]["uid"]
