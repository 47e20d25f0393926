"""Readings per second of a fleet job on one core and on two, beside the plain core; and whether they agree.

Each job is a fresh one on its cores. What is counted are the micro-batches after the first, in which the workers start:
from the end of the first to that of the last. The plain core judges the same readings in batches of 1,024, without
decoding them. `python -m tests.bench.fleet --help`.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.brokers import Mosquitto
from tests.chaos.streams import STARTED_AT, Reading, numbered
from tests.fleet.spark.fleets import (
    Said,
    backtest_rate,
    backtest_said,
    command,
    daemon_said,
    fleet_said,
    fleet_settings,
    land,
    put,
    run_once,
    shuffled,
    workers,
)

N_FILE = 20


def job(folder: Path, readings: Sequence[Reading], cores: Sequence[int], *, scores: bool) -> float:
    """Readings a second of a job on these cores."""
    config = fleet_settings(
        folder,
        cores=len(cores),
        buckets=16,
        files_per_batch=4,
        scores=scores,
        more=f'landing = "{folder.parent / "landing"}"',
    )
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        done = run_once(config, timeout_s=3600)
    finally:
        os.sched_setaffinity(0, own)
    if done.returncode:
        raise SystemExit(done.stderr)
    ends = [path.stat().st_mtime for path in sorted((folder / "checkpoint" / "commits").glob("?")) if path.name < "5"]
    return len(readings) * 4 / 5 / (ends[4] - ends[0])


def state_bytes(folder: Path) -> int:
    """What the newest snapshots and changes of the state take on the disk."""
    return sum(path.stat().st_size for path in (folder / "checkpoint" / "state").rglob("*") if path.is_file())


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readings", type=int, default=500_000)
    parser.add_argument("--devices", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", action="store_true", help="100,000 devices, and the memory of the Python workers")
    parser.add_argument("--agree", action="store_true", help="run the daemon and a backtest too, and compare")
    args = parser.parse_args(argv)
    place = Path(tempfile.mkdtemp(prefix="forewarn-fleet-"))
    try:
        if args.many:
            many(place)
            return
        readings = shuffled(numbered(args.readings, args.devices))
        measure(place, readings, args.rounds)
        if args.agree:
            agree(place, readings)
    finally:
        shutil.rmtree(place)


def measure(place: Path, readings: Sequence[Reading], n_round: int) -> None:
    """Readings a second, candidates in turn."""
    land(readings, place / "landing", N_FILE)
    rates: dict[str, list[float]] = {"plain core": [], "one core": [], "two cores": []}
    for nth in range(n_round):
        rates["plain core"].append(backtest_rate(place, readings))
        for name, cores in (("one core", [0]), ("two cores", [0, 1])):
            folder = place / f"{name}-{nth}".replace(" ", "-")
            rates[name].append(job(folder, readings, cores, scores=False))
            sys.stdout.write(f"{name}: {rates[name][-1]:.0f} readings/s, state {state_bytes(folder) / 1e6:.1f} MB\n")
            sys.stdout.flush()
            shutil.rmtree(folder)
    plain = statistics.median(rates["plain core"])
    for name, found in rates.items():
        middle = statistics.median(found)
        sys.stdout.write(
            f"{name}: median {middle:.0f} readings/s ({min(found):.0f} to {max(found):.0f}), "
            f"{middle / plain:.2f} of the plain core\n"
        )


def many(place: Path, n_device: int = 100_000, n_turn: int = 30) -> None:
    """Many devices, a file for each turn of all of them; the memory of the workers after each micro-batch."""
    inbox = place / "landing"
    inbox.mkdir()
    noise = np.random.default_rng(1).normal(4.0, 0.2, (n_turn, n_device)).round(3)
    for turn in range(n_turn):
        at = STARTED_AT + 60.0 * turn
        rows = (
            f'{{"topic": "sensors/d{i}/temperature", "payload": "{{\\"time\\": {at}, \\"value\\": {value}}}", '
            f'"received_at": {at}}}'
            for i, value in enumerate(noise[turn].tolist())
        )
        put(inbox / f"{turn:04d}.jsonl", list(rows), turn)
    config = fleet_settings(place, buckets=64, files_per_batch=1, scores=False)
    began = time.monotonic()
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command(config, "--once"), stdout=log, stderr=log)
    last, done = -1, place / "checkpoint" / "commits"
    while process.poll() is None:
        time.sleep(0.2)
        found = max((int(path.name) for path in done.glob("*") if path.name.isdecimal()), default=-1)
        if found > last:
            last = found
            sizes = sorted(rss_mb(pid) for pid in workers(process.pid))
            took = time.monotonic() - began
            sys.stdout.write(
                f"{took:.0f} s, micro-batch {found}: workers {', '.join(f'{size:.0f}' for size in sizes)} MB\n"
            )
            sys.stdout.flush()
    if process.returncode:
        raise SystemExit((place / "log").read_text())
    took = time.monotonic() - began
    sys.stdout.write(f"{n_device * n_turn} readings in {took:.0f} s, state on disk {state_bytes(place) / 1e6:.0f} MB\n")


def rss_mb(pid: int) -> float:
    """The resident memory of a process, 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


def agree(place: Path, readings: Sequence[Reading]) -> None:
    """Compare what the three say."""
    job(place / "agree", readings, [0, 1], scores=True)
    fleet, past = fleet_said(place / "agree"), backtest_said(place, readings)
    broker = Mosquitto(["max_queued_messages 0"])
    broker.start()
    began = time.monotonic()
    daemon = daemon_said(place / "daemon", broker, readings, 8_000.0)
    broker.close()
    sys.stdout.write(f"daemon: {len(readings) / (time.monotonic() - began):.0f} readings/s sent and heard\n")
    for name, other in (("backtest", past), ("daemon", daemon)):
        sys.stdout.write(f"fleet and {name}: {told(fleet, other)}\n")


def told(one: Said, other: Said) -> str:
    """How far two agree."""
    same = sum(one.scores[key] == said for key, said in other.scores.items() if key in one.scores)
    alerts = "all the same" if one.alerts == other.alerts else "different"
    return (
        f"{same} of {len(one.scores)} and {len(other.scores)} scores the same to the bit; {len(one.alerts)} and "
        f"{len(other.alerts)} alert messages, {alerts}"
    )


if __name__ == "__main__":
    main()
