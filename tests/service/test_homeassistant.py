"""What the daemon tells Home Assistant over a real broker; the test plays Home Assistant's part."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import BrokerProcess, Message, Mosquitto, Subscriber
from tests.daemons import INSTANCE, JSON_INPUT, DaemonProcess, settings_file
from tests.discovery_schema import VALIDATOR
from tests.links import own

ON = "[homeassistant]\nenabled = true\n[limits]\nmax_devices = {most}\n"
CONFIGS = "homeassistant/device/+/+/config"


@pytest.fixture
def alone() -> Iterator[Mosquitto]:
    """A Mosquitto of this test alone: what is retained there is of this daemon."""
    broker = own("mosquitto")
    assert isinstance(broker, Mosquitto)
    broker.start()
    yield broker
    broker.close()


def config(folder: Path, broker: BrokerProcess, most: int = 100) -> Path:
    return settings_file(folder, broker, ON.format(most=most) + JSON_INPUT)


def speak(publisher: Subscriber, device: str, n: int, start: int = 0, metric: str = "temperature") -> None:
    """Readings of a device; it leaves its warm-up with the seventh."""
    for i in range(start, start + n):
        reading = {"time": 1.7e9 + 10.0 * i, "value": 4.0 + 0.1 * (i % 3)}
        publisher.publish(f"sensors/{device}/{metric}", json.dumps(reading))


def of(device: str, least: int = 4, since: float = 0.0) -> Any:  # noqa: ANN401 - a predicate
    """Whether a message tells of a device with so many entities, after a time."""

    def is_of(message: Message) -> bool:
        if message.arrived_at <= since or not message.payload or not message.topic.startswith("homeassistant/device/"):
            return False
        document = json.loads(message.payload)
        VALIDATOR.validate(document)
        return bool(document["dev"]["name"] == device and len(document["cmps"]) == least)

    return is_of


def retained(broker: BrokerProcess, *filters: str) -> dict[str, bytes]:
    """What the broker keeps below some topics; Mosquitto sends it before it answers a ping, so a second is plenty."""
    with Subscriber(broker, *filters) as late:
        time.sleep(1.0)
        return {message.topic: message.payload for message in late.messages if message.retain}


def test_a_device_is_told_of_once_it_has_warmed_up_and_again_at_a_birth_which_is_no_reading(
    alone: Mosquitto, tmp_path: Path
) -> None:
    with Subscriber(alone, CONFIGS) as home, DaemonProcess(config(tmp_path, alone)) as daemon:
        speak(home, "a", 6)
        speak(home, "b", 10)
        home.wait_for(of("b"))
        speak(home, "a", 1, start=6)
        first = home.wait_for(of("a"))
        assert not first.retain, "as it is published"
        n = 6 + 10 + 1
        daemon.wait_for_sample("forewarn_readings_received_total", n)  # counted after it was told of
        began = time.monotonic()
        for payload in ("offline", "online"):
            home.publish("homeassistant/status", payload)
        for device in "ab":
            home.wait_for(of(device, since=began))
        speak(home, "a", 1, start=7)
        daemon.wait_for_sample("forewarn_readings_received_total", n + 1)
        assert daemon.sample("forewarn_readings_received_total") == n + 1
        assert daemon.sample("forewarn_readings_total", outcome="rejected") == 0
    topics = {f"homeassistant/device/forewarn_{INSTANCE}/{device}/config" for device in "ab"}
    assert set(retained(alone, CONFIGS)) == topics


def test_an_evicted_device_is_removed_after_a_restart_too(alone: Mosquitto, tmp_path: Path) -> None:
    path = config(tmp_path, alone, most=2)
    with Subscriber(alone, CONFIGS, "forewarn/#") as home:
        with DaemonProcess(path):
            for device in "ab":
                speak(home, device, 10)
                home.wait_for(of(device))
            speak(home, "b", 5, start=10)
            speak(home, "c", 10, start=20)
            gone = home.wait_for(lambda m: m.topic.endswith("/a/config") and not m.payload)
            assert not [m for m in home.messages if m.arrived_at > gone.arrived_at and of("a")(m)]
            home.wait_for(of("c"))
        with DaemonProcess(path):
            speak(home, "d", 10, start=40)
            home.wait_for(lambda m: m.topic.endswith("/b/config") and not m.payload)
            home.wait_for(lambda m: m.topic.endswith("/state/b/temperature") and not m.payload)
            home.wait_for(of("d"))
    kept = retained(alone, CONFIGS, f"forewarn/{INSTANCE}/state/#")
    assert sorted(kept) == [
        f"forewarn/{INSTANCE}/state/c/temperature",
        f"forewarn/{INSTANCE}/state/d/temperature",
        f"homeassistant/device/forewarn_{INSTANCE}/c/config",
        f"homeassistant/device/forewarn_{INSTANCE}/d/config",
    ]


def test_one_metric_that_goes_leaves_the_others(alone: Mosquitto, tmp_path: Path) -> None:
    with Subscriber(alone, CONFIGS) as home, DaemonProcess(config(tmp_path, alone, most=2)):
        speak(home, "a", 10)
        speak(home, "a", 20, metric="humidity")
        home.wait_for(of("a", 8))
        began = time.monotonic()
        speak(home, "b", 10, start=30)
        removal = home.wait_for(of("a", 8, since=began))
        platforms = [one for one in json.loads(removal.payload)["cmps"].values() if list(one) == ["p"]]
        assert len(platforms) == 4
        home.wait_for(of("a", 4, since=removal.arrived_at))


def test_after_a_restart_all_are_told_of_again_though_one_speaks(alone: Mosquitto, tmp_path: Path) -> None:
    path = config(tmp_path, alone)
    with Subscriber(alone, CONFIGS) as home:
        with DaemonProcess(path):
            for metric in ("temperature", "humidity"):
                speak(home, "a", 10, metric=metric)
            speak(home, "b", 10)
            speak(home, "cold", 3)
            home.wait_for(of("a", 8))
            home.wait_for(of("b"))
        began = time.monotonic()
        with DaemonProcess(path):
            speak(home, "a", 1, start=10)
            home.wait_for(of("a", 8, since=began))
            home.wait_for(of("b", since=began))
        assert not [m for m in home.messages if of("a", 4, since=began)(m) or of("cold")(m)]


def test_what_has_no_room_is_told_once_and_what_is_off_says_nothing(alone: Mosquitto, tmp_path: Path) -> None:
    path = config(tmp_path, alone)
    with Subscriber(alone, "homeassistant/#") as home:
        environ = {"FOREWARN_HOMEASSISTANT__MAX_SERIES": "1", "FOREWARN_HOMEASSISTANT__PREFIX": "homeassistant/x"}
        with DaemonProcess(path, environ=environ) as daemon:
            for device in "abc":
                speak(home, device, 10)
            daemon.wait_for_log("homeassistant: no room for 'b': see homeassistant.max_series")
            home.wait_for(lambda m: m.topic == f"homeassistant/x/device/forewarn_{INSTANCE}/a/config")
        assert daemon.log.read_text().count("no room") == 1
        n = len(home.messages)
        with DaemonProcess(path, environ={"FOREWARN_HOMEASSISTANT__ENABLED": "false"}) as daemon:
            speak(home, "a", 5, start=10)
            home.publish("homeassistant/status", "online")
            daemon.wait_for_sample("forewarn_readings_received_total", 35)
            time.sleep(1.5)
            assert daemon.sample("forewarn_rejections_total") == 0, "the old subscription is ended"
        assert [m.topic for m in home.messages[n:]] == ["homeassistant/status"]


def test_a_fleet_is_told_of_a_few_at_a_time(alone: Mosquitto, tmp_path: Path) -> None:
    path = config(tmp_path, alone, most=500)
    with Subscriber(alone, CONFIGS) as home, DaemonProcess(path) as daemon:
        for i in range(8):
            for device in range(130):
                reading = {"time": 1.7e9 + 10.0 * i, "value": 4.0 + 0.1 * i}
                home.publish(f"sensors/d{device}/temperature", json.dumps(reading), qos=0)
        daemon.wait_for_sample("forewarn_readings_received_total", 8 * 130)
        home.wait_for_count(130)
        began = time.monotonic()
        home.publish("homeassistant/status", "online")
        arrived = [m.arrived_at - began for m in home.wait_for_count(260)[130:]]
    assert len({round(at) for at in arrived}) >= 3, "130 devices at 50 a second"
    assert max(arrived) < 6.0
