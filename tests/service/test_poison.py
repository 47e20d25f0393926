"""A message at which forewarn itself fails, at the real daemon: it is rejected, and no crash loop begins."""

import json
import sys
import time
from pathlib import Path

from tests.brokers import Mosquitto, Subscriber
from tests.daemons import INSTANCE, DaemonProcess, settings_file
from tests.service.poisoned import POISON

LAUNCHER = [sys.executable, str(Path(__file__).with_name("poisoned.py"))]
DEVICES = ("a", "b", "mute")
N = 60


def test_one_poison_message_never_jams_the_session(mosquitto: Mosquitto, tmp_path: Path) -> None:
    config = settings_file(tmp_path, mosquitto)
    began = time.time() - 600.0

    def send(device: str, i: float, value: float) -> None:
        subscriber.publish(f"sensors/{device}/temperature", json.dumps({"time": began + i, "value": value}))

    with Subscriber(mosquitto, f"forewarn/{INSTANCE}/#") as subscriber:
        with DaemonProcess(config, launcher=LAUNCHER) as daemon:
            for i in range(N):
                for device in DEVICES:
                    send(device, i, 4.0 + 0.1 * (i % 3))
                if i % 20 == 10:
                    send("a", i + 0.5, POISON)
                    send("new", i, POISON)
                    send("poison", i, 4.0)
            n = len(DEVICES) * N + 9
            daemon.wait_for_sample("forewarn_readings_received_total", n)
            assert daemon.sample("forewarn_rejections_total", reason="failed") == 9
            assert daemon.sample("forewarn_readings_total") == n
            assert daemon.sample("forewarn_readings_total", outcome="rejected") == 9
            assert daemon.sample("forewarn_devices") == len(DEVICES)
            assert daemon.get("/healthz")[0] == 200
            daemon.wait_for_log(r"telling a state fails.*\nTraceback")
            daemon.process.kill()
            daemon.process.wait()
        log = daemon.log.read_text()
        for what in ("the engine", "decoding", "telling a state"):
            assert log.count(f"{what} fails") == 1
        assert log.count("Traceback") == 3
        with DaemonProcess(config, launcher=LAUNCHER) as daemon:
            assert daemon.sample("forewarn_devices") == len(DEVICES)
            send("a", N, 30.0)
            subscriber.wait_for(lambda m: "/alerts/a/" in m.topic)
            assert daemon.sample("forewarn_rejections_total", reason="failed") == 0
        assert daemon.log.read_text().count("Traceback") <= 1
    states = {m.topic.split("/")[3] for m in subscriber.messages if "/state/" in m.topic}
    assert states & set(DEVICES) == {"a", "b"}  # what other tests published is retained on the broker
