"""The engine: a batch of readings in, verdicts and events out.

Rules that hold here:

- Deterministic: time is an argument, and the verdicts on a series follow from its readings in their order alone, to
  the bit, however they were cut into batches and whatever other series were among them.
- Score first, learn after: a reading is judged against the forecast that was made before it came.
- A reading that is rejected changes nothing. So does one that is not judged because something unforeseen is raised:
  what may fail works on copies, and what is written at the end cannot.
- A seed is the first reading of its series or is rejected; it takes nobody's slot, and no alert begins with it.
- Within a batch, the first readings of all series are judged together, then the second ones, and so on; each such
  round asks the forecaster once.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from forewarn.core import bands, cadences, courses, faults, windows
from forewarn.core.admissions import Admissions
from forewarn.core.alerts import OF_JUDGES, Alert, AlertBook, AlertChange, Kind
from forewarn.core.courses import Course, Recent
from forewarn.core.judges import BIT, LEAD_COLUMNS, Arrivals, Findings, Judges
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Batch, Fleet, Floats, Outcome, SeriesKey, SeriesState, Slots
from forewarn.core.rules import Rules
from forewarn.core.slots import Column, Registry, State, Table
from forewarn.core.snapshot import Snapshot
from forewarn.core.telling import LAST, Teller
from forewarn.core.verdicts import Verdicts

_FLOAT32_MAX = float(np.finfo(np.float32).max)


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
        self._admissions = Admissions(self._table, self._registry, self._book, self.card, rules)
        features = [feature.name for feature in self.card.features]
        self._teller = Teller(self._book, self._registry, features, rules.update_every_s)

    # -- readings ---------------------------------------------------------------------------------------------------

    def ingest(self, batch: Batch) -> Verdicts:
        """Judge readings and learn from them."""
        verdicts = Verdicts.blank(len(batch))
        self.judge(batch, np.arange(len(batch)), verdicts)
        return verdicts

    def judge(self, batch: Batch, rows: Slots, verdicts: Verdicts) -> None:
        """Judge some readings of a batch, in their order, and learn from them.

        Whatever should be raised, no reading is judged by half: of those that are `Outcome.FAILED` afterwards, as all
        are at first, the engine knows nothing. They may be given again, together or apart.

        Args:
            batch: of the readings.
            rows: which of them.
            verdicts: on the batch, to be filled in.
        """
        self._screen(batch, verdicts.outcome)
        try:
            self._judge_all(batch, rows[verdicts.outcome[rows] == Outcome.FAILED], verdicts)
        except BaseException:
            self._admissions.take_back()
            # Retained ones may have been rejected for the sake of a series that is not there any more.
            verdicts.outcome[rows[verdicts.outcome[rows] == Outcome.RETAINED]] = Outcome.FAILED
            verdicts.slot[verdicts.outcome == Outcome.FAILED] = -1
            verdicts.told[:] = [pair for pair in verdicts.told if verdicts.outcome[pair[0]] != Outcome.FAILED]
            raise

    def _judge_all(self, batch: Batch, rows: Slots, verdicts: Verdicts) -> None:
        pending: list[int] = []
        waiting: set[int] = set()
        seeds = None if batch.seed is None else batch.seed.tolist()
        for nth, row in enumerate(rows.tolist()):
            key = batch.keys[row]
            slot = self._registry.slots.get(key)
            if seeds is not None and seeds[row] and (slot is not None or self._registry.full):
                verdicts.outcome[row] = Outcome.RETAINED
                continue
            if slot is None:
                now, most = float(batch.received_at[row]), len(rows) - nth
                since = float(batch.received_at[pending[0]]) if pending else now
                if not self._admissions.knows(now, most, waiting, since):
                    self._judge(batch, pending, verdicts)
                    pending, waiting = [], set()
                slot, evicted = self._admissions.admit(key, now, most)
                verdicts.told.extend((row, event) for event in evicted)
            verdicts.slot[row] = slot
            pending.append(row)
            waiting.add(slot)
        self._judge(batch, pending, verdicts)

    def _screen(self, batch: Batch, outcome: NDArray[np.uint8]) -> None:
        """Reject what no series can use."""
        largest = np.abs(batch.values).max(axis=1)
        finite = np.isfinite(largest) & np.isfinite(batch.at)
        outcome[largest > _FLOAT32_MAX] = Outcome.OUT_OF_RANGE
        outcome[batch.at > batch.received_at + self.rules.max_future_s] = Outcome.FROM_FUTURE
        outcome[~finite] = Outcome.NOT_FINITE

    def _judge(self, batch: Batch, rows: list[int], verdicts: Verdicts) -> None:
        self._admissions.prepare()
        chosen = np.asarray(rows, np.int64)
        for nth in _rounds(verdicts.slot[chosen]):
            self._round(batch, chosen[nth], verdicts)
            self._admissions.settle()

    def _round(self, batch: Batch, rows: Slots, verdicts: Verdicts) -> None:
        """Judge readings of distinct series."""
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
        outcome = np.where(found.warm, Outcome.SCORED, Outcome.WARMING_UP)
        self._write(state, found, rows, verdicts)
        told = self._tell(state, found, slots, started_at)

        self._table.put(slots, state)
        for _, event in told:
            self._book.take(event)
        verdicts.told.extend((int(rows[i]), event) for i, event in told)
        verdicts.outcome[rows] = outcome

    def _write(self, state: State, found: Findings, rows: Slots, verdicts: Verdicts) -> None:
        """What was found, as the series' last and into the verdicts; it counts once the outcome is there too."""
        state["score"] = found.score
        for name in ("expected", "lower", "upper", "residual"):
            state[name] = getattr(found.expectation, name)
        for name in ("expected", "lower", "upper", "residual", "score"):
            getattr(verdicts, name)[rows] = state[name]
        verdicts.anomaly_score[rows] = found.anomaly_score
        verdicts.threshold[rows] = found.threshold
        judged = [found.rulings[kind].active for kind in OF_JUDGES if kind in found.rulings]
        verdicts.alert[rows] = np.any(judged, axis=0)

    def _tell(self, state: State, found: Findings, slots: Slots, started_at: Floats) -> list[tuple[int, AlertChange]]:
        """What changes in the alerts, each with the reading's place in the round."""
        before = state["active"].copy()
        after = np.zeros(len(slots), np.int64)
        for kind, ruling in found.rulings.items():
            after |= ruling.active * BIT[kind]
        state["active"] = after
        return [
            (i, event)
            for i in np.flatnonzero(before | after).tolist()
            for event in self._teller.tell(int(slots[i]), state, i, found.rulings, float(started_at[i]))
        ]

    # -- time -------------------------------------------------------------------------------------------------------

    def tick(self, now: float, listening_since: float) -> list[AlertChange]:
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
        limit = faults.silence_limit(table, n, self.rules)
        return self._silence(new, limit[new], np.full(len(new), now))

    def lost(self, departures: Sequence[tuple[str, float]]) -> list[AlertChange]:
        """Take the word of devices that are going, or of who speaks for them: their series are silent from now on.

        A name speaks for every device below it as well: `plug` for `plug:probe`.

        Args:
            departures: device and the time when it said so, UTC epoch seconds, on the clock of `Batch.received_at`.
        """
        if not self.rules.silent:
            return []
        told, keys, table = dict(departures), self._registry.keys, self._table
        n = len(keys)
        word = (max((told[name] for name in _above(key.device) if name in told), default=-np.inf) for key in keys)
        said_at = np.fromiter(word, np.float64, n)
        silence = said_at - table["received_at"][:n]
        new = np.flatnonzero((silence >= 0) & ((table["active"][:n] & BIT[Kind.SILENT]) == 0))
        limit = np.minimum(faults.silence_limit(table, n, self.rules), np.maximum(self.rules.silent_min_s, silence))
        return self._silence(new, limit[new], said_at[new])

    def _silence(self, slots: Slots, limit: Floats, at: Floats) -> list[AlertChange]:
        """These series are silent as of the times `at`, `limit` seconds being the most to expect of them."""
        if not len(slots):
            return []
        state = self._table.take(slots)
        events = [
            self._teller.silent(slot, state, i, float(limit[i]), float(at[i])) for i, slot in enumerate(slots.tolist())
        ]
        self._table["active"][slots] |= BIT[Kind.SILENT]
        for event in events:
            self._book.take(event)
        return events

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

    def active(self) -> tuple[Alert, ...]:
        """Every active alert, in the order of their raises."""
        return tuple(self._book)

    def recent(self, slots: Slots) -> Recent:
        """A copy of the readings that are kept of these series."""
        keys = tuple(self._registry.keys[slot] for slot in slots.tolist())
        return Recent(keys, *courses.recent(self._table, slots, self._target))

    def course(self, key: SeriesKey) -> Course | None:
        """A copy of what is kept of one series; None where it is not known."""
        slot = self._registry.slots.get(key)
        if slot is None:
            return None
        last, alerts = self.fleet(np.array([slot])), tuple(self._book.of(slot))
        return courses.course(self._table, slot, self._target, last, alerts)

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


def _above(device: str) -> Iterator[str]:
    """A device's name and those that speak for it."""
    yield device
    while device := device.rpartition(":")[0]:
        yield device


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
