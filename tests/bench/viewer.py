"""Somebody who looks at the page: the list open with its stream, loaded anew every ten seconds, as a person would."""

import http.client
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

LOADS_EVERY_S = 10.0


class Viewer:
    """Looks within a `with` block, on two threads.

    Attributes:
        n_load: pages loaded.
        n_event: events that came.
        n_byte: of both.
    """

    def __init__(self, url: str) -> None:
        """Of the page on the port that `url` is of."""
        self._host = urlsplit(url).netloc
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._load, self._stream)]
        self._connection = http.client.HTTPConnection(self._host, timeout=30)
        self.n_load = self.n_event = self.n_byte = 0

    def __enter__(self) -> Self:
        """Begin, and have seen the page once."""
        self._connection.request("GET", "/live")
        self._answer = self._connection.getresponse()
        if self._answer.status != 200:
            raise RuntimeError(f"no stream: {self._answer.status}")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10)
        self._connection.close()

    def _load(self) -> None:
        while True:
            connection = http.client.HTTPConnection(self._host, timeout=30)
            with suppress(OSError):
                connection.request("GET", "/")
                self.n_byte += len(connection.getresponse().read())
                self.n_load += 1
            connection.close()
            if self._stop.wait(LOADS_EVERY_S):
                return

    def _stream(self) -> None:
        with suppress(OSError):
            while not self._stop.is_set() and (line := self._answer.readline()):
                self.n_byte += len(line)
                self.n_event += line.startswith(b"data:")
