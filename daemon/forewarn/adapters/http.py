"""A small HTTP server for `/metrics` and the health pages, on the standard library alone.

Rules that hold here:

- Nobody who can reach the port can hold the daemon up: connections are few, each is one request long and is closed when
  its time is over, however slowly it shakes hands, is read or written. One too many is closed at once.
- Of a request `_HEAD_MOST` bytes are read at most. Its path is looked up among the routes and nowhere else.
- A route is a callable without arguments; it runs on the connection's own thread, as the handshake does.
"""

import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socketserver import TCPServer
from typing import BinaryIO, NamedTuple, Self

from forewarn.adapters.http_access import BasicAuth, ServerTls
from forewarn.errors import SettingsError

Route = Callable[[], tuple[int, str, bytes]]
"""Gives a status, a content type and a body."""

_log = logging.getLogger(__name__)

_HEAD_MOST = 16_384  # bytes of request line and headers; http.server itself takes 100 headers of 64 KiB


class HttpServer:
    """Serves GET and HEAD of fixed paths from daemon threads, from its construction until `close()`.

    Args:
        host: address or name to listen on; IPv6 as `::1`.
        port: TCP port, 0 for a free one.
        routes: what each path answers with.
        max_connections: served at the same time.
        timeout_s: after which a connection is closed, whatever it is doing.
        tls: speaks TLS alone, with these certificates.
        auth: asks for a password.

    Raises:
        SettingsError: the address cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        routes: Mapping[str, Route],
        *,
        max_connections: int = 8,
        timeout_s: float = 10.0,
        tls: ServerTls | None = None,
        auth: BasicAuth | None = None,
    ) -> None:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._server = _Server(family, (host, port), dict(routes), _Bounds(max_connections, timeout_s), tls, auth)
        except (OSError, OverflowError, UnicodeError) as error:
            raise SettingsError(_complaint(host, port, error)) from error
        self.port: int = self._server.server_address[1]
        self.is_loopback = ip_address(str(self._server.server_address[0]).partition("%")[0]).is_loopback
        self.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.25,), name="http", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """The server itself, closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Stop listening and cut the connections that are open."""
        self._server.shutdown()
        self._server.server_close()
        self._server.cut(open_for_s=0.0)
        self._thread.join()


def _complaint(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        advice = "stop the program that uses it (`ss -ltnp` says which), or set another metrics.port"
    else:
        advice = "set metrics.host to an address of this machine and metrics.port to a port that this user may open"
    return f"metrics.host {host!r} with metrics.port {port} cannot be listened on ({error}): {advice}"


class _Bounds(NamedTuple):
    connections: int
    open_for_s: float


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64  # a full one makes a client try again after a second

    def __init__(
        self,
        family: int,
        address: tuple[str, int],
        routes: dict[str, Route],
        bounds: _Bounds,
        tls: ServerTls | None,
        auth: BasicAuth | None,
    ) -> None:
        self.address_family = family
        self.routes, self.auth, self._bounds, self._tls = routes, auth, bounds, tls
        self._opened_at: dict[socket.socket, float] = {}  # monotonic
        self._lock = threading.Lock()
        super().__init__(address, _Request)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own looks up names: seconds on a gateway without a name server
        self.server_name, self.server_port = "forewarn", self.server_address[1]

    def verify_request(self, request: socket.socket, client_address: object) -> bool:  # type: ignore[override]  # TCP
        del client_address
        with self._lock:
            if len(self._opened_at) >= self._bounds.connections:
                return False
            self._opened_at[request] = time.monotonic()
            return True

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]  # TCP
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        wrapped = self._tls.context().wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        with self._lock:  # `request` has given its descriptor away
            self._opened_at[wrapped] = self._opened_at.pop(request, 0.0)
        try:
            if self._shakes_hands(wrapped, client_address):
                super().finish_request(wrapped, client_address)
        finally:
            self.shutdown_request(wrapped)

    def _shakes_hands(self, wrapped: ssl.SSLSocket, client_address: object) -> bool:
        try:
            wrapped.do_handshake()
        except ssl.SSLError as error:
            _log.info("no TLS with %s on the metrics port: %s", client_address, error.reason or error)
            return False
        return True

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]  # TCP: always a socket
        with self._lock:
            self._opened_at.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self.cut(open_for_s=self._bounds.open_for_s)

    def cut(self, open_for_s: float) -> None:
        """End connections that have been open for so long; their threads find the end and clean up."""
        with self._lock:
            for connection, opened_at in self._opened_at.items():
                if time.monotonic() - opened_at >= open_for_s:
                    with suppress(OSError):  # the client may have gone by itself
                        # Not SSLSocket's own, which takes the TLS away from the thread that is using it.
                        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        del request
        _log.debug("connection of %s ended", client_address, exc_info=True)


class _TooLargeError(Exception):
    """A request has a longer head than is read."""


class _Head:
    """Reads the lines of a request until it is too long."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _HEAD_MOST
        self.close = file.close

    def readline(self, most: int = -1) -> bytes:
        line = self._file.readline(self._left + 1 if most < 0 else min(most, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise _TooLargeError
        return line


class _Request(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "forewarn", ""

    def setup(self) -> None:
        super().setup()
        self.rfile: BinaryIO = _Head(self.rfile)  # type: ignore[assignment]  # what http.server uses of a file

    def handle(self) -> None:
        try:
            self.handle_one_request()
        except _TooLargeError:
            self.command, self.request_version = "GET", "HTTP/1.0"
            self.requestline = "(too long)"
            told = f"431: a request has {_HEAD_MOST} bytes at most"
            self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "text/plain", told.encode())

    def _is_let_in(self) -> bool:
        """Whether the client may ask; else it has been told."""
        auth = self.server.auth
        admitted = auth is None or auth.admits(self.headers.get("Authorization"))
        if admitted is None:
            self._answer(HTTPStatus.TOO_MANY_REQUESTS, "text/plain", b"429: try again later", {"Retry-After": "5"})
        elif not admitted:
            if "Authorization" in self.headers:
                _log.warning("wrong user name or password on the metrics port from %s", self.client_address[0])
            asks = {"WWW-Authenticate": 'Basic realm="forewarn", charset="UTF-8"'}
            self._answer(HTTPStatus.UNAUTHORIZED, "text/plain", b"401: a user name and password are needed", asks)
        return bool(admitted)

    def do_GET(self) -> None:
        if not self._is_let_in():
            return
        route = self.server.routes.get(self.path.partition("?")[0])
        if route is None:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", f"404: there is {', '.join(self.server.routes)}".encode())
            return
        try:
            answer = route()
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the traceback
            _log.exception("%s failed", self.path)
            answer = HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"500: see the log"
        self._answer(*answer)

    def do_POST(self) -> None:
        if self._is_let_in():
            allowed = {"Allow": "GET, HEAD"}
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"405: GET and HEAD only", allowed)

    do_HEAD = do_GET  # noqa: N815 - http.server calls it by this name
    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 - the same

    def _answer(self, status: int, content_type: str, body: bytes, more: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the method it replaces
        _log.debug("%s %s", self.address_string(), format % args)
