"""An input that matches what forewarn itself publishes, at the real daemon and Mosquitto: none of it is a reading."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from forewarn.check import check
from tests.brokers import Mosquitto, Subscriber
from tests.daemons import INSTANCE, DaemonProcess, settings_file

EVERYTHING = """
[[inputs]]
topic = "#"
dialect = "json"
device = "device"
metric = "temperature"
value = "value"
"""
N = 40


@pytest.fixture
def alone() -> Iterator[Mosquitto]:
    """A Mosquitto that no other test publishes to."""
    broker = Mosquitto()
    broker.start()
    yield broker
    broker.close()


@pytest.mark.usefixtures("mosquitto")
def test_an_input_of_everything_takes_no_verdict_for_a_reading(alone: Mosquitto, tmp_path: Path) -> None:
    config = settings_file(tmp_path, alone, EVERYTHING)
    with Subscriber(alone, f"forewarn/{INSTANCE}/#") as subscriber:
        subscriber.publish("forewarn/other/state/b/temperature", json.dumps({"device": "b", "value": 1.0}), retain=True)
        with DaemonProcess(config) as daemon:
            for i in range(N):
                subscriber.publish("plant/x", json.dumps({"device": "a", "value": 4.0 + i % 3}))
            subscriber.wait_for(lambda m: "/state/a/" in m.topic)
            daemon.wait_for_sample(
                "forewarn_messages_skipped_total", N + 3
            )  # its verdicts and state, "online", and the other's
            assert daemon.sample("forewarn_readings_received_total") == N
            assert daemon.sample("forewarn_rejections_total") == 0
            assert daemon.sample("forewarn_devices") == 1
        log = daemon.log.read_text()
    assert log.count("topics below forewarn/ too") == 1
    assert len(log.splitlines()) < 10


@pytest.mark.parametrize(("topic", "warned"), [("#", True), ("forewarn/{device}/x", True), ("s/{device}/x", False)])
def test_check_warns_of_such_an_input(tmp_path: Path, topic: str, warned: bool) -> None:
    path = tmp_path / "forewarn.toml"
    device = "" if "{device}" in topic else 'device = "d"\n'
    path.write_text(f'[[inputs]]\ntopic = "{topic}"\nmetric = "x"\ndialect = "json"\nvalue = "v"\n{device}')
    warnings = [line for line in check(path, connect=False) if line.startswith("warning: ")]
    assert len(warnings) == warned
    assert all(repr(topic) in line for line in warnings)
