"""The examples of docs/automation.md and docs/home-assistant.md do what the pages say."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from forewarn.core.alerts import AlertCleared, AlertRaised, AlertUpdated, Severity
from forewarn.core.readings import SeriesKey
from forewarn.demo.broker import free_port
from forewarn.messages import Outgoing
from tests.brokers import Mosquitto, Subscriber
from tests.deploy.prometheus import MISSING_PROMETHEUS
from tests.test_documents import ROOT, blocks, run_as_shown
from tests.test_messages import PHRASES, alert
from tests.thorough import THOROUGH

AUTOMATION = (ROOT / "docs" / "automation.md").read_text("utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
HOME = (ROOT / "docs" / "home-assistant.md").read_text("utf-8")
RULES, ALERTMANAGER = blocks("yaml", AUTOMATION)
(SCRIPT,) = blocks("sh", AUTOMATION)
(FLOW,) = blocks("json", AUTOMATION)
HOSTILE = "@harm'\"$(touch harm)`touch harm`\\;%é"


def needs(*tools: str) -> None:
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{', '.join(missing)} not installed")


def steps(device: str, number: int) -> list[Outgoing]:
    """An alert of a device, from its raise to its end."""
    of = alert(series=SeriesKey(device, "temperature"), id=f"{number:016x}", severity=Severity.CRITICAL)
    return [PHRASES.alert(kind(of)) for kind in (AlertRaised, AlertUpdated, AlertCleared)]


class Post(NamedTuple):
    """What was posted."""

    path: str
    body: str


@contextmanager
def recipient() -> Iterator[tuple[str, list[Post]]]:
    """A server on loopback that takes what is posted: its address, and what came."""
    posts: list[Post] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            posts.append(Post(self.path, self.rfile.read(length).decode()))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", posts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def eventually(holds: Callable[[], object], timeout: float = 30.0) -> None:
    ends_at = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.05)


@contextmanager
def running(command: list[str], folder: Path, **environ: str) -> Iterator[None]:
    """A program with its children, which end with it."""
    with (folder / "said.log").open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environ}, stdout=said, stderr=said, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def publish_until(broker: Mosquitto, posts: list[Post]) -> None:
    """Publish an alert of a first device, again and again, until something listens."""
    with Subscriber(broker, "unused") as publisher:
        for number in range(100):
            first = steps("first", number)[0]
            publisher.publish(first.topic, first.payload)
            time.sleep(0.3)
            if posts:
                return
    raise AssertionError("nobody listens")


@pytest.mark.slow
def test_the_tutorial_leads_from_a_file_to_a_notification(mosquitto: Mosquitto, tmp_path: Path) -> None:
    needs("mosquitto_sub", "jq", "curl")
    script = "\n".join(blocks("sh", TUTORIAL))
    assert SCRIPT.replace("forewarn/+/", "forewarn/gateway-1/").strip() in script
    quick = [] if THOROUGH else [("--unit °C", "--unit °C --epochs 2")]
    with recipient() as (address, posts):
        ports = [("1883", str(mosquitto.port)), ("9464", str(free_port()))]
        for shown, here in (*ports, ("https://ntfy.sh", address), *quick):
            assert shown in script
            script = script.replace(shown, here)
        printed = run_as_shown(f"{script}\nkill $(jobs -p)", tmp_path)
        assert "% smaller than persistence's" in printed
        assert re.search(r"^labels: \d+ of \d+ windows found", printed, re.MULTILINE)
        assert "lets us in" in printed
        assert "freezer-1" in printed.partition("lets us in")[2]
        assert re.search(r"^forewarn_alerts_total.* [1-9]", printed, re.MULTILINE)
        sent = [json.loads(post.body) for post in posts]
    assert {"raised", "cleared"} <= {message["tags"][1] for message in sent}
    assert any("it has been about" in message["message"] for message in sent)


def test_the_ntfy_script_tells_what_begins_and_ends_whatever_a_device_is_called(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    needs("mosquitto_sub", "jq", "curl", "bash")
    with recipient() as (address, posts):
        script = SCRIPT.replace("1883", str(mosquitto.port)).replace("https://ntfy.sh", address)
        assert str(mosquitto.port) in script
        assert address in script
        with running(["bash", "-c", script], tmp_path):
            publish_until(mosquitto, posts)
            n = len(posts)
            with Subscriber(mosquitto, "unused") as publisher:
                for message in steps(HOSTILE, 500):
                    publisher.publish(message.topic, message.payload)
            eventually(lambda: len(posts) >= n + 2)
    assert not list(tmp_path.glob("harm"))
    raised, cleared = (json.loads(post.body) for post in posts[-2:])
    assert {post.path for post in posts} == {"/"}
    assert raised == {
        "topic": "your-topic",
        "title": HOSTILE,
        "message": f"{HOSTILE} reads 9.8 °C; 4.1 ± 0.6 °C was expected",
        "priority": 5,
        "tags": ["residual", "raised"],
    }
    assert (cleared["priority"], cleared["tags"]) == (2, ["residual", "cleared"])


def test_the_flow_is_one_that_node_red_can_import() -> None:
    nodes = {node["id"]: node for node in json.loads(FLOW)}
    assert len(nodes) == len(json.loads(FLOW))
    placed = {name: node for name, node in nodes.items() if "z" in node}
    assert {node["z"] for node in placed.values()} == {"fw-tab"}
    assert placed["fw-alerts"]["broker"] in nodes
    reached = ["fw-alerts"]
    for name in reached:
        reached += [target for wire in placed[name]["wires"] for target in wire if target not in reached]
    assert set(reached) == set(placed), "every node has a wire to it"
    assert nodes["fw-steps"]["outputs"] == len(nodes["fw-steps"]["rules"]) == len(nodes["fw-steps"]["wires"])


def test_node_red_posts_the_sentences(mosquitto: Mosquitto, tmp_path: Path) -> None:
    node_red = os.environ.get("NODE_RED") or shutil.which("node-red")
    if node_red is None:
        pytest.skip("node-red is not installed: npm install node-red, and NODE_RED=/path/to/node-red")
    with recipient() as (address, posts):
        flow = FLOW.replace('"1883"', f'"{mosquitto.port}"').replace("https://ntfy.sh/your-topic", f"{address}/here")
        (tmp_path / "flows.json").write_text(flow, "utf-8")
        command = [node_red, "--userDir", str(tmp_path), "--port", str(free_port()), "-D", "uiHost=127.0.0.1"]
        command += ["-D", "telemetry.enabled=false", "flows.json"]
        with running(command, tmp_path):
            publish_until(mosquitto, posts)
            n = len(posts)
            with Subscriber(mosquitto, "unused") as publisher:
                for message in steps(HOSTILE, 600):
                    publisher.publish(message.topic, message.payload)
            eventually(lambda: len(posts) >= n + 2)
    assert posts[-2:] == [
        Post("/here", f"{HOSTILE} reads 9.8 °C; 4.1 ± 0.6 °C was expected"),
        Post("/here", f"{HOSTILE} is as expected again: it reads 9.8 °C; 4.1 ± 0.6 °C was expected"),
    ]


OF_SERIES = """
      - series: '{name}{{job="f", instance="g", device="{device}", metric="temperature"}}'
        values: '{value}x20'
"""
TEST_OF_RULES = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
SERIES    alert_rule_test:
      - {eval_time: 9m, alertname: FreezerNotAsExpected, exp_alerts: []}
      - eval_time: 11m
        alertname: FreezerNotAsExpected
        exp_alerts:
          - exp_labels:
              {severity: critical, team: kitchen, job: f, instance: g, device: freezer-3, metric: temperature}
            exp_annotations: {summary: "freezer-3 reads 9.8 °C and is not as expected"}
"""


def test_the_rule_tells_the_freezer_that_is_in_alert(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip(MISSING_PROMETHEUS)
    (tmp_path / "rules.yml").write_text(RULES, "utf-8")
    given = {"freezer-3": {"value": 9.8, "state": 2}, "freezer-4": {"value": 4.0, "state": 1}}
    series = "".join(
        OF_SERIES.format(name=f"forewarn_series_{name}", device=device, value=value)
        for device, numbers in given.items()
        for name, value in numbers.items()
    )
    (tmp_path / "test.yml").write_text(TEST_OF_RULES.replace("SERIES", series), "utf-8")
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "test.yml"]):
        said = subprocess.run(["promtool", *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout + said.stderr


def test_the_alertmanager_sends_each_alert_to_someone_and_knows_the_names_of_the_rules(tmp_path: Path) -> None:
    yaml: Any = pytest.importorskip("yaml")
    document = yaml.safe_load(ALERTMANAGER)
    receivers = {one["name"] for one in document["receivers"]}
    routes = [document["route"], *document["route"]["routes"]]
    assert {route["receiver"] for route in routes} == receivers
    (rule,) = yaml.safe_load(RULES)["groups"][0]["rules"]
    asked = dict(matcher.split("=") for matcher in document["route"]["routes"][0]["matchers"])
    assert {name: rule["labels"][name] for name in asked} == {name: value.strip('"') for name, value in asked.items()}
    shipped = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text("utf-8") + RULES
    for name in ("ForewarnNotConnected", "FreezerNotAsExpected", "ForewarnSeriesAlert"):
        assert f"alert: {name}\n" in shipped
        assert name in str(document["inhibit_rules"])
    if shutil.which("amtool"):
        (tmp_path / "alertmanager.yml").write_text(ALERTMANAGER, "utf-8")
        command = ["amtool", "check-config", str(tmp_path / "alertmanager.yml")]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout + said.stderr


def test_the_automations_of_home_assistant_are_yaml_and_read_fields_that_there_are() -> None:
    yaml: Any = pytest.importorskip("yaml")
    first, second = (yaml.safe_load(block) for block in blocks("yaml", HOME))
    for one in (first, second):
        assert {"alias", "triggers", "actions"} <= set(one)
    document = json.loads(steps("d", 1)[0].payload)
    texts = json.dumps([first["conditions"], first["actions"]])
    read = [part.split(" ")[0] for part in texts.split("trigger.payload_json.")[1:]]
    assert sorted(read) == ["device", "id", "sentence", "severity", "type"]
    assert set(read) <= set(document)
    assert second["triggers"][0]["entity_id"] in HOME.split("## What you see")[1].split("## ")[0]


def test_what_was_retained_is_removed_by_the_command_of_the_page(mosquitto: Mosquitto) -> None:
    needs("mosquitto_sub")
    (command,) = blocks("sh", HOME)
    ours = [f"homeassistant/device/forewarn_gateway-1/{device}/config" for device in "ab"]
    other = "homeassistant/device/other/config"
    with Subscriber(mosquitto, "unused") as publisher:
        for topic in (*ours, other):
            publisher.publish(topic, "{}", retain=True)
        done = subprocess.run(
            ["bash", "-c", command.replace("1883", str(mosquitto.port))], timeout=30, check=False, capture_output=True
        )
        assert done.returncode == 27, "mosquitto_sub says so when its time is over"
        with Subscriber(mosquitto, "homeassistant/device/#") as late:
            assert late.wait_for(lambda m: m.retain).topic == other
            time.sleep(0.3)
            assert len(late.messages) == 1
        publisher.publish(other, "", retain=True)
