"""What survives a restart, in one SQLite file. The only importer of sqlite3.

A file with something else in it is set aside under another name, never deleted. A save that fails (disk full, folder
gone) is told and tried again at the next one; the daemon goes on in memory.
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

_BUSY_S = 1.0  # how long somebody else's lock is waited for; the loop stands still meanwhile
_UNUSABLE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}  # others may be gone at the next try
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
        try:
            found = self._read() if self.path.exists() else None
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNUSABLE:
                self.set_aside(str(error))
            else:
                log.error("state in %s cannot be read (%s): starting anew", self.path, error)  # noqa: TRY400 - the operator needs no traceback
            return None
        if found is not None and not isinstance(found, bytes):
            self.set_aside("there is no snapshot in it")
            return None
        return found

    def _read(self) -> object:
        with self._connection() as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'snapshot'").fetchone():
                return None
            row = connection.execute("SELECT data FROM snapshot WHERE id = 1").fetchone()
        return row[0] if row else None

    def save(self, data: bytes) -> bool:
        """Replace the snapshot in one transaction; whether it could be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._connection() as connection:
                connection.execute(_CREATE)
                connection.execute(_SAVE, (time.time(), data))
        except (sqlite3.Error, OSError) as error:
            if not self._failing:
                log.error("state cannot be saved to %s (%s): going on in memory, trying again", self.path, error)  # noqa: TRY400 - the same
            self._failing = True
            return False
        if self._failing:
            log.info("state is saved to %s again", self.path)
        self._failing = False
        return True

    def set_aside(self, why: str) -> None:
        """Rename a file that cannot be used."""
        aside = self.path.with_name(f"{self.path.name}.unusable-{time.time():.0f}")
        try:
            self.path.rename(aside)
        except OSError as error:
            log.error("state in %s cannot be used (%s) nor renamed (%s): starting anew", self.path, why, error)  # noqa: TRY400 - the same
        else:
            log.warning("state in %s cannot be used (%s): starting anew, the file is kept as %s", self.path, why, aside)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=_BUSY_S)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
