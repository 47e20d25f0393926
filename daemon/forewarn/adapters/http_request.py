"""One HTTP request: read within bounds, looked up among the routes and streams, answered.

Rules that hold here:

- Of a request `_HEAD_MOST` bytes are read at most, and of its query `_FIELDS_MOST` fields.
- Its path is looked up among the routes and streams and nowhere else. They are given its query, which is text from
  outside.
- GET and HEAD alone are answered, and every answer forbids to guess its type and to keep it.
- On loopback a name in `Host` other than localhost is turned away: a browser that sends one was led here by a site
  whose name was made to mean this machine, and would let that site read the answer (DNS rebinding).
"""

import logging
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl

from forewarn.adapters.http_access import BasicAuth

Query = Mapping[str, str]
"""What stands behind the `?` of a request, percent-decoded; of a name that is given twice the last value."""


class Answer(NamedTuple):
    """What a route answers with."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


Route = Callable[[Query], Answer]
Stream = Callable[[Query], Iterator[bytes] | Answer]
"""Gives server-sent events, asked for once a second, b"" where there is nothing new; or an answer instead."""

_Given = TypeVar("_Given")

_log = logging.getLogger(__name__)

_HEAD_MOST = 16_384  # bytes of request line and headers; http.server itself takes 100 headers of 64 KiB
_FIELDS_MOST = 16  # of a query
_PULSE_S = 1.0  # of a stream
_SILENCE_S = 15.0  # after which a stream sends a comment, to find out whether somebody is there
_STREAM_S = 300.0  # after which a stream ends; a browser begins another one by itself


class Served(Protocol):
    """What a request needs of its server."""

    routes: Mapping[str, Route]
    streams: Mapping[str, Stream]
    auth: BasicAuth | None
    told_to_all: frozenset[str]
    is_loopback: bool
    closing: threading.Event

    def streaming(self, connection: socket.socket) -> AbstractContextManager[bool]:
        """Take a connection for a stream in the block; False where there are enough of them."""


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


class Request(BaseHTTPRequestHandler):
    """Answers one request of `server` and ends."""

    server: Served  # type: ignore[assignment]  # http.server says less of it
    server_version, sys_version = "forewarn", ""

    def setup(self) -> None:
        """Read a bounded head."""
        super().setup()
        self.rfile: BinaryIO = _Head(self.rfile)  # type: ignore[assignment]  # what http.server uses of a file

    def handle(self) -> None:
        """One request."""
        try:
            self.handle_one_request()
        except _TooLargeError:
            self.command, self.request_version = "GET", "HTTP/1.0"
            self.requestline = "(too long)"
            told = f"431: a request has {_HEAD_MOST} bytes at most"
            self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "text/plain", told.encode())

    def _is_let_in(self) -> bool:
        """Whether the client may ask; else it has been told."""
        if self.server.is_loopback and not _is_local(self.headers.get("Host", "localhost")):
            told = b"421: ask for an address or for localhost; this port is open to its own machine alone"
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", told)
            return False
        auth = self.server.auth
        if self.command in ("GET", "HEAD") and self.path.partition("?")[0] in self.server.told_to_all:
            auth = None
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
        """Answer what is among the routes and streams."""
        if not self._is_let_in():
            return
        path, _, asked = self.path.partition("?")
        try:
            query = dict(parse_qsl(asked, keep_blank_values=True, max_num_fields=_FIELDS_MOST))
        except ValueError:
            told = f"400: a query has {_FIELDS_MOST} fields at most"
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain", told.encode())
            return
        if path in self.server.streams:
            self._stream(self.server.streams[path], query)
        elif path in self.server.routes:
            self._answer(*self._attempt(partial(self.server.routes[path], query)))
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", f"404: there is {', '.join(self.server.routes)}".encode())

    def _attempt(self, route: Callable[[], _Given]) -> _Given | Answer:
        try:
            return route()
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the traceback
            _log.exception("%s failed", self.path)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"500: see the log")

    def _stream(self, stream: Stream, query: Query) -> None:
        with self.server.streaming(self.connection) as admitted:
            if not admitted:
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"503: busy", {"Retry-After": "10"})
                return
            chunks = self._attempt(partial(stream, query))
            if isinstance(chunks, Answer):
                self._answer(*chunks)
                return
            self._head(HTTPStatus.OK, "text/event-stream", {})
            if self.command != "HEAD":
                self._send(chunks)

    def _send(self, chunks: Iterator[bytes]) -> None:
        until = time.monotonic() + _STREAM_S
        silent_since = time.monotonic()
        for chunk in self._until_it_fails(chunks):
            if chunk or time.monotonic() - silent_since >= _SILENCE_S:
                self.wfile.write(chunk or b":\n\n")
                silent_since = time.monotonic()
            if self._has_gone(_PULSE_S) or self.server.closing.is_set() or time.monotonic() >= until:
                return

    def _has_gone(self, within_s: float) -> bool:
        """Whether the client ends the connection meanwhile: it has nothing more to say, so what comes is its end."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(1000 * within_s))

    def _until_it_fails(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from chunks
        except Exception:  # noqa: BLE001 - whatever it is, the stream ends and the log has the traceback
            _log.exception("%s failed", self.path)

    def do_POST(self) -> None:
        """Refuse."""
        if self._is_let_in():
            allowed = {"Allow": "GET, HEAD"}
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"405: GET and HEAD only", allowed)

    do_HEAD = do_GET  # noqa: N815 - http.server calls it by this name
    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 - the same

    def _answer(self, status: int, content_type: str, body: bytes, more: Mapping[str, str] | None = None) -> None:
        self._head(status, content_type, {"Content-Length": str(len(body)), **(more or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, content_type: str, more: Mapping[str, str]) -> None:
        self.send_response(status)
        always = {"Content-Type": content_type, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        for name, value in {**always, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the method it replaces
        """For those who debug."""
        _log.debug("%s %s", self.address_string(), format % args)


def _is_local(host: str) -> bool:
    """Whether a `Host` is an address or localhost."""
    name = re.sub(r":\d*$", "", host.strip()).strip("[]").lower()
    if name == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
