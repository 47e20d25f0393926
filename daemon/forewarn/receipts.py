"""Which messages of QoS 1 were worked on, so that one that the broker sends again changes nothing.

A broker that was not told of an acknowledgement sends the message again, marked as a duplicate, under the same packet
identifier (MQTT 5.0, sections 3.3.1.1 and 4.4). A reading with a time of its own would be recognised by that; one whose
arrival is its time only here.

Rules that hold here:

- The last message of each packet identifier is remembered: a broker may have as many under way as there are of these.
  Mosquitto 2.0.11, which was told 4,096, was seen to have 39,000.
- What is kept in the state file are those since it was last written, 8,192 at least: a sensor that reads each minute
  must not cost a page of the flash for each reading.
"""

import hashlib
import struct
from array import array
from collections.abc import Iterable

import numpy as np

from forewarn.inbox import Message

LEAST_KEPT = 8192
_IDENTIFIERS = 65_536
_FORMAT = struct.Struct("<HQ")


class Receipts:
    """The last message of QoS 1 of each packet identifier."""

    def __init__(self) -> None:
        """Start with none."""
        self.forget()

    def has(self, message: Message) -> bool:
        """Whether this is a message that was worked on before."""
        mid = message.mid
        return message.repeated and self._nth[mid] > 0 and self._digest[mid] == _digest(message)

    def of(self, messages: Iterable[Message]) -> bytes:
        """The receipts of messages, as bytes; those of QoS 0 have none."""
        return b"".join(_FORMAT.pack(message.mid, _digest(message)) for message in messages if message.mid)

    def add(self, receipts: bytes) -> None:
        """Remember receipts; what is no whole one at the end is left out."""
        whole = len(receipts) - len(receipts) % _FORMAT.size
        for mid, digest in _FORMAT.iter_unpack(receipts[:whole]):
            self._n += 1
            self._nth[mid], self._digest[mid] = self._n, digest

    def forget(self) -> None:
        """The broker keeps no session of ours: packet identifiers start anew."""
        self._digest = array("Q", bytes(8 * _IDENTIFIERS))
        self._nth = array("Q", bytes(8 * _IDENTIFIERS))  # when each came, as a count of all; 0 for never
        self._n = self._n_kept = 0

    def keep(self) -> bytes:
        """Those that the state file has to have: all since the last call, `LEAST_KEPT` at least; the oldest first."""
        nth = np.frombuffer(self._nth, np.uint64)
        mids = np.flatnonzero(nth > max(0, min(self._n_kept, self._n - LEAST_KEPT)))
        self._n_kept = self._n
        ordered = mids[np.argsort(nth[mids])].tolist()
        return b"".join(_FORMAT.pack(mid, self._digest[mid]) for mid in ordered)


def _digest(message: Message) -> int:
    digest = hashlib.blake2b(message.topic.encode("utf-8", "surrogatepass"), digest_size=8)
    digest.update(b"\0" + message.payload)
    return int.from_bytes(digest.digest(), "little")
