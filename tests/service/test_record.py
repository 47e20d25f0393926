"""The daemon keeps its readings where `[record]` says so, over a reload and to its end."""

import json
import time
from pathlib import Path

from forewarn.history import read_history
from tests.brokers import Mosquitto, Subscriber
from tests.daemons import INSTANCE, JSON_INPUT, DaemonProcess, settings_file


def test_the_readings_that_came_are_history(mosquitto: Mosquitto, tmp_path: Path) -> None:
    folder = tmp_path / "history"
    config = settings_file(tmp_path, mosquitto, JSON_INPUT + f'\n[record]\nfolder = "{folder}"\n')
    now = time.time()
    with Subscriber(mosquitto, f"forewarn/{INSTANCE}/alerts/#") as publisher, DaemonProcess(config) as daemon:
        for i, value in enumerate((4.0, 4.5, "warm", 5.0)):
            body = {"time": now + i, "value": value}
            publisher.publish("sensors/freezer/temperature", json.dumps(body))
        daemon.wait_for_sample("forewarn_readings_received_total", 4)
        assert read_history(folder).values[:, 0].tolist() == [4.0, 4.5, 5.0]
        assert daemon.stop() == 0
    assert len(list(folder.iterdir())) == 1
