"""The real MQTT integration of Home Assistant takes what forewarn says.

Home Assistant needs a Python of its own (3.13 for 2025.4) and pins most of its packages, so it is no extra of this
project: `HOMEASSISTANT_PYTHON=/path/to/python` names one that has `homeassistant` and `paho-mqtt==2.1.0`. Without it
these tests are skipped, and discovery_schema.py stands for its documentation.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.brokers import Mosquitto, Subscriber
from tests.daemons import INSTANCE, JSON_INPUT, DaemonProcess, settings_file
from tests.links import own
from tests.service.test_homeassistant import retained
from tests.test_documents import blocks

PYTHON = os.environ.get("HOMEASSISTANT_PYTHON")
PROGRAM = Path(__file__).with_name("homeassistant_core.py")
pytestmark = pytest.mark.skipif(PYTHON is None, reason="HOMEASSISTANT_PYTHON names no Python with homeassistant")
SETTINGS = """
[units]
temperature = "°C"
[homeassistant]
enabled = true
[limits]
max_devices = 4
"""


class Core:
    """Home Assistant, connected to a broker; a context manager."""

    def __init__(self, broker: Mosquitto, folder: Path, *automations: str) -> None:
        self._port, self.log = str(broker.port), folder / "homeassistant.log"
        self._automations = [folder / f"automation-{i}.yaml" for i in range(len(automations))]
        for path, text in zip(self._automations, automations, strict=True):
            path.write_text(text, "utf-8")

    def __enter__(self) -> Self:
        assert PYTHON
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [PYTHON, str(PROGRAM), self._port, *map(str, self._automations)], env=environ, text=True, stderr=log,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate(timeout=60)

    def now(self) -> dict[str, Any]:
        """Every state, every device, and what people were notified of."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def wait_for(self, holds: Callable[[dict[str, dict[str, Any]]], object], timeout: float = 60.0) -> dict[str, Any]:
        """The states once something holds of them."""
        ends_at = time.monotonic() + timeout
        states: dict[str, Any]
        while not holds(states := self.now()["states"]):
            assert time.monotonic() < ends_at, json.dumps(states, indent=1) + self.log.read_text()
            time.sleep(0.2)
        return states


@pytest.fixture
def alone() -> Iterator[Mosquitto]:
    broker = own("mosquitto")
    assert isinstance(broker, Mosquitto)
    broker.start()
    yield broker
    broker.close()


class Speaker:
    """A device that is read every second from some minutes ago on."""

    def __init__(self, publisher: Subscriber, name: str) -> None:
        self._publisher, self._name, self._at = publisher, name, time.time() - 290.0

    def __call__(self, *values: float) -> None:
        for value in values:
            self._at += 1.0
            reading = json.dumps({"time": self._at, "value": value})
            self._publisher.publish(f"sensors/{self._name}/temperature", reading)


USUAL = [4.0 + 0.1 * (i % 3) for i in range(40)]
ENTITIES = ("binary_sensor.{}_problem", "sensor.{}_expected", "sensor.{}_residual", "sensor.{}_score")


def test_a_device_appears_has_a_problem_falls_silent_and_goes(alone: Mosquitto, tmp_path: Path) -> None:
    path = settings_file(tmp_path, alone, SETTINGS + JSON_INPUT)
    environ = {"FOREWARN_FAULTS__SILENT_MIN_S": "15", "FOREWARN_PUBLISH__STATE_INTERVAL_S": "0.1"}
    problem, expected, residual, score = (each.format("freezer_3_temperature") for each in ENTITIES)
    with Core(alone, tmp_path) as home, Subscriber(alone, "unused") as publisher:
        assert home.now() == {"states": {}, "devices": [], "notified": []}
        with DaemonProcess(path, environ=environ) as daemon:
            freezer = Speaker(publisher, "freezer 3")
            freezer(*USUAL)
            states = home.wait_for(lambda now: now.get(problem, {}).get("state") == "off" and score in now)
            assert set(states) == {problem, expected, residual, score}
            assert home.now()["devices"] == ["freezer 3"]
            assert float(states[expected]["state"]) == pytest.approx(4.1, abs=1.0)
            assert (states[expected]["device_class"], states[expected]["unit_of_measurement"]) == ("temperature", "°C")
            assert "device_class" not in states[residual]
            assert float(states[residual]["state"]) == pytest.approx(0.0, abs=1.0)
            assert "kind" not in states[problem]

            freezer(40.0)
            states = home.wait_for(lambda now: now[problem].get("kind") == "residual")
            assert (states[problem]["state"], states[problem]["severity"]) == ("on", "critical")
            assert [one["kind"] for one in states[problem]["alerts"]] == ["residual"]

            # nothing more is said, so that the series falls silent
            states = home.wait_for(lambda now: now[expected]["state"] == "unavailable")
            assert {states[each]["state"] for each in (expected, residual, score)} == {"unavailable"}
            states = home.wait_for(lambda now: len(now[problem].get("alerts", [])) == 2)
            assert states[problem]["state"] == "on"
            freezer(*USUAL)
            home.wait_for(lambda now: now[expected]["state"] != "unavailable" and now[problem]["state"] == "off")

            daemon.process.kill()
            home.wait_for(lambda now: {one["state"] for one in now.values()} == {"unavailable"})
        with DaemonProcess(path, environ={**environ, "FOREWARN_LIMITS__MAX_DEVICES": "1"}):
            home.wait_for(lambda now: now[problem]["state"] != "unavailable")
            Speaker(publisher, "other")(*USUAL)
            states = home.wait_for(lambda now: problem not in now and len(now) == 4)
            assert home.now()["devices"] == ["other"]
    assert not [line for line in home.log.read_text().splitlines() if "ERROR" in line or "rror" in line]


def test_the_automations_of_the_page_notify(alone: Mosquitto, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "home-assistant.md").read_text("utf-8")
    of_alerts, of_problem = blocks("yaml", page)
    of_alerts = of_alerts.replace("forewarn/gateway-1/", f"forewarn/{INSTANCE}/")
    of_problem = of_problem.replace("00:10:00", "00:00:02")
    path = settings_file(tmp_path, alone, SETTINGS + JSON_INPUT)
    with Core(alone, tmp_path, of_alerts, of_problem) as home, Subscriber(alone, "unused") as publisher:
        home.now()
        with DaemonProcess(path):
            freezer = Speaker(publisher, "freezer-3")
            freezer(*USUAL)
            home.wait_for(lambda now: "binary_sensor.freezer_3_temperature_problem" in now)
            freezer(40.0)
            home.wait_for(lambda _: len(home.now()["notified"]) >= 2)
            freezer(*USUAL[:4])
            home.wait_for(lambda _: len(home.now()["notified"]) >= 3)
            raised, lasting, cleared = home.now()["notified"]
    assert raised["title"] == "freezer-3: critical"
    assert "freezer-3 reads 40.0 °C" in raised["message"]
    assert lasting["message"] == "freezer-3: residual, critical"
    assert "is as expected again" in cleared["message"]
    assert cleared["data"]["tag"] == raised["data"]["tag"]
    assert len(raised["data"]["tag"]) == 16


HOSTILE = ("'\"}} {{ states() }}", "{% for i in range(9**9) %}", '","p":"lock', "冷蔵庫", "\\", "~", "a_b", "a b")


def test_no_name_of_a_device_breaks_what_home_assistant_makes_of_it(alone: Mosquitto, tmp_path: Path) -> None:
    path = settings_file(tmp_path, alone, SETTINGS.replace("= 4", "= 40") + JSON_INPUT)
    with Core(alone, tmp_path) as home, Subscriber(alone, "unused") as publisher, DaemonProcess(path):
        for name in HOSTILE:
            Speaker(publisher, name)(*USUAL[:20], 40.0)
        states = home.wait_for(lambda now: len(now) == 4 * len(HOSTILE) and "unknown" not in str(now))
        assert sorted(home.now()["devices"]) == sorted(HOSTILE)
        problems = {one["friendly_name"] for key, one in states.items() if key.startswith("binary_sensor.")}
        assert problems == {f"{name} temperature problem" for name in HOSTILE}
        home.wait_for(lambda now: {now[key]["state"] for key in states if key.startswith("binary")} == {"on"})
    assert "rror" not in home.log.read_text()


def test_home_assistant_that_starts_later_is_told_by_what_is_retained_and_by_its_birth(
    alone: Mosquitto, tmp_path: Path
) -> None:
    path = settings_file(tmp_path, alone, SETTINGS + JSON_INPUT)
    with Subscriber(alone, "homeassistant/#") as publisher, DaemonProcess(path):
        Speaker(publisher, "a")(*USUAL)
        publisher.wait_for(lambda m: m.topic.endswith("/a/config"))
        publisher.publish(f"homeassistant/device/forewarn_{INSTANCE}/a/config", "", retain=True)  # as if it were lost
        with Core(alone, tmp_path) as home:
            home.wait_for(lambda now: len(now) == 4)
            assert any(m.topic == "homeassistant/status" and m.payload == b"online" for m in publisher.messages)
        assert list(retained(alone, "homeassistant/device/#")) == [f"homeassistant/device/forewarn_{INSTANCE}/a/config"]
