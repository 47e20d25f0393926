"""What survives a restart, in one SQLite file: a snapshot, what came after it, and alerts to deliver.

The only importer of sqlite3. Rules that hold here:

- What one call of `commit` or `save` is given is there after a crash as a whole or not at all.
- A file with something else in it, of another forewarn, or damaged while running, is set aside under another name,
  never deleted. One that may be read but not written is read, and left as it is.
- What cannot be written (disk full, folder gone) is told once and is no error: the daemon goes on in memory. `commit`
  then does nothing until a `save`, which has everything in it, has succeeded.
"""

import contextlib
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

log = logging.getLogger(__name__)

Durability = Literal["process", "power"]

VERSION = 2
_BUSY_S = 1.0  # how long somebody else's lock is waited for; the loop stands still meanwhile
_UNUSABLE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}  # others may be gone at the next try
_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_HELD = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}  # by somebody who may be writing
_MAGIC = b"SQLite format 3\0"
_PAGE_BYTES = 1024  # a reading that comes alone writes one page
_CREATE = """
CREATE TABLE IF NOT EXISTS snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), saved_at REAL, data BLOB, counts TEXT);
CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, record BLOB, receipts BLOB);
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY, topic TEXT, payload TEXT, retain INTEGER);
"""
_TABLES = {"snapshot": "data, counts", "entry": "record, receipts", "outbox": "id, topic, payload, retain"}


class Letter(NamedTuple):
    """A message that must reach the broker; ids rise in the order of sending."""

    id: int
    topic: str
    payload: str
    retain: bool


class Entry(NamedTuple):
    """One step of the engine.

    Attributes:
        record: what it was given, see `core.records`.
        receipts: of the messages that it came in, see `receipts.py`.
    """

    record: bytes
    receipts: bytes


class Recovered(NamedTuple):
    """What there was in the file.

    Attributes:
        snapshot: of the engine; None where there is none.
        counts: what was counted until then, JSON.
        entries: the steps since.
        outbox: what has not been delivered.
    """

    snapshot: bytes | None
    counts: str
    entries: list[Entry]
    outbox: list[Letter]


NOTHING = Recovered(None, "{}", [], [])


class Journal:
    """Keeps the engine's past.

    Attributes:
        path: of the file.
        failing: since when nothing could be written, monotonic seconds; None while all is well.
        n_bytes: of the entries since the last snapshot.
    """

    def __init__(self, path: Path, durability: Durability = "process") -> None:
        """Use this file; it and its folder are made when they are needed.

        Args:
            path: of the file.
            durability: "process" survives the end of the process, "power" the end of everything (fsync at each commit).
        """
        self.path = path
        self.failing: float | None = None
        self.n_bytes = 0
        self._synchronous = {"process": "NORMAL", "power": "FULL"}[durability]
        self._connection: sqlite3.Connection | None = None
        self._watched = -1  # a descriptor of the same file, closed after the connection, whose locks would go with it
        self._size = 0

    # -- at the start -----------------------------------------------------------------------------------------------

    def recover(self) -> Recovered:
        """Everything in the file; nothing where there is none to be had."""
        try:
            return self._read(self._open()) if self.path.exists() else NOTHING
        except (sqlite3.Error, OSError, UnicodeError) as error:
            self.close()
            if isinstance(error, UnicodeError) or _is_one_of(error, _UNUSABLE):
                self.set_aside(str(error))
                return NOTHING
            found = NOTHING if _is_one_of(error, _HELD) else self._read_only()
            then = "read: starting anew" if found is NOTHING else "written: going on in memory"
            self._fail(error, f"cannot be {then}")
            return found

    def _read_only(self) -> Recovered:
        """What there is in a file that cannot be written: of a copy, since SQLite writes to read what came last."""
        with contextlib.suppress(sqlite3.Error, OSError), tempfile.TemporaryDirectory(prefix="forewarn-") as folder:
            copy = Path(folder) / "state.sqlite"
            shutil.copyfile(self.path, copy)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{self.path}-wal", f"{copy}-wal")
            with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
                return self._read(connection)
        return NOTHING

    def _read(self, connection: sqlite3.Connection) -> Recovered:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            self.set_aside(f"it is of a newer forewarn, version {version}")
            return NOTHING
        if version < VERSION:
            self._upgrade(connection)
        found = {name: connection.execute(_select(name)).fetchall() for name in _TABLES}
        entries = [Entry(*row) for row in found["entry"]]
        letters = [Letter(number, topic, payload, bool(retain)) for number, topic, payload, retain in found["outbox"]]
        snapshot, counts = found["snapshot"][0] if found["snapshot"] else (None, "{}")
        texts = [counts or "{}", *(text for letter in letters for text in (letter.topic, letter.payload))]
        blobs = [snapshot or b"", *(blob for entry in entries for blob in entry)]
        if not all(isinstance(t, str) for t in texts) or not all(isinstance(b, bytes) for b in blobs):
            self.set_aside("it holds something else")
            return NOTHING
        self.n_bytes = sum(len(entry.record) for entry in entries)
        return Recovered(snapshot, counts or "{}", entries, letters)

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        """Version 0 had the snapshot alone."""
        with _transaction(connection):
            columns = {row[1] for row in connection.execute("PRAGMA table_info(snapshot)")}
            if columns and "counts" not in columns:
                connection.execute("ALTER TABLE snapshot ADD COLUMN counts TEXT")
            for statement in _CREATE.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")

    def set_aside(self, why: str, then: str = "starting anew") -> None:
        """Rename a file that cannot be used."""
        self.close()
        aside = self.path.with_name(f"{self.path.name}.unusable-{time.time():.0f}")
        try:
            self.path.rename(aside)
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + suffix).rename(aside.with_name(aside.name + suffix))
        except OSError as error:
            log.error("state in %s cannot be used (%s) nor renamed (%s): %s", self.path, why, error, then)  # noqa: TRY400 - the operator needs no traceback
        else:
            log.warning("state in %s cannot be used (%s): %s, the file is kept as %s", self.path, why, then, aside)

    # -- while running ----------------------------------------------------------------------------------------------

    def commit(self, entries: Sequence[Entry], letters: Iterable[Letter] = (), delivered: Iterable[int] = ()) -> bool:
        """Add steps of the engine and the letters they gave rise to, and forget letters; whether it was written."""
        if self.failing is not None:
            return False
        try:
            with _transaction(self._open()) as connection:
                connection.executemany("INSERT INTO entry (record, receipts) VALUES (?, ?)", entries)
                connection.executemany("INSERT INTO outbox VALUES (?, ?, ?, ?)", letters)
                connection.executemany("DELETE FROM outbox WHERE id = ?", [(letter,) for letter in delivered])
        except (sqlite3.Error, OSError) as error:
            self._fail(error, "cannot be written: going on in memory, trying again")
            return False
        self.n_bytes += sum(len(entry.record) for entry in entries)
        return True

    def save(self, snapshot: bytes, counts: str = "{}", letters: Iterable[Letter] = ()) -> bool:
        """Have this snapshot and these letters, and nothing else; whether it was written."""
        for again in (True, False):
            try:
                self._replace(snapshot, counts, letters)
                break
            except (sqlite3.Error, OSError) as error:
                damaged = again and _is_one_of(error, _DAMAGED)
                if damaged:
                    self.set_aside(str(error), "going on in another one")
                    continue
                self._fail(error, "cannot be written: going on in memory, trying again")
                self.close()  # the next try opens anew
                return False
        if self.failing is not None:
            log.info("state is written to %s again", self.path)
        self.failing, self.n_bytes = None, 0
        return True

    def _replace(self, snapshot: bytes, counts: str, letters: Iterable[Letter]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._connection is not None and self._is_lost():
            self.close()
        with _transaction(self._open()) as connection:
            connection.execute("DELETE FROM entry")
            connection.execute("DELETE FROM outbox")
            connection.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?)", (time.time(), snapshot, counts))
            connection.executemany("INSERT INTO outbox VALUES (?, ?, ?, ?)", letters)

    def check(self) -> None:
        """Find out whether the file that is written is still the one at its path, and whole."""
        if self.failing is not None or self._connection is None:
            return
        if self._is_lost():
            self._fail(FileNotFoundError("another file or none is in its place"), "is gone: going on in memory")
        elif self._is_damaged():
            self.failing = time.monotonic()
            self.set_aside("somebody wrote into it or cut it", "going on in memory")

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
        if self._watched >= 0:
            os.close(self._watched)
            self._watched = -1

    # -- the file ---------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # two daemons with one file would be one too many
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                self._upgrade(connection)
            self._watched = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self._size = os.fstat(self._watched).st_size
        return self._connection

    def _is_lost(self) -> bool:
        try:
            return self._watched < 0 or not os.path.samestat(self.path.stat(), os.fstat(self._watched))
        except OSError:
            return True

    def _is_damaged(self) -> bool:
        """SQLite, which has the first page in memory, would not notice; its files never become shorter."""
        before, self._size = self._size, os.fstat(self._watched).st_size
        return self._size < before or os.pread(self._watched, len(_MAGIC), 0) != _MAGIC

    def _fail(self, error: Exception, then: str) -> None:
        if self.failing is None:
            log.error("state in %s (%s) %s", self.path, error, then)
            self.failing = time.monotonic()


def _is_one_of(error: Exception, codes: set[int]) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def _select(table: str) -> str:
    return f"SELECT {_TABLES[table]} FROM {table} ORDER BY id"  # noqa: S608 - names of this module


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
