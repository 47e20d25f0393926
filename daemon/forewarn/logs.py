"""The log on standard error: as text or JSON, with repeats, long messages and what is not printable kept short.

Rules that hold here:

- A message of more than `MESSAGE_MOST` characters is cut, so no payload gets into the log however it came to be logged;
  so is a traceback of more than `TRACE_MOST`.
- Of more than `BURST` messages of one kind in a minute the rest is counted, and the count is told.
"""

import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any, Literal

log = logging.getLogger(__name__)

MESSAGE_MOST = 1_000  # characters; an alert's sentence has some 200
TRACE_MOST = 8_000
BURST = 60
REPORT = "this is a mistake in forewarn, please report it"


def start_logging(level: str, style: Literal["text", "json"] = "text") -> None:
    """Log to standard error; under systemd, which stamps the time itself, with the level as journald reads it."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = _JsonFormatter() if style == "json" else _TextFormatter()
    handler.setFormatter(_JournalFormatter(formatter) if "JOURNAL_STREAM" in os.environ else formatter)
    handler.addFilter(repeats)
    logging.basicConfig(level=level.upper(), handlers=[handler])


_FORMAT = "%(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(levelname)-7s %(message)s"
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


def _cut(text: str, most: int = MESSAGE_MOST) -> str:
    more = len(text) - most
    return f"{text[:most]}… ({more:,} characters more)" if more > 0 else text


def _plain(text: str, kept: str = "") -> str:
    """Without what a terminal takes for more than text, such as a name may have; escaped as JSON does it."""
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() or c in kept else json.dumps(c)[1:-1] for c in text)
    )


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.message = _plain(_cut(record.message), "\n\t")
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802, ANN401 - the library's name and type
        return _plain(_cut(super().formatException(ei), TRACE_MOST), "\n\t")


class _JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, and what the record was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        said |= {key: value for key, value in vars(record).items() if key not in _USUAL}
        if record.exc_info:
            said["exception"] = _cut(self.formatException(record.exc_info), TRACE_MOST)
        return _plain(json.dumps(said, ensure_ascii=False, default=str))


class _JournalFormatter(logging.Formatter):
    """Prefixes each line with its priority, as sd-daemon(3) says."""

    def __init__(self, lines: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines

    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, 6)
        return "\n".join(f"<{priority}>{line}" for line in self._lines.format(record).split("\n"))


class Repeats(logging.Filter):
    """Lets `BURST` messages of a kind pass in a minute, whatever their details, and counts the rest."""

    _EVERY_S = 60.0

    def __init__(self) -> None:
        """Start with nothing logged."""
        super().__init__()
        self._seen: dict[tuple[str, int, str], list[float]] = {}  # since when, and how many since then

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is shown."""
        if record.name == __name__:  # complaints, which are kept short already, and our own counts
            return True
        seen = self._seen.setdefault((record.name, record.levelno, str(record.msg)), [time.monotonic(), 0])
        seen[1] += 1
        return seen[1] <= BURST

    def flush(self) -> None:
        """Log the counts that are due."""
        now = time.monotonic()
        for kind, (since, n) in list(self._seen.items()):
            if now - since < self._EVERY_S:
                continue
            del self._seen[kind]
            name, level, template = kind
            if n > BURST:
                log.log(level, "%s: %s more like this in %.0f s: %r", name, f"{n - BURST:,}", now - since, template)


repeats = Repeats()


class Complaints:
    """Logs each kind of trouble at once, and its repeats as one line a minute."""

    _EVERY_S = 60.0

    def __init__(self) -> None:
        """Start with nothing logged."""
        self._held: dict[str, int] = {}
        self._logged_at: dict[str, float] = {}

    def add(self, kind: str, detail: str, error: Exception | None = None) -> None:
        """Log the detail, unless this kind of trouble was logged within the last minute; then count it.

        With `error` the trouble is our own, and its traceback is logged too.
        """
        if kind in self._logged_at:
            self._held[kind] = self._held.get(kind, 0) + 1
            return
        self._logged_at[kind] = time.monotonic()
        level = logging.WARNING if error is None else logging.ERROR
        log.log(level, "%s: %s", kind, detail, exc_info=error, extra={"kind": kind})

    def flush(self) -> None:
        """Log the counts that are due."""
        now = time.monotonic()
        for kind, at in list(self._logged_at.items()):
            if now - at < self._EVERY_S:
                continue
            held = self._held.pop(kind, 0)
            if held:
                log.warning(
                    "%s: %s more like this in %.0f s", kind, f"{held:,}", now - at, extra={"kind": kind, "count": held}
                )
                self._logged_at[kind] = now
            else:
                del self._logged_at[kind]
