"""The page of a running daemon, over HTTP."""

import http.client
import json
import ssl
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from forewarn.passwords import PasswordHash
from tests.brokers import Mosquitto, Subscriber
from tests.certificates import authority, signed
from tests.daemons import DaemonProcess, settings_file
from tests.service.test_port import settings_of


def stream(daemon: DaemonProcess, path: str = "/live") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(daemon.url).netloc, timeout=10)
    connection.request("GET", path)
    return connection.getresponse()


def told(events: http.client.HTTPResponse) -> dict[str, dict[str, str]]:
    """The next event."""
    while line := events.readline():
        if line.startswith(b"data: "):
            found: dict[str, dict[str, str]] = json.loads(line.removeprefix(b"data: "))
            return found
    raise EOFError


def wait_for(events: http.client.HTTPResponse, part: str, text: str) -> str:
    """The first text of a part that has this in it."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        html = told(events).get("parts", {}).get(part, "")
        if text in html:
            return html
    raise TimeoutError(f"{text!r} does not come in {part}")


def publish(client: Subscriber, n: int, value: float = 4.0, since: float = 0.0) -> None:
    begin = since or time.time() - 10 * n
    for i in range(n):
        body = {"time": begin + 10 * i, "value": value + 0.1 * (i % 3)}
        client.publish("sensors/freezer-1/temperature", json.dumps(body))


LIMIT = """
[[faults.overrides]]
device = "freezer*"
limit_above = 8.0
"""


def test_a_reading_and_an_alert_reach_who_looks_and_are_there_after_a_restart(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    config = settings_file(tmp_path, mosquitto)
    config.write_text(config.read_text() + LIMIT)
    with Subscriber(mosquitto, "none") as client:
        with DaemonProcess(config) as daemon:
            assert daemon.wait_for_log(r"page on (http://\S+/)\n", 5)[1] == f"{daemon.url}/"
            status, html = daemon.get("/")
            assert (status, "No reading has come yet." in html, "● ok" in html) == (200, True, False)
            assert "connected" in html
            events = stream(daemon)
            assert events.headers["Content-Type"] == "text/event-stream"
            told(events)
            publish(client, 60)
            wait_for(events, "s0", "freezer-1")
            assert "4.0" in daemon.get("/device?device=freezer-1&metric=temperature")[1]
            client.publish("sensors/freezer-1/temperature", json.dumps({"time": time.time(), "value": 9.5}))
            assert "freezer-1 has passed 8" in wait_for(events, "alerts", "has passed 8")
            assert "raised" in daemon.get("/alerts")[1]
            assert daemon.get("/device?device=freezer-2&metric=temperature")[0] == 404
            assert daemon.get("/metrics")[0] == 200
            began = time.monotonic()
        assert time.monotonic() - began < 8, "a stream holds nobody up who stops"
        with DaemonProcess(config) as daemon:
            assert "freezer-1 has passed 8" in daemon.get("/")[1]
            assert "No alert has changed since the daemon started." in daemon.get("/alerts")[1]
            for path in ("/", "/device?device=freezer-1&metric=temperature", "/alerts"):
                assert daemon.sample("forewarn_alerts_active") >= 1
                assert "<h1>" in daemon.get(path)[1]
        assert "Traceback" not in daemon.log.read_text()


def test_four_may_look_at_once_and_prometheus_still_comes_in(tmp_path: Path) -> None:
    with DaemonProcess(settings_of(tmp_path, ""), ready=False) as daemon:
        streams = [stream(daemon) for _ in range(5)]
        assert [one.status for one in streams] == [200, 200, 200, 200, 503]
        assert [daemon.get("/healthz")[0] for _ in range(20)] == [200] * 20
        assert "not connected" in daemon.get("/")[1]


def test_without_the_page_there_is_the_rest(tmp_path: Path) -> None:
    with DaemonProcess(settings_of(tmp_path, "page = false\n"), ready=False) as daemon:
        assert [daemon.get(path)[0] for path in ("/", "/device", "/alerts", "/live")] == [404] * 4
        assert daemon.get("/metrics")[0] == 200
        assert "page on" not in daemon.log.read_text()


PATHS = ("/", "/device?device=a&metric=b", "/alerts", "/live", "/device/live", "/alerts/live")


def test_the_page_is_behind_the_password_and_the_certificate(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    own, theirs = signed(ca, "server"), signed(ca, "client")
    hashed = PasswordHash.of("a secret")
    config = settings_of(
        tmp_path,
        f'cert_file = "{own.cert}"\nkey_file = "{own.key}"\nclient_ca_file = "{ca.cert}"\n'
        f'username = "me"\npassword_hash = "{hashed}"\n',
    )
    with DaemonProcess(config, ready=False) as daemon:
        port = int(daemon.wait_for_log(r"metrics on https://127\.0\.0\.1:(\d+)/metrics")[1])

        def ask(path: str, context: ssl.SSLContext, headers: dict[str, str]) -> int:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
            try:
                connection.request("GET", path, headers=headers)
                return connection.getresponse().status
            finally:
                connection.close()

        stranger, friend = (ssl.create_default_context(cafile=ca.cert) for _ in range(2))
        friend.load_cert_chain(theirs.cert, theirs.key)
        login = {"Authorization": "Basic " + b64encode(b"me:a secret").decode()}
        for path in PATHS:
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                ask(path, stranger, login)
            assert ask(path, friend, {}) == 401
            assert ask(path, friend, login) == (404 if "/device" in path else 200)
