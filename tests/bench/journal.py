"""What the journal costs: readings a second and bytes written, by durability, QoS and what a broker has under way.

Candidates take turns, each in a fresh process on a core of its own; medians are printed. Run as
`python -m tests.bench.journal`.
Bytes are what the process hands to the file system (`wchar`) and what reaches the disk's queue (`write_bytes`).
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.measured import split_cores
from tests.brokers import Mosquitto
from tests.chaos.loads import Torrent, packets, wait_until_judged
from tests.daemons import DaemonProcess, settings_file

DEVICES = 1_000
TURNS_BEFORE = 15  # readings of each device before anything is measured: with them the windows are full
IN_FLIGHT = 15_000  # of QoS 0: fewer than the inbox holds


class Way(NamedTuple):
    """One candidate."""

    durability: str
    qos: int
    under_way: int

    def __str__(self) -> str:
        """For the table."""
        return f"{self.durability} | {self.qos} | {self.under_way if self.qos else ''}"


class Cost(NamedTuple):
    """What one round gave."""

    readings_per_s: float
    wchar_per_reading: float
    write_bytes_per_reading: float


WAYS = [Way(durability, 0, 1000) for durability in ("none", "process", "power")] + [
    Way(durability, 1, under_way) for under_way in (20, 1000) for durability in ("none", "process", "power")
]


def measure(way: Way, n_turn: int, folder: Path, core: set[int]) -> Cost:
    """One round."""
    broker = Mosquitto(["max_queued_messages 0", f"max_inflight_messages {way.under_way}", "set_tcp_nodelay true"])
    broker.start()
    path = settings_file(folder, broker)
    text = path.read_text().replace("forecast = true", "forecast = false")
    text = text.replace("[state]\n", f'[state]\ndurability = "{way.durability}"\n')
    text = text.replace("[metrics]\n", "[metrics]\nmax_devices = 0\n")
    text = text.replace("[mqtt]\n", f"[mqtt]\nqos = {way.qos}\n")
    path.write_text(text + "[faults]\nsilent = false\n")
    (folder / "state.sqlite").unlink(missing_ok=True)
    stream = packets(DEVICES, way.qos)
    try:
        with DaemonProcess(path) as daemon:
            os.sched_setaffinity(daemon.process.pid, core)
            made = list(itertools.islice(stream, DEVICES * (TURNS_BEFORE + n_turn)))
            with Torrent(broker, (), 1.0) as torrent:
                _send(torrent, daemon, made[: DEVICES * TURNS_BEFORE])
                before, begun = _written(daemon), time.monotonic()
                _send(torrent, daemon, made[DEVICES * TURNS_BEFORE :])
                took, n = time.monotonic() - begun, DEVICES * n_turn
                after = _written(daemon)
            return Cost(n / took, (after[0] - before[0]) / n, (after[1] - before[1]) / n)
    finally:
        broker.close()


def _send(torrent: Torrent, daemon: DaemonProcess, made: Sequence[bytes]) -> None:
    """As fast as the daemon works them off."""
    for i in range(0, len(made), DEVICES):
        wait_until_judged(daemon, torrent.sent + DEVICES - IN_FLIGHT, 60)
        torrent.send(made[i : i + DEVICES])
    wait_until_judged(daemon, torrent.sent, 120)


def _written(daemon: DaemonProcess) -> tuple[int, int]:
    lines = Path(f"/proc/{daemon.process.pid}/io").read_text().splitlines()
    io = {name: int(value) for name, value in (line.split(": ") for line in lines)}
    return io["wchar"], io["write_bytes"]


def main(command_line: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="rounds of each candidate")
    parser.add_argument("--turns", type=int, default=100, help="readings of each device in a round")
    parser.add_argument("--qos", type=int, choices=(0, 1), help="of these only")
    arguments = parser.parse_args(command_line)
    core, others = split_cores()
    os.sched_setaffinity(0, others)
    costs: dict[Way, list[Cost]] = {way: [] for way in WAYS if arguments.qos in (None, way.qos)}
    with tempfile.TemporaryDirectory(prefix="forewarn-bench-") as folder:
        for _ in range(arguments.repeat):
            for way, found in costs.items():
                found.append(measure(way, arguments.turns, Path(folder), core))
    sys.stdout.write("| durability | QoS | under way | readings/s | bytes written a reading | to the disk |\n")
    sys.stdout.write("|---|---|---|---:|---:|---:|\n")
    for way, found in costs.items():
        medians = [statistics.median(column) for column in zip(*found, strict=True)]
        sys.stdout.write(f"| {way} | " + " | ".join(f"{value:,.0f}" for value in medians) + " |\n")


if __name__ == "__main__":
    main()
