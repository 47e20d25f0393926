"""The wall clock jumps while the daemon runs: no reading is rejected, no silence is made up and none is missed."""

import json
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.brokers import Message, Mosquitto, Subscriber
from tests.chaos.streams import LONG, alerts_of
from tests.daemons import INSTANCE, JSON_INPUT, DaemonProcess, settings_file

ALTERED = (sys.executable, "-m", "tests.chaos.altered")
HOUR_S = 3600.0
SILENT_S = 3.0
EXTRA = f"""
{JSON_INPUT}
[[inputs]]
topic = "plain/{{device}}/{{metric}}"
[faults]
silent_min_s = {SILENT_S}
stuck = false
"""


def is_silence(device: str, message: Message) -> bool:
    """Whether a message is the alert that this device is silent."""
    return f"/{device}/" in message.topic and b'"silent"' in message.payload


class Sensors:
    """One with a clock of its own and one without, ten readings a second of each."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber, self.n = subscriber, 0

    def send(self, seconds: float) -> None:
        """For so long."""
        for _ in range(round(10 * seconds)):
            value = 4.0 + self.n % 3
            body = json.dumps({"time": time.time(), "value": value})
            self._subscriber.publish("sensors/own/temperature", body, qos=0)
            self._subscriber.publish("plain/none/temperature", str(value), qos=0)
            self.n += 2
            time.sleep(0.1)


@pytest.mark.parametrize("errors", [(HOUR_S, 0.0), (-HOUR_S, 0.0)] if LONG else [(HOUR_S, 0.0)])
def test_an_hour_either_way_raises_no_silence_hides_none_and_rejects_nothing(
    tmp_path: Path, mosquitto: Mosquitto, errors: tuple[float, ...]
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    config = settings_file(tmp_path, mosquitto, EXTRA)
    daemon = DaemonProcess(config, environ={"FAULT_CLOCK": str(clock)}, launcher=ALTERED)
    with Subscriber(mosquitto, f"forewarn/{INSTANCE}/alerts/#") as subscriber, daemon:
        sensors = Sensors(subscriber)
        sensors.send(2.5)  # enough to know their cadence
        for error_s in errors:
            clock.write_text(str(error_s))
            time.sleep(1.6)  # it looks for silence each second, and must not find an hour of it
            sensors.send(1.0)
        daemon.wait_for_sample("forewarn_readings_received_total", sensors.n)
        assert [alert for alert in alerts_of(subscriber) if alert["kind"] == "silent"] == []
        assert daemon.sample("forewarn_readings_total", outcome="rejected") == 0
        assert daemon.get("/healthz")[0] == daemon.get("/readyz")[0] == 200
        ended_at = time.monotonic()
        for device in ("own", "none"):
            found = subscriber.wait_for(partial(is_silence, device), 15.0)
            sys.stdout.write(
                f"clock wrong by {errors} s: silence told {found.arrived_at - ended_at:.1f} s after the last reading\n"
            )
            assert SILENT_S - 0.5 < found.arrived_at - ended_at < 2.5 * SILENT_S + 2.0
