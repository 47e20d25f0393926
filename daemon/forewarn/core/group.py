"""The series that one model judges by one set of rules: their table, their judges, and what these say of readings.

Rules that hold here:

- A series has a row in the table of its group; the slot, its number among all series, is the engine's. Both are in the
  registry.
- What judges is asked with copies. Nothing is written here but by `Judged.keep` and `Silenced.keep`, which cannot fail.
- A row that no series has is never looked at.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.core import bands, cadences, courses, faults, limits, windows
from forewarn.core.alerts import OF_JUDGES, AlertBook, AlertChange, Kind
from forewarn.core.card import Feature
from forewarn.core.conversions import TEMPERATURE_UNITS
from forewarn.core.courses import Course, Recent
from forewarn.core.judges import BIT, LEAD_COLUMNS, Arrivals, Findings, Judges
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Batch, Fleet, Floats, Mask, Outcome, SeriesState, Slots
from forewarn.core.rules import Rules
from forewarn.core.slots import Column, Registry, State, Table
from forewarn.core.telling import LAST, Teller
from forewarn.core.verdicts import Verdicts

Columns = Mapping[str, NDArray[Any]]
"""What is known of series, by column of a `Table`."""


def alike(one: Sequence[Feature], other: Sequence[Feature]) -> bool:
    """Whether models of these features are given the same values of a series.

    A model of one feature judges any metric, so that its feature's name says nothing of the series. Of units only those
    of temperatures are converted, to °C for a model that has none.
    """
    if not len(one) == len(other) == 1:
        return tuple(one) == tuple(other)
    here, there = (features[0].unit.lower() or "°c" for features in (one, other))
    return here == there or not {here, there} <= TEMPERATURE_UNITS


class Judged(NamedTuple):
    """Readings of distinct series of a group that were judged, and of which nothing is kept yet.

    Attributes:
        table: of the group.
        rows: of the series in it.
        state: of the series, after the readings.
        readings: their rows of the batch.
        outcome: of each.
        told: what changes in the alerts, each with the reading's place among these.
    """

    table: Table
    rows: Slots
    state: State
    readings: Slots
    outcome: NDArray[np.uint8]
    told: Sequence[tuple[int, AlertChange]]

    def keep(self, book: AlertBook, verdicts: Verdicts) -> None:
        """It happened."""
        self.table.put(self.rows, self.state)
        for _, event in self.told:
            book.take(event)
        verdicts.told.extend((int(self.readings[i]), event) for i, event in self.told)
        verdicts.outcome[self.readings] = self.outcome


class Silenced(NamedTuple):
    """Series of a group that are silent, of which nothing is kept yet: rows of its table, and an event for each."""

    table: Table
    rows: Slots
    events: Sequence[AlertChange]

    def keep(self, book: AlertBook) -> None:
        """It happened."""
        self.table["active"][self.rows] |= BIT[Kind.SILENT]
        for event in self.events:
            book.take(event)


class Group:
    """The series that one model judges by one set of rules.

    Attributes:
        card: of the model.
        rules: that it judges by.
        table: a row for each of the series.
    """

    def __init__(self, forecaster: Forecaster, rules: Rules, registry: Registry, book: AlertBook) -> None:
        """Start with no series; registry and book are those of all groups."""
        self.card, self.rules = forecaster.card, rules
        self._target = self.card.target_index
        self._judges = Judges(forecaster, rules)
        self._registry = registry
        self.table = Table(*self._judges.columns, dict.fromkeys(LAST, Column(np.float64, (), np.nan)))
        features = [feature.name for feature in self.card.features]
        self._teller = Teller(book, registry, features, rules.update_every_s)
        self._n_row = 0
        self._free: list[int] = []

    # -- rows -------------------------------------------------------------------------------------------------------

    def claim(self) -> int:
        """A row for a new series, made ready by `prepare`."""
        if self._free:
            return self._free.pop()
        self._n_row += 1
        return self._n_row - 1

    def release(self, row: int) -> None:
        """The series of a row is gone."""
        self._free.append(row)

    def reclaim(self, row: int, state: State) -> None:
        """The release of a row is taken back, which nobody else has by now."""
        self._free.remove(row)
        self.table.put(np.array([row]), state)

    def prepare(self, slots: Slots) -> None:
        """Make the rows of these new series ready."""
        rows = self._registry.row[slots]
        if rows.max() >= self.table.rows:
            self.table.grow(min(max(2 * self.table.rows, self._n_row), self._registry.cap))
        self.table.reset(rows)
        self._set_rules(slots)

    def _set_rules(self, slots: Slots) -> None:
        """Give these series' rows what the rules say of them."""
        table, rules, rows = self.table, self.rules, self._registry.row[slots]
        keys = [self._registry.keys[slot] for slot in slots.tolist()]
        thresholds = [rules.threshold_of(key, self.card.calibration.threshold_errors) for key in keys]
        table["threshold"][rows] = [threshold.value for threshold in thresholds]
        table["absolute"][rows] = [threshold.absolute for threshold in thresholds]
        limits.set_limits(table, rows, [rules.limits_of(key) for key in keys])
        table["convertible"][rows] = [rules.unit_change and key.metric not in rules.other_units for key in keys]

    # -- readings ---------------------------------------------------------------------------------------------------

    def judge(self, batch: Batch, readings: Slots, slots: Slots, verdicts: Verdicts) -> Judged:
        """Judge readings of distinct series.

        Args:
            batch: of the readings.
            readings: rows of it.
            slots: of their series.
            verdicts: on the batch; what is written into it counts once the outcome is there too.
        """
        rows, at = self._registry.row[slots], batch.at[readings]
        state = self.table.take(rows)
        last_at = state["at"]
        rejected = at <= last_at
        if rejected.any():
            verdicts.outcome[readings[at == last_at]] = Outcome.DUPLICATE
            verdicts.outcome[readings[at < last_at]] = Outcome.OUT_OF_ORDER
            kept = ~rejected
            readings, slots, rows, at, state = readings[kept], slots[kept], rows[kept], at[kept], state[kept]
        values = np.ascontiguousarray(batch.values[readings][:, : len(self.card.features)])
        received_at = batch.received_at[readings]
        value = values[:, self._target]
        interval_s = at - state["at"]
        arrivals = Arrivals(at, values, value - state["value"], interval_s, cadences.missing(state, interval_s))
        self._judges.restart(state, cadences.after_gap(state, interval_s, self.rules.max_gap))
        cadences.see_interval(state, received_at - state["received_at"], interval_s)
        state["at"], state["received_at"], state["value"] = at, received_at, value

        started_at = state["window_at"][:, 0].copy()
        found = self._judges.judge(state, arrivals)
        if batch.seed is not None:
            found.silence(batch.seed[readings])
        outcome = np.where(found.warm, Outcome.SCORED, Outcome.WARMING_UP).astype(np.uint8)
        self._write(state, found, readings, verdicts)
        return Judged(self.table, rows, state, readings, outcome, self._tell(state, found, slots, started_at))

    def _write(self, state: State, found: Findings, readings: Slots, verdicts: Verdicts) -> None:
        """What was found, as the series' last and into the verdicts."""
        state["score"] = found.score
        for name in ("expected", "lower", "upper", "residual"):
            state[name] = getattr(found.expectation, name)
        for name in ("expected", "lower", "upper", "residual", "score"):
            getattr(verdicts, name)[readings] = state[name]
        verdicts.anomaly_score[readings] = found.anomaly_score
        verdicts.threshold[readings] = found.threshold
        judged = [found.rulings[kind].active for kind in OF_JUDGES if kind in found.rulings]
        verdicts.alert[readings] = np.any(judged, axis=0)

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

    # -- silence ----------------------------------------------------------------------------------------------------

    def overdue(self, slots: Slots, now: float, listening_since: float) -> Silenced:
        """Those of these series that are silent, and were not: see `Engine.tick`."""
        rows = self._registry.row[slots]
        age = now - np.maximum(self.table["received_at"][rows], listening_since)
        limit = faults.silence_limit(self.table, rows, self.rules)
        new = (age > limit) & self._heard(rows)
        return self._silenced(slots[new], limit[new], np.full(int(new.sum()), now))

    def silent_from(self, slots: Slots, listening_since: float) -> float:
        """When the first of these series will be silent: see `Engine.silent_from`."""
        rows = self._registry.row[slots]
        last = np.maximum(self.table["received_at"][rows], listening_since)
        limit = faults.silence_limit(self.table, rows, self.rules)
        return float(np.min(last + limit, where=self._heard(rows), initial=np.inf))

    def departed(self, slots: Slots, said_at: Floats) -> Silenced:
        """Those of these series that are silent since these times, by the word of their devices: see `Engine.lost`."""
        rows, table = self._registry.row[slots], self.table
        silence = said_at - table["received_at"][rows]
        new = (silence >= 0) & self._heard(rows)
        usual = faults.silence_limit(table, rows, self.rules)
        limit = np.minimum(usual, np.maximum(self.rules.silent_min_s, silence))
        return self._silenced(slots[new], limit[new], said_at[new])

    def _heard(self, rows: Slots) -> Mask:
        """Which of these rows are of series that are not told to be silent."""
        heard: Mask = (self.table["active"][rows] & BIT[Kind.SILENT]) == 0
        return heard

    def _silenced(self, slots: Slots, limit: Floats, at: Floats) -> Silenced:
        """These are silent as of the times `at`, `limit` seconds being the most to expect of them."""
        rows = self._registry.row[slots]
        state = self.table.take(rows)
        events = [
            self._teller.silent(slot, state, i, float(limit[i]), float(at[i])) for i, slot in enumerate(slots.tolist())
        ]
        return Silenced(self.table, rows, events)

    # -- views ------------------------------------------------------------------------------------------------------

    def heard(self, slots: Slots) -> tuple[Floats, Mask]:
        """When each was heard last, and whether it ever had a window's worth of readings."""
        rows = self._registry.row[slots]
        return self.table["received_at"][rows], self.table["n_history"][rows] >= self.card.n_step

    def state(self, slots: Slots) -> NDArray[np.uint8]:
        """Members of `SeriesState`."""
        rows = self._registry.row[slots]
        quiet = np.where(self._judges.warm(self.table, rows), SeriesState.OK, SeriesState.WARMING_UP)
        return np.where(self.table["active"][rows] != 0, SeriesState.ALERT, quiet).astype(np.uint8)

    def fleet(self, slots: Slots) -> Fleet:
        """A copy of what is known of these series."""
        rows, table = self._registry.row[slots], self.table
        return Fleet(
            keys=tuple(self._registry.keys[slot] for slot in slots.tolist()),
            slot=slots,
            state=self.state(slots),
            threshold=self._judges.threshold(table, rows),
            horizon=np.full(len(slots), self.card.horizon),
            forecast=table["forecast"][rows],
            half_width=bands.half_widths(table, rows),
            **{name: table[name][rows] for name in LAST},
        )

    def recent(self, slots: Slots) -> Recent:
        """A copy of the readings that are kept of these series."""
        keys = tuple(self._registry.keys[slot] for slot in slots.tolist())
        return Recent(keys, *courses.recent(self.table, self._registry.row[slots], self._target))

    def course(self, slot: int, book: AlertBook) -> Course:
        """A copy of what is kept of one series."""
        last, alerts = self.fleet(np.array([slot])), tuple(book.of(slot))
        return courses.course(self.table, int(self._registry.row[slot]), self._target, last, alerts)

    # -- what is kept over a restart --------------------------------------------------------------------------------

    def dump(self, slots: Slots) -> Columns:
        """What is known of these series, by column."""
        return self.table.dump(self._registry.row[slots])

    def fitted(self, features: Sequence[Feature], columns: Columns) -> Columns | None:
        """What `dump` gave, perhaps of another model, as this one can go on from it; None where it cannot.

        Raises:
            ValueError: where it is damaged.
        """
        if not alike(features, self.card.features):
            return None
        fitted = windows.refitted(columns, self.card.n_step)
        for name in LEAD_COLUMNS:
            if name in fitted and fitted[name].shape[1:] != self.table[name].shape[1:]:
                del fitted[name]
        self.table.check(fitted, len(fitted["filled"]))
        return fitted

    def load(self, slots: Slots, parts: Sequence[tuple[Slots, Columns]]) -> None:
        """Have these series, which have the first rows, and no others.

        Args:
            slots: theirs.
            parts: slots among them, and what `fitted` gave of these; all others are new.
        """
        self._n_row, self._free = len(slots), []
        self.table.clear(len(slots))
        for some, columns in parts:
            self.table.load(columns, self._registry.row[some])
        self._set_rules(slots)
