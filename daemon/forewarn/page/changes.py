"""The latest changes of alerts, kept for the page alone: the engine knows active ones only."""

import threading
from collections import deque
from typing import NamedTuple

from forewarn.core.alerts import AlertChange
from forewarn.core.readings import SeriesKey

KEPT = 200


class Change(NamedTuple):
    """One step in the life of an alert, and what a person is told of it."""

    event: AlertChange
    sentence: str


class Changes:
    """The last `KEPT` changes since the start. One thread adds, any may ask."""

    def __init__(self) -> None:
        """Start with none."""
        self._kept: deque[Change] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def add(self, event: AlertChange, sentence: str) -> None:
        """Keep one, in place of the oldest."""
        with self._lock:
            self._kept.append(Change(event, sentence))

    def newest(self, series: SeriesKey | None = None) -> list[Change]:
        """Those that are kept, of one series or of all, the newest first."""
        with self._lock:
            kept = list(self._kept)
        return [change for change in reversed(kept) if series is None or change.event.alert.series == series]
