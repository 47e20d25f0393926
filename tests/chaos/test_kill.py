"""The daemon is killed at random moments: nothing is lost, nothing is invented."""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Mosquitto, Subscriber, mosquitto_path
from tests.chaos.streams import EXTRA, LONG, Publisher, Reading, final_state, in_order, numbered, told
from tests.daemons import INSTANCE, DaemonProcess, settings_file

READINGS, DEVICES, KILLS, RATE = (50_000, 200, 30, 1_000.0) if LONG else (4_000, 40, 4, 800.0)
PLAIN = """
[[inputs]]
topic = "sensors/{device}/{metric}"
[faults]
silent = false
"""


@pytest.fixture(scope="module")
def broker() -> Any:  # noqa: ANN401 - a generator
    if mosquitto_path() is None:
        pytest.skip("Mosquitto is not installed")
    one = Mosquitto(["max_queued_messages 0", "max_inflight_messages 200"])
    one.start()
    yield one
    one.close()


def config(folder: Path, broker: Mosquitto, inputs: str = EXTRA) -> Path:
    """Settings with a snapshot every moment, so that some kills hit one."""
    path = settings_file(folder, broker, inputs)
    text = path.read_text().replace("[state]\n", "[state]\nsave_every_s = 0.7\n")
    path.write_text(text.replace("forecast = true", "forecast = false"))
    return path


def run(folder: Path, broker: Mosquitto, kills: int) -> tuple[dict[str, Any], dict[Any, Any], int]:
    """The final state, the alerts, and how many came twice."""
    folder.mkdir()
    settings = config(folder, broker)
    moments = random.Random(kills)
    with Subscriber(broker, f"forewarn/{INSTANCE}/alerts/#") as subscriber, DaemonProcess(settings) as daemon:
        with Publisher(broker, numbered(READINGS, DEVICES), RATE) as publisher:
            for _ in range(kills):
                kill_and_start(daemon, moments)
            publisher.wait(300)
        wait_until_all_are_judged(daemon)
        assert daemon.stop() == 0
        time.sleep(0.2)
        assert in_order(subscriber)
        return final_state(folder), told(subscriber), len(subscriber.messages)


def kill_and_start(daemon: DaemonProcess, moments: random.Random) -> None:
    time.sleep(moments.uniform(0.0, 0.8))
    daemon.process.kill()
    daemon.process.wait()
    daemon.__enter__()


def wait_until_all_are_judged(daemon: DaemonProcess) -> None:
    deadline = time.monotonic() + 120
    while True:
        judged = daemon.sample("forewarn_readings_total", outcome="scored")
        judged += daemon.sample("forewarn_readings_total", outcome="warming_up")
        if judged >= READINGS:
            assert judged == READINGS
            return
        assert time.monotonic() < deadline, f"{judged} of {READINGS}:\n{daemon.log.read_text()[-3000:]}"
        time.sleep(0.1)


def test_a_daemon_that_is_killed_says_what_one_says_that_is_not(tmp_path: Path, broker: Mosquitto) -> None:
    state, alerts, _ = run(tmp_path / "whole", broker, 0)
    assert len(alerts) > DEVICES
    other_state, other_alerts, n_message = run(tmp_path / "killed", broker, KILLS)
    assert other_alerts == alerts
    assert other_state == state
    sys.stdout.write(
        f"{READINGS} readings, {KILLS} kills, {len(alerts)} alert messages, {n_message - len(alerts)} of them again\n"
    )


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_readings_whose_arrival_is_their_time_are_counted_once(
    tmp_path: Path, broker: Mosquitto, protocol: str
) -> None:
    settings = config(tmp_path, broker, PLAIN)
    settings.write_text(settings.read_text().replace('protocol = "5"', f'protocol = "{protocol}"'))
    readings = [Reading(one.topic, str(json.loads(one.payload)["value"])) for one in numbered(READINGS, DEVICES)]
    moments = random.Random(5)
    again = 0.0
    with DaemonProcess(settings) as daemon:
        with Publisher(broker, readings, RATE) as publisher:
            for _ in range(KILLS):
                kill_and_start(daemon, moments)
                time.sleep(0.3)
                again += daemon.sample("forewarn_redelivered_total")
            publisher.wait(300)
        wait_until_all_are_judged(daemon)
        time.sleep(0.5)
        assert daemon.sample("forewarn_readings_received_total") == READINGS
        assert daemon.stop() == 0
    sys.stdout.write(f"{READINGS} readings, {KILLS} kills, {again:.0f} messages came again and changed nothing\n")
