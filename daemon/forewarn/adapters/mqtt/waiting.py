"""Waiting for a socket, and for a wake from elsewhere."""

import contextlib
import os
import select
import socket
from typing import Protocol

_MORE_MS = 1.0


class _Socket(Protocol):
    def fileno(self) -> int: ...


class Waiting:
    """Waits for one socket at a time."""

    def __init__(self) -> None:
        """Wait for nothing yet."""
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)  # noqa: FBT003 - the signature is the library's
        self._poll = select.poll()
        self._poll.register(self._wake_in, select.POLLIN)
        self._watched: tuple[int, int] | None = None

    def wake(self) -> None:
        """End the present or next wait. May be called from a signal handler."""
        with contextlib.suppress(OSError):
            os.write(self._wake_out.fileno(), b"\0")

    def wait(self, sock: _Socket | None, timeout_s: float, *, to_write: bool = False) -> tuple[bool, bool]:
        """Wait for the socket or a wake: whether it can be read, and written where that is wanted."""
        wanted = (sock.fileno(), select.POLLIN | (select.POLLOUT if to_write else 0)) if sock is not None else None
        self._watch(wanted if wanted is not None and wanted[0] >= 0 else None)
        readable = writable = False
        pending = getattr(sock, "pending", None)  # what TLS has read and nobody has taken
        if pending is not None and pending() > 0:
            timeout_s, readable = 0.0, True
        for fd, event in self._poll.poll(max(0.0, timeout_s) * 1000.0):
            if fd == self._wake_in.fileno():
                self._wake_in.recv(4096)
            else:
                readable |= bool(event & ~select.POLLOUT)
                writable |= bool(event & select.POLLOUT)
        return readable, writable

    def more_comes(self) -> bool:
        """Whether anything happens within a moment."""
        return bool(self._poll.poll(_MORE_MS))

    def _watch(self, wanted: tuple[int, int] | None) -> None:
        if wanted == self._watched:
            return
        if self._watched is not None and (wanted is None or wanted[0] != self._watched[0]):
            self._poll.unregister(self._watched[0])
        if wanted is not None:
            self._poll.register(*wanted)
        self._watched = wanted

    def close(self) -> None:
        """Let go of the sockets that wake."""
        self._wake_in.close()
        self._wake_out.close()
