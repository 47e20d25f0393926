"""`forewarn fleet demo`: a simulated fleet that writes to a landing folder as it happens, and the job that reads it.

The job is the real one, on this machine's cores; whatever ends the demonstration, its files are gone afterwards.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forewarn.errors import UsageError
from forewarn.fleet.landing import Landed, put
from forewarn.fleet.settings import FleetSettings
from forewarn.replay import simulation_messages
from forewarn.simulate import FleetSpec, Simulation, simulate

if TYPE_CHECKING:
    from forewarn.fleet.spark.sinks import AlertMessage

CADENCE_S: Final = 60.0
LONGEST_S: Final = 1800.0
MOST_DEVICES: Final = 20_000
_WARM_UP_READINGS: Final = 75
_FAULT_EVERY_S: Final = 2.0  # of the viewer's time, over the whole fleet
_FILE_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class FleetDemoSpec:
    """What to show.

    Attributes:
        n_device: simulated sensors, each of which sends every 60 simulated seconds.
        duration_s: seconds that the fleet runs.
        speed: simulated seconds in a second.
        seed: of the fleet and its faults.

    Raises:
        UsageError: naming the option and what is possible.
    """

    n_device: int = 2000
    duration_s: float = 180.0
    speed: float = 120.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be shown."""
        if not 1 <= self.n_device <= MOST_DEVICES:
            raise UsageError(f"--devices {self.n_device}: 1 to {MOST_DEVICES} can be shown")
        if not 0 < self.duration_s <= LONGEST_S:
            raise UsageError(f"--duration {self.duration_s:g}: give seconds, up to {LONGEST_S:.0f}")
        if not 1 <= self.speed <= 600:
            raise UsageError(f"--speed {self.speed:g}: 1 to 600 simulated seconds a second can be shown")

    def fleet(self) -> Simulation:
        """The whole fleet, ahead of time."""
        return simulate(
            FleetSpec(
                n_device=self.n_device,
                seed=self.seed,
                cadence_s=CADENCE_S,
                duration_s=self.duration_s * self.speed,
                fault_every_s=self.n_device * _FAULT_EVERY_S * self.speed,
                warm_up_s=_WARM_UP_READINGS * CADENCE_S,
            )
        )


def demo(spec: FleetDemoSpec) -> None:
    """Show it on standard output.

    Raises:
        SettingsError: where pyspark or Java is missing.
        ForewarnError: where the job fails.
    """
    from forewarn.fleet.spark.sinks import sentence_of  # noqa: PLC0415 - pyspark may be missing
    from forewarn.fleet.spark.stream import Job, stop_on_signals  # noqa: PLC0415 - the same

    def show(alerts: "Sequence[AlertMessage]") -> None:
        sys.stdout.writelines(f"{sentence_of(alert)}\n" for alert in alerts)
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="forewarn-fleet-") as folder:
        settings = settings_of(Path(folder))
        settings.fleet.inbox.mkdir()
        simulation = spec.fleet()
        warm_s = _WARM_UP_READINGS * CADENCE_S / spec.speed
        sys.stdout.write(
            f"{len(simulation.devices)} sensors, {len(simulation) / spec.duration_s:.0f} readings a second for "
            f"{spec.duration_s:.0f} s; the first of {len(simulation.labels)} faults comes after {warm_s:.0f} s\n"
        )
        sys.stdout.flush()
        job = Job(settings, show=show)
        stop_on_signals(job)
        ended = threading.Event()
        writer = threading.Thread(target=_write, args=(simulation, spec, settings.fleet.inbox, ended, job.stop))
        writer.start()
        try:
            job.run()
        finally:
            ended.set()
            writer.join()
        sys.stdout.write(f"{job.telemetry.summary()}\n")


def settings_of(folder: Path) -> FleetSettings:
    """Those of the demonstration."""
    return FleetSettings.model_validate(
        {
            "instance": "demo",
            "inputs": [
                {"topic": "sensors/{device}/{metric}", "dialect": "json", "value": "value", "time": "time"},
            ],
            "metrics": {"enabled": False},
            "fleet": {
                "folder": folder,
                "landing_done": "delete",
                "trigger_s": 2.0,
                "lateness_s": 5.0,
                "buckets": 16,
                "max_series": MOST_DEVICES,
                "spark": {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"},
            },
        }
    )


def _write(
    simulation: Simulation, spec: FleetDemoSpec, inbox: Path, ended: threading.Event, end: Callable[[], object]
) -> None:
    """Put a file of what has happened since the last one there, each second."""
    messages = simulation_messages(simulation)
    first = next(messages)
    pending = [Landed(first.topic, first.payload, first.at)]
    began, nth = time.monotonic(), 0
    while pending and not ended.wait(_FILE_EVERY_S):
        until = first.at + (time.monotonic() - began) * spec.speed
        following = None
        for one in messages:
            landed = Landed(one.topic, one.payload, one.at)
            if one.at > until:
                following = landed
                break
            pending.append(landed)
        put(inbox, f"{nth:06d}.jsonl", pending)
        nth += 1
        pending = [] if following is None else [following]
    if not ended.wait(3 * _FILE_EVERY_S + 10.0):
        end()
