"""Identifiers that were seen, of a bounded number of messages.

A network delivers a message twice where two gateways, bridges or subscriptions carry it; its format then has an
identifier to know it by. That of the message longest ago is forgotten first, and all of them over a restart.
"""

from hashlib import blake2b

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError

MAX_SEEN = 10_000


class Seen:
    """The identifiers of one input."""

    def __init__(self, most: int = MAX_SEEN) -> None:
        """Remember so many."""
        self._most = most
        self._known: dict[bytes, None] = {}

    def check(self, *parts: str) -> None:
        """Remember an identifier of several parts.

        Raises:
            PayloadError: `duplicate`, where it was seen before.
        """
        # Hashed, so that a long identifier costs no more memory than a short one.
        known = blake2b(repr(parts).encode(), digest_size=16).digest()
        if known in self._known:
            raise PayloadError(Rejection.DUPLICATE, f"{':'.join(parts)[:80]!r} was read before")
        self._known[known] = None
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
