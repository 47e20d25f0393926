"""Retained messages at the real daemon: what a broker kept raises nothing, and is not taken twice.

With Mosquitto alone: amqtt was seen to deliver topics that the subscriber had not asked for.
"""

import json
import time
from pathlib import Path

import pytest

from tests.brokers import Mosquitto, Subscriber
from tests.daemons import INSTANCE, JSON_INPUT, DaemonProcess, settings_file

LIMIT = "\n[[faults.overrides]]\nlimit_above = 10.0\n"


def payload(at: float, value: float) -> str:
    return json.dumps({"time": at, "value": value})


@pytest.mark.parametrize(
    ("policy", "alerts_of"), [("seed", ["next"]), ("ignore", ["next"]), ("live", ["kept", "next"])]
)
def test_a_value_that_the_broker_kept_beyond_a_limit(
    mosquitto: Mosquitto, tmp_path: Path, policy: str, alerts_of: list[str]
) -> None:
    now = time.time()
    extra = JSON_INPUT.replace("sensors/", f"{policy}/") + f'retained = "{policy}"\n' + LIMIT
    config = settings_file(tmp_path, mosquitto, extra)
    with Subscriber(mosquitto, f"forewarn/{INSTANCE}/alerts/#") as subscriber:
        subscriber.publish(f"{policy}/kept/temperature", payload(now - 60.0, 12.0), retain=True)
        with DaemonProcess(config) as daemon:
            daemon.wait_for_sample("forewarn_readings_received_total", 1)
            assert daemon.sample("forewarn_rejections_total", reason="retained") == (policy == "ignore")
            subscriber.publish(f"{policy}/next/temperature", payload(now, 12.0))
            subscriber.wait_for(lambda m: "/next/" in m.topic)
            assert [m.topic.split("/")[3] for m in subscriber.messages] == alerts_of
            subscriber.publish(f"{policy}/kept/temperature", payload(now - 30.0, 13.0))
            subscriber.wait_for(lambda m: "/kept/" in m.topic)
        n = len(subscriber.messages)
        with DaemonProcess(config) as daemon:  # the series is known now
            subscriber.publish(f"{policy}/next/temperature", payload(now + 1.0, 12.0))
            daemon.wait_for_sample("forewarn_readings_total", 4 - (policy == "ignore"), outcome="warming_up")
            assert len(subscriber.messages) == n
        subscriber.publish(f"{policy}/kept/temperature", "", retain=True)
