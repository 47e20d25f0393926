"""PUBLISH packets out of an MQTT byte stream, before paho sees it: the hot path of receiving.

paho spends more on a message that comes in (several reads, a dictionary and half a dozen objects for each packet) than
decoding and judging take together. So its packets of any other kind go to paho as they are, and PUBLISH packets are
cut here, many from one read (MQTT 3.1.1 and 5.0, sections 2 and 3.3).

Rules that hold here:

- No I/O: bytes in, packets out.
- Memory is bounded: of a payload longer than `most` bytes one byte more than `most` is kept, the rest is skipped. No
  other packet that a broker sends us comes near `LONGEST_OTHER`; one that is longer is refused.
- A packet that is not well formed goes to paho, which ends the connection as the standard asks.
"""

from typing import NamedTuple

_PUBLISH = 3
LONGEST_OTHER = 2**20
_BEFORE_PAYLOAD = 2 * 65_537  # the most that topic, packet identifier and properties may take of a long packet


class Publish(NamedTuple):
    """One PUBLISH packet.

    `mid` is its packet identifier, 0 at QoS 0; `dup` says that it may have come before; `properties` are those of
    MQTT 5 as they are in the packet.
    """

    topic: bytes
    payload: bytes
    mid: int
    retain: bool
    dup: bool = False
    properties: bytes = b""


class OversizedError(Exception):
    """A packet that no broker sends: the connection must end."""


class _MalformedError(Exception):
    """The bytes are no packet."""


class Inflow:
    """Cuts the bytes of one connection into packets."""

    def __init__(self, *, five: bool, most: int) -> None:
        """Expect MQTT 5 (`five`) or 3.1.1, and keep at most `most` + 1 bytes of a payload."""
        self._five = five
        self._most = most
        self._rest = b""
        self._skip = 0

    def feed(self, data: bytes) -> tuple[list[Publish], list[bytes]]:
        """The PUBLISH packets that are complete now, and every other packet as its bytes.

        Raises:
            OversizedError: where another packet is to be longer than `LONGEST_OTHER`.
        """
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        data = self._rest + data[skipped:]
        publishes: list[Publish] = []
        others: list[bytes] = []
        at = 0
        try:
            while at < len(data):
                at = self._take(data, at, publishes, others)
        except IndexError:  # the next packet is not complete yet
            pass
        except _MalformedError:
            others.append(data[at:])
            at = len(data)
        self._skip += max(0, at - len(data))
        self._rest = data[at:]
        return publishes, others

    def _take(self, data: bytes, at: int, publishes: list[Publish], others: list[bytes]) -> int:
        """Take one packet and return where it ends, which may be past the end of a long one's kept part."""
        length, start = _variable_integer(data, at + 1)
        stop, end = start + length, len(data)
        first = data[at]
        if first >> 4 != _PUBLISH:
            if length > LONGEST_OTHER:
                raise OversizedError(f"a packet of {length} bytes that is no message")
            if stop > end:
                raise IndexError
            others.append(data[at:stop])
            return stop
        if stop > end and end - start < min(length, _BEFORE_PAYLOAD + self._most + 1):
            raise IndexError
        publishes.append(self._publish(data, first, start, min(stop, end)))
        return stop

    def _publish(self, data: bytes, first: int, at: int, stop: int) -> Publish:
        """One packet from its variable header on."""
        if stop - at < 2:
            raise _MalformedError
        mid = 0
        properties = b""
        topic_at = at + 2
        topic_end = payload_at = topic_at + ((data[at] << 8) | data[at + 1])
        if first & 0x06:
            payload_at += 2
            if first & 0x04 or payload_at > stop:  # QoS 2 is never subscribed to
                raise _MalformedError
            mid = (data[topic_end] << 8) | data[topic_end + 1]
        if self._five:
            if payload_at >= stop:
                raise _MalformedError
            length, properties_at = _variable_integer(data, payload_at)
            payload_at = properties_at + length
            if length:
                properties = data[properties_at:payload_at]
        if payload_at > stop:
            raise _MalformedError
        payload = data[payload_at : min(stop, payload_at + self._most + 1)]
        return Publish(data[topic_at:topic_end], payload, mid, bool(first & 0x01), bool(first & 0x08), properties)


def _variable_integer(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer (MQTT 5.0, section 1.5.5) and where it ends; IndexError where it is not complete."""
    value = data[at]
    if value < 128:
        return value, at + 1
    value &= 127
    for i in range(1, 4):
        byte = data[at + i]
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    raise _MalformedError
