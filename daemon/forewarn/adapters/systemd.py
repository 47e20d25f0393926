"""Tells systemd that the service is ready, alive or stopping: sd_notify(3) on the standard library alone.

Rules that hold here:

- Without `NOTIFY_SOCKET` every call does nothing, so the daemon runs the same in a container or a terminal.
- A notification that cannot be sent never ends the daemon: systemd's own timeout says what is to be done then.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class Notifier:
    """The service's line to systemd.

    Args:
        environ: where systemd left the address and the watchdog's time.

    Attributes:
        watchdog_interval_s: how often to call `watchdog()`: half of what the unit allows, as sd_watchdog_enabled(3)
            advises; None where nobody watches this process.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._is_ready = False
        self._status = ""
        self.watchdog_interval_s = _watchdog_s(environ) if self._address else None

    def ready(self) -> None:
        """The service is up: units ordered after it may start."""
        self._is_ready = True
        self._send("READY=1")

    def starting(self, seconds: float) -> None:
        """The start goes on and may take so much longer."""
        self._send(f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}")

    def reloading(self) -> None:
        """The settings are being read again. To be followed by `reloaded`."""
        if self._is_ready:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """They were."""
        if self._is_ready:
            self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`, sent where it is another than the last."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def watchdog(self) -> None:
        """The service made progress since the last call. To be said only where that is so."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service is shutting down."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.sendmsg([message.encode("utf-8", "replace")], [], socket.MSG_DONTWAIT, address)
        except OSError as error:
            _log.debug("systemd was not told %s: %s", message, error)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    try:
        allowed_s = int(environ.get("WATCHDOG_USEC", "0")) / 1e6
        pid = int(environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return allowed_s / 2 if allowed_s > 0 and pid == os.getpid() else None
