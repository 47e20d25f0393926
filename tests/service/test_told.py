"""What the daemon says of itself: its log, and its line in `systemctl status`."""

import json
import socket
import time
from pathlib import Path

import pytest

from forewarn.logs import MESSAGE_MOST
from tests.brokers import Mosquitto, Subscriber
from tests.daemons import JSON_INPUT, DaemonProcess, settings_file

SECRET = "correct horse battery staple"  # noqa: S105 - what must never be shown
PLAIN_INPUT = '[[inputs]]\ntopic = "plain/{device}/{metric}"\n'


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_secret_and_no_long_payload_gets_into_the_log(style: str, mosquitto: Mosquitto, tmp_path: Path) -> None:
    config = settings_file(tmp_path, mosquitto, JSON_INPUT + PLAIN_INPUT)
    environ = {
        "FOREWARN_LOGGING__LEVEL": "debug",
        "FOREWARN_LOGGING__FORMAT": style,
        "FOREWARN_MQTT__USERNAME": "gateway",
        "FOREWARN_MQTT__PASSWORD": SECRET,
    }
    garbage = "garbage" * 9_000
    payloads = [garbage, f'"{garbage}"', json.dumps({"value": garbage, "time": 1}), json.dumps({garbage: garbage})]
    payloads += [json.dumps({"value": 1, "time": garbage})]
    with Subscriber(mosquitto, "nothing") as publisher, DaemonProcess(config, environ=environ) as daemon:
        for payload in payloads:
            for topic in ("sensors/a/temperature", "plain/a/temperature", "plain/" + garbage + "/temperature"):
                publisher.publish(topic, payload)
        daemon.wait_for_sample("forewarn_rejections_total", 3 * len(payloads))
        daemon.get("/" + "x" * 5_000)
    log = daemon.log.read_text()
    assert "not_json" in log
    assert SECRET not in log
    assert "garbage" * 20 not in log
    assert max(map(len, log.splitlines())) < MESSAGE_MOST + 200
    if style == "json":
        levels = {json.loads(line)["level"] for line in log.splitlines()}
        assert {"debug", "info", "warning"} <= levels


def test_the_line_of_systemctl_status_has_connection_series_and_alerts(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(15)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        config = settings_file(tmp_path, mosquitto)
        with Subscriber(mosquitto, "nothing") as publisher, DaemonProcess(config, environ=environ):
            now = time.time() - 600.0
            for i in range(100):
                value = 4.0 + i % 3 / 10 + (40.0 if i == 99 else 0.0)
                publisher.publish("sensors/a/temperature", json.dumps({"time": now + i, "value": value}))
            publisher.publish("sensors/b/temperature", json.dumps({"time": now, "value": 4.0}))
            told = f"STATUS=connected to 127.0.0.1:{mosquitto.port}; series: 2, active alerts: 1".encode()
            said: list[bytes] = []
            ends_at = time.monotonic() + 15
            while told not in said:
                assert time.monotonic() < ends_at, said
                said.append(systemd.recv(1000))
            assert b"READY=1" in said
            assert f"STATUS=connected to 127.0.0.1:{mosquitto.port}; series: 0, active alerts: 0".encode() in said
