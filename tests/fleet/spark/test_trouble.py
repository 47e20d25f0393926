"""What a job says when it cannot go on: what is wrong, where, and what to do."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.streams import numbered
from tests.fleet.spark.fleets import command, fleet_said, fleet_settings, land, run_once


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job that was stopped, with more to read."""
    folder = tmp_path_factory.mktemp("stopped")
    readings = numbered(2_000, 20)
    land(readings[:1_000], folder / "landing", 2)
    done = run_once(fleet_settings(folder, files_per_batch=1))
    assert done.returncode == 0, done.stderr
    land(readings[1_000:], folder / "landing", 2, first=2)
    return folder


def newest(folder: Path) -> Path:
    return max((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def flip(checkpoint: Path) -> None:
    """Another bit in the middle of each change of the state."""
    for path in (checkpoint / "state").rglob("*.changelog"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(bytes(content))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no state": lambda checkpoint: shutil.rmtree(checkpoint / "state"),
    "flipped state": flip,
    "no JSON among the offsets": lambda checkpoint: newest(checkpoint / "offsets").write_bytes(b"v1\nx\n"),
    "half of the metadata": lambda checkpoint: (checkpoint / "metadata").write_bytes(b"{"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_said_to_be_one_and_the_way_out_works(
    stopped: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "job"
    shutil.copytree(stopped, folder)
    config = fleet_settings(folder, files_per_batch=1)
    DAMAGE[damage](folder / "checkpoint")
    failed = run_once(config)
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith(f"forewarn: {folder / 'checkpoint'}: cannot be used (")
    assert "move the folder's checkpoint and models away and start again, see docs/fleet.md" in last
    if damage != "flipped state":
        return
    for name in ("checkpoint", "models"):  # as docs/fleet.md says
        (folder / name).rename(folder / f"{name}.old")
    again = run_once(config)
    assert again.returncode == 0, again.stderr
    assert len(fleet_said(folder).scores) == 2_000


def test_another_number_of_buckets_is_refused(stopped: Path) -> None:
    failed = run_once(fleet_settings(stopped, buckets=5))
    assert failed.returncode == 78
    assert f"fleet.buckets is 5, the checkpoint in {stopped} has 4: give that, or move" in failed.stderr


def test_two_jobs_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    holder = subprocess.Popen(["flock", str(folder / "lock"), "sleep", "60"])
    try:
        subprocess.run(["sleep", "0.5"], check=True)
        failed = run_once(fleet_settings(folder))
    finally:
        subprocess.run(["pkill", "-P", str(holder.pid)], check=False)
        holder.wait()
    assert failed.returncode == 1
    assert f"{folder}: another job runs in it" in failed.stderr


def test_without_the_connector_kafka_is_refused_with_its_name(tmp_path: Path) -> None:
    more = """source = "kafka"
[fleet.kafka.options]
"kafka.bootstrap.servers" = "127.0.0.1:9"
subscribe = "readings"
"""
    failed = run_once(fleet_settings(tmp_path, more=more))
    assert failed.returncode == 78
    assert "give --packages org.apache.spark:spark-sql-kafka-0-10_2.13:" in failed.stderr


def test_without_java_one_line_says_so(tmp_path: Path) -> None:
    environ = {**os.environ, "JAVA_HOME": str(tmp_path)}
    failed = subprocess.run(command(fleet_settings(tmp_path)), capture_output=True, text=True, check=False, env=environ)
    assert failed.returncode == 78
    (line,) = failed.stderr.splitlines()
    assert line.startswith("forewarn: a fleet needs Java 17: install a JRE")


def test_a_disk_that_takes_nothing_ends_the_job_with_a_line(stopped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    shutil.copytree(stopped, folder)
    config = fleet_settings(folder, files_per_batch=1)
    shutil.rmtree(folder / "alerts", ignore_errors=True)
    (folder / "alerts").write_text("in the way")
    failed = run_once(config)
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith(f"forewarn: {folder}/alerts/")
    assert "cannot be written" in last
    (folder / "alerts").unlink()
    again = run_once(config)
    assert again.returncode == 0, again.stderr
    ids = [json.loads(line)["id"] for p in (folder / "alerts").glob("*.jsonl") for line in p.read_text().splitlines()]
    assert ids
