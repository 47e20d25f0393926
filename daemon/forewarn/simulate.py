"""A simulated fleet of temperature sensors with known faults.

Rules that hold here:

- The same spec gives the same readings and the same labels, to the bit; a device's undisturbed signal depends on the
  seed and its own number alone, not on how many others there are.
- A label covers exactly the readings that a fault changed (for silence: the readings that are missing).
- Every fault begins after the warm-up and ends before the simulation does.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import UsageError

Floats = NDArray[np.float64]
METRIC: Final = "temperature"
DAY_S: Final = 86_400.0


class Fault(StrEnum):
    """What can go wrong with a simulated sensor."""

    SPIKE = "spike"  # a few readings far off
    LEVEL_SHIFT = "level_shift"  # from one reading to the next somewhere else, for a while
    STUCK = "stuck"  # the same reading again and again
    SILENCE = "silence"  # no readings
    DRIFT = "drift"  # away and back in a straight line
    EXCURSION = "excursion"  # a few readings that no such sensor can measure
    UNIT_CHANGE = "unit_change"  # °F instead of °C
    APPROACH = "approach"  # slowly warmer, until somebody closes the door


USUAL_FAULTS: Final = (Fault.SPIKE, Fault.LEVEL_SHIFT, Fault.STUCK, Fault.SILENCE, Fault.DRIFT)
"""What is injected where nothing else is asked for; the others are for settings that say what is allowed."""

# Fewest and most readings of a fault, and its size in °C.
_LENGTH: Final = {
    Fault.SPIKE: (1, 3),
    Fault.LEVEL_SHIFT: (25, 35),
    Fault.STUCK: (40, 50),
    Fault.SILENCE: (40, 50),
    Fault.DRIFT: (20, 30),
    Fault.EXCURSION: (1, 3),
    Fault.UNIT_CHANGE: (40, 50),
    Fault.APPROACH: (50, 70),
}
_SIZE: Final = {
    Fault.SPIKE: (4.0, 9.0),
    Fault.LEVEL_SHIFT: (3.0, 6.0),
    Fault.DRIFT: (8.0, 14.0),
    Fault.EXCURSION: (60.0, 90.0),
    Fault.APPROACH: (8.0, 14.0),
}
_UPWARDS: Final = (Fault.APPROACH,)
RECOVERY: Final = 45  # readings that a device stays undisturbed after a fault
_REST: Final = 10  # readings of the fleet after the end of the last fault


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """What to simulate.

    Attributes:
        n_device: number of sensors; freezers, fridges, rooms and server inlets in turn.
        seed: of everything random.
        cadence_s: seconds between two readings of one sensor.
        start_at: UTC epoch seconds.
        duration_s: simulated seconds.
        faults: the kinds to inject, in turn; none for an undisturbed fleet.
        size: of the faults, as a multiple of the usual one.
        fault_every_s: mean seconds between two faults of one sensor.
        warm_up_s: undisturbed seconds at the start.

    Raises:
        UsageError: naming the field, its value and what is possible.
    """

    n_device: int = 12
    seed: int = 1
    cadence_s: float = 60.0
    start_at: float = 1_767_225_600.0
    duration_s: float = DAY_S
    faults: tuple[Fault, ...] = USUAL_FAULTS
    size: float = 1.0
    fault_every_s: float = 6 * 3600.0
    warm_up_s: float = 2 * 3600.0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        for name, least in (("n_device", 1), ("seed", 0), ("warm_up_s", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"simulate: {name} is {getattr(self, name)}: at least {least} is needed")
        for name in ("cadence_s", "duration_s", "fault_every_s", "size"):
            if not getattr(self, name) > 0:
                raise UsageError(f"simulate: {name} is {getattr(self, name)}: more than 0 is needed")

    @property
    def n_step(self) -> int:
        """Readings of each sensor."""
        return int(np.ceil(self.duration_s / self.cadence_s))


class FaultLabel(NamedTuple):
    """The truth about one fault. Times are UTC epoch seconds of the first and last reading it changed."""

    device: str
    metric: str
    kind: Fault
    started_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Simulation:
    """Readings in the order of their times, and the truth.

    Attributes:
        devices: names.
        device: `(n,)` index into `devices`.
        at: `(n,)` UTC epoch seconds, whole milliseconds.
        value: `(n,)` °C, in steps of the sensor's resolution.
        labels: the faults, in the order of their starts.
    """

    devices: tuple[str, ...]
    device: NDArray[np.int64]
    at: Floats
    value: Floats
    labels: tuple[FaultLabel, ...]

    def __len__(self) -> int:
        """Number of readings."""
        return len(self.at)

    def write_csv(self, path: Path) -> None:
        """Write the readings: `timestamp,device,temperature`."""
        rows = zip(self.at.tolist(), self.device.tolist(), self.value.tolist(), strict=True)
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("timestamp", "device", METRIC))
            writer.writerows((iso_time(at), self.devices[device], f"{value:.10g}") for at, device, value in rows)

    def write_truth(self, path: Path) -> None:
        """Write the labels: `device,metric,kind,started_at,ended_at`."""
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(FaultLabel._fields)
            for device, metric, kind, started_at, ended_at in self.labels:
                writer.writerow((device, metric, kind, iso_time(started_at), iso_time(ended_at)))


def iso_time(at: float) -> str:
    """ISO 8601 in UTC with milliseconds, from epoch seconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def simulate(spec: FleetSpec) -> Simulation:
    """Simulate a fleet."""
    steps = np.arange(spec.n_step)
    at = np.empty((spec.n_device, spec.n_step))
    value = np.empty_like(at)
    names = []
    for i in range(spec.n_device):
        rng = np.random.default_rng((spec.seed, i))
        profile = _PROFILES[i % len(_PROFILES)]
        names.append(f"{profile.name}-{i // len(_PROFILES) + 1}")
        at[i] = np.round(spec.start_at + spec.cadence_s * (steps + rng.random()), 3)
        value[i] = profile.signal(at[i], rng) + rng.normal(0.0, profile.noise, spec.n_step)
    disturbances = _schedule(spec)
    for disturbance in disturbances:
        _disturb(value[disturbance.device], disturbance)
    resolution = np.array([_PROFILES[i % len(_PROFILES)].resolution for i in range(spec.n_device)])
    value = np.round(np.round(value / resolution[:, None]) * resolution[:, None], 4)
    present = np.ones(at.shape, np.bool_)
    for d in disturbances:
        if d.kind is Fault.SILENCE:
            present[d.device, d.first : d.first + d.length] = False
    labels = [
        FaultLabel(names[d.device], METRIC, d.kind, at[d.device, d.first].item(), at[d.device, d.last].item())
        for d in disturbances
    ]
    device, step = np.nonzero(present)
    order = np.argsort(at[device, step], kind="stable")
    device, step = device[order], step[order]
    labels.sort(key=lambda label: label.started_at)
    return Simulation(tuple(names), device, at[device, step], value[device, step], tuple(labels))


# -- signals ----------------------------------------------------------------------------------------------------------


class _Profile(NamedTuple):
    """A kind of sensor: °C over time without noise, standard deviation of the noise, resolution."""

    name: str
    signal: Callable[[Floats, np.random.Generator], Floats]
    noise: float
    resolution: float


def _compressor(low: float, high: float, period_s: float) -> Callable[[Floats, np.random.Generator], Floats]:
    """Falls while the compressor runs, about a third of the period, and rises while it rests."""

    def signal(at: Floats, rng: np.random.Generator) -> Floats:
        phase = rng.random() + at / (period_s * rng.uniform(0.8, 1.25)) + 0.2 * _swing(at, rng, DAY_S / 4)
        middle, half = (low + high) / 2 + rng.uniform(-0.2, 0.2), (high - low) / 2
        return middle + half * np.interp(phase % 1.0, (0.0, 0.35, 1.0), (1.0, -1.0, 1.0))

    return signal


def _day(at: Floats, rng: np.random.Generator) -> Floats:
    """A room: warmest at about three in the afternoon UTC."""
    daily = np.sin(2 * np.pi * (at / DAY_S - 0.375))
    return rng.uniform(20.5, 21.5) + rng.uniform(0.8, 1.4) * daily + 0.2 * _swing(at, rng, DAY_S / 4)


def _load(at: Floats, rng: np.random.Generator) -> Floats:
    """The air that a server takes in: follows the load."""
    return rng.uniform(22.0, 24.0) + 0.8 * _swing(at, rng, DAY_S / 6)


def _swing(at: Floats, rng: np.random.Generator, longest_s: float) -> Floats:
    """A smooth random course of about unit size: six sinusoids, the slow ones larger."""
    period = longest_s / np.geomspace(1.0, 8.0, 6)
    phase = rng.random(6)
    weight = period / np.linalg.norm(period) * np.sqrt(2.0)
    swing: Floats = weight @ np.sin(2 * np.pi * (at / period[:, None] + phase[:, None]))
    return swing


_PROFILES: Final = (
    _Profile("freezer", _compressor(-20.0, -18.0, 2400.0), 0.04, 0.0625),
    _Profile("fridge", _compressor(3.0, 5.5, 1800.0), 0.04, 0.0625),
    _Profile("room", _day, 0.03, 0.01),
    _Profile("inlet", _load, 0.12, 0.1),
)


# -- faults -----------------------------------------------------------------------------------------------------------


class _Disturbance(NamedTuple):
    """A fault of `length` readings from reading `first` of a device on; `size` in °C, with its sign."""

    device: int
    kind: Fault
    first: int
    length: int
    size: float

    @property
    def last(self) -> int:
        return self.first + self.length - 1


def _schedule(spec: FleetSpec) -> list[_Disturbance]:
    """Faults evenly over the time after the warm-up, kinds in turn, each on a device that has recovered."""
    rng = np.random.default_rng(spec.seed)
    first_step = max(1, int(np.ceil(spec.warm_up_s / spec.cadence_s)))
    span = spec.n_step - first_step
    n_fault = round(spec.n_device * span * spec.cadence_s / spec.fault_every_s) if spec.faults else 0
    free_from = np.full(spec.n_device, first_step)
    chosen: list[_Disturbance] = []
    for i in range(n_fault):
        kind = spec.faults[len(chosen) % len(spec.faults)]
        first = first_step + int(span * (i + rng.random()) / n_fault)
        length = int(rng.integers(*_LENGTH[kind], endpoint=True))
        size = spec.size * float(rng.uniform(*_SIZE.get(kind, (0.0, 0.0))) * rng.choice((-1.0, 1.0)))
        size = abs(size) if kind in _UPWARDS else size
        free = np.flatnonzero(free_from <= first)
        if len(free) and first + length + _REST <= spec.n_step:
            device = int(rng.choice(free))
            free_from[device] = first + length + RECOVERY
            chosen.append(_Disturbance(device, kind, first, length, size))
    return chosen


def _disturb(value: Floats, disturbance: _Disturbance) -> None:
    first, length = disturbance.first, disturbance.length
    part = value[first : first + length]
    if disturbance.kind is Fault.STUCK:
        part[:] = value[first - 1]
    elif disturbance.kind is Fault.DRIFT:
        part += np.interp(np.arange(1, length + 1) / (length + 1), (0.0, 0.7, 1.0), (0.0, disturbance.size, 0.0))
    elif disturbance.kind is Fault.UNIT_CHANGE:
        part[:] = 1.8 * part + 32.0
    elif disturbance.kind is Fault.APPROACH:
        part += np.linspace(0.0, disturbance.size, length)
    else:
        part += disturbance.size
