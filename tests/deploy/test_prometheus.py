"""The shipped Prometheus settings and alert rules, read by promtool and run by a real Prometheus."""

import re
import shutil
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

from forewarn.core.alerts import Kind
from forewarn.core.readings import SeriesKey
from tests.deploy.prometheus import (
    DAEMON,
    FLEET,
    MISSING_PROMETHEUS,
    SHIPPED,
    Prometheus,
    Watched,
    need_prometheus,
    series_names,
)
from tests.deploy.sources import filled, served

every_kind = pytest.mark.parametrize("watched", [DAEMON, FLEET], ids=lambda watched: watched.job)
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason=MISSING_PROMETHEUS)
HOSTILE = (
    'q"uote',
    "back\\slash\\n",
    "new\nline",
    "carriage\rreturn",
    "{}",
    'a="b",c',
    "\U0001f600",
    "\u2028",
    "",
    "\x7f",
    "nul\0",
)


@needs_promtool
@pytest.mark.parametrize(
    "command",
    [
        *(["check", "config", watched.settings] for watched in (DAEMON, FLEET)),
        *(["test", "rules", watched.rules.replace(".yml", "_test.yml")] for watched in (DAEMON, FLEET)),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(command: list[str]) -> None:
    said = subprocess.run(["promtool", *command], cwd=SHIPPED, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


@every_kind
def test_every_rule_has_a_unit_test_in_which_it_fires(watched: Watched) -> None:
    rules = re.findall(r"- alert: (\w+)", (SHIPPED / watched.rules).read_text("utf-8"))
    tests = (SHIPPED / watched.rules.replace(".yml", "_test.yml")).read_text("utf-8")
    assert len(rules) > 5
    assert set(rules) == set(re.findall(r"alertname: (\w+)\n\s+exp_alerts", tests))


def test_the_rules_name_kinds_of_alerts_that_there_are() -> None:
    rules = (SHIPPED / "rules.yml").read_text("utf-8")
    named = {kind for kinds in re.findall(r'kind(?:=|!)~"([^"]+)"', rules) for kind in kinds.split("|")}
    assert named
    assert named <= set(Kind)


@pytest.mark.parametrize("name", ["prometheus", "fleet_prometheus"])
def test_every_rule_evaluates_and_reads_what_is_exposed(name: str, request: pytest.FixtureRequest) -> None:
    prometheus: Prometheus = request.getfixturevalue(name)
    (group,) = prometheus.get("rules", {})["groups"]
    known = set(prometheus.get("label/__name__/values", {}))
    for rule in group["rules"]:
        prometheus.query(rule["query"])
        assert rule["health"] in {"ok", "unknown"}, rule  # unknown: not evaluated yet
        assert series_names(rule["query"]) <= known, rule["query"]


def test_a_daemon_at_work_exposes_what_the_page_of_the_metrics_says(metrics_address: str) -> None:
    with urlopen(f"http://{metrics_address}/metrics", timeout=10) as answer:
        exposed = re.findall(r"^# TYPE (\w+)", answer.read().decode(), re.MULTILINE)
    page = (SHIPPED.parents[1] / "docs" / "metrics.md").read_text("utf-8")
    assert sorted(exposed) == sorted(re.findall(r"^\| `(\w+)` \| \w+ \|", page, re.MULTILINE))


def test_a_scrape_survives_hostile_names_and_tells_them_apart(tmp_path: Path) -> None:
    need_prometheus()
    telemetry = filled([*(SeriesKey(name, "m") for name in (*HOSTILE, "lone \udc80")), SeriesKey("left out", "m")])
    with served(telemetry) as server:
        prometheus = Prometheus(tmp_path, f"127.0.0.1:{server.port}")
        try:
            prometheus.wait(scrapes=2)
            devices = set(prometheus.get("label/device/values", {}))
        finally:
            prometheus.close()
    assert devices == {*HOSTILE, "lone \\udc80"} - {""}  # an empty label is none to Prometheus
