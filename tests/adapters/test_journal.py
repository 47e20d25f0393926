import os
import resource
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forewarn.adapters import journal
from forewarn.adapters.journal import Journal
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
    assert Journal(path).load() is None
    assert not path.parent.exists()
    for data in (b"first", bytes(range(256)) * 5000, b""):
        assert Journal(path).save(data)
        assert Journal(path).load() == data
    assert [file.name for file in path.parent.iterdir()] == ["state.sqlite"]


def test_a_snapshot_of_the_engine_survives(tmp_path: Path) -> None:
    engine = Engine(HalfTrend(), Rules())
    engine.ingest(batch(stream(1)))
    Journal(tmp_path / "state").save(engine.snapshot().to_bytes())
    data = Journal(tmp_path / "state").load()
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
    assert Journal(path).load() is None
    (aside,) = kept(path)
    assert aside.read_bytes() == content
    (line,) = caplog.messages
    assert line.startswith(f"state in {path} cannot be used (")
    assert line.endswith(f": starting anew, the file is kept as {aside}")
    assert Journal(path).save(b"anew")
    assert Journal(path).load() == b"anew"


def test_a_database_whose_pages_were_lost_is_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    Journal(path).save(b"x" * 100_000)
    path.write_bytes(path.read_bytes()[:20_000])
    assert Journal(path).load() is None
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
    assert Journal(path).load() is None
    assert len(kept(path)) == 1


def test_an_empty_file_or_a_database_without_a_snapshot_has_nothing_to_load(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.sqlite"
    path.touch()
    assert Journal(path).load() is None
    sqlite(path, "CREATE TABLE somebody_elses (x)")
    assert Journal(path).load() is None
    assert (kept(path), caplog.messages) == ([], [])
    assert Journal(path).save(b"beside it")
    assert Journal(path).load() == b"beside it"


def test_a_file_that_cannot_be_used_nor_renamed_is_told_once(
    open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = open_folder / "state.sqlite"
    path.write_bytes(b"garbage")
    path.chmod(0o644)
    open_folder.chmod(0o555)
    with without_rights():
        assert Journal(path).load() is None
    (line,) = caplog.messages
    assert "nor renamed" in line
    assert path.read_bytes() == b"garbage"
    open_folder.chmod(0o777)


def test_a_file_that_may_not_be_read_is_told_and_left_where_it_is(
    open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = open_folder / "locked" / "state.sqlite"
    Journal(path).save(b"mine")
    for mode_of_folder, mode_of_file in ((0o777, 0o000), (0o000, 0o600)):
        path.chmod(mode_of_file)
        path.parent.chmod(mode_of_folder)
        with without_rights():
            assert Journal(path).load() is None
        path.parent.chmod(0o777)
    assert len(caplog.messages) == 2
    assert all("cannot be read" in line for line in caplog.messages)
    path.chmod(0o600)
    assert Journal(path).load() == b"mine"
    assert kept(path) == []


def test_a_folder_in_place_of_the_file_is_told_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.sqlite"
    path.mkdir()
    assert Journal(path).load() is None
    assert not Journal(path).save(b"x")
    assert path.is_dir()
    assert [line.split(" (")[0] for line in caplog.messages] == [
        f"state in {path} cannot be read",
        f"state cannot be saved to {path}",
    ]


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "folder").write_text("a file")
    assert Journal(tmp_path / "folder" / "state.sqlite").load() is None
    assert not Journal(tmp_path / "folder" / "state.sqlite").save(b"x")
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
        assert caplog.messages[0].startswith(f"state cannot be saved to {path} ([Errno 13] Permission denied")
    open_folder.chmod(0o777)
    with without_rights():
        assert [state.save(b"y") for _ in range(2)] == [True, True]
        assert caplog.messages[1:] == [f"state is saved to {path} again"]
        assert state.load() == b"y"
        path.parent.chmod(0o555)
        path.chmod(0o444)
        assert not state.save(b"z")
        assert len(caplog.messages) == 3
        assert state.load() == b"y"
        path.parent.chmod(0o755)


def test_a_folder_that_goes_away_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "state.sqlite"
    state = Journal(path)
    state.save(b"x")
    path.unlink()
    path.parent.rmdir()
    assert state.save(b"y")
    assert state.load() == b"y"


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
    assert state.load() == b"good" * 1000
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
        assert state.load() == b"good"
        (line,) = caplog.messages
        assert "full" in line
        assert state.save(b"small")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_database_that_somebody_holds_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal, "_BUSY_S", 0.01)
    state = Journal(tmp_path / "state.sqlite")
    state.save(b"x")
    other = sqlite3.connect(state.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert not state.save(b"y")
    assert state.load() is None
    other.close()
    assert len(caplog.messages) == 2
    assert all("locked" in line for line in caplog.messages)
    assert state.load() == b"x"
