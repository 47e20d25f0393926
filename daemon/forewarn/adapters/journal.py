"""What survives a restart, in one SQLite file. The only importer of sqlite3.

A file that cannot be read is set aside under another name, never deleted. A save that fails (disk full, folder gone)
is told and tried again at the next one; the daemon goes on in memory.
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

_CREATE = "CREATE TABLE IF NOT EXISTS snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), saved_at REAL, data BLOB)"
_SAVE = "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?)"


class Journal:
    """Keeps the latest snapshot of the engine."""

    def __init__(self, path: Path) -> None:
        """Use this file; it and its folder are made when they are needed."""
        self.path = path
        self._failing = False

    def load(self) -> bytes | None:
        """The latest snapshot, or None where there is none to be had."""
        if not self.path.exists():
            return None
        try:
            with self._connection() as connection:
                row = connection.execute("SELECT data FROM snapshot WHERE id = 1").fetchone()
        except sqlite3.DatabaseError as error:
            self.set_aside(str(error))
            return None
        return bytes(row[0]) if row else None

    def save(self, data: bytes) -> bool:
        """Replace the snapshot in one transaction; whether it could be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._connection() as connection:
                connection.execute(_CREATE)
                connection.execute(_SAVE, (time.time(), data))
        except (sqlite3.Error, OSError) as error:
            if not self._failing:
                log.error("state cannot be saved to %s (%s): going on in memory, trying again", self.path, error)  # noqa: TRY400 - the operator needs no traceback
            self._failing = True
            return False
        self._failing = False
        return True

    def set_aside(self, why: str) -> None:
        """Rename a file that cannot be used."""
        aside = self.path.with_name(f"{self.path.name}.unusable-{time.time():.0f}")
        log.warning("state in %s cannot be used (%s): starting anew, the file is kept as %s", self.path, why, aside)
        with contextlib.suppress(OSError):
            self.path.rename(aside)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
