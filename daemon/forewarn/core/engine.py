"""The engine: a batch of readings in, verdicts and events out.

Rules that hold here:

- Deterministic: time is an argument, and the verdicts on a series follow from its readings in their order alone, to
  the bit, however they were cut into batches and whatever other series were among them.
- Score first, learn after: a reading is judged against the forecast that was made before it came.
- A reading that is rejected changes nothing.
- Sensor faults never teach: a reading inside one does not enter the recent errors, until `accept_after` of them in a
  row say that this is how the series is now.
- Within a batch, the first readings of all series are judged together, then the second ones, and so on; each such
  round asks the forecaster once.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.core import conversions, crossings, faults, limits, residuals, windows
from forewarn.core.alerts import Alert, AlertBook, Event, Kind, SeriesEvicted, Severity, alert_id
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Batch, Fleet, Floats, Mask, Outcome, SeriesKey, SeriesState, Slots
from forewarn.core.rules import Rules
from forewarn.core.rulings import Ruling
from forewarn.core.slots import Column, Registry, State, Table
from forewarn.core.snapshot import Snapshot
from forewarn.core.verdicts import Verdicts

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_LAST = ("at", "received_at", "value", "expected", "lower", "upper", "residual", "score")
_BIT = {kind: 1 << i for i, kind in enumerate(Kind)}  # of the column `active`
_FAULTS = (Kind.STUCK, Kind.RANGE, Kind.RATE, Kind.UNIT_CHANGE)  # at readings; a silent series has none

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
            limits.COLUMNS,
            conversions.COLUMNS,
            crossings.columns(card.horizon),
            dict.fromkeys(_LAST, nan),
            {
                "forecast": Column(np.float32, (card.horizon,), np.nan),
                "active": Column(np.int64),  # a bit for each kind of alert that is active
                "n_faulty": Column(np.int64),  # readings in a row inside sensor faults
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
        self._set_rules(slot, key)
        return slot, events

    def _set_rules(self, slot: int, key: SeriesKey) -> None:
        threshold = self.rules.threshold_of(key, self.card.calibration.threshold_errors)
        self._table["threshold"][slot] = threshold.value
        self._table["absolute"][slot] = threshold.absolute
        limits.set_limits(self._table, slot, self.rules.limits_of(key))
        self._table["convertible"][slot] = self.rules.unit_change and key.metric not in self.rules.other_units

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
        change = values[:, self._target] - state["value"]
        interval = at - state["at"]
        gap = faults.after_gap(state, interval, self.rules.max_gap)
        if gap.any():
            windows.restart(state, gap)
        faults.see_interval(state, received_at - state["received_at"], interval)
        state["at"], state["received_at"], state["value"] = at, received_at, values[:, self._target]

        judged = self._score(state, rows, verdicts)
        started_at = state["window_at"][:, 0].copy()
        rulings = self._rulings(state, judged, change, interval)
        self._learn(state, judged, change, rulings)
        self._look_ahead(state, at, values)
        if self.rules.limits:
            crossings.follow(state)
            was = _was(state, Kind.FORECAST_LIMIT)
            rulings[Kind.FORECAST_LIMIT] = crossings.rule(state, state["value"], was, self.rules)

        before = state["active"].copy()
        after = sum((ruling.active * _BIT[kind] for kind, ruling in rulings.items()), np.zeros(len(rows), np.int64))
        state["active"] = after
        self._table.put(slots, state)
        verdicts.alert[rows] = rulings[Kind.RESIDUAL].active
        for i in np.flatnonzero(before | after).tolist():
            events = self._tell(int(slots[i]), i, rulings, float(started_at[i]))
            told.extend((int(rows[i]), event) for event in events)

    def _score(self, state: State, rows: Slots, verdicts: Verdicts) -> residuals.Judgement:
        judged = residuals.judge(state, state["value"], state["forecast"][:, 0].astype(np.float64))
        for name in ("expected", "lower", "upper", "residual", "score"):
            state[name] = getattr(judged, name)
            getattr(verdicts, name)[rows] = getattr(judged, name)
        verdicts.threshold[rows] = judged.threshold
        verdicts.outcome[rows[judged.warm]] = Outcome.SCORED
        return judged

    def _rulings(
        self, state: State, judged: residuals.Judgement, change: Floats, interval: Floats
    ) -> dict[Kind, Ruling]:
        """What every judge says that needs no newer forecast. A kind that is not judged has no ruling."""
        rules, value = self.rules, state["value"]
        faults.see_value(state, change, _was(state, Kind.STUCK), rules)
        rulings = {Kind.RESIDUAL: residuals.rule(state, judged, _was(state, Kind.RESIDUAL), rules)}
        if rules.stuck:
            rulings[Kind.STUCK] = faults.stuck(state, _was(state, Kind.STUCK), rules)
        if rules.unit_change:
            rulings[Kind.UNIT_CHANGE] = conversions.rule(state, judged, value, self._target, rules.accept_after)
        if rules.limits:
            rulings[Kind.RANGE] = limits.out_of_range(state, value, _was(state, Kind.RANGE), rules)
            rulings[Kind.RATE] = limits.too_fast(state, change, interval, _was(state, Kind.RATE), rules)
            rulings[Kind.LIMIT] = limits.past_limit(state, value, _was(state, Kind.LIMIT), rules)
        return rulings

    def _learn(self, state: State, judged: residuals.Judgement, change: Floats, rulings: dict[Kind, Ruling]) -> None:
        """Learn from the readings that are inside no sensor fault."""
        faulty = conversions.open_cases(state)
        for kind in _FAULTS:
            if kind in rulings:
                faulty = faulty | rulings[kind].active
        n_faulty = np.where(faulty, state["n_faulty"] + 1, 0)
        state["n_faulty"] = n_faulty
        teaches = ~faulty | (n_faulty > self.rules.accept_after)
        residuals.learn(state, judged, teaches & np.isfinite(judged.residual))
        residuals.see_change(state, change)
        if self.rules.limits:
            crossings.learn(state, state["value"], teaches)

    def _look_ahead(self, state: State, at: Floats, values: Floats) -> None:
        full = windows.push(state, at, values)
        if not full.any():
            return
        path = self._forecast(np.ascontiguousarray(state["window"][full]), np.zeros(int(full.sum()), np.float32)).path
        state["forecast"][full] = np.where(np.isfinite(path), path, np.nan)  # a model may overflow on absurd levels

    # -- alerts -----------------------------------------------------------------------------------------------------

    def _tell(self, slot: int, i: int, rulings: dict[Kind, Ruling], started_at: float) -> Iterator[Event]:
        """The events that bring the book in line with reading i of a round."""
        for kind in Kind:
            ruling, known = rulings.get(kind), self._book.get(slot, kind)
            if ruling is not None and ruling.active[i]:
                critical = ruling.critical is not None and bool(ruling.critical[i])
                if known is None or self._due(known, critical, slot):
                    alert = self._alert(slot, kind, ruling.score[i], ruling.threshold[i], started_at)
                    severity = Severity.CRITICAL if critical else Severity.WARNING
                    yield self._book.observe(replace(alert, severity=severity, **_details(ruling, i)))
            elif known is not None:
                score = 0.0 if ruling is None else ruling.score[i]
                alert = self._alert(slot, kind, score, known.threshold, started_at)
                yield self._book.clear(alert if ruling is None else replace(alert, **_details(ruling, i)))

    def _due(self, known: Alert, critical: bool, slot: int) -> bool:
        """Whether an alert that goes on must be told again."""
        worse = critical and known.severity is not Severity.CRITICAL
        return worse or bool(self._table["at"][slot] >= known.at + self.rules.update_every_s)

    def _alert(self, slot: int, kind: Kind, score: float, threshold: float, started_at: float) -> Alert:
        """An alert as of the series' last reading."""
        row = {name: _number(self._table[name][slot]) for name in _LAST}
        at, received_at = float(self._table["at"][slot]), float(self._table["received_at"][slot])
        if kind is Kind.SILENT:  # it ends with an arrival, and its raise was told at the daemon's own time
            at = received_at
        series = self._registry.keys[slot]
        return Alert(
            id=alert_id(series, kind, at),
            kind=kind,
            severity=Severity.WARNING,
            series=series,
            slot=slot,
            value=row["value"],
            expected=row["expected"],
            lower=row["lower"],
            upper=row["upper"],
            residual=row["residual"],
            score=float(score),
            threshold=float(threshold),
            at=at,
            received_at=received_at,
            raised_at=at,
            window_started_at=_number(started_at),
        )

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
        new = silent[(table["active"][silent] & _BIT[Kind.SILENT]) == 0]
        table["active"][new] |= _BIT[Kind.SILENT]
        threshold = faults.silence_limit(table, n, self.rules)
        return [self._book.observe(self._silent(slot, float(threshold[slot]), now)) for slot in new.tolist()]

    def _silent(self, slot: int, threshold: float, now: float) -> Alert:
        silence = now - float(self._table["received_at"][slot])
        alert = self._alert(slot, Kind.SILENT, silence, threshold, float(self._table["window_at"][slot, 0]))
        return replace(alert, id=alert_id(alert.series, Kind.SILENT, now), at=now, received_at=now, raised_at=now)

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
        active = table["active"][slots] != 0
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
        """Go on from a snapshot. Thresholds and limits are those of the present rules.

        Raises:
            ValueError: where the snapshot is of a model with other features, steps or leads, or has more series than
                the cap; the engine is then as it was.
        """
        if snapshot.features != self.card.features or len(snapshot.keys) > self._registry.cap:
            raise ValueError("the snapshot is of a model with other features, or has more series than the device cap")
        self._table.load(snapshot.columns, len(snapshot.keys))
        self._registry = Registry(self._registry.cap)
        for key in snapshot.keys:
            self._set_rules(self._registry.add(key), key)
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


def _was(state: State, kind: Kind) -> Mask:
    """Whether such an alert was active before the reading."""
    active: Mask = (state["active"] & _BIT[kind]) != 0
    return active


def _details(ruling: Ruling, i: int) -> dict[str, Any]:
    """The fields of an alert that only some kinds have."""
    columns = {name: getattr(ruling, name) for name in ("limit", "lead_s", "probability")}
    found: dict[str, Any] = {name: None if c is None else _number(c[i]) for name, c in columns.items()}
    return found | {"conversion": None if ruling.conversion is None else ruling.conversion[i]}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
