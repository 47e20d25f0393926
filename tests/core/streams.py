"""Random streams of readings with everything in them that goes wrong, and how to feed them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from forewarn.core.alerts import Event, SeriesEvicted
from forewarn.core.engine import Engine
from forewarn.core.readings import Batch, SeriesKey, status_name
from forewarn.core.verdicts import Verdicts

STEP_S = 10.0
CONVERSIONS = ((1.8, 32.0), (1.0, 273.15))  # °C to °F, °C to K


class Row(NamedTuple):
    """One reading as it arrives."""

    key: SeriesKey
    at: float
    received_at: float
    value: float
    seed: bool = False


class _Sensor:
    """A level with noise that shifts, slopes, stands still and changes its unit."""

    def __init__(self, level: float) -> None:
        self.level, self.slope = level, 0.0
        self.held: float | None = None
        self.conversion = (1.0, 0.0)

    def reading(self, rng: np.random.Generator) -> float:
        """The next one, to a tenth."""
        self._wander(rng)
        true = self.level + rng.normal(0, 0.3) if self.held is None else self.held
        factor, offset = self.conversion
        return round(float(factor * true + offset), 1)

    def _wander(self, rng: np.random.Generator) -> None:
        shift, turn, convert, hold = rng.random(4)
        self.level += self.slope + (rng.normal(0, 15) if shift < 0.01 else 0.0)
        if turn < 0.02:
            self.slope = rng.normal(0, 0.8) if self.slope == 0 else 0.0
        if abs(self.level) > 60.0:
            self.level, self.slope = self.level / 3, 0.0
        if convert < 0.07:
            self.conversion = CONVERSIONS[int(rng.integers(len(CONVERSIONS)))] if convert < 0.02 else (1.0, 0.0)
        if hold < 0.08:
            self.held = round(self.level, 1) if hold < 0.03 else None


def stream(seed: int, n: int = 600, n_device: int = 3) -> list[Row]:
    """Noise around a level, with spikes, shifts, slopes, equal runs, other units, gaps, retained and unusable ones."""
    rng, kept = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    sensors = [_Sensor(level) for level in rng.normal(4.0, 20.0, n_device).tolist()]
    clock = 1.7e9
    rows: list[Row] = []
    for _ in range(n):
        clock += float(rng.choice([0.0, STEP_S / n_device, 400.0], p=[0.1, 0.88, 0.02]))
        i = int(rng.integers(n_device))
        value, at = sensors[i].reading(rng), clock
        odd = rng.random()
        if odd < 0.02:
            value = float(rng.choice([np.nan, np.inf, 1e39, -1e300]))
        elif odd < 0.04:
            at = float(rng.choice([clock - 5000.0, clock + 5000.0, np.nan]))
        elif odd < 0.08:
            value += float(rng.normal(0, 30))
        retained = bool(kept.random() < (0.02 if len(rows) > n_device else 0.5))
        rows.append(Row(SeriesKey(f"d{i}", "temperature"), at, clock, value, retained))
    return rows


def batch(rows: Sequence[Row]) -> Batch:
    """Rows as columns."""
    return Batch(
        [row.key for row in rows],
        np.array([row.at for row in rows]),
        np.array([row.received_at for row in rows]),
        np.array([[row.value] for row in rows]).reshape(len(rows), 1),
        np.array([row.seed for row in rows], np.bool_) if any(row.seed for row in rows) else None,
    )


class Log:
    """What an engine said, one comparable entry for each reading and for each event."""

    def __init__(self) -> None:
        self.verdicts: list[tuple[object, ...]] = []
        self.events: list[tuple[object, ...]] = []

    def feed(self, engine: Engine, rows: Sequence[Row]) -> None:
        """Give rows to the engine as one batch and note what it says."""
        verdicts = engine.ingest(batch(rows))
        self.verdicts += [entry(verdicts, i) for i in range(len(rows))]
        self.events += [told(event) for event in verdicts.events]


def entry(verdicts: Verdicts, row: int) -> tuple[object, ...]:
    """One verdict; NaN becomes None, so that entries compare equal exactly where the bits do."""
    names = ("expected", "lower", "upper", "residual", "score", "anomaly_score")
    measures = [float(getattr(verdicts, name)[row]) for name in names]
    numbers = [None if np.isnan(measure) else measure for measure in measures]
    return (status_name(int(verdicts.outcome[row])), *numbers, bool(verdicts.alert[row]))


def told(event: Event) -> tuple[object, ...]:
    """One event with all its fields."""
    return (type(event).__name__, event.series if isinstance(event, SeriesEvicted) else event.alert)


def cut(rows: Sequence[Row], sizes: Iterable[int]) -> list[Sequence[Row]]:
    """Consecutive parts of these sizes, the last one takes the rest."""
    parts, start = [], 0
    for size in sizes:
        parts.append(rows[start : start + size])
        start += size
    return [*parts, rows[start:]]
