"""Streams of the HTTP server, over real sockets: they go on, and keep nobody from the routes."""

import http.client
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from forewarn.adapters import http_request
from forewarn.adapters.http import Bounds, HttpServer
from forewarn.adapters.http_access import BasicAuth
from forewarn.adapters.http_request import Answer, Query, Route, Stream
from forewarn.passwords import PasswordHash

HOST = "127.0.0.1"
ROUTES: dict[str, Route] = {"/metrics": lambda query: Answer(200, "text/plain", repr(sorted(query.items())).encode())}


def counting(_: Query) -> Iterator[bytes]:
    return (f"data: {i}\n\n".encode() for i in itertools.count())


def idle(_: Query) -> Iterator[bytes]:
    return itertools.repeat(b"")


def falling_over(_: Query) -> Iterator[bytes]:
    yield b"data: 0\n\n"
    raise ValueError("the stream fell over")


def refusing(query: Query) -> Answer:
    return Answer(404, "text/plain", f"no {query.get('device', '')}".encode(), {"X-Own": "yes"})


STREAMS: dict[str, Stream] = {"/live": counting, "/idle": idle, "/broken": falling_over, "/none": refusing}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_request, "_PULSE_S", 0.02)


def ask(server: HttpServer, path: str = "/metrics", method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def ask_at_last(server: HttpServer, path: str = "/metrics") -> tuple[int, dict[str, str], bytes]:
    """As `ask`; the only place may be free a moment after its last client had his answer."""
    for _ in range(200):
        with suppress(OSError):
            return ask(server, path)
        time.sleep(0.01)
    return ask(server, path)


def opened(server: HttpServer, path: str = "/live") -> socket.socket:
    """A stream from which nothing was read."""
    client = socket.create_connection((HOST, server.port), timeout=10)
    client.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    return client


def read_until(client: socket.socket, wanted: bytes) -> bytes:
    got = b""
    while wanted not in got:
        more = client.recv(65_536)
        assert more, got
        got += more
    return got


def eventually(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def n_serving() -> int:
    return sum("process_request" in thread.name for thread in threading.enumerate())


def test_a_stream_goes_on_past_the_time_of_a_connection() -> None:
    with (
        HttpServer(HOST, 0, ROUTES, streams=STREAMS, bounds=Bounds(open_for_s=0.3)) as server,
        opened(server) as client,
    ):
        began = time.monotonic()
        got = read_until(client, b"data: 40\n\n")
        assert time.monotonic() - began > 0.6
        head, _, body = got.partition(b"\r\n\r\n")
        assert b"Content-Type: text/event-stream" in head
        assert b"Content-Length" not in head
        assert body.startswith(b"data: 0\n\ndata: 1\n\n")


def test_streams_keep_nobody_from_the_routes_and_one_too_many_is_told() -> None:
    with HttpServer(HOST, 0, ROUTES, streams=STREAMS, bounds=Bounds(connections=1, streams=2)) as server:
        with opened(server) as first:
            read_until(first, b"data: 3\n\n")
            with opened(server) as second:
                read_until(second, b"data: 3\n\n")
                status, headers, _ = ask_at_last(server, "/live")
                assert (status, headers["Retry-After"]) == (503, "10")
                assert [ask_at_last(server)[0] for _ in range(5)] == [200] * 5
                read_until(first, b"data: 9\n\n")
        assert eventually(lambda: _is_admitted(server)), "the places of those who went are free again"


def _is_admitted(server: HttpServer) -> bool:
    with suppress(OSError), opened(server) as client:
        return client.recv(12) == b"HTTP/1.0 200"
    return False


def test_the_place_of_a_client_that_goes_is_free_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_request, "_PULSE_S", 60.0)
    with HttpServer(HOST, 0, ROUTES, streams=STREAMS, bounds=Bounds(streams=1)) as server:
        for _ in range(5):
            with opened(server, "/idle") as client:
                read_until(client, b"\r\n\r\n")
            assert eventually(lambda: n_serving() == 0)


def test_close_does_not_wait_for_the_next_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_request, "_PULSE_S", 60.0)
    with HttpServer(HOST, 0, ROUTES, streams=STREAMS) as server, opened(server, "/idle") as client:
        read_until(client, b"\r\n\r\n")
        server.close()
        assert eventually(lambda: n_serving() == 0)


def test_a_client_that_does_not_read_its_stream_is_cut_off() -> None:
    large: dict[str, Stream] = {"/live": lambda _: itertools.repeat(b"x" * 10_000_000)}
    with HttpServer(HOST, 0, ROUTES, streams=large, bounds=Bounds(open_for_s=0.5)) as server, opened(server) as client:
        assert client.recv(12) == b"HTTP/1.0 200"
        assert eventually(lambda: n_serving() == 0)


def test_a_stream_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_request, "_STREAM_S", 0.3)
    with HttpServer(HOST, 0, ROUTES, streams=STREAMS) as server:
        assert b"data: 3\n\n" in ask(server, "/live")[2]


def test_a_stream_with_nothing_new_sends_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_request, "_SILENCE_S", 0.2)
    with HttpServer(HOST, 0, ROUTES, streams=STREAMS) as server, opened(server, "/idle") as client:
        began = time.monotonic()
        got = read_until(client, b":\n\n:\n\n")
        assert time.monotonic() - began > 0.35
        assert got.partition(b"\r\n\r\n")[2] == b":\n\n:\n\n"


def test_close_ends_streams() -> None:
    server = HttpServer(HOST, 0, ROUTES, streams=STREAMS)
    with opened(server) as client:
        read_until(client, b"data: 1\n\n")
        server.close()
        while client.recv(65_536):
            pass
    assert eventually(lambda: n_serving() == 0)


def test_a_stream_that_fails_ends_with_a_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with HttpServer(HOST, 0, ROUTES, streams=STREAMS) as server:
        assert ask(server, "/broken")[2] == b"data: 0\n\n"
    assert "the stream fell over" in caplog.text


def test_a_stream_may_answer_instead_and_head_gives_the_head_alone() -> None:
    with HttpServer(HOST, 0, ROUTES, streams=STREAMS) as server:
        status, headers, body = ask(server, "/none?device=%3Cb%3E+1")
        assert (status, headers["X-Own"], body) == (404, "yes", b"no <b> 1")
        status, headers, body = ask(server, "/live", "HEAD")
        assert (status, headers["Content-Type"], body) == (200, "text/event-stream", b"")
        assert ask(server, "/live", "POST")[0] == 405


def test_a_stream_asks_for_the_password() -> None:
    auth = BasicAuth("a", PasswordHash.of("b"))
    with HttpServer(HOST, 0, ROUTES, streams=STREAMS, auth=auth) as server:
        assert ask(server, "/live")[0] == 401


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("", []),
        ("?a=%C3%A9&b", [("a", "é"), ("b", "")]),
        ("?a=%ff%00/../x", [("a", "\ufffd\0/../x")]),
        ("?a=1&a=2#c", [("a", "2#c")]),
        ("?a=%", [("a", "%")]),
    ],
)
def test_a_route_is_given_the_query(asked: str, given: list[tuple[str, str]]) -> None:
    with HttpServer(HOST, 0, ROUTES) as server:
        assert ask(server, "/metrics" + asked)[2] == repr(given).encode()


def test_a_query_of_too_many_fields_is_refused() -> None:
    with HttpServer(HOST, 0, ROUTES) as server:
        assert ask(server, "/metrics?" + "&".join(["a=1"] * 17))[0] == 400
