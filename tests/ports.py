"""Ports for the servers of the tests.

The one that the system would choose (`bind` to 0) may be given to any connection of any process as its own end while
the server is not started yet or is restarted, and then the server cannot listen. These are below those.
"""

import contextlib
import itertools
import random
import socket

from forewarn.demo.broker import HOST

_FIRST, _LAST = 10_000, 32_000
_next = itertools.count(random.SystemRandom().randrange(_LAST - _FIRST))  # apart from those of another worker


def free_port() -> int:
    """A TCP port on loopback on which nothing listens, and that this process has not given away before."""
    for n in _next:
        port = _FIRST + n % (_LAST - _FIRST)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port
    raise AssertionError
