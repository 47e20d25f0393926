"""A real daemon at work, with three freezers as they should be, one that never is, and some noise."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.brokers import BrokerProcess, Subscriber, wait_until_listening
from tests.ports import free_port

MODEL = Path(__file__).parents[1] / "models" / "tiny.onnx"
FREEZERS = 4
FAULTY = "freezer-2"
SETTINGS = """
instance = "deploy-test"
model = "{model}"
mqtt = {{ host = "{host}", port = {port} }}
metrics = {{ port = {metrics_port}, max_devices = {shown} }}

[[inputs]]
topic = "deploy-test/{{device}}/{{metric}}"
dialect = "json"
value = "value"
time = "at"

[alerts]
detector = "residual"

[[alerts.overrides]]
device = "{faulty}"
threshold = 1.0
threshold_mode = "absolute"
"""


@contextmanager
def daemon_at_work(broker: BrokerProcess, folder: Path) -> Iterator[str]:
    """The address of the metrics of a daemon that receives readings all the time, as host:port."""
    port = free_port()
    settings = folder / "forewarn.toml"
    values = {"model": MODEL, "host": broker.host, "port": broker.port, "metrics_port": port, "faulty": FAULTY}
    settings.write_text(SETTINGS.format(**values, shown=FREEZERS - 1), "utf-8")
    log = (folder / "log").open("w", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOREWARN_")}
    command = [sys.executable, "-m", "forewarn", "run", "--config", str(settings)]
    daemon = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    done = threading.Event()
    try:
        wait_until_listening("127.0.0.1", port)
        _wait_until_ready(f"http://127.0.0.1:{port}/metrics")
        with Subscriber(broker, "deploy-test/nothing") as publisher:
            sensors = threading.Thread(target=_send, args=(publisher, done))
            sensors.start()
            daemon.send_signal(signal.SIGHUP)  # a reload, which finds everything as it was
            try:
                yield f"127.0.0.1:{port}"
            finally:
                done.set()
                sensors.join()
    finally:
        daemon.terminate()
        daemon.wait(15)
        log.close()


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 15
    while b"\nforewarn_mqtt_connected 1.0\n" not in urlopen(url, timeout=5).read():  # noqa: S310 - http
        assert time.monotonic() < deadline, "the daemon did not connect to the broker"
        time.sleep(0.05)


def _send(publisher: Subscriber, done: threading.Event) -> None:
    at, n = time.time() - 3600, 0  # an hour's readings at first, so that every window is full, and then one by one
    while not done.is_set():
        at, n = min(at + 60, time.time()), n + 1
        for freezer in range(FREEZERS):
            device = f"freezer-{freezer}"
            value = 4.0 + 0.1 * (n % 3) + 30.0 * (device == FAULTY and n % 2)
            publisher.publish(f"deploy-test/{device}/temperature", json.dumps({"at": at, "value": value}), qos=0)
        publisher.publish("deploy-test/freezer-0/temperature", "this is no JSON", qos=0)
        done.wait(0.005 if n < 60 else 0.05)
