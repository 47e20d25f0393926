"""A small HTTP server for `/metrics`, the health pages and the page, on the standard library alone.

Rules that hold here:

- Nobody who can reach the port can hold the daemon up: connections are few, each is one request long and is closed when
  its time is over, however slowly it shakes hands, is read or written. One too many is closed at once.
- A stream (server-sent events) is no such connection from its first answer on: streams have a bound and a time of their
  own, so they keep nobody from the routes.
- A route runs on the connection's own thread, as the handshake does. For the request itself see `http_request.py`.
"""

import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import ThreadingHTTPServer
from ipaddress import ip_address
from socketserver import TCPServer
from types import MappingProxyType
from typing import NamedTuple, Self

from forewarn.adapters.http_access import BasicAuth, ServerTls
from forewarn.adapters.http_request import Request, Route, Stream
from forewarn.errors import SettingsError

_log = logging.getLogger(__name__)


class Bounds(NamedTuple):
    """What the clients of a server may take.

    Attributes:
        connections: served at the same time, streams not counted.
        open_for_s: after which a connection is closed, whatever it is doing; of a stream, each write.
        streams: served at the same time.
    """

    connections: int = 8
    open_for_s: float = 10.0
    streams: int = 4


class HttpServer:
    """Serves GET and HEAD of fixed paths from daemon threads, from its construction until `close()`.

    Args:
        host: address or name to listen on; IPv6 as `::1`.
        port: TCP port, 0 for a free one.
        routes: what each path answers with.
        streams: what is sent at each path until the client goes.
        bounds: see there.
        tls: speaks TLS alone, with these certificates.
        auth: asks for a password.
        told_to_all: paths that need none.

    Raises:
        SettingsError: the address cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        routes: Mapping[str, Route],
        *,
        streams: Mapping[str, Stream] = MappingProxyType({}),
        bounds: Bounds = Bounds(),  # noqa: B008 - it cannot be changed
        tls: ServerTls | None = None,
        auth: BasicAuth | None = None,
        told_to_all: Collection[str] = (),
    ) -> None:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            parts = dict(routes), dict(streams), bounds, tls, auth, frozenset(told_to_all)
            self._server = _Server(family, (host, port), *parts)
        except (OSError, OverflowError, UnicodeError) as error:
            raise SettingsError(_complaint(host, port, error)) from error
        self.port: int = self._server.server_address[1]
        self.is_loopback = self._server.is_loopback
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
        self._server.end()
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
        self,
        family: int,
        address: tuple[str, int],
        routes: dict[str, Route],
        streams: dict[str, Stream],
        bounds: Bounds,
        tls: ServerTls | None,
        auth: BasicAuth | None,
        told_to_all: frozenset[str],
    ) -> None:
        self.address_family = family
        self.routes, self.streams, self.auth, self._bounds, self._tls = routes, streams, auth, bounds, tls
        self.told_to_all = told_to_all
        self._opened_at: dict[socket.socket, float] = {}  # monotonic
        self._streaming: set[socket.socket] = set()
        self.closing = threading.Event()
        self._lock = threading.Lock()
        super().__init__(address, Request)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own looks up names: seconds on a gateway without a name server
        self.server_name, self.server_port = "forewarn", self.server_address[1]
        self.is_loopback = ip_address(str(self.server_address[0]).partition("%")[0]).is_loopback

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

    @contextmanager
    def streaming(self, connection: socket.socket) -> Iterator[bool]:
        """Take a connection for a stream in the block; False where there are enough of them."""
        with self._lock:
            admitted = len(self._streaming) < self._bounds.streams
            if admitted:
                self._opened_at.pop(connection, None)
                self._streaming.add(connection)
        try:
            if admitted:
                connection.settimeout(self._bounds.open_for_s)  # of each write
            yield admitted
        finally:
            with self._lock:
                self._streaming.discard(connection)

    def cut(self, open_for_s: float) -> None:
        """End connections that have been open for so long; their threads find the end and clean up."""
        with self._lock:
            _shut(c for c, opened_at in self._opened_at.items() if time.monotonic() - opened_at >= open_for_s)

    def end(self) -> None:
        """End all connections and streams."""
        self.closing.set()
        with self._lock:
            _shut([*self._opened_at, *self._streaming])

    def handle_error(self, request: object, client_address: object) -> None:
        del request
        _log.debug("connection of %s ended", client_address, exc_info=True)


def _shut(connections: Iterable[socket.socket]) -> None:
    for connection in connections:
        with suppress(OSError):  # the client may have gone by itself
            # Not SSLSocket's own, which takes the TLS away from the thread that is using it.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
