"""Which messages of QoS 1 were worked on, so that one that the broker sends again changes nothing.

A broker that was not told of an acknowledgement sends the message again, marked as a duplicate, under the same packet
identifier (MQTT 5.0, sections 3.3.1.1 and 4.4). A reading with a time of its own would be recognised by that; one whose
arrival is its time only here.
"""

import hashlib
import struct
from collections import OrderedDict
from collections.abc import Iterable

from forewarn.inbox import Message

MOST = 8192
"""Messages that are remembered: more than can be under way, see `session.RECEIVE_MOST`."""
_FORMAT = struct.Struct("<H8s")


class Receipts:
    """The last messages of QoS 1, by packet identifier."""

    def __init__(self) -> None:
        """Start with none."""
        self._known: OrderedDict[int, bytes] = OrderedDict()

    def has(self, message: Message) -> bool:
        """Whether this is a message that was worked on before."""
        return message.repeated and self._known.get(message.mid) == _digest(message)

    def of(self, messages: Iterable[Message]) -> bytes:
        """The receipts of messages, as bytes; those of QoS 0 have none."""
        return b"".join(_FORMAT.pack(message.mid, _digest(message)) for message in messages if message.mid)

    def add(self, receipts: bytes) -> None:
        """Remember receipts; what is no whole one at the end is left out."""
        whole = len(receipts) - len(receipts) % _FORMAT.size
        for mid, digest in _FORMAT.iter_unpack(receipts[:whole]):
            self._known[mid] = digest
            self._known.move_to_end(mid)
        while len(self._known) > MOST:
            self._known.popitem(last=False)

    def forget(self) -> None:
        """The broker keeps no session of ours: packet identifiers start anew."""
        self._known.clear()

    def to_bytes(self) -> bytes:
        """All of them."""
        return b"".join(_FORMAT.pack(*one) for one in self._known.items())


def _digest(message: Message) -> bytes:
    digest = hashlib.blake2b(message.topic.encode("utf-8", "surrogatepass"), digest_size=8)
    digest.update(b"\0" + message.payload)
    return digest.digest()
