"""TLS, client certificates and passwords of the HTTP port, and clients that mean harm, over real sockets."""

import http.client
import logging
import os
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from forewarn.adapters import http_access
from forewarn.adapters.http import Bounds, HttpServer
from forewarn.adapters.http_access import BasicAuth, ServerFiles, ServerTls
from forewarn.adapters.http_request import Answer, Route
from forewarn.errors import SettingsError
from forewarn.passwords import PasswordHash
from tests.certificates import Identity, authority, signed

HOST = "127.0.0.1"
ROUTES: dict[str, Route] = {"/metrics": lambda _: Answer(200, "text/plain", b"here")}


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def own(ca: Identity) -> Identity:
    return signed(ca, "server")


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return authority(tmp_path_factory.mktemp("others"), "other")


def client_context(ca: Identity, own: Identity | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca.cert)
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context


def ask(
    server: HttpServer,
    context: ssl.SSLContext | None = None,
    *,
    method: str = "GET",
    path: str = "/metrics",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    connection = (
        http.client.HTTPSConnection(HOST, server.port, timeout=10, context=context)
        if context
        else http.client.HTTPConnection(HOST, server.port, timeout=10)
    )
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{username}:{password}".encode()).decode()}


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_to_all(own: Identity) -> Iterator[HttpServer]:
    with HttpServer(HOST, 0, ROUTES, tls=ServerTls(ServerFiles(own.cert, own.key))) as server:
        yield server


@pytest.fixture(scope="module")
def for_clients(own: Identity, ca: Identity) -> Iterator[HttpServer]:
    with HttpServer(HOST, 0, ROUTES, tls=ServerTls(ServerFiles(own.cert, own.key, ca.cert))) as server:
        yield server


def test_a_page_comes_over_tls(open_to_all: HttpServer, ca: Identity) -> None:
    assert open_to_all.url.startswith("https://")
    assert ask(open_to_all, client_context(ca))[::2] == (200, b"here")


def test_a_client_that_trusts_another_ca_gets_nothing(open_to_all: HttpServer, other_ca: Identity) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(open_to_all, client_context(other_ca))


def test_plain_text_gets_nothing(open_to_all: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO),
        pytest.raises((http.client.BadStatusLine, ConnectionError)),
    ):
        ask(open_to_all)
    deadline = time.monotonic() + 10
    while "no TLS with" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "no TLS with" in caplog.text


def test_tls_1_1_is_turned_down(open_to_all: HttpServer, ca: Identity) -> None:
    context = client_context(ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(open_to_all, context)


def test_a_client_with_a_certificate_is_let_in(for_clients: HttpServer, ca: Identity) -> None:
    assert ask(for_clients, client_context(ca, signed(ca, "scraper")))[0] == 200


def test_a_client_without_a_certificate_or_with_that_of_another_ca_is_not(
    for_clients: HttpServer, ca: Identity, other_ca: Identity
) -> None:
    for identity in (None, signed(other_ca, "stranger")):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(for_clients, client_context(ca, identity))


def copied(identity: Identity, folder: Path) -> ServerFiles:
    files = ServerFiles(folder / "server.crt", folder / "server.key")
    _replace(identity, files)
    return files


def _replace(identity: Identity, files: ServerFiles) -> None:
    assert files.key_file is not None
    for source, target in ((identity.cert, files.cert_file), (identity.key, files.key_file)):
        draft = target.with_suffix(".new")
        draft.write_bytes(source.read_bytes())
        draft.replace(target)


def test_a_renewed_certificate_is_used_from_the_next_connection_on(
    own: Identity, other_ca: Identity, ca: Identity, tmp_path: Path
) -> None:
    files = copied(own, tmp_path)
    with HttpServer(HOST, 0, ROUTES, tls=ServerTls(files)) as server:
        assert ask(server, client_context(ca))[0] == 200
        _replace(signed(other_ca, "renewed"), files)
        assert ask(server, client_context(other_ca))[0] == 200
        with pytest.raises(ssl.SSLError):
            ask(server, client_context(ca))


def test_while_a_renewed_certificate_cannot_be_used_the_old_one_is_and_the_log_says_so_once(
    own: Identity, ca: Identity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = copied(own, tmp_path)
    with HttpServer(HOST, 0, ROUTES, tls=ServerTls(files)) as server:
        files.cert_file.write_text("half of it")
        for _ in range(3):
            assert ask(server, client_context(ca))[0] == 200
        assert caplog.text.count("goes on with the certificate that it has") == 1
        files.cert_file.unlink()
        assert ask(server, client_context(ca))[0] == 200
        _replace(own, files)
        assert ask(server, client_context(ca))[0] == 200


def test_files_that_cannot_be_used_are_named(own: Identity, other_ca: Identity, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no PEM")
    for files, told in (
        (ServerFiles(tmp_path / "none"), r"metrics\.cert_file: .*none cannot be read"),
        (ServerFiles(own.cert, tmp_path / "none"), r"metrics\.key_file: .*none cannot be read"),
        (ServerFiles(text), "are no certificate and key in PEM"),
        (ServerFiles(own.cert, other_ca.key), "do not belong together"),
        (ServerFiles(own.cert, own.key, text), r"metrics\.client_ca_file: .* has no certificate in PEM"),
    ):
        with pytest.raises(SettingsError, match=told):
            ServerTls(files)


# -- passwords -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[HttpServer]:
    with (
        pytest.MonkeyPatch.context() as patched,
        HttpServer(HOST, 0, ROUTES, auth=BasicAuth("prometheus", PasswordHash.of("right"))) as server,
    ):
        patched.setattr(http_access, "_AFTER_WRONG_S", 0.05)
        yield server


def test_a_page_for_all_needs_no_password_and_opens_no_other() -> None:
    auth = BasicAuth("prometheus", PasswordHash.of("right"))
    with HttpServer(HOST, 0, {**ROUTES, "/healthz": ROUTES["/metrics"]}, auth=auth, told_to_all=["/healthz"]) as server:
        for path, status in (
            ("/healthz", 200),
            ("/healthz?x", 200),
            ("/metrics", 401),
            ("/healthz/", 401),
            ("/x", 401),
        ):
            assert ask(server, path=path)[0] == status
        assert ask(server, path="/healthz", method="POST")[0] == 401


def test_the_right_password_is_let_in(guarded: HttpServer) -> None:
    assert ask(guarded, headers=basic("prometheus", "right"))[::2] == (200, b"here")
    assert ask(guarded, headers=basic("prometheus", "right"), method="HEAD")[::2] == (200, b"")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("prometheus", "wrong"),
        basic("prometheus", ""),
        basic("somebody", "right"),
        basic("", "right"),
        basic("prometheus", "right" + "x" * 5000),
        {"Authorization": "Basic"},
        {"Authorization": "Basic ???"},
        {"Authorization": "Bearer " + b64encode(b"prometheus:right").decode()},
        {"Authorization": "Basic " + b64encode(b"prometheus").decode()},
        {"Authorization": "Basic é"},
    ],
)
@pytest.mark.parametrize("asked", [("GET", "/metrics"), ("HEAD", "/metrics"), ("POST", "/metrics"), ("GET", "/")])
def test_without_the_right_password_nothing_is_told(
    guarded: HttpServer, headers: dict[str, str], asked: tuple[str, str]
) -> None:
    method, path = asked
    status, told, body = ask(guarded, method=method, path=path, headers=headers)
    assert status == 401
    assert told["WWW-Authenticate"].startswith("Basic ")
    assert b"metrics" not in body


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_nothing_follows_a_refusal(guarded: HttpServer, method: str) -> None:
    with socket.create_connection((HOST, guarded.port), timeout=10) as client, client.makefile("rb") as answer:
        client.sendall(f"{method} /metrics HTTP/1.0\r\n\r\n".encode())
        whole = answer.read()
    assert whole.count(b"HTTP/1.0") == 1
    assert b"here" not in whole


def test_a_wrong_password_is_told_in_the_log_without_the_password(
    guarded: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    ask(guarded, headers=basic("prometheus", "almost-right"))
    assert f"wrong user name or password on the metrics port from {HOST}" in caplog.text
    assert "almost" not in caplog.text


class _Counted:
    """A password hash that counts how often and by how many at once it is asked."""

    def __init__(self) -> None:
        self.asked = self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def matches(self, password: bytes) -> bool:
        with self._lock:
            self.asked += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.02)
        with self._lock:
            self.at_once -= 1
        return password == b"right"


def test_a_scrape_costs_no_hash_once_its_password_was_right() -> None:
    counted = _Counted()
    with HttpServer(HOST, 0, ROUTES, auth=BasicAuth("prometheus", counted)) as server:  # type: ignore[arg-type]  # all that is used of it
        for _ in range(10):
            assert ask(server, headers=basic("prometheus", "right"))[0] == 200
        assert counted.asked == 1


def test_guesses_are_checked_one_at_a_time_with_a_pause_and_do_not_stop_who_knows_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_access, "_AFTER_WRONG_S", 1.0)
    counted = _Counted()
    stop = threading.Event()

    def guess() -> None:
        while not stop.is_set():
            with suppress(OSError, http.client.HTTPException):
                ask(server, headers=basic("prometheus", "wrong"))

    auth = BasicAuth("prometheus", counted)  # type: ignore[arg-type]  # the same
    with HttpServer(HOST, 0, ROUTES, auth=auth, bounds=Bounds(connections=50)) as server:
        assert ask(server, headers=basic("prometheus", "right"))[0] == 200
        guessers = [threading.Thread(target=guess) for _ in range(20)]
        for thread in guessers:
            thread.start()
        answers = []
        for _ in range(50):
            answers.append(ask(server, headers=basic("prometheus", "right"))[0])
            time.sleep(0.02)
        assert set(answers) == {200}
        stop.set()
        for thread in guessers:
            thread.join()
    assert counted.most_at_once == 1
    assert counted.asked <= 10  # one a second, for as long as they were patient


# -- harm ------------------------------------------------------------------------------------------------------------


def has_ended(client: socket.socket) -> bool:
    """Whether the server has closed, after one more byte."""
    try:
        client.sendall(b"\x16")
        return client.recv(4096) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_client_that_trickles_its_handshake_is_cut_off_and_stops_nobody(
    sent: bytes, own: Identity, ca: Identity
) -> None:
    files = ServerFiles(own.cert, own.key)
    with (
        HttpServer(HOST, 0, ROUTES, tls=ServerTls(files), bounds=Bounds(connections=2, open_for_s=0.5)) as server,
        socket.create_connection((HOST, server.port), timeout=0.1) as client,
    ):
        client.sendall(sent)
        assert ask(server, client_context(ca))[0] == 200
        deadline = time.monotonic() + 10
        while not has_ended(client):
            assert time.monotonic() < deadline
        assert ask(server, client_context(ca))[0] == 200


def test_a_client_that_trickles_its_request_over_tls_is_cut_off(own: Identity, ca: Identity) -> None:
    files = ServerFiles(own.cert, own.key)
    with (
        HttpServer(HOST, 0, ROUTES, tls=ServerTls(files), bounds=Bounds(connections=1, open_for_s=0.5)) as server,
        client_context(ca).wrap_socket(
            socket.create_connection((HOST, server.port), timeout=0.1), server_hostname=HOST
        ) as client,
    ):
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        deadline = time.monotonic() + 10
        while not has_ended(client):
            assert time.monotonic() < deadline


def test_a_thousand_connections_leave_few_threads_and_a_server_that_serves() -> None:
    with HttpServer(HOST, 0, ROUTES, bounds=Bounds(open_for_s=0.5)) as server, ExitStack() as open_ones:
        for _ in range(1000):
            client = open_ones.enter_context(socket.socket())
            client.setblocking(False)  # noqa: FBT003 - the library's signature
            client.connect_ex((HOST, server.port))
        served, most, deadline = False, 0, time.monotonic() + 20
        while not served:
            assert time.monotonic() < deadline
            most = max(most, sum("process_request" in thread.name for thread in threading.enumerate()))
            with suppress(OSError, http.client.HTTPException):
                served = ask(server)[0] == 200
    assert 1 <= most <= 8


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /metrics HTTP/1.1\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
)
def test_a_head_that_is_too_long_is_turned_down_after_sixteen_kilobytes(request_: bytes) -> None:
    with HttpServer(HOST, 0, ROUTES) as server:
        with suppress(ConnectionError), socket.create_connection((HOST, server.port), timeout=10) as client:
            client.sendall(request_)
            answer = client.recv(4096)  # a reset where more was sent than is read
            assert answer == b"" or answer.startswith(b"HTTP/1.0 431")
        assert ask(server)[0] == 200


def test_a_head_that_is_just_too_long_is_told_so() -> None:
    line = b"GET /metrics HTTP/1.1\r\n"
    for length, status in ((16_384, b"200"), (16_385, b"431")):
        with (
            HttpServer(HOST, 0, ROUTES) as server,
            socket.create_connection((HOST, server.port), timeout=10) as client,
        ):
            client.sendall(line + b"A: " + b"x" * (length - len(line) - 7) + b"\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.0 " + status


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "//etc/passwd",
        "/metrics/../../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/etc/passwd\\0",
        "file:///etc/passwd",
    ],
)
def test_no_path_leads_to_a_file(path: str) -> None:
    with HttpServer(HOST, 0, ROUTES) as server:
        status, headers, body = ask(server, path=path)
    assert status == 404
    assert b"root:" not in body
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")  # noqa: PTH112 - a Linux folder
def test_connections_that_fail_leave_no_descriptors_behind(own: Identity, ca: Identity) -> None:
    with HttpServer(HOST, 0, ROUTES, tls=ServerTls(ServerFiles(own.cert, own.key, ca.cert))) as server:

        def descriptors() -> int:
            deadline = time.monotonic() + 10
            while any("process_request" in thread.name for thread in threading.enumerate()):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough

        before = descriptors()
        for i in range(60):
            with suppress(OSError, http.client.HTTPException):
                ask(server, client_context(ca) if i % 2 else None)
        assert descriptors() <= before + 1
