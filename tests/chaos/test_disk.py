"""The state file fails while the daemon runs, or is no good at its start: alerts go on, and so does the file later."""

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forewarn import ledger
from tests.brokers import Mosquitto, Subscriber
from tests.chaos.streams import EXTRA, LONG, STARTED_AT, alerts_of, final_state
from tests.daemons import INSTANCE, DaemonProcess, settings_file

RETRY_S = ledger.RETRY_S if LONG else 0.5
ALTERED = (sys.executable, "-m", "tests.chaos.altered")
LIMIT = "[[faults.overrides]]\nlimit_above = 10.0\n"


class Run:
    """A daemon whose state lies in a folder of its own, a publisher of readings, and what it hears."""

    def __init__(self, folder: Path, broker: Mosquitto, subscriber: Subscriber) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.config = settings_file(folder, broker, EXTRA + LIMIT)
        text = self.config.read_text().replace(f"{folder}/state.sqlite", f"{self.state}/state.sqlite")
        self.config.write_text(text.replace("forecast = true", "forecast = false"))
        self.file = self.state / "state.sqlite"
        self.folder, self.subscriber, self.n = folder, subscriber, 0
        self.begun_at = len(subscriber.messages)

    def start(self, *, ready: bool = True, launcher: tuple[str, ...] = ()) -> DaemonProcess:
        """A daemon that tries again soon."""
        one = DaemonProcess(
            self.config, environ={"FAULT_RETRY_S": str(RETRY_S)}, ready=ready, launcher=(*launcher, *ALTERED)
        )
        one.__enter__()
        one.wait_for_sample("forewarn_mqtt_connected", 1)
        return one

    def alert(self, device: str) -> None:
        """A reading beyond the limit, whose alert must come."""
        self.n += 1
        body = {"time": STARTED_AT + 10.0 * self.n, "value": 12.0}
        self.subscriber.publish(f"sensors/{device}/temperature", json.dumps(body))
        self.subscriber.wait_for(lambda m: m.topic == f"forewarn/{INSTANCE}/alerts/{device}/temperature")

    def aside(self) -> list[Path]:
        """The files that were set aside, without their logs."""
        return [f for f in self.state.glob("state.sqlite.unusable-*") if not f.name.endswith(("-wal", "-shm"))]


@pytest.fixture
def run(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Run]:
    with Subscriber(mosquitto, f"forewarn/{INSTANCE}/alerts/#") as subscriber:
        yield Run(tmp_path, mosquitto, subscriber)


def wait_until_failing(daemon: DaemonProcess, *, failing: bool, timeout_s: float = 10.0) -> float:
    """Seconds until the metric says so; /readyz and /healthz are as they should be then."""
    begun = time.monotonic()
    while daemon.sample("forewarn_state_failing") != failing:
        assert time.monotonic() < begun + timeout_s, daemon.log.read_text()
        time.sleep(0.05)
    assert daemon.get("/healthz")[0] == 200
    assert daemon.get("/readyz")[0] == (503 if failing else 200)
    return time.monotonic() - begun


def nothing_is_lost(run: Run, daemon: DaemonProcess, devices: set[str]) -> None:
    """After a kill -9, every reading so far is there, and no alert is told twice or missing."""
    daemon.process.kill()
    daemon.process.wait()
    again = run.start()
    assert again.sample("forewarn_readings_received_total") == run.n
    assert again.stop() == 0
    assert final_state(run.state)["readings"] == [0, run.n]
    ids = {(alert["id"], alert["sequence"]) for alert in alerts_of(run.subscriber)}
    assert len(ids) == run.n == len(devices)


def fill(_run: Run, daemon: DaemonProcess) -> None:
    """Let no file of the daemon become larger."""
    subprocess.run(["prlimit", f"--pid={daemon.process.pid}", "--fsize=4096:unlimited"], check=True)


def free(_run: Run, daemon: DaemonProcess) -> None:
    subprocess.run(["prlimit", f"--pid={daemon.process.pid}", "--fsize=unlimited:unlimited"], check=True)


def remove(run: Run, _daemon: DaemonProcess) -> None:
    shutil.rmtree(run.state)


def replace_by_a_file(run: Run, _daemon: DaemonProcess) -> None:
    shutil.rmtree(run.state)
    run.state.write_text("a file")


def give_back(run: Run, _daemon: DaemonProcess) -> None:
    run.state.unlink()


def overwrite(run: Run, _daemon: DaemonProcess) -> None:
    with run.file.open("r+b") as file:
        file.write(b"garbage " * 2000)


def truncate(run: Run, _daemon: DaemonProcess) -> None:
    with run.file.open("r+b") as file:
        file.truncate(300)


def nothing(_run: Run, _daemon: DaemonProcess) -> None:
    pass


Fault = Callable[[Run, DaemonProcess], None]
FAULTS: dict[str, tuple[Fault, Fault, int]] = {
    "disk full": (fill, free, 0),
    "folder removed": (remove, nothing, 0),
    "file in place of the folder": (replace_by_a_file, give_back, 0),
    "garbage": (overwrite, nothing, 1),
    "truncated": (truncate, nothing, 1),
}


SHORT = ("disk full", "folder removed", "garbage")


@pytest.mark.parametrize("name", FAULTS if LONG else SHORT)
def test_a_disk_that_fails_while_running(run: Run, name: str) -> None:
    fault, remedy, n_aside = FAULTS[name]
    daemon = run.start()
    run.alert("before")
    fault(run, daemon)
    run.alert("within")
    if remedy is not nothing:
        run.alert("after")
        wait_until_failing(daemon, failing=True)
        remedy(run, daemon)
    took_s = wait_until_failing(daemon, failing=False) if remedy is not nothing else None
    daemon.wait_for_log("state is written to .* again")
    if remedy is nothing:
        run.alert("after")
        wait_until_failing(daemon, failing=False)
    lines = [line for line in daemon.log.read_text().splitlines() if "state in" in line]
    assert len(lines) == 1, lines
    assert len(run.aside()) == n_aside
    nothing_is_lost(run, daemon, {"before", "within", "after"})
    sys.stdout.write(f"written again {took_s or RETRY_S:.1f} s after the disk was back, retried every {RETRY_S} s\n")


def make_garbage(file: Path) -> None:
    file.write_bytes(b"garbage " * 1000)


def make_short(file: Path) -> None:
    file.unlink()
    sqlite(file, "CREATE TABLE snapshot (id INTEGER PRIMARY KEY, data BLOB)")
    sqlite(file, "INSERT INTO snapshot VALUES (1, zeroblob(100000))")
    file.write_bytes(file.read_bytes()[:20_000])


def make_newer(file: Path) -> None:
    sqlite(file, "PRAGMA user_version = 99")


def sqlite(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_file_that_is_no_good_at_the_start_is_set_aside_and_another_one_written(run: Run) -> None:
    kinds = [make_garbage, make_newer, make_short] if LONG else [make_garbage, make_newer]
    for i, make in enumerate(kinds):
        make(run.file)
        daemon = run.start()
        run.alert(f"device{i}")
        assert sum("cannot be used" in line for line in daemon.log.read_text().splitlines()) == 1
        assert daemon.stop() == 0
        assert len(run.aside()) == i + 1
        assert final_state(run.state)["readings"] == [0, 1]
        time.sleep(1.0)  # files set aside are named after the second


def test_a_file_of_the_first_version_goes_on(run: Run) -> None:
    daemon = run.start()
    run.alert("old")
    assert daemon.stop() == 0
    sqlite(run.file, "DROP TABLE entry")
    sqlite(run.file, "DROP TABLE outbox")
    sqlite(run.file, "ALTER TABLE snapshot DROP COLUMN counts")
    sqlite(run.file, "PRAGMA user_version = 0")
    daemon = run.start()
    assert "restored 1 series" in daemon.log.read_text()
    run.alert("new")
    assert daemon.stop() == 0
    assert final_state(run.state)["readings"] == [0, 1]
    assert run.aside() == []


def test_a_disk_that_became_read_only_is_read_and_written_once_it_may_be(run: Run) -> None:
    def mount(*options: str) -> bool:
        return subprocess.run(["mount", *options, run.state], capture_output=True, check=False).returncode == 0

    if not mount("-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        pytest.skip("only root may mount a file system")
    try:
        daemon = run.start()
        run.alert("before")
        daemon.process.kill()
        daemon.process.wait()
        assert mount("-o", "remount,ro")
        daemon = run.start(ready=False)
        assert daemon.sample("forewarn_readings_received_total") == 1
        assert "cannot be written: going on in memory" in daemon.log.read_text()
        run.alert("within")
        wait_until_failing(daemon, failing=True)
        assert mount("-o", "remount,rw")
        wait_until_failing(daemon, failing=False)
        run.alert("after")
        nothing_is_lost(run, daemon, {"before", "within", "after"})
    finally:
        subprocess.run(["umount", run.state], check=True)
