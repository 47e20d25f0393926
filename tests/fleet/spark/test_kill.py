"""A job is killed at random moments, and started again by the same command: the same alerts, none lost, none new."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.streams import numbered
from tests.fleet.spark.fleets import Said, command, fleet_said, fleet_settings, land, run_once, workers
from tests.thorough import THOROUGH

KILLS = 10 if THOROUGH else 4
N_FILE = 30 if THOROUGH else 12
READINGS = numbered(1_000 * N_FILE, 60)
AT_COMMIT = """
import os, signal, sys
from forewarn.cli import main
from forewarn.fleet.spark.sinks import FilesSink

write, n = FilesSink.write, [0]

def fatal(self, alerts, batch):
    write(self, alerts, batch)
    n[0] += 1
    if n[0] == 2:
        os.kill(os.getpid(), signal.SIGKILL)

FilesSink.write = fatal
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Said:
    """What a job says that nobody kills."""
    folder = tmp_path_factory.mktemp("whole")
    land(READINGS, folder / "landing", N_FILE)
    done = run_once(fleet_settings(folder))
    assert done.returncode == 0, done.stderr
    return fleet_said(folder)


def ended(process: subprocess.Popen[bytes]) -> None:
    """Kill a driver, and wait until its JVM is gone too: it lets go of the folder with the driver."""
    below = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    process.kill()
    process.wait()
    for pid in map(int, below.stdout.split()):
        deadline = time.monotonic() + 60
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)


def started(config: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        return subprocess.Popen(command(config, "--once"), stdout=stream, stderr=stream)


def commits(folder: Path) -> int:
    """The last micro-batch that was noted as done."""
    found = [int(p.name) for p in (folder / "checkpoint" / "commits").glob("*") if re.fullmatch(r"\d+", p.name)]
    return max(found, default=-1)


def moments(seed: int) -> Iterator[float]:
    """Seconds after a micro-batch was done."""
    chosen = random.Random(seed)
    while True:
        yield chosen.uniform(0.0, 3.0)


def test_a_job_that_is_killed_says_what_one_says_that_is_not(tmp_path: Path, whole: Said) -> None:
    land(READINGS, tmp_path / "landing", N_FILE)
    config, log = fleet_settings(tmp_path, files_per_batch=1), tmp_path / "log"
    done_before, of_workers = -1, 0
    for nth, pause in zip(range(KILLS), moments(7), strict=False):
        process = started(config, log)
        deadline = time.monotonic() + 120
        while commits(tmp_path) <= done_before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(pause)
        if process.poll() is not None:
            break
        done_before = commits(tmp_path)
        if nth % 2:
            for pid in workers(process.pid):
                of_workers += 1
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)
        ended(process)
    assert of_workers
    done = run_once(config)
    assert done.returncode == 0, done.stderr
    said = fleet_said(tmp_path)
    assert said.alerts == whole.alerts
    assert said.scores == whole.scores
    sys.stdout.write(f"{len(READINGS)} readings, {KILLS} kills, {of_workers} of workers, {len(said.alerts)} alerts\n")


def test_a_kill_between_the_sink_and_the_commit_repeats_the_same_alerts(tmp_path: Path, whole: Said) -> None:
    land(READINGS, tmp_path / "landing", N_FILE)
    config = fleet_settings(tmp_path, files_per_batch=1)
    script = tmp_path / "fatal.py"
    script.write_text(AT_COMMIT)
    killed = subprocess.run(
        [sys.executable, str(script), *command(config, "--once")[3:]], capture_output=True, check=False, timeout=300
    )
    assert killed.returncode == -signal.SIGKILL
    written = sorted((tmp_path / "alerts").glob("*.jsonl"))
    assert commits(tmp_path) < int(written[-1].stem)
    before = {path.name: path.read_bytes() for path in written}
    time.sleep(2)
    done = run_once(config)
    assert done.returncode == 0, done.stderr
    assert {name: (tmp_path / "alerts" / name).read_bytes() for name in before} == before
    assert fleet_said(tmp_path).alerts == whole.alerts


def test_a_worker_that_is_killed_costs_a_micro_batch_at_most(tmp_path: Path, whole: Said) -> None:
    land(READINGS, tmp_path / "landing", N_FILE)
    config, log = fleet_settings(tmp_path, files_per_batch=1), tmp_path / "log"
    process = started(config, log)
    deadline = time.monotonic() + 120
    while commits(tmp_path) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in workers(process.pid):
        os.kill(pid, signal.SIGKILL)
    code = process.wait(300)
    if code:
        assert run_once(config).returncode == 0
    assert fleet_said(tmp_path).alerts == whole.alerts
    sys.stdout.write(f"exit {code} after the workers were killed\n")
