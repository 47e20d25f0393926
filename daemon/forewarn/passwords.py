"""Passwords as scrypt hashes (RFC 7914): `scrypt$n$r$p$salt$hash`, the last two in base64.

The parameters are those of the text, within bounds: nobody who writes a settings file by mistake has a check take all
memory. `forewarn hash-password` makes one: 16 MiB and some 50 ms to check.
"""

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from typing import NamedTuple

_N, _R, _P = 2**14, 8, 1
_SALT_BYTES, _HASH_BYTES = 16, 32
_MOST_BYTES = 64 * 2**20
_MOST_ROUNDS = 2**17
MOST_PASSWORD = 1024
"""Bytes of a password that is looked at."""


class PasswordHash(NamedTuple):
    """What a password is held against."""

    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> "PasswordHash":
        """Read the text of a hash.

        Raises:
            ValueError: where it is none.
        """
        try:
            name, *numbers, salt, digest = text.split("$")
            n, r, p = map(int, numbers)
            found = cls(n, r, p, b64decode(salt, validate=True), b64decode(digest, validate=True))
        except ValueError:
            raise ValueError("it is no hash of `forewarn hash-password`") from None
        power = n > 1 and n & (n - 1) == 0
        if name != "scrypt" or not power or min(r, p) < 1 or len(found.salt) < 8 or len(found.hash) != _HASH_BYTES:
            raise ValueError("it is no hash of `forewarn hash-password`")
        if 128 * n * r > _MOST_BYTES or n * p > _MOST_ROUNDS:
            raise ValueError("it would take too much memory or time: make one with `forewarn hash-password`")
        return found

    @classmethod
    def of(cls, password: str) -> "PasswordHash":
        """Hash a password, with a new salt."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(_N, _R, _P, salt, _scrypt(password.encode(), _N, _R, _P, salt))

    def matches(self, password: bytes) -> bool:
        """Whether it is the password; takes the same time either way."""
        return hmac.compare_digest(_scrypt(password[:MOST_PASSWORD], self.n, self.r, self.p, self.salt), self.hash)

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"scrypt${self.n}${self.r}${self.p}${b64encode(self.salt).decode()}${b64encode(self.hash).decode()}"


def _scrypt(password: bytes, n: int, r: int, p: int, salt: bytes) -> bytes:
    memory = 128 * r * (n + p + 2) + 2**16
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=_HASH_BYTES)
