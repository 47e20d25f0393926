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
from forewarn.core.slots import Column, Registry, State, Table
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
        judged = residuals.judge(state, value, state["forecast"][:, 0].astype(np.float64))
        started_at = state["window_at"][:, 0].copy()
        change = value - state["value"]
        since = received_at - state["received_at"]

        state["at"], state["received_at"], state["value"] = at, received_at, value
        for name in ("expected", "lower", "upper", "residual", "score"):
            state[name] = getattr(judged, name)
            getattr(verdicts, name)[rows] = getattr(judged, name)
        verdicts.threshold[rows] = judged.threshold
        verdicts.outcome[rows[judged.warm]] = Outcome.SCORED

        changed = self._residual_changes(state, at, judged)
        residuals.learn(state, judged, np.isfinite(judged.residual))
        residuals.see_change(state, change)
        faults.see_value(state, change)
        faults.see_arrival(state, since)
        news = changed | self._fault_changes(state)
        self._look_ahead(state, at, values)
        self._table.put(slots, state)
        for i in np.flatnonzero(news).tolist():
            events = self._tell(int(slots[i]), float(started_at[i]), bool(changed[i]))
            told.extend((int(rows[i]), event) for event in events)
        verdicts.alert[rows] = state[_ACTIVE[Kind.RESIDUAL]]

    def _look_ahead(self, state: State, at: Floats, values: Floats) -> None:
        full = windows.push(state, at, values)
        if full.all():
            state["forecast"] = self._forecast(np.ascontiguousarray(state["window"]))
        elif full.any():
            state["forecast"][full] = self._forecast(state["window"][full])

    # -- alerts -----------------------------------------------------------------------------------------------------

    def _residual_changes(self, state: State, at: Floats, judged: residuals.Judgement) -> Mask:
        """Move the masks of the residual alerts and return where an alert must be told."""
        rules, score = self.rules, judged.score
        exceeds = judged.warm & (score > judged.threshold)
        history = (state["exceeded"] << np.uint64(1)) | exceeds
        history &= np.uint64((1 << _EXCEEDED_BITS) - 1)
        state["exceeded"] = history
        recent = np.bitwise_count(history & np.uint64((1 << rules.raise_within) - 1))
        calm = np.where(score < rules.clear_ratio * judged.threshold, state["calm"] + 1, 0)
        state["calm"] = calm

        active = state[_ACTIVE[Kind.RESIDUAL]]
        raised = ~active & exceeds & (recent >= rules.raise_after)
        cleared = active & (calm >= rules.clear_after)
        critical = (active | raised) & (score > rules.critical_ratio * judged.threshold)
        worse = active & critical & ~state["critical"]
        due = active & (at >= state["told_at"] + rules.update_every_s)
        told: Mask = raised | cleared | worse | due
        state["told_at"] = np.where(told, at, state["told_at"])
        state["critical"] = ((state["critical"] & active) | critical) & ~cleared
        state[_ACTIVE[Kind.RESIDUAL]] = (active | raised) & ~cleared
        return told

    def _fault_changes(self, state: State) -> Mask:
        """Move the masks of the fault alerts at a reading and return where an alert must be told."""
        heard = state[_ACTIVE[Kind.SILENT]].copy()
        state[_ACTIVE[Kind.SILENT]] = False
        before = state[_ACTIVE[Kind.STUCK]]
        run = state["run"]
        stuck = before & (run > 1)
        if self.rules.stuck:
            stuck |= run >= faults.run_limit(state, self.rules)
        changed: Mask = heard | (stuck != before)
        state[_ACTIVE[Kind.STUCK]] = stuck
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
        table = self._table
        if kind is Kind.RESIDUAL:
            return float(table["score"][slot]), float(table["threshold"][slot])
        if kind is Kind.STUCK:
            return float(table["run"][slot]), float(faults.run_limit(table.take(np.array([slot])), self.rules)[0])
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
