"""The engine: a batch of readings in, verdicts and events out.

Rules that hold here:

- Deterministic: time is an argument, and the verdicts on a series follow from its readings in their order alone, to
  the bit, however they were cut into batches and whatever other series were among them.
- Score first, learn after: a reading is judged against the forecast that was made before it came.
- A reading that is rejected changes nothing. So does one that is not judged because something unforeseen is raised:
  what may fail works on copies, and what is written at the end cannot.
- A seed is the first reading of its series or is rejected; it takes nobody's slot, and no alert begins with it.
- Within a batch, the first readings of all series are judged together, then the second ones, and so on; each such
  round asks each forecaster once. What a round found is kept once every group of series has been asked.
- Which model judges a series follows from its name alone. The cap on series holds over all models together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.core import views
from forewarn.core.admissions import Admissions
from forewarn.core.alerts import Alert, AlertBook, AlertChange, AlertCleared
from forewarn.core.card import ModelCard
from forewarn.core.courses import Course, Recent
from forewarn.core.group import Columns, Group, Silenced, alike
from forewarn.core.patterns import Choice, SeriesPattern
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Batch, Fleet, Outcome, SeriesKey, Slots
from forewarn.core.rules import Rules
from forewarn.core.slots import Registry
from forewarn.core.snapshot import Part, Snapshot
from forewarn.core.verdicts import Verdicts

_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Monitor(SeriesPattern):
    """A model for some series, and the rules that it judges them by, but for `max_series` and `max_future_s`."""

    forecaster: Forecaster
    rules: Rules


class Renewed(NamedTuple):
    """Series that begin anew, since a model of other features judges them from now on.

    Attributes:
        series: with the slot of each, which it keeps.
        cleared: the alerts that were active on them.
    """

    series: Sequence[tuple[SeriesKey, int]]
    cleared: Sequence[AlertCleared]


class Engine:
    """Judges readings of any number of series, each with the model of the first monitor that takes it."""

    def __init__(self, forecaster: Forecaster, rules: Rules, monitors: Sequence[Monitor] = ()) -> None:
        """Start with no series.

        Args:
            forecaster: for every series that no monitor takes.
            rules: that these are judged by.
            monitors: in the order in which they are asked. Those of one forecaster and equal rules judge together.
        """
        self._rules = rules
        self._registry = Registry(rules.max_series)
        self._book = AlertBook()
        numbers: dict[tuple[int, Rules], int] = {}
        self._groups: list[Group] = []
        for one in (*monitors, Monitor("*", "*", forecaster, rules)):
            if numbers.setdefault((id(one.forecaster), one.rules), len(self._groups)) == len(self._groups):
                self._groups.append(Group(one.forecaster, one.rules, self._registry, self._book))
        rest = numbers[id(forecaster), rules]
        self._group_of = Choice(rest, [(one, numbers[id(one.forecaster), one.rules]) for one in monitors])
        self._patterns = tuple((one.device, one.metric, numbers[id(one.forecaster), one.rules]) for one in monitors)
        self._admissions = Admissions(self._groups, self._group_of.of, self._registry, self._book)

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
        outcome[batch.at > batch.received_at + self._rules.max_future_s] = Outcome.FROM_FUTURE
        outcome[~finite] = Outcome.NOT_FINITE

    def _judge(self, batch: Batch, rows: list[int], verdicts: Verdicts) -> None:
        self._admissions.prepare()
        chosen = np.asarray(rows, np.int64)
        for nth in _rounds(verdicts.slot[chosen]):
            self._round(batch, chosen[nth], verdicts)
            self._admissions.settle()

    def _round(self, batch: Batch, rows: Slots, verdicts: Verdicts) -> None:
        """Judge readings of distinct series."""
        slots = verdicts.slot[rows]
        judged = [group.judge(batch, rows[some], slots[some], verdicts) for group, some in self._by_group(slots)]
        for one in judged:
            one.keep(self._book, verdicts)

    def _by_group(self, slots: Slots) -> Iterator[tuple[Group, slice | Slots]]:
        """The groups that have some of these slots, with the places of those."""
        if len(self._groups) == 1:
            yield self._groups[0], slice(None)
            return
        numbers = self._registry.group[slots]
        for nth in np.unique(numbers).tolist():
            yield self._groups[nth], np.flatnonzero(numbers == nth)

    # -- time -------------------------------------------------------------------------------------------------------

    def tick(self, now: float, listening_since: float) -> list[AlertChange]:
        """Find the series that are silent.

        Args:
            now: UTC epoch seconds, on the clock of `Batch.received_at`.
            listening_since: since when readings could have arrived: silence is not counted while the broker was away.
        """
        slots = self._every()
        return self._silence(
            [
                group.overdue(slots[some], now, listening_since)
                for group, some in self._by_group(slots)
                if group.rules.silent
            ]
        )

    def silent_from(self, listening_since: float) -> float:
        """The time from which on `tick` would find some series silent that it has not told yet; infinite for none.

        Args:
            listening_since: see `tick`.
        """
        slots = self._every()
        times = [
            group.silent_from(slots[some], listening_since)
            for group, some in self._by_group(slots)
            if group.rules.silent and len(slots)
        ]
        return min(times, default=np.inf)

    @property
    def silent_after_s(self) -> float:
        """No series is silent sooner than so many seconds after an arrival of its own; infinite where none ever is."""
        return min((group.rules.silent_min_s for group in self._groups if group.rules.silent), default=np.inf)

    def lost(self, departures: Sequence[tuple[str, float]]) -> list[AlertChange]:
        """Take the word of devices that are going, or of who speaks for them: their series are silent from now on.

        A name speaks for every device below it as well: `plug` for `plug:probe`.

        Args:
            departures: device and the time when it said so, UTC epoch seconds, on the clock of `Batch.received_at`.
        """
        told, slots = dict(departures), self._every()
        word = (
            max((told[name] for name in _above(key.device) if name in told), default=-np.inf)
            for key in self._registry.keys
        )
        said_at = np.fromiter(word, np.float64, len(slots))
        return self._silence(
            [group.departed(slots[some], said_at[some]) for group, some in self._by_group(slots) if group.rules.silent]
        )

    def _silence(self, silenced: Sequence[Silenced]) -> list[AlertChange]:
        for one in silenced:
            one.keep(self._book)
        return [event for one in silenced for event in one.events]

    # -- views ------------------------------------------------------------------------------------------------------

    @property
    def n_series(self) -> int:
        """How many series are known."""
        return len(self._registry.keys)

    def alerts(self, slot: int) -> list[Alert]:
        """The active alerts of a slot."""
        return self._book.of(slot)

    def card_of(self, series: SeriesKey) -> ModelCard:
        """The model that judges a series, be it known or not."""
        return self._groups[self._group_of.of(series)].card

    def state(self, slots: Slots) -> NDArray[np.uint8]:
        """Members of `SeriesState` for these slots."""
        found = np.empty(len(slots), np.uint8)
        for group, some in self._by_group(slots):
            found[some] = group.state(slots[some])
        return found

    def fleet(self, slots: Slots | None = None) -> Fleet:
        """A copy of what is known of these series, or of every one."""
        chosen = self._every() if slots is None else slots
        return views.fleet([(some, group.fleet(chosen[some])) for group, some in self._looked_at(chosen)], chosen)

    def recent(self, slots: Slots) -> Recent:
        """A copy of the readings that are kept of these series."""
        return views.recent([(some, group.recent(slots[some])) for group, some in self._looked_at(slots)], len(slots))

    def active(self) -> tuple[Alert, ...]:
        """Every active alert, in the order of their raises."""
        return tuple(self._book)

    def course(self, key: SeriesKey) -> Course | None:
        """A copy of what is kept of one series; None where it is not known."""
        slot = self._registry.slots.get(key)
        return None if slot is None else self._groups[self._registry.group[slot]].course(slot, self._book)

    def _every(self) -> Slots:
        return np.arange(len(self._registry.keys))

    def _looked_at(self, slots: Slots) -> Iterator[tuple[Group, slice | Slots]]:
        """As `_by_group`; of no slots, the first group has none."""
        return self._by_group(slots) if len(slots) else iter([(self._groups[0], slice(None))])

    # -- what is kept over a restart --------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Everything that the coming verdicts depend on."""
        numbers = self._registry.group
        parts = [
            Part(group.card.features, group.dump(np.flatnonzero(numbers == nth)))
            for nth, group in enumerate(self._groups)
        ]
        patterns = (*self._patterns, ("*", "*", self._group_of.every[-1]))
        return Snapshot(tuple(self._registry.keys), tuple(self._book), patterns, tuple(parts))

    def restore(self, snapshot: Snapshot) -> Renewed:
        """Go on from a snapshot. Thresholds and limits are those of the present rules.

        A series may have another model by now, with another number of steps or leads: windows are refitted, and what is
        known of the errors at each lead begins anew. One whose model has other features begins anew as a whole.

        Raises:
            ValueError: where no model has the features of any in the snapshot, or there are more series than the cap;
                the engine is then as it was.
        """
        keys, n = snapshot.keys, len(snapshot.keys)
        known = [group.card.features for group in self._groups]
        if not any(alike(part.features, own) for part in snapshot.parts for own in known) or n > self._registry.cap:
            raise ValueError("the snapshot is of a model with other features, or has more series than the device cap")
        numbers = np.array([self._group_of.of(key) for key in keys], np.int64)
        loads = [list(self._carried(snapshot, numbers, nth)) for nth in range(len(self._groups))]
        self._registry.load(keys)
        for nth, (group, parts) in enumerate(zip(self._groups, loads, strict=True)):
            slots = np.flatnonzero(numbers == nth)
            for row, slot in enumerate(slots.tolist()):
                self._registry.place(slot, nth, row)
            group.load(slots, parts)
        kept = {slot for parts in loads for slots, _ in parts for slot in slots.tolist()}
        self._book.load(snapshot.alerts)
        renewed = [(key, slot) for slot, key in enumerate(keys) if slot not in kept]
        cleared = [event for _, slot in renewed for event in self._book.ended(slot)]
        for event in cleared:
            self._book.take(event)
        return Renewed(renewed, cleared)

    def _carried(self, snapshot: Snapshot, numbers: Slots, nth: int) -> Iterator[tuple[Slots, Columns]]:
        """What a group can go on from: slots, and their columns."""
        before = np.array([snapshot.part_of(key) for key in snapshot.keys], np.int64)
        for i, part in enumerate(snapshot.parts):
            slots = np.flatnonzero(before == i)
            mine = numbers[slots] == nth
            if mine.any():
                columns = part.columns if mine.all() else {name: c[mine] for name, c in part.columns.items()}
                fitted = self._groups[nth].fitted(part.features, columns)
                if fitted is not None:
                    yield slots[mine], fitted


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
