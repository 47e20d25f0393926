"""The HTTP server, over real sockets: what it answers, and whom it does not let hold it up."""

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus

import pytest

from forewarn.adapters.http import Bounds, HttpServer
from forewarn.adapters.http_request import Answer, Query, Route
from forewarn.errors import SettingsError

HOST = "127.0.0.1"


def page(_: Query) -> Answer:
    return Answer(HTTPStatus.OK, "text/plain; charset=utf-8", "21 °C".encode())


def broken(_: Query) -> Answer:
    raise ValueError("the page fell over")


ROUTES: dict[str, Route] = {"/metrics": page, "/readyz": lambda _: Answer(503, "text/plain", b"no"), "/broken": broken}


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with HttpServer(HOST, 0, ROUTES) as running:
        yield running


def ask(server: HttpServer, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def eventually(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def test_a_route_answers_with_its_status_type_and_body(server: HttpServer) -> None:
    status, headers, body = ask(server, "GET", "/metrics?a=b")
    assert (status, headers["Content-Type"], body) == (200, "text/plain; charset=utf-8", "21 °C".encode())
    assert headers["Content-Length"] == str(len(body))
    assert ask(server, "GET", "/readyz")[0] == 503


def test_head_is_get_without_the_body(server: HttpServer) -> None:
    with socket.create_connection((HOST, server.port), timeout=10) as client, client.makefile("rb") as answer:
        client.sendall(b"HEAD /metrics HTTP/1.0\r\n\r\n")
        head, end, body = answer.read().partition(b"\r\n\r\n")
    assert (end, body) == (b"\r\n\r\n", b"")
    assert b"Content-Length: 6" in head


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../metrics", "/%6detrics", "*"])
def test_any_other_path_is_not_found(server: HttpServer, path: str) -> None:
    status, _, body = ask(server, "GET", path)
    assert status == 404
    assert b"/metrics" in body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_other_method_is_not_allowed(server: HttpServer, method: str) -> None:
    status, headers, _ = ask(server, method, "/metrics")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_route_that_fails_is_an_error_to_the_client_and_a_traceback_in_the_log(
    server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(server, "GET", "/broken")[0] == 500
    assert "the page fell over" in caplog.text
    assert ask(server, "GET", "/metrics")[0] == 200


def test_requests_are_logged_for_those_who_debug_and_nobody_else(
    server: HttpServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        ask(server, "GET", "/metrics")
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "request_", [b"\x16\x03\x01 hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"G" * 99_999]
)
def test_what_is_no_http_is_turned_down_and_the_server_goes_on(server: HttpServer, request_: bytes) -> None:
    with suppress(OSError), socket.create_connection((HOST, server.port), timeout=10) as client:
        client.sendall(request_)  # it need not listen to the end
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):
            pass
    assert ask(server, "GET", "/metrics")[0] == 200


def test_a_client_that_goes_away_before_its_answer_disturbs_nobody(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    asked, went = threading.Event(), threading.Event()

    def large(_: Query) -> Answer:
        asked.set()
        went.wait(10)
        return Answer(200, "text/plain", b"x" * 10_000_000)

    with caplog.at_level(logging.DEBUG), HttpServer(HOST, 0, {**ROUTES, "/large": large}) as server:
        with socket.create_connection((HOST, server.port), timeout=10) as client:
            client.sendall(b"GET /large HTTP/1.1\r\n\r\n")
            assert asked.wait(10)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
        went.set()
        assert eventually(lambda: "ended" in caplog.text)
        assert ask(server, "GET", "/metrics")[0] == 200
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    assert capfd.readouterr() == ("", "")


def test_one_connection_too_many_is_closed_at_once_and_those_before_it_are_served() -> None:
    with HttpServer(HOST, 0, ROUTES, bounds=Bounds(connections=2)) as server:
        first, second, third = (socket.create_connection((HOST, server.port), timeout=10) for _ in range(3))
        with first, second, third:
            assert third.recv(1) == b""
            first.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert first.recv(12) == b"HTTP/1.0 200"
            assert eventually(lambda: _is_served(server))


def _is_served(server: HttpServer) -> bool:
    try:
        return ask(server, "GET", "/metrics")[0] == 200
    except (http.client.RemoteDisconnected, ConnectionError):
        return False


def test_a_client_that_sends_a_byte_now_and_then_is_cut_off() -> None:
    with HttpServer(HOST, 0, ROUTES, bounds=Bounds(connections=1, open_for_s=0.5)) as server:
        with socket.create_connection((HOST, server.port), timeout=0.1) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
            assert eventually(lambda: _has_ended(client))
        assert eventually(lambda: _is_served(server))


def _has_ended(client: socket.socket) -> bool:
    try:
        client.sendall(b"a: b\r\n")
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_client_that_does_not_read_is_cut_off() -> None:
    large: dict[str, Route] = {"/metrics": lambda _: Answer(200, "text/plain", b"x" * 50_000_000)}
    with (
        HttpServer(HOST, 0, large, bounds=Bounds(open_for_s=0.5)) as server,
        socket.create_connection((HOST, server.port), timeout=10) as client,
    ):
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.0 200"
        assert eventually(lambda: not _is_serving())


def _is_serving() -> bool:
    return any("process_request" in thread.name for thread in threading.enumerate())


def test_close_frees_the_port_and_ends_what_is_open() -> None:
    server = HttpServer(HOST, 0, ROUTES)
    with socket.create_connection((HOST, server.port), timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert eventually(_is_serving)
        server.close()
        assert client.recv(1) == b""
    HttpServer(HOST, server.port, ROUTES).close()


@pytest.mark.parametrize("host", ["::1", "localhost", "0.0.0.0"])  # noqa: S104 - what an operator may set
def test_it_listens_where_it_is_told(host: str) -> None:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with HttpServer(host, 0, ROUTES) as server:
        assert server.url == (f"http://[::1]:{server.port}" if host == "::1" else f"http://{host}:{server.port}")
        connection = http.client.HTTPConnection(host, server.port, timeout=10)
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_port_in_use_is_named_with_what_to_do(server: HttpServer) -> None:
    with pytest.raises(SettingsError, match=rf"metrics\.port {server.port} .* in use.*another metrics\.port"):
        HttpServer(HOST, server.port, ROUTES)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 9464), ("a..b", 9464), ("", 9464), (HOST, 70_000)])
def test_an_address_that_is_not_ours_is_named_with_what_to_do(host: str, port: int) -> None:
    with pytest.raises(SettingsError, match=r"metrics\.host .* set metrics\.host to an address of this machine"):
        HttpServer(host, port, ROUTES)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", b"200"),
        ("127.0.0.1:9464", b"200"),
        ("localhost", b"200"),
        ("LOCALHOST:1", b"200"),
        ("[::1]:9464", b"200"),
        ("::1", b"421"),
        ("", b"421"),
        ("rebound.example", b"421"),
        ("rebound.example:9464", b"421"),
        ("127.0.0.1.example", b"421"),
        ("localhost.example", b"421"),
        ("127.0.0.1@example", b"421"),
    ],
)
def test_on_loopback_a_name_that_a_site_may_have_is_turned_away(server: HttpServer, host: str, status: bytes) -> None:
    with socket.create_connection((HOST, server.port), timeout=10) as client:
        client.sendall(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert client.recv(12) == b"HTTP/1.0 " + status


def test_elsewhere_the_port_has_whatever_name_the_network_gives_it() -> None:
    with (
        HttpServer("0.0.0.0", 0, ROUTES) as server,  # noqa: S104 - what an operator may set
        socket.create_connection((HOST, server.port), timeout=10) as client,
    ):
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: gateway.example:9464\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.0 200"
