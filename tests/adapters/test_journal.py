import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forewarn.adapters import journal
from forewarn.adapters.journal import NOTHING, Entry, Journal, Letter, Recovered
from forewarn.core.engine import Engine
from forewarn.core.rules import Rules
from forewarn.core.snapshot import Snapshot
from tests.core.streams import batch, stream
from tests.forecasters import HalfTrend

NOBODY = 65_534


def kept(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.unusable-*"))


def sqlite(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def load(of: Path | Journal) -> bytes | None:
    """The snapshot in a file."""
    if isinstance(of, Journal):
        of.close()
    state = Journal(of.path if isinstance(of, Journal) else of)
    found = state.recover().snapshot
    state.close()
    return found


def save(path: Path, data: bytes) -> bool:
    """Have a snapshot in a file."""
    state = Journal(path)
    written = state.save(data)
    state.close()
    return written


@contextmanager
def without_rights() -> Iterator[None]:
    """As somebody whom the file system may refuse something."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody reaches; pytest's own are for its user alone."""
    with tempfile.TemporaryDirectory(prefix="forewarn-journal-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_what_was_saved_last_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "made" / "when" / "needed" / "state.sqlite"
    assert load(path) is None
    assert not path.parent.exists()
    for data in (b"first", bytes(range(256)) * 5000, b""):
        assert save(path, data)
        assert load(path) == data
    assert [file.name for file in path.parent.iterdir()] == ["state.sqlite"]


def test_a_snapshot_of_the_engine_survives(tmp_path: Path) -> None:
    engine = Engine(HalfTrend(), Rules())
    engine.ingest(batch(stream(1)))
    save(tmp_path / "state", engine.snapshot().to_bytes())
    data = load(tmp_path / "state")
    assert data is not None
    other = Engine(HalfTrend(), Rules())
    other.restore(Snapshot.from_bytes(data))
    assert other.snapshot().to_bytes() == engine.snapshot().to_bytes()


@pytest.mark.parametrize("content", [b"garbage " * 1000, b"SQLite format 3\0", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_kept_under_another_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "state.sqlite"
    path.write_bytes(content)
    assert load(path) is None
    (aside,) = kept(path)
    assert aside.read_bytes() == content
    (line,) = caplog.messages
    assert line.startswith(f"state in {path} cannot be used (")
    assert line.endswith(f": starting anew, the file is kept as {aside}")
    assert save(path, b"anew")
    assert load(path) == b"anew"


def test_a_database_whose_pages_were_lost_is_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    save(path, b"x" * 100_000)
    path.write_bytes(path.read_bytes()[:20_000])
    assert load(path) is None
    assert len(kept(path)) == 1


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE snapshot (id INTEGER, other TEXT)",),
        ("CREATE TABLE snapshot (id INTEGER, data BLOB)", "INSERT INTO snapshot VALUES (1, 5)"),
        ("CREATE TABLE snapshot (id INTEGER, data BLOB)", "INSERT INTO snapshot VALUES (1, 'text')"),
    ],
)
def test_a_database_of_another_shape_is_kept_under_another_name(tmp_path: Path, statements: tuple[str, ...]) -> None:
    path = tmp_path / "state.sqlite"
    sqlite(path, *statements)
    assert load(path) is None
    assert len(kept(path)) == 1


def test_an_empty_file_or_a_database_without_a_snapshot_has_nothing_to_load(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.sqlite"
    path.touch()
    assert load(path) is None
    sqlite(path, "CREATE TABLE somebody_elses (x)")
    assert load(path) is None
    assert (kept(path), caplog.messages) == ([], [])
    assert save(path, b"beside it")
    assert load(path) == b"beside it"


def test_a_file_that_cannot_be_used_nor_renamed_is_told_once(
    open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = open_folder / "state.sqlite"
    path.write_bytes(b"garbage")
    path.chmod(0o644)
    open_folder.chmod(0o555)
    with without_rights():
        assert load(path) is None
    (line,) = caplog.messages
    assert "nor renamed" in line
    assert path.read_bytes() == b"garbage"
    open_folder.chmod(0o777)


def test_a_file_that_may_not_be_read_is_told_and_left_where_it_is(
    open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = open_folder / "locked" / "state.sqlite"
    save(path, b"mine")
    for mode_of_folder, mode_of_file in ((0o777, 0o000), (0o000, 0o600)):
        path.chmod(mode_of_file)
        path.parent.chmod(mode_of_folder)
        with without_rights():
            assert load(path) is None
        path.parent.chmod(0o777)
    assert len(caplog.messages) == 2
    assert all("cannot be read" in line for line in caplog.messages)
    path.chmod(0o600)
    assert load(path) == b"mine"
    assert kept(path) == []


def test_a_folder_in_place_of_the_file_is_told_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.sqlite"
    path.mkdir()
    assert load(path) is None
    assert not save(path, b"x")
    assert path.is_dir()
    assert [line.split(" (")[0] for line in caplog.messages] == [f"state in {path}"] * 2


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "folder").write_text("a file")
    assert load(tmp_path / "folder" / "state.sqlite") is None
    assert not save(tmp_path / "folder" / "state.sqlite", b"x")
    assert len(caplog.messages) == 1


def test_a_save_that_goes_on_failing_is_told_once_and_comes_back(
    open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = open_folder / "made" / "state.sqlite"
    state = Journal(path)
    open_folder.chmod(0o555)
    with without_rights():
        assert [state.save(b"x") for _ in range(5)] == [False] * 5
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith(f"state in {path} ([Errno 13] Permission denied")
    open_folder.chmod(0o777)
    with without_rights():
        assert [state.save(b"y") for _ in range(2)] == [True, True]
        assert caplog.messages[1:] == [f"state is written to {path} again"]
        assert load(state) == b"y"
        path.parent.chmod(0o555)
        path.chmod(0o444)
        state.close()
        assert not state.save(b"z")
        assert len(caplog.messages) == 3
        path.parent.chmod(0o755)
        path.chmod(0o644)
        assert load(state) == b"y"


def test_a_folder_that_goes_away_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "state.sqlite"
    state = Journal(path)
    state.save(b"x")
    shutil.rmtree(path.parent)
    assert state.save(b"y")
    assert load(state) == b"y"


def test_a_file_that_cannot_grow_keeps_the_last_snapshot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = Journal(tmp_path / "state.sqlite")
    state.save(b"good" * 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        assert [state.save(b"x" * 1_000_000) for _ in range(3)] == [False] * 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(caplog.messages) == 1
    assert load(state) == b"good" * 1000
    assert state.save(b"x" * 1_000_000)


def test_a_full_disk_keeps_the_last_snapshot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    try:
        state = Journal(tmp_path / "state.sqlite")
        assert state.save(b"good")
        assert [state.save(b"x" * 200_000) for _ in range(3)] == [False] * 3
        assert load(state) == b"good"
        (line,) = caplog.messages
        assert "full" in line
        assert state.save(b"small")
        state.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_database_that_somebody_holds_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal, "_BUSY_S", 0.01)
    state = Journal(tmp_path / "state.sqlite")
    state.save(b"x")
    state.close()
    other = sqlite3.connect(state.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert not state.save(b"y")
    assert load(state) is None
    other.close()
    assert len(caplog.messages) == 2
    assert all("locked" in line for line in caplog.messages)
    assert load(state) == b"x"


# -- entries and letters --------------------------------------------------------------------------------------------

STEP = Entry(b"step", b"receipt")
HELLO = Letter(1, "a/b", "hello", retain=False)
BYE = Letter(2, "a/c", "", retain=True)


def recovered(path: Path) -> Recovered:
    state = Journal(path)
    found = state.recover()
    state.close()
    return found


def test_steps_and_letters_come_back_in_their_order_until_they_are_delivered_or_saved(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    state = Journal(path)
    assert state.recover() == NOTHING
    assert state.save(b"first", '{"n": 1}')
    assert state.commit([STEP, Entry(b"other", b"")], [HELLO, BYE])
    assert state.n_bytes == 9
    state.close()
    assert recovered(path) == Recovered(b"first", '{"n": 1}', [STEP, Entry(b"other", b"")], [HELLO, BYE])
    state = Journal(path)
    state.recover()
    assert state.n_bytes == 9
    assert state.commit([STEP], (), [HELLO.id])
    assert state.commit([], (), [])
    state.close()
    assert recovered(path).entries[1:] == [Entry(b"other", b""), STEP]
    assert recovered(path).outbox == [BYE]
    assert state.save(b"second", "{}", [BYE])
    assert state.n_bytes == 0
    state.close()
    assert recovered(path) == Recovered(b"second", "{}", [], [BYE])


def test_a_step_without_any_snapshot_is_kept(tmp_path: Path) -> None:
    state = Journal(tmp_path / "state.sqlite")
    assert state.commit([STEP], [HELLO])
    state.close()
    assert recovered(state.path) == Recovered(None, "{}", [STEP], [HELLO])


def test_what_cannot_be_written_as_a_whole_is_not_written_at_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = Journal(tmp_path / "state.sqlite")
    state.save(b"first")
    state.commit([STEP], [HELLO])
    assert not state.commit([Entry(b"lost", b"")], [BYE, HELLO])  # a letter of this number is there
    assert state.failing is not None
    assert not state.commit([Entry(b"lost too", b"")])
    assert len(caplog.messages) == 1
    state.close()
    assert recovered(state.path) == Recovered(b"first", "{}", [STEP], [HELLO])
    assert state.save(b"all of it", "{}", [BYE])
    assert state.failing is None
    assert state.commit([STEP])
    state.close()
    assert recovered(state.path) == Recovered(b"all of it", "{}", [STEP], [BYE])


def test_a_file_of_a_newer_forewarn_is_kept_under_another_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.sqlite"
    save(path, b"of tomorrow")
    sqlite(path, "PRAGMA user_version = 99")
    assert recovered(path) == NOTHING
    assert "of a newer forewarn, version 99" in caplog.messages[0]
    assert len(kept(path)) == 1
    assert save(path, b"anew")
    assert load(path) == b"anew"


def test_a_file_of_an_older_forewarn_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    sqlite(
        path,
        "CREATE TABLE snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), saved_at REAL, data BLOB)",
        "INSERT INTO snapshot VALUES (1, 0.0, x'0102')",
    )
    state = Journal(path)
    assert state.recover() == Recovered(b"\1\2", "{}", [], [])
    assert state.commit([STEP])
    state.close()
    assert recovered(path).entries == [STEP]


def test_a_file_that_somebody_else_removed_is_missed_and_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = Journal(tmp_path / "state.sqlite")
    state.save(b"x")
    state.check()
    assert state.failing is None
    state.path.unlink()
    state.check()
    assert state.failing is not None
    assert "is gone" in caplog.messages[0]
    assert state.save(b"y", "{}", [HELLO])
    state.close()
    assert recovered(state.path) == Recovered(b"y", "{}", [], [HELLO])


def test_a_second_daemon_cannot_have_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_BUSY_S", 0.01)
    first, second = Journal(tmp_path / "state.sqlite"), Journal(tmp_path / "state.sqlite")
    first.save(b"mine")
    assert second.recover() == NOTHING
    assert not second.commit([STEP])
    first.close()
    assert recovered(first.path) == Recovered(b"mine", "{}", [], [])


@pytest.mark.parametrize("cut", [100, 3000, 20_000])
def test_a_log_that_was_cut_loses_its_end_alone(tmp_path: Path, cut: int) -> None:
    state = Journal(tmp_path / "state.sqlite")
    state.save(b"first")
    steps = [Entry(bytes([i]) * 500, b"") for i in range(60)]
    for step in steps:
        state.commit([step])
    other = tmp_path / "copy" / "state.sqlite"
    other.parent.mkdir()
    other.write_bytes(state.path.read_bytes())
    log = state.path.with_name("state.sqlite-wal").read_bytes()
    other.with_name("state.sqlite-wal").write_bytes(log[:-cut])
    state.close()
    found = recovered(other)
    assert found.snapshot == b"first"
    assert found.entries == steps[: len(found.entries)]
    assert 20 < len(found.entries) < 60
