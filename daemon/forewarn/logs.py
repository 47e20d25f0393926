"""The log on standard error, and how repeats are kept short."""

import logging
import os
import sys
import time

log = logging.getLogger(__name__)


def start_logging(level: str) -> None:
    """Log to standard error; under systemd, which stamps the time itself, with the level as journald reads it."""
    journal = "JOURNAL_STREAM" in os.environ
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter("%(message)s") if journal else logging.Formatter(_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler])


_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _JournalFormatter(logging.Formatter):
    """Prefixes each line with its priority, as sd-daemon(3) says."""

    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, 6)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


class Complaints:
    """Logs each kind of trouble at once, and its repeats as one line a minute."""

    _EVERY_S = 60.0

    def __init__(self) -> None:
        """Start with nothing logged."""
        self._held: dict[str, int] = {}
        self._logged_at: dict[str, float] = {}

    def add(self, kind: str, detail: str) -> None:
        """Log the detail, unless this kind of trouble was logged within the last minute; then count it."""
        if kind in self._logged_at:
            self._held[kind] = self._held.get(kind, 0) + 1
            return
        self._logged_at[kind] = time.monotonic()
        log.warning("%s: %s", kind, detail)

    def flush(self) -> None:
        """Log the counts that are due."""
        now = time.monotonic()
        for kind, at in list(self._logged_at.items()):
            if now - at < self._EVERY_S:
                continue
            held = self._held.pop(kind, 0)
            if held:
                log.warning("%s: %d more like this in %.0f s", kind, held, now - at)
                self._logged_at[kind] = now
            else:
                del self._logged_at[kind]
