"""Notifications, received on a real socket as systemd would receive them."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from forewarn.adapters.systemd import Notifier


@pytest.fixture(params=["a path", "an abstract name"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The socket on which systemd listens, and what it says in NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "a path" else f"@forewarn-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1))
        listener.settimeout(5)
        yield listener, name


def test_systemd_is_told_in_its_own_words(systemd: tuple[socket.socket, str]) -> None:
    listener, name = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("412 devices,\n3 alerts \N{SNOWMAN}")
    notifier.status("412 devices, 3 alerts \N{SNOWMAN}")
    notifier.watchdog()
    notifier.stopping()
    said = [listener.recv(1000) for _ in range(4)]
    assert said == [b"READY=1", "STATUS=412 devices, 3 alerts \N{SNOWMAN}".encode(), b"WATCHDOG=1", b"STOPPING=1"]


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})
    notifier.ready()
    notifier.watchdog()
    assert notifier.watchdog_interval_s is None


@pytest.mark.parametrize("name", ["/nonexistent/notify", "@nobody-listens", "vsock:2:1234", "x" * 200, "\udc80"])
def test_a_socket_that_cannot_be_reached_ends_nothing(name: str) -> None:
    Notifier({"NOTIFY_SOCKET": name}).ready()


def test_a_socket_that_is_full_does_not_block(systemd: tuple[socket.socket, str]) -> None:
    _, name = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})
    for _ in range(10_000):
        notifier.watchdog()


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_told_twice_as_often_as_it_asks_if_it_asks_us(
    environ: dict[str, str], interval_s: float | None
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "@nobody-listens", **environ}).watchdog_interval_s == interval_s
