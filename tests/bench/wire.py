"""MQTT 3.1.1 packets by hand, so that a benchmark's publisher costs next to nothing."""

import socket
import struct
from types import TracebackType
from typing import Self


def _remaining_length(n: int) -> bytes:
    """Variable byte integer (MQTT 3.1.1, 2.2.3)."""
    out = bytearray()
    while True:
        n, digit = divmod(n, 128)
        out.append(digit | 0x80 if n else digit)
        if not n:
            return bytes(out)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def connect_packet(client_id: str) -> bytes:
    """CONNECT with a clean session and no keep alive (3.1)."""
    body = _text("MQTT") + bytes((4, 2)) + struct.pack("!H", 0) + _text(client_id)
    return b"\x10" + _remaining_length(len(body)) + body


def publish_packet(topic: str, payload: bytes, mid: int = 0) -> bytes:
    """PUBLISH (3.3): at QoS 1 with a packet identifier, else at QoS 0."""
    body = _text(topic) + (struct.pack("!H", mid) if mid else b"") + payload
    return (b"\x32" if mid else b"\x30") + _remaining_length(len(body)) + body


class Wire:
    """A connection that sends packets and reads nothing after its CONNACK."""

    def __init__(self, host: str, port: int, client_id: str) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(connect_packet(client_id))
        connack = self.socket.recv(4)
        if connack != b"\x20\x02\x00\x00":
            raise ConnectionError(f"the broker answered {connack!r}")

    def send(self, packets: bytes) -> None:
        """Send encoded packets; blocks while the broker does not read."""
        self.socket.sendall(packets)

    def __enter__(self) -> Self:
        """Connected."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """DISCONNECT (3.14)."""
        self.socket.sendall(b"\xe0\x00")
        self.socket.close()
