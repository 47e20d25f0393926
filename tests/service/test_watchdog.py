"""systemd is told that all is well only while it is."""

import socket
import sys
import time
from pathlib import Path

import pytest

from tests.brokers import Mosquitto, Subscriber
from tests.daemons import DaemonProcess, settings_file

STALLED = Path(__file__).with_name("stalled.py")


@pytest.mark.parametrize("part", ["engine", "network", "connecting"])
def test_the_watchdog_is_not_told_of_a_daemon_that_stands_still(
    mosquitto: Mosquitto, tmp_path: Path, part: str
) -> None:
    trigger, address = tmp_path / "stand-still", tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(address))
        environ = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"}
        launcher = [sys.executable, str(STALLED), part, str(trigger)]
        config = settings_file(tmp_path, mosquitto)
        with Subscriber(mosquitto) as subscriber, DaemonProcess(config, environ=environ, launcher=launcher):
            assert pings(notify, 10.0, enough=2) == 2
            trigger.touch()
            if part == "connecting":
                mosquitto.restart()
            else:
                subscriber.publish("sensors/a/temperature", '{"time": 1700000000, "value": 4}')
            pings(notify, 2.5)
            assert pings(notify, 2.0) == 0
            trigger.unlink()
            assert pings(notify, 10.0, enough=2) == 2


def pings(notify: socket.socket, seconds: float, enough: int = 1_000) -> int:
    """How many there are in a time, or until there are enough."""
    ends_at, n = time.monotonic() + seconds, 0
    while n < enough and (left := ends_at - time.monotonic()) > 0:
        notify.settimeout(left)
        try:
            n += notify.recv(4096) == b"WATCHDOG=1"
        except TimeoutError:
            break
    return n
