"""Which simulated faults the daemon's engine finds, by kind and size. `python -m tests.bench.faults --detector tail`.

A fault is found where an alert of one of its kinds is raised from its first reading on until `SETTLE` readings after
its last; one of `forecast_limit` only before the limit is passed. A false alert is one of those kinds that is raised
outside every fault and the `RECOVERY` readings after it. The model is the shipped one, the settings are the defaults;
for what has a rule of its own with the limits below, for what the judge is to find without: what they tell is not
judged. A device has a fault about once a
week, at random: some have two within the three days in which the judge `tail` tells only what is more unusual than
before. The seed is used for nothing else.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from forewarn.adapters.onnx_forecaster import STARTER, load_model
from forewarn.core.alerts import Alert, AlertRaised, Kind
from forewarn.core.engine import Engine
from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.rules import Limits, Rules
from forewarn.simulate import METRIC, RECOVERY, Fault, FaultLabel, FleetSpec, Simulation, simulate

SEED = 9001
N_DEVICE = 64
DAY_S = 86_400.0
DAYS, WARM_UP_DAYS, FAULT_EVERY_DAYS = 7.0, 1.0, 7.0
SIZES = (0.5, 1.0, 2.0)
SETTLE = 3
TICK_S = 60.0
Detector = Literal["tail", "residual"]
HEADER = ("Fault", "Size", "Found", "Delay", "Lead", "False alerts", "Readings")
LIMITS = (
    Limits("freezer-*", low=-40.0, high=30.0, max_rate_per_s=0.2, limit_above=-15.0),
    Limits("fridge-*", low=-20.0, high=40.0, max_rate_per_s=0.2, limit_above=9.0),
    Limits("*", low=-10.0, high=60.0, max_rate_per_s=0.2, limit_above=27.0),
)
FINDS = {
    Fault.STUCK: Kind.STUCK,
    Fault.SILENCE: Kind.SILENT,
    Fault.EXCURSION: Kind.RANGE,
    Fault.UNIT_CHANGE: Kind.UNIT_CHANGE,
    Fault.APPROACH: Kind.FORECAST_LIMIT,
}
"""The kind of alert that is to find a fault; the judge's own for the others."""
JUDGED = tuple(kind for kind in Fault if kind not in FINDS)


@dataclass
class Account:
    """Of one kind of fault at one size."""

    n_fault: int = 0
    n_reading: int = 0
    n_false: int = 0
    delays: list[float] = field(default_factory=list)  # readings
    leads: list[float] = field(default_factory=list)  # readings from the alert until the limit was passed

    def row(self, name: str, size: float) -> tuple[str, ...]:
        """A line of the table."""
        delay = f"{np.median(self.delays):.0f}" if self.delays else "-"
        lead = f"{np.median(self.leads):.0f}" if self.leads else "-"
        found = f"{len(self.delays)} of {self.n_fault}"
        return name, f"{size:g}", found, delay, lead, str(self.n_false), str(self.n_reading)


def raised(simulation: Simulation, rules: Rules) -> Iterator[Alert]:
    """Every alert that the engine raises, with a check for silence each minute."""
    engine = Engine(load_model(STARTER), rules)
    keys = [SeriesKey(name, METRIC) for name in simulation.devices]
    begun = float(simulation.at[0])
    turns = ((simulation.at - begun) // TICK_S).astype(np.int64)
    for rows in np.split(np.arange(len(simulation)), np.flatnonzero(np.diff(turns)) + 1):
        at = simulation.at[rows]
        batch = Batch([keys[i] for i in simulation.device[rows]], at, at, simulation.value[rows, None])
        for event in [*engine.ingest(batch).events, *engine.tick(float(at[-1]), begun)]:
            if isinstance(event, AlertRaised):
                yield event.alert


def account(kind: Fault, size: float, detector: Detector) -> Account:
    """Faults of one kind and size."""
    spec = FleetSpec(
        N_DEVICE,
        SEED,
        duration_s=DAYS * DAY_S,
        faults=(kind,),
        size=size,
        fault_every_s=FAULT_EVERY_DAYS * DAY_S,
        warm_up_s=WARM_UP_DAYS * DAY_S,
    )
    simulation = simulate(spec)
    finds = FINDS.get(kind, Kind.ANOMALY if detector == "tail" else Kind.RESIDUAL)
    rules = Rules(detector=detector, limits=LIMITS if kind in FINDS else ())
    mine = [alert for alert in raised(simulation, rules) if alert.kind is finds]
    total = Account(len(simulation.labels), len(simulation))
    total.n_false = sum(not any(_covers(label, a, spec, RECOVERY) for label in simulation.labels) for a in mine)
    for label in simulation.labels:
        alert = next((a for a in mine if _covers(label, a, spec, SETTLE)), None)
        passed = None if alert is None else _passed_at(simulation, label, alert)
        if alert is not None and (passed is None or alert.at < passed):
            total.delays.append((alert.at - label.started_at) / spec.cadence_s)
            total.leads += [] if passed is None else [(passed - alert.at) / spec.cadence_s]
    return total


def _covers(label: FaultLabel, alert: Alert, spec: FleetSpec, after: int) -> bool:
    end = label.ended_at + after * spec.cadence_s
    return alert.series.device == label.device and label.started_at <= alert.at <= end


def _passed_at(simulation: Simulation, label: FaultLabel, alert: Alert) -> float | None:
    """When the fault's readings went beyond the limit that was forecast to be passed."""
    if alert.kind is not Kind.FORECAST_LIMIT or alert.limit is None:
        return None
    mine = simulation.device == simulation.devices.index(label.device)
    within = mine & (simulation.at >= label.started_at) & (simulation.at <= label.ended_at)
    beyond = simulation.at[within & (simulation.value > alert.limit)]
    return float(beyond[0]) if len(beyond) else None


def rows(detector: Detector, kinds: Sequence[Fault]) -> Iterator[tuple[str, ...]]:
    """The lines of the table."""
    for kind in kinds:
        fixed = kind in (Fault.STUCK, Fault.SILENCE, Fault.UNIT_CHANGE)
        for size in SIZES:
            if size == 1.0 or not fixed:
                yield account(kind, size, detector).row(kind.value.replace("_", " "), size)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", choices=("tail", "residual"), default="tail")
    detector: Detector = parser.parse_args().detector
    for row in (HEADER, ["---"] * len(HEADER), *rows(detector, tuple(Fault))):
        sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
