"""A bucket: the devices of a fleet whose names hash to one number, with an engine of their own.

Rules that hold here:

- Its clock is the arrivals of the whole fleet, given with each delivery; nothing here reads a time. So the same
  deliveries give the same verdicts, however often they are repeated.
- A reading waits until the clock is `lateness_s` past it, then those that waited are judged in the order of their
  times; of equal times the one that came first is judged first. What comes later than that is judged as it comes, and
  the engine rejects it as out of order.
- Silence is looked for at whole seconds of the clock, between the readings before and after them, so that a backlog is
  judged as if it had come when it arrived.
- Everything that coming verdicts depend on is in `to_bytes`.
"""

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from forewarn.core import records
from forewarn.core.alerts import Event
from forewarn.core.engine import Engine
from forewarn.core.readings import Batch, Floats, Mask, Slots
from forewarn.core.records import Lost, Tick
from forewarn.core.snapshot import Snapshot
from forewarn.core.verdicts import Verdicts
from forewarn.guard import Guard

_VERSION = 1
_SLACK_S = 1e-3  # what a sum of epoch seconds may be off by, and more


def bucket_of(device: str, n_bucket: int) -> int:
    """The bucket of a device: that of the name before its first colon, so that who speaks for others is with them."""
    return zlib.crc32(device.partition(":")[0].encode("utf-8", "surrogatepass")) % n_bucket


class Delivery(NamedTuple):
    """What comes to a bucket at once.

    Attributes:
        batch: readings in the order of their arrival.
        departures: devices that are said to be going, with the time of arrival, UTC epoch seconds.
        first_at: the first arrival of the whole fleet since the last delivery.
        last_at: up to which arrival the whole fleet was read.
    """

    batch: Batch
    departures: Sequence[tuple[str, float]]
    first_at: float
    last_at: float


@dataclass(slots=True)
class Said:
    """What a bucket says.

    Attributes:
        judged: readings with their verdicts, in the order in which they were judged.
        events: in the order in which they happened.
    """

    judged: list[tuple[Batch, Verdicts]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class Bucket:
    """Judges the readings of some devices in the order of their times."""

    def __init__(self, engine: Engine, guard: Guard, *, lateness_s: float, away_s: float) -> None:
        """Start with nothing known.

        Args:
            engine: that knows no series yet.
            guard: of the engine.
            lateness_s: how long a reading is held.
            away_s: how long nothing of the whole fleet may come before its source is taken to have been away.
        """
        self.engine, self._guard = engine, guard
        self._lateness_s, self._away_s = lateness_s, away_s
        self._clock = self._heard_at = -math.inf
        self._listening_since = 0.0
        self._waiting: Batch | None = None  # by `_due`
        self._departures: list[tuple[str, float]] = []
        self._said = Said()

    # -- what comes -------------------------------------------------------------------------------------------------

    def take(self, delivery: Delivery) -> Said:
        """Judge what is due, and what of this delivery is."""
        if self._away_s < delivery.first_at - self._heard_at and math.isfinite(delivery.first_at):
            self._listening_since = delivery.first_at
        self._heard_at = max(self._heard_at, delivery.last_at)
        self._clock = max(self._clock, delivery.last_at)
        self._waiting = self._ordered(
            delivery.batch if self._waiting is None else _joined(self._waiting, delivery.batch)
        )
        self._departures = sorted([*self._departures, *delivery.departures], key=lambda departure: departure[1])
        return self._go_on()

    def wait(self, seconds: float) -> Said:
        """The clock goes on by so many seconds in which nothing of the whole fleet came."""
        self._clock += max(0.0, seconds)
        return self._go_on()

    @property
    def due_in_s(self) -> float:
        """After how many seconds in which nothing comes there will be something to say; infinite for never."""
        waiting = self._waiting
        times = [self._tick_at(), *(at for _, at in self._departures[:1])]
        if waiting is not None and len(waiting):
            times.append(float(self._due(waiting)[0]))
        return max(0.0, min(times) + self._lateness_s - self._clock)

    @property
    def heard_at(self) -> float | None:
        """Up to which arrival the whole fleet was read; None where nothing came yet."""
        return self._heard_at if math.isfinite(self._heard_at) else None

    @property
    def n_waiting(self) -> int:
        """How many readings are held."""
        return 0 if self._waiting is None else len(self._waiting)

    def _go_on(self) -> Said:
        """Judge all that is due by the clock."""
        until = self._clock - self._lateness_s
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            n = int(np.searchsorted(self._due(waiting), until, "right")) if self._lateness_s else len(waiting)
            waiting, self._waiting = _rows(waiting, slice(n)), _rows(waiting, slice(n, None))
        self._judge(waiting, until)
        said, self._said = self._said, Said()
        return said

    def _judge(self, batch: Batch | None, until: float) -> None:
        """Judge ordered readings, and look for silence and departures among them and up to a time."""
        due = np.empty(0) if batch is None else self._due(batch)
        start, looking = 0, True
        while True:
            tick_at = self._tick_at() if looking else math.inf
            lost_at = self._departures[0][1] if self._departures else math.inf
            stop_at = min(tick_at, lost_at)
            stop = start
            if start < len(due):  # what is judged now may be silent itself before what comes later
                own_at = due[start] + self.engine.silent_after_s if looking else math.inf
                stop = int(np.searchsorted(due, min(own_at, stop_at if stop_at <= until else math.inf), "right"))
            if batch is not None and stop > start:
                self._ingest(_rows(batch, slice(start, stop)))
                start = stop
            elif lost_at <= min(tick_at, until):
                events = self._guard.lost(self.engine, Lost([self._departures.pop(0)]))
                self._said.events.extend(events)
            elif tick_at < until:  # at that time more may still come
                events = self._guard.tick(self.engine, Tick(tick_at, self._listening_since))
                self._said.events.extend(events)
                looking = len(events) > 0  # the engine failed otherwise, and would again
            else:
                return

    def _ingest(self, batch: Batch) -> None:
        verdicts = self._guard.ingest(self.engine, batch)
        self._said.judged.append((batch, verdicts))
        self._said.events.extend(verdicts.events)

    def _tick_at(self) -> float:
        """The first whole second at which some series is silent; infinite where none will be."""
        silent_from = self.engine.silent_from(self._listening_since)
        return math.floor(silent_from + _SLACK_S) + 1.0 if math.isfinite(silent_from) else math.inf

    def _due(self, batch: Batch) -> Floats:
        """The times that readings are ordered by.

        They are the readings' own, or their arrivals where these are earlier or there are none. One that is later than
        it is waited for has the time up to which everything was judged when it came, wherever a delivery ends.
        """
        due: Floats = np.fmax(np.fmin(batch.at, batch.received_at), batch.received_at - self._lateness_s)
        return due

    def _ordered(self, batch: Batch) -> Batch:
        due = self._due(batch)
        return batch if (due[1:] >= due[:-1]).all() else _rows(batch, np.argsort(due, kind="stable"))

    # -- what is kept -----------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """All that coming verdicts depend on."""
        waiting = b"" if self._waiting is None or not len(self._waiting) else records.of_batch(self._waiting)
        head = {
            "version": _VERSION,
            "clock": self._clock if math.isfinite(self._clock) else None,
            "heard_at": self._heard_at if math.isfinite(self._heard_at) else None,
            "listening_since": self._listening_since,
            "departures": self._departures,
            "n_waiting_byte": len(waiting),
        }
        return b"".join([json.dumps(head).encode(), b"\n", waiting, self.engine.snapshot().to_bytes()])

    def restore(self, data: bytes) -> None:
        """Go on from what `to_bytes` gave. Alerts of series whose model has other features now end, and are told next.

        Raises:
            ValueError: where it is damaged, or no present model has the features of any of its series.
        """
        line, _, rest = data.partition(b"\n")
        try:
            head = json.loads(line)
            if head["version"] != _VERSION:
                raise ValueError(f"version {head['version']}, this forewarn reads {_VERSION}")
            n = int(head["n_waiting_byte"])
            clock, heard_at = (-math.inf if head[name] is None else float(head[name]) for name in ("clock", "heard_at"))
            listening_since = float(head["listening_since"])
            departures = [(str(device), float(at)) for device, at in head["departures"]]
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"no state of a bucket: {error!r}") from error
        waiting = records.read(rest[:n]) if n else None
        if waiting is not None and not isinstance(waiting, Batch):
            raise ValueError("no state of a bucket: what waits are no readings")
        renewed = self.engine.restore(Snapshot.from_bytes(rest[n:]))
        self._clock, self._heard_at, self._listening_since = clock, heard_at, listening_since
        self._waiting, self._departures = None if waiting is None else self._ordered(waiting), departures
        self._said.events.extend(renewed.cleared)


def _rows(batch: Batch, rows: slice | Slots) -> Batch:
    keys = batch.keys[rows] if isinstance(rows, slice) else [batch.keys[row] for row in rows.tolist()]
    seed = None if batch.seed is None else batch.seed[rows]
    return Batch(keys, batch.at[rows], batch.received_at[rows], batch.values[rows], seed)


def _joined(one: Batch, other: Batch) -> Batch:
    width = max(one.values.shape[1], other.values.shape[1])
    return Batch(
        [*one.keys, *other.keys],
        np.concatenate([one.at, other.at]),
        np.concatenate([one.received_at, other.received_at]),
        np.concatenate([_wide(one.values, width), _wide(other.values, width)]),
        np.concatenate([_seeds(one), _seeds(other)]) if one.seed is not None or other.seed is not None else None,
    )


def _wide(values: Floats, width: int) -> Floats:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))


def _seeds(batch: Batch) -> Mask:
    return np.zeros(len(batch), np.bool_) if batch.seed is None else batch.seed
