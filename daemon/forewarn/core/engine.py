"""The engine: a batch of readings in, verdicts and events out.

Rules that hold here:

- Deterministic: time is an argument, and the verdicts on a series follow from its readings in their order alone, to
  the bit, however they were cut into batches and whatever other series were among them.
- Score first, learn after: a reading is judged against the forecast that was made before it came.
- A reading that is rejected changes nothing.
- Within a batch, the first readings of all series are judged together, then the second ones, and so on; each such
  round asks the forecaster once.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forewarn.core import faults, residuals, windows
from forewarn.core.alerts import Alert, AlertBook, Event, Kind, SeriesEvicted, Severity, alert_id
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Batch, Fleet, Floats, Mask, Outcome, SeriesKey, SeriesState, Slots
from forewarn.core.rules import Rules
from forewarn.core.slots import Column, Registry, Table
from forewarn.core.snapshot import Snapshot
from forewarn.core.verdicts import Verdicts

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_LAST = ("at", "received_at", "value", "expected", "lower", "upper", "residual", "score")
_EXCEEDED_BITS = 32
_ACTIVE = {kind: f"{kind}_active" for kind in Kind}  # columns: whether such an alert is active

PROTECTED_S = 86_400.0
"""How long a series that filled its window keeps its slot against newcomers, in seconds since its last reading."""


_Told = tuple[int, Event]  # the row of the reading that an event came with


class Engine:
    """Judges readings of any number of series with one model."""

    def __init__(self, forecaster: Forecaster, rules: Rules) -> None:
        """Start with no series."""
        card = forecaster.card
        self.rules = rules
        self.card = card
        self._forecast = forecaster.forecast
        self._target = card.target_index
        self._registry = Registry(rules.max_series)
        self._book = AlertBook()
        nan = Column(np.float64, (), np.nan)
        self._table = Table(
            windows.columns(card.n_step, len(card.features)),
            residuals.columns(card.calibration),
            faults.COLUMNS,
            dict.fromkeys(_LAST, nan),
            dict.fromkeys(_ACTIVE.values(), Column(np.bool_)),
            {
                "forecast": Column(np.float32, (card.horizon,), np.nan),
                "exceeded": Column(np.uint64),  # a bit for each of the last 32 readings
                "calm": Column(np.int64),  # readings in a row below the clear threshold
                "told_at": nan,  # when the active residual alert was last told
                "critical": Column(np.bool_),
            },
        )

    # -- readings ---------------------------------------------------------------------------------------------------

    def ingest(self, batch: Batch) -> Verdicts:
        """Judge readings and learn from them."""
        verdicts = Verdicts.blank(len(batch))
        usable = self._screen(batch, verdicts.outcome)
        told: list[_Told] = []
        pending: list[int] = []
        for row in usable.tolist():
            key = batch.keys[row]
            slot = self._registry.slots.get(key)
            if slot is None:
                if self._registry.full:
                    self._judge(batch, pending, verdicts, told)
                    pending = []
                slot, evicted = self._admit(key, float(batch.received_at[row]))
                told.extend((row, event) for event in evicted)
            verdicts.slot[row] = slot
            pending.append(row)
        self._judge(batch, pending, verdicts, told)
        verdicts.events.extend(event for _, event in sorted(told, key=lambda pair: pair[0]))
        return verdicts

    def _screen(self, batch: Batch, outcome: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Reject what no series can use, and return the rows that are left."""
        largest = np.abs(batch.values).max(axis=1)
        finite = np.isfinite(largest) & np.isfinite(batch.at)
        outcome[largest > _FLOAT32_MAX] = Outcome.OUT_OF_RANGE
        outcome[batch.at > batch.received_at + self.rules.max_future_s] = Outcome.FROM_FUTURE
        outcome[~finite] = Outcome.NOT_FINITE
        return np.flatnonzero(outcome == Outcome.WARMING_UP)

    def _admit(self, key: SeriesKey, now: float) -> tuple[int, list[Event]]:
        """A slot for a new series, and what the one that had it leaves behind."""
        events: list[Event] = []
        if self._registry.full:
            slot = self._longest_silent(now)
            events.extend(self._book.forget(slot))
            events.append(SeriesEvicted(self._registry.replace(slot, key), slot))
            self._table.reset(slot)
        else:
            slot = self._registry.add(key)
            if slot >= self._table.rows:
                self._table.grow(min(2 * self._table.rows, self._registry.cap))
        self._set_threshold(slot, key)
        return slot, events

    def _set_threshold(self, slot: int, key: SeriesKey) -> None:
        threshold = self.rules.threshold_of(key, self.card.calibration.threshold_errors)
        self._table["threshold"][slot] = threshold.value
        self._table["absolute"][slot] = threshold.absolute

    def _longest_silent(self, now: float) -> int:
        n = self._registry.cap
        heard_at = self._table["received_at"][:n]
        keeps = (self._table["filled"][:n] >= self.card.n_step) & (heard_at > now - PROTECTED_S)
        candidates = np.flatnonzero(~keeps) if not keeps.all() else np.arange(n)
        return int(candidates[np.argmin(heard_at[candidates])])

    def _judge(self, batch: Batch, rows: list[int], verdicts: Verdicts, told: list[_Told]) -> None:
        chosen = np.asarray(rows, np.int64)
        for nth in _rounds(verdicts.slot[chosen]):
            self._round(batch, chosen[nth], verdicts, told)

    def _round(self, batch: Batch, rows: Slots, verdicts: Verdicts, told: list[_Told]) -> None:
        """Judge readings of distinct series."""
        table = self._table
        slots, at = verdicts.slot[rows], batch.at[rows]
        last_at = table["at"][slots]
        verdicts.outcome[rows[at == last_at]] = Outcome.DUPLICATE
        verdicts.outcome[rows[at < last_at]] = Outcome.OUT_OF_ORDER
        kept = ~(at <= last_at)
        if not kept.all():
            rows, slots, at = rows[kept], slots[kept], at[kept]
        values, received_at = batch.values[rows], batch.received_at[rows]
        value = values[:, self._target]
        judged = residuals.judge(table, slots, value, table["forecast"][slots, 0].astype(np.float64))
        score = np.where(judged.warm, judged.score, 0.0)
        started_at = table["window_at"][slots, 0]
        change = value - table["value"][slots]
        since = received_at - table["received_at"][slots]

        table["at"][slots], table["received_at"][slots] = at, received_at
        table["value"][slots], table["score"][slots] = value, score
        for name in ("expected", "lower", "upper", "residual"):
            table[name][slots] = getattr(judged, name)
            getattr(verdicts, name)[rows] = getattr(judged, name)
        verdicts.score[rows] = score
        verdicts.threshold[rows] = judged.threshold
        verdicts.outcome[rows[judged.warm]] = Outcome.SCORED

        changed = self._residual_changes(slots, at, judged, score)
        learnable = np.isfinite(judged.residual)
        if learnable.any():
            residuals.learn(table, slots[learnable], judged.residual[learnable], judged.expected[learnable])
        residuals.see_change(table, slots, change)
        faults.see_value(table, slots, change)
        faults.see_arrival(table, slots, since)
        for i in np.flatnonzero(changed | self._fault_changes(slots)).tolist():
            events = self._tell(int(slots[i]), float(started_at[i]), bool(changed[i]))
            told.extend((int(rows[i]), event) for event in events)
        verdicts.alert[rows] = table[_ACTIVE[Kind.RESIDUAL]][slots]
        self._look_ahead(slots, at, values)

    def _look_ahead(self, slots: Slots, at: Floats, values: Floats) -> None:
        full = windows.push(self._table, slots, at, values)
        if len(full):
            ready = slots[self._table["filled"][slots] >= self.card.n_step]
            self._table["forecast"][ready] = self._forecast(full)

    # -- alerts -----------------------------------------------------------------------------------------------------

    def _residual_changes(self, slots: Slots, at: Floats, judged: residuals.Judgement, score: Floats) -> Mask:
        """Move the masks of the residual alerts and return where an alert must be told."""
        table, rules = self._table, self.rules
        exceeds = judged.warm & (score > judged.threshold)
        history = (table["exceeded"][slots] << np.uint64(1)) | exceeds
        history &= np.uint64((1 << _EXCEEDED_BITS) - 1)
        table["exceeded"][slots] = history
        recent = np.bitwise_count(history & np.uint64((1 << rules.raise_within) - 1))
        calm = np.where(score < rules.clear_ratio * judged.threshold, table["calm"][slots] + 1, 0)
        table["calm"][slots] = calm

        active = table[_ACTIVE[Kind.RESIDUAL]][slots]
        raised = ~active & exceeds & (recent >= rules.raise_after)
        cleared = active & (calm >= rules.clear_after)
        critical = (active | raised) & (score > rules.critical_ratio * judged.threshold)
        worse = active & critical & ~table["critical"][slots]
        due = active & (at >= table["told_at"][slots] + rules.update_every_s)
        told: Mask = raised | cleared | worse | due
        table["told_at"][slots] = np.where(told, at, table["told_at"][slots])
        table["critical"][slots] = ((table["critical"][slots] & active) | critical) & ~cleared
        table[_ACTIVE[Kind.RESIDUAL]][slots] = (active | raised) & ~cleared
        return told

    def _fault_changes(self, slots: Slots) -> Mask:
        """Move the masks of the fault alerts at a reading and return where an alert must be told."""
        table = self._table
        heard = table[_ACTIVE[Kind.SILENT]][slots]
        table[_ACTIVE[Kind.SILENT]][slots] = False
        before = table[_ACTIVE[Kind.STUCK]][slots]
        run = table["run"][slots]
        stuck = (
            (run >= faults.run_limit(table, slots, self.rules)) if self.rules.stuck else np.zeros(len(slots), np.bool_)
        )
        stuck |= before & (run > 1)
        table[_ACTIVE[Kind.STUCK]][slots] = stuck
        changed: Mask = heard | (stuck != before)
        return changed

    def _tell(self, slot: int, started_at: float, residual_told: bool) -> Iterator[Event]:
        """The events that bring the book in line with the masks of one slot."""
        known = {alert.kind for alert in self._book.of(slot)}
        for kind in Kind:
            active = bool(self._table[_ACTIVE[kind]][slot])
            if active and (kind not in known or (residual_told and kind is Kind.RESIDUAL)):
                yield self._book.observe(self._alert(slot, kind, started_at))
            elif not active and kind in known:
                now = float(self._table["received_at"][slot]) if kind is Kind.SILENT else None
                yield self._book.clear(self._alert(slot, kind, started_at, now))

    def _alert(self, slot: int, kind: Kind, started_at: float, now: float | None = None) -> Alert:
        row = {name: _number(self._table[name][slot]) for name in _LAST}
        at = row["at"] if now is None else now
        received_at = row["received_at"] if now is None else now
        assert at is not None  # noqa: S101 - a series has a slot only from its first accepted reading on
        assert received_at is not None  # noqa: S101 - the same
        series = self._registry.keys[slot]
        score, threshold = self._measure(slot, kind, received_at)
        serious = kind is Kind.RESIDUAL and bool(self._table["critical"][slot])
        return Alert(
            id=alert_id(series, kind, at),
            kind=kind,
            severity=Severity.CRITICAL if serious else Severity.WARNING,
            series=series,
            slot=slot,
            value=row["value"],
            expected=row["expected"],
            lower=row["lower"],
            upper=row["upper"],
            residual=row["residual"],
            score=score,
            threshold=threshold,
            at=at,
            received_at=received_at,
            raised_at=at,
            window_started_at=_number(started_at),
        )

    def _measure(self, slot: int, kind: Kind, now: float) -> tuple[float, float]:
        """What an alert of this kind compares: its score and its threshold."""
        table, one = self._table, np.array([slot])
        if kind is Kind.RESIDUAL:
            return float(table["score"][slot]), float(table["threshold"][slot])
        if kind is Kind.STUCK:
            return float(table["run"][slot]), float(faults.run_limit(table, one, self.rules)[0])
        limit = faults.silence_limit(table, slot + 1, self.rules)[slot]
        return now - float(table["received_at"][slot]), float(limit)

    # -- time -------------------------------------------------------------------------------------------------------

    def tick(self, now: float, listening_since: float) -> list[Event]:
        """Find the series that are silent.

        Args:
            now: UTC epoch seconds, on the clock of `Batch.received_at`.
            listening_since: since when readings could have arrived: silence is not counted while the broker was away.
        """
        if not self.rules.silent:
            return []
        n = len(self._registry.keys)
        age = now - np.maximum(self._table["received_at"][:n], listening_since)
        new = [
            slot
            for slot in faults.silent(self._table, age, self.rules).tolist()
            if not self._table[_ACTIVE[Kind.SILENT]][slot]
        ]
        self._table[_ACTIVE[Kind.SILENT]][new] = True
        return [
            self._book.observe(self._alert(slot, Kind.SILENT, float(self._table["window_at"][slot, 0]), now))
            for slot in new
        ]

    # -- views ------------------------------------------------------------------------------------------------------

    def alerts(self, slot: int) -> list[Alert]:
        """The active alerts of a slot."""
        return self._book.of(slot)

    def key(self, slot: int) -> SeriesKey:
        """The series that has this slot."""
        return self._registry.keys[slot]

    def state(self, slots: Slots) -> NDArray[np.uint8]:
        """Members of `SeriesState` for these slots."""
        table = self._table
        warm = np.isfinite(table["forecast"][slots, 0]) & (table["n_residual"][slots] >= residuals.WARM_UP)
        active = (
            table[_ACTIVE[Kind.RESIDUAL]][slots]
            | table[_ACTIVE[Kind.STUCK]][slots]
            | table[_ACTIVE[Kind.SILENT]][slots]
        )
        state = np.where(warm, SeriesState.OK, SeriesState.WARMING_UP)
        return np.where(active, SeriesState.ALERT, state).astype(np.uint8)

    def fleet(self) -> Fleet:
        """A copy of what is known of every series."""
        n = len(self._registry.keys)
        columns = self._table
        return Fleet(
            keys=tuple(self._registry.keys),
            slot=np.arange(n),
            state=self.state(np.arange(n)),
            threshold=columns["threshold"][:n].copy(),
            forecast=columns["forecast"][:n].copy(),
            **{name: columns[name][:n].copy() for name in _LAST},
        )

    def snapshot(self) -> Snapshot:
        """Everything that the coming verdicts depend on."""
        n = len(self._registry.keys)
        return Snapshot(self.card.features, tuple(self._registry.keys), tuple(self._book), self._table.dump(n))

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot. Thresholds are those of the present rules.

        Raises:
            ValueError: where the snapshot is of a model with other features, steps or leads, or has more series than
                the cap; the engine is then as it was.
        """
        if snapshot.features != self.card.features or len(snapshot.keys) > self._registry.cap:
            raise ValueError("the snapshot is of a model with other features, or has more series than the device cap")
        self._table.load(snapshot.columns, len(snapshot.keys))
        self._registry = Registry(self._registry.cap)
        for key in snapshot.keys:
            self._set_threshold(self._registry.add(key), key)
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


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
