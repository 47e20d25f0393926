"""A small HTTP server for `/metrics` and the health pages, on the standard library alone.

Rules that hold here:

- Nobody who can reach the port can hold the daemon up: connections are few, each is one request long and is closed when
  its time is over, however slowly it is read or written. One too many is closed at once.
- A route is a callable without arguments; it runs on the connection's own thread.
"""

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Self

from forewarn.errors import SettingsError

Route = Callable[[], tuple[int, str, bytes]]
"""Gives a status, a content type and a body."""

_log = logging.getLogger(__name__)


class HttpServer:
    """Serves GET and HEAD of fixed paths from daemon threads, from its construction until `close()`.

    Args:
        host: address or name to listen on; IPv6 as `::1`.
        port: TCP port, 0 for a free one.
        routes: what each path answers with.
        max_connections: served at the same time.
        timeout_s: after which a connection is closed, whatever it is doing.

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
    ) -> None:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._server = _Server(family, (host, port), dict(routes), max_connections, timeout_s)
        except (OSError, OverflowError, UnicodeError) as error:
            raise SettingsError(_complaint(host, port, error)) from error
        self.port: int = self._server.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64  # a full one makes a client try again after a second

    def __init__(
        self, family: int, address: tuple[str, int], routes: dict[str, Route], max_connections: int, timeout_s: float
    ) -> None:
        self.address_family = family
        self.routes, self._max_connections, self._timeout_s = routes, max_connections, timeout_s
        self._opened_at: dict[socket.socket, float] = {}  # monotonic
        self._lock = threading.Lock()
        super().__init__(address, _Request)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own looks up names: seconds on a gateway without a name server
        self.server_name, self.server_port = "forewarn", self.server_address[1]

    def verify_request(self, request: socket.socket, client_address: object) -> bool:  # type: ignore[override]  # TCP
        del client_address
        with self._lock:
            if len(self._opened_at) >= self._max_connections:
                return False
            self._opened_at[request] = time.monotonic()
            return True

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]  # TCP: always a socket
        with self._lock:
            self._opened_at.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self.cut(open_for_s=self._timeout_s)

    def cut(self, open_for_s: float) -> None:
        """End connections that have been open for so long; their threads find the end and clean up."""
        with self._lock:
            for connection, opened_at in self._opened_at.items():
                if time.monotonic() - opened_at >= open_for_s:
                    with suppress(OSError):  # the client may have gone by itself
                        connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        del request
        _log.debug("connection of %s ended", client_address, exc_info=True)


class _Request(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "forewarn", ""

    def do_GET(self) -> None:
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
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"405: GET and HEAD only")

    do_HEAD = do_GET  # noqa: N815 - http.server calls it by this name
    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 - the same

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the method it replaces
        _log.debug("%s %s", self.address_string(), format % args)
