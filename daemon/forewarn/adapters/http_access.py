"""Who may use the HTTP port: TLS with or without client certificates, and a password.

Rules that hold here:

- Nothing here runs on the thread that accepts connections.
- Certificates are read anew when their files change; while those cannot be used, the last good ones are.
- Guessing passwords costs the guesser, not the daemon: one is checked at a time, and one a second after a wrong one.
"""

import hashlib
import hmac
import logging
import secrets
import ssl
import threading
import time
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from forewarn.errors import SettingsError
from forewarn.passwords import PasswordHash
from forewarn.pem import present, trust

_log = logging.getLogger(__name__)

_AFTER_WRONG_S = 1.0
_PATIENCE_S = 3.0  # for the turn to be checked


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """PEM files of a server.

    Attributes:
        cert_file: its certificate with the chain.
        key_file: its key, without a passphrase; None where `cert_file` has it.
        client_ca_file: the CAs of which a client needs a certificate; None where it needs none.
    """

    cert_file: Path
    key_file: Path | None = None
    client_ca_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """What Python's ssl needs to know; TLS 1.2 is the least.

        Raises:
            SettingsError: naming the file that cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        present(context, "metrics", self.cert_file, self.key_file)
        if self.client_ca_file is not None:
            trust(context, "metrics.client_ca_file", self.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def stamp(self) -> list[tuple[int, ...]]:
        """What changes when one of the files does."""
        return [_stamp(path) for path in (self.cert_file, self.key_file, self.client_ca_file) if path is not None]


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


class ServerTls:
    """The context for the next connection."""

    def __init__(self, files: ServerFiles) -> None:
        """Read the files.

        Raises:
            SettingsError: naming the one that cannot be used.
        """
        self._files = files
        self._stamp = files.stamp()
        self._context = files.context()
        self._lock = threading.Lock()

    def context(self) -> ssl.SSLContext:
        """Of the files as they are now, or were when they could last be used."""
        with self._lock:
            stamp = self._files.stamp()
            if stamp != self._stamp:
                self._stamp = stamp  # told once, tried again at the next change
                try:
                    self._context = self._files.context()
                    _log.info("certificates of the metrics port read anew")
                except SettingsError as error:
                    _log.warning("%s: the metrics port goes on with the certificate that it has", error)
            return self._context


class BasicAuth:
    """One user's name and password, RFC 7617."""

    def __init__(self, username: str, password: PasswordHash) -> None:
        """Let this user in."""
        self._username = username.encode()
        self._password = password
        self._key = secrets.token_bytes(32)
        self._last_good = b""
        self._lock = threading.Lock()
        self._wait_until = 0.0  # monotonic

    def admits(self, header: str | None) -> bool | None:
        """Whether an Authorization header is right; None where there are too many to check.

        A header that was right is recognised by its digest, so a scrape costs no scrypt.
        """
        if header is None:
            return False
        given = header.encode("latin-1", "replace")
        digest = hmac.digest(self._key, given, hashlib.sha256)
        if hmac.compare_digest(digest, self._last_good):
            return True
        credentials = _credentials(given)
        if credentials is None:
            return False
        if not self._lock.acquire(timeout=_PATIENCE_S):
            return None
        try:
            time.sleep(max(0.0, self._wait_until - time.monotonic()))
            name, password = credentials
            right = self._password.matches(password) & hmac.compare_digest(name, self._username)
            if right:
                self._last_good = digest
            else:
                self._wait_until = time.monotonic() + _AFTER_WRONG_S
            return right
        finally:
            self._lock.release()


def _credentials(header: bytes) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = header.partition(b" ")
    try:
        name, colon, password = b64decode(encoded.strip(), validate=True).partition(b":")
    except ValueError:
        return None
    return (name, password) if scheme.lower() == b"basic" and colon else None
