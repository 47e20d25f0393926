"""The engine: a batch of readings in, verdicts and events out.

Rules that hold here:

- Deterministic: time is an argument, and the verdicts on a series follow from its readings in their order alone, to
  the bit, however they were cut into batches and whatever other series were among them.
- Score first, learn after: a reading is judged against the forecast that was made before it came.
- A reading that is rejected changes nothing.
- A seed is the first reading of its series or is rejected; it takes nobody's slot, and no alert begins with it.
- Within a batch, the first readings of all series are judged together, then the second ones, and so on; each such
  round asks the forecaster once.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.core import bands, cadences, faults, windows
from forewarn.core.admissions import Admissions
from forewarn.core.alerts import OF_JUDGES, Alert, AlertBook, Event, Kind, SeriesEvicted
from forewarn.core.judges import BIT, LEAD_COLUMNS, Arrivals, Findings, Judges
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Batch, Fleet, Outcome, SeriesKey, SeriesState, Slots
from forewarn.core.rules import Rules
from forewarn.core.slots import Column, Registry, State, Table
from forewarn.core.snapshot import Snapshot
from forewarn.core.telling import LAST, Teller
from forewarn.core.verdicts import Verdicts

_FLOAT32_MAX = float(np.finfo(np.float32).max)


class _Work(NamedTuple):
    """A batch on its way.

    Attributes:
        batch: the readings.
        verdicts: on them.
        told: events, each with the row of the reading that it came with.
        rows: the readings that have a slot and are not judged yet.
        slots: theirs.
    """

    batch: Batch
    verdicts: Verdicts
    told: list[tuple[int, Event]]
    rows: list[int]
    slots: set[int]


class Engine:
    """Judges readings of any number of series with one model."""

    def __init__(self, forecaster: Forecaster, rules: Rules) -> None:
        """Start with no series."""
        self.rules = rules
        self.card = forecaster.card
        self._target = self.card.target_index
        self._judges = Judges(forecaster, rules)
        self._registry = Registry(rules.max_series)
        self._book = AlertBook()
        nan = Column(np.float64, (), np.nan)
        self._table = Table(*self._judges.columns, dict.fromkeys(LAST, nan))
        self._admissions = Admissions(self._table, self._registry, self.card, rules)
        features = [feature.name for feature in self.card.features]
        self._teller = Teller(self._book, self._table, self._registry, features, rules.update_every_s)

    # -- readings ---------------------------------------------------------------------------------------------------

    def ingest(self, batch: Batch) -> Verdicts:
        """Judge readings and learn from them."""
        work = _Work(batch, Verdicts.blank(len(batch)), [], [], set())
        usable = self._screen(batch, work.verdicts.outcome)
        seeds = None if batch.seed is None else batch.seed.tolist()
        for nth, row in enumerate(usable.tolist()):
            slot = self._registry.slots.get(batch.keys[row])
            if seeds is not None and seeds[row] and (slot is not None or self._registry.full):
                work.verdicts.outcome[row] = Outcome.RETAINED
                continue
            if slot is None:
                slot = self._admit(work, row, len(usable) - nth)
            work.verdicts.slot[row] = slot
            work.rows.append(row)
            work.slots.add(slot)
        self._judge(work)
        work.verdicts.events.extend(event for _, event in sorted(work.told, key=lambda pair: pair[0]))
        return work.verdicts

    def _screen(self, batch: Batch, outcome: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Reject what no series can use, and return the rows that are left."""
        largest = np.abs(batch.values).max(axis=1)
        finite = np.isfinite(largest) & np.isfinite(batch.at)
        outcome[largest > _FLOAT32_MAX] = Outcome.OUT_OF_RANGE
        outcome[batch.at > batch.received_at + self.rules.max_future_s] = Outcome.FROM_FUTURE
        outcome[~finite] = Outcome.NOT_FINITE
        return np.flatnonzero(outcome == Outcome.WARMING_UP)

    def _admit(self, work: _Work, row: int, most: int) -> int:
        """A slot for the new series of this reading, which may be followed by so many at `most`, itself among them."""
        arrived_at = work.batch.received_at
        now = float(arrived_at[row])
        since = float(arrived_at[work.rows[0]]) if work.rows else now
        if not self._admissions.knows(now, most, work.slots, since):
            self._judge(work)
        slot, left = self._admissions.admit(work.batch.keys[row], now, most)
        if left is not None:
            work.told.extend((row, ended) for ended in self._book.forget(slot))
            work.told.append((row, SeriesEvicted(left, slot)))
        return slot

    def _judge(self, work: _Work) -> None:
        """Judge the readings that wait for it."""
        self._admissions.settle()
        rows = np.asarray(work.rows, np.int64)
        for nth in _rounds(work.verdicts.slot[rows]):
            self._round(work, rows[nth])
        work.rows.clear()
        work.slots.clear()

    def _round(self, work: _Work, rows: Slots) -> None:
        """Judge readings of distinct series."""
        batch, verdicts = work.batch, work.verdicts
        slots, at = verdicts.slot[rows], batch.at[rows]
        state = self._table.take(slots)
        last_at = state["at"]
        rejected = at <= last_at
        if rejected.any():
            verdicts.outcome[rows[at == last_at]] = Outcome.DUPLICATE
            verdicts.outcome[rows[at < last_at]] = Outcome.OUT_OF_ORDER
            kept = ~rejected
            rows, slots, at, state = rows[kept], slots[kept], at[kept], state[kept]
        values, received_at = batch.values[rows], batch.received_at[rows]
        value = values[:, self._target]
        interval_s = at - state["at"]
        missing = cadences.missing(state, interval_s)
        readings = Arrivals(at, values, value - state["value"], interval_s, missing)
        self._judges.restart(state, cadences.after_gap(state, interval_s, self.rules.max_gap))
        cadences.see_interval(state, received_at - state["received_at"], interval_s)
        state["at"], state["received_at"], state["value"] = at, received_at, value

        started_at = state["window_at"][:, 0].copy()
        found = self._judges.judge(state, readings)
        if batch.seed is not None:
            found.silence(batch.seed[rows])
        self._write(state, found, rows, verdicts)
        before = state["active"].copy()
        after = np.zeros(len(rows), np.int64)
        for kind, ruling in found.rulings.items():
            after |= ruling.active * BIT[kind]
        state["active"] = after
        self._table.put(slots, state)
        for i in np.flatnonzero(before | after).tolist():
            events = self._teller.tell(int(slots[i]), i, found.rulings, float(started_at[i]))
            work.told.extend((int(rows[i]), event) for event in events)

    def _write(self, state: State, found: Findings, rows: Slots, verdicts: Verdicts) -> None:
        """What was found, into the verdicts and as the series' last."""
        state["score"] = found.score
        for name in ("expected", "lower", "upper", "residual"):
            state[name] = getattr(found.expectation, name)
        for name in ("expected", "lower", "upper", "residual", "score"):
            getattr(verdicts, name)[rows] = state[name]
        verdicts.anomaly_score[rows] = found.anomaly_score
        verdicts.threshold[rows] = found.threshold
        verdicts.outcome[rows[found.warm]] = Outcome.SCORED
        judged = [found.rulings[kind].active for kind in OF_JUDGES if kind in found.rulings]
        verdicts.alert[rows] = np.any(judged, axis=0)

    # -- time -------------------------------------------------------------------------------------------------------

    def tick(self, now: float, listening_since: float) -> list[Event]:
        """Find the series that are silent.

        Args:
            now: UTC epoch seconds, on the clock of `Batch.received_at`.
            listening_since: since when readings could have arrived: silence is not counted while the broker was away.
        """
        if not self.rules.silent:
            return []
        table, n = self._table, len(self._registry.keys)
        age = now - np.maximum(table["received_at"][:n], listening_since)
        silent = faults.silent(table, age, self.rules)
        new = silent[(table["active"][silent] & BIT[Kind.SILENT]) == 0]
        table["active"][new] |= BIT[Kind.SILENT]
        threshold = faults.silence_limit(table, n, self.rules)
        return [self._teller.silent(slot, float(threshold[slot]), now) for slot in new.tolist()]

    # -- views ------------------------------------------------------------------------------------------------------

    def alerts(self, slot: int) -> list[Alert]:
        """The active alerts of a slot."""
        return self._book.of(slot)

    def key(self, slot: int) -> SeriesKey:
        """The series that has this slot."""
        return self._registry.keys[slot]

    def state(self, slots: Slots) -> NDArray[np.uint8]:
        """Members of `SeriesState` for these slots."""
        quiet = np.where(self._judges.warm(self._table, slots), SeriesState.OK, SeriesState.WARMING_UP)
        return np.where(self._table["active"][slots] != 0, SeriesState.ALERT, quiet).astype(np.uint8)

    def fleet(self, slots: Slots | None = None) -> Fleet:
        """A copy of what is known of these series, or of every one."""
        chosen = np.arange(len(self._registry.keys)) if slots is None else slots
        columns = self._table
        return Fleet(
            keys=tuple(self._registry.keys[slot] for slot in chosen.tolist()),
            slot=chosen,
            state=self.state(chosen),
            threshold=self._judges.threshold(columns, chosen),
            forecast=columns["forecast"][chosen],
            half_width=bands.half_widths(columns, chosen),
            **{name: columns[name][chosen] for name in LAST},
        )

    def snapshot(self) -> Snapshot:
        """Everything that the coming verdicts depend on."""
        n = len(self._registry.keys)
        return Snapshot(self.card.features, tuple(self._registry.keys), tuple(self._book), self._table.dump(n))

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot. Thresholds and limits are those of the present rules.

        The model may have another number of steps or leads: windows are refitted, and what is known of the errors at
        each lead begins anew.

        Raises:
            ValueError: where the snapshot is of a model with other features, or has more series than the cap; the
                engine is then as it was.
        """
        if snapshot.features != self.card.features or len(snapshot.keys) > self._registry.cap:
            raise ValueError("the snapshot is of a model with other features, or has more series than the device cap")
        columns = windows.refitted(snapshot.columns, self.card.n_step)
        of_leads = [
            name for name in LEAD_COLUMNS if name in columns and self._table[name].shape[1:] != columns[name].shape[1:]
        ]
        self._table.load({name: c for name, c in columns.items() if name not in of_leads}, len(snapshot.keys))
        self._registry.load(snapshot.keys)
        self._admissions.set_rules(list(range(len(snapshot.keys))))
        self._book.load(snapshot.alerts)


def _rounds(slots: Slots) -> Iterator[NDArray[np.intp]]:
    """Cut rows so that each part has every slot at most once and each slot's rows keep their order."""
    n = len(slots)
    order = np.argsort(slots, kind="stable")
    row = np.arange(n)
    first = np.ones(n, np.bool_)
    first[1:] = slots[order[1:]] != slots[order[:-1]]
    if first.all():
        if n:
            yield row
        return
    nth = np.empty(n, np.int64)
    nth[order] = row - np.maximum.accumulate(np.where(first, row, 0))
    by_round = np.argsort(nth, kind="stable")
    yield from np.split(by_round, np.cumsum(np.bincount(nth))[:-1])
