"""A broker that says what a test wants it to say, packet by packet, for what no real one does."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NamedTuple, Self

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14


class Packet(NamedTuple):
    """One MQTT control packet: its type, flags, and all that follows the length."""

    kind: int
    flags: int
    body: bytes

    @property
    def mid(self) -> int:
        """The packet identifier of a PUBACK, SUBSCRIBE, or PUBLISH at QoS 1."""
        at = 2 + int.from_bytes(self.body[:2], "big") if self.kind == PUBLISH else 0
        return int.from_bytes(self.body[at : at + 2], "big")


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """The bytes of a packet (MQTT 5.0, section 2.1)."""
    length, left = b"", len(body)
    while True:
        left, digit = left >> 7, left & 127
        length += bytes([digit | (128 if left else 0)])
        if not left:
            return bytes([kind << 4 | flags]) + length + body


def publish(topic: bytes, payload: bytes, *, mid: int = 0, retain: bool = False, five: bool = True) -> bytes:
    """A PUBLISH packet, of QoS 1 where it has an identifier."""
    head = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if mid else b"") + b"\0" * five
    return packet(PUBLISH, head + payload, (2 if mid else 0) | retain)


class Peer:
    """The connection of one client."""

    def __init__(self, connection: socket.socket, *, five: bool) -> None:
        self.connection = connection
        self.five = five
        self._stream = connection.makefile("rb")

    def read(self) -> Packet:
        """The next packet of the client.

        Raises:
            ConnectionError: where the client closed the connection.
        """
        first = self._exactly(1)[0]
        length = shift = 0
        while True:
            digit = self._exactly(1)[0]
            length |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                return Packet(first >> 4, first & 15, self._exactly(length))

    def _exactly(self, n: int) -> bytes:
        data = self._stream.read(n)
        if len(data) < n:
            raise ConnectionError("the client closed the connection")
        return data

    def expect(self, kind: int) -> Packet:
        """The next packet of this kind; others are passed over."""
        while True:
            found = self.read()
            if found.kind == kind:
                return found

    def send(self, data: bytes, sizes: Iterable[int] = ()) -> None:
        """Send bytes, cut into pieces of these sizes as far as they go."""
        for size in sizes:
            self.connection.sendall(data[:size])
            data = data[size:]
        self.connection.sendall(data)

    def accept(self) -> None:
        """Answer CONNECT with success."""
        self.expect(CONNECT)
        self.send(packet(CONNACK, b"\0\0\0" if self.five else b"\0\0"))

    def welcome(self) -> None:
        """Answer CONNECT and SUBSCRIBE with success."""
        self.accept()
        mid = self.expect(SUBSCRIBE).mid
        self.send(packet(SUBACK, mid.to_bytes(2, "big") + b"\0" * self.five + b"\1"))

    def stay(self) -> None:
        """Answer pings until the client goes."""
        while True:
            found = self.read()
            if found.kind == PINGREQ:
                self.send(packet(PINGRESP, b""))
            elif found.kind == DISCONNECT:
                return

    def linger(self) -> None:
        """Read and say nothing until the client goes."""
        while True:
            self.read()


class RawBroker:
    """Runs `script` for each client that connects, one after the other, in a thread; a context manager.

    Attributes:
        port: on loopback.
        connections: how many clients have come so far.
        errors: what went wrong in the script, other than a client that went away.
    """

    host = "127.0.0.1"

    def __init__(self, script: Callable[[Peer], None], *, five: bool = True, port: int = 0) -> None:
        self.connections = 0
        self.errors: list[BaseException] = []
        self._script = script
        self._five = five
        self._current: socket.socket | None = None
        self._listener = socket.create_server((self.host, port))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._current = connection
            with connection:
                try:
                    self._script(Peer(connection, five=self._five))
                except (ConnectionError, ValueError, OSError):
                    pass
                except BaseException as error:  # noqa: BLE001 - the test looks at it
                    self.errors.append(error)
            self._current = None

    def __enter__(self) -> Self:
        """Accept clients."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        current = self._current
        if current is not None:
            with contextlib.suppress(OSError):
                current.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        if self.errors and error is None:
            raise self.errors[0]
