"""What Spark's processes say on standard error, without what nobody can act on.

Spark's launcher and its Python workers write there whatever the level of the log: some lines at every start, and some
at every micro-batch. The JVM inherits file descriptor 2, so that is a pipe while it is launched.
"""

import os
import socketserver
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_OF_WORKERS = b"Streaming TransformWithStateInPandas Python worker"
_SHOWN_WHERE_IT_FAILS = 20  # lines


@contextmanager
def launch() -> Iterator[None]:
    """Launch Spark: what it says at its start is shown only where it fails, what it says later but for its routine."""
    out, into = os.pipe()
    ours = os.dup(2)
    os.dup2(into, 2)
    sys.stderr.flush()
    os.close(into)
    pump = _Pump(out, ours)
    _pumps.append(pump)
    try:
        yield
    except BaseException:
        os.dup2(ours, 2)
        pump.show_start()
        raise
    os.dup2(ours, 2)
    pump.started = True


def hush() -> None:
    """Show nothing more of what Spark says: a micro-batch that is cut off fails loudly, and the next start repeats it.

    Where a signal has ended the JVM as well, so does the thread of pyspark that listens to it.
    """
    for pump in _pumps:
        pump.hushed = True
    socketserver.BaseServer.handle_error = lambda *_: None  # type: ignore[method-assign]


class _Pump:
    """Passes lines on from a thread of its own, until every process that has the pipe has ended."""

    def __init__(self, source: int, target: int) -> None:
        self.started = self.hushed = False
        self._source, self._target = source, target
        self._first: deque[bytes] = deque(maxlen=_SHOWN_WHERE_IT_FAILS)
        threading.Thread(target=self._run, name="spark-stderr", daemon=True).start()

    def show_start(self) -> None:
        """Pass on what was held back."""
        self.started = True
        for line in self._first:
            os.write(self._target, line)

    def _run(self) -> None:
        with os.fdopen(self._source, "rb") as lines:
            for line in lines:
                if not self.started:
                    self._first.append(line)
                elif not self.hushed and line.strip() and _OF_WORKERS not in line:
                    os.write(self._target, line)


_pumps: list[_Pump] = []
