"""Slots for new series: free ones, and at the cap those of the series that have been silent for longest.

Rules that hold here:

- A series that had a window's worth of readings keeps its slot for `PROTECTED_S` after its last one, unless every
  series does: a flood of made-up names evicts itself. A window that restarts after a gap changes nothing in that.
- Who goes is the one who would go if each reading were judged before the next one is looked at. The order of going is
  looked up once for many newcomers; where readings that wait to be judged could change it, `knows` says no.
- A new series' row is made ready for it in `prepare`, together with others, before anything of it is judged.
- Until `settle`, everything can be taken back as if it had not been.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np

from forewarn.core import limits
from forewarn.core.alerts import Alert, AlertBook, Event, SeriesEvicted
from forewarn.core.card import ModelCard
from forewarn.core.readings import SeriesKey
from forewarn.core.rules import Rules
from forewarn.core.slots import Registry, State, Table

PROTECTED_S = 86_400.0
"""How long a series that is known keeps its slot against newcomers, in seconds since its last reading."""


class _Evicted(NamedTuple):
    """What had a slot before, and every active alert where it had one."""

    key: SeriesKey
    state: State
    alerts: Sequence[Alert]


class Admissions:
    """Gives the rows of a table to series."""

    def __init__(self, table: Table, registry: Registry, book: AlertBook, card: ModelCard, rules: Rules) -> None:
        """Start with nothing to take back."""
        self._table, self._registry, self._book = table, registry, book
        self._card, self._rules = card, rules
        self._order: _Order | None = None
        self._fresh: list[int] = []
        self._latest: list[tuple[int, _Evicted | None]] = []

    def knows(self, now: float, most: int, waiting: AbstractSet[int], since: float) -> bool:
        """Whether `admit` may be called before the readings that wait are judged. With none of them it always may.

        Args:
            now: when the newcomer's reading arrived, on the clock of `Batch.received_at`.
            most: how many newcomers may follow at once, this one among them.
            waiting: the slots of the readings that are not judged yet.
            since: when the first of these arrived.
        """
        if not self._registry.full:
            return True
        if self._order is None and self._fresh:
            return False
        return self._order_as_of(now, most).holds(now, waiting, since)

    def admit(self, key: SeriesKey, now: float, most: int) -> tuple[int, Sequence[Event]]:
        """A slot for a new series, and what the one that had it leaves behind."""
        ended: Sequence[Event] = ()
        if self._registry.full:
            slot = self._order_as_of(now, most).take()
            ended = self._evict(slot, key)
        else:
            slot = self._registry.add(key)
            self._latest.append((slot, None))
        self._fresh.append(slot)
        return slot, ended

    def _evict(self, slot: int, key: SeriesKey) -> Sequence[Event]:
        ended = self._book.ended(slot)
        alerts = tuple(self._book) if ended else ()
        old = self._registry.replace(slot, key)
        self._latest.append((slot, _Evicted(old, self._table.take(np.array([slot])), alerts)))
        for event in ended:
            self._book.take(event)
        return (*ended, SeriesEvicted(old, slot))

    def _order_as_of(self, now: float, most: int) -> "_Order":
        if self._order is None:
            self._order = _Order(self._table, self._registry.cap, self._card.n_step, now, most)
        return self._order

    def prepare(self) -> None:
        """Make the rows ready: what waits is judged now, and the order of going is another one after that."""
        self._order = None
        if not self._fresh:
            return
        if max(self._fresh) >= self._table.rows:
            self._table.grow(min(max(2 * self._table.rows, len(self._registry.keys)), self._registry.cap))
        self._table.reset(self._fresh)
        self.set_rules(self._fresh)
        self._fresh = []

    def settle(self) -> None:
        """A reading of each series was judged."""
        self._latest.clear()

    def take_back(self) -> None:
        """Have everything as it was before the series that were admitted since `settle`."""
        self._order, self._fresh = None, []
        for slot, evicted in reversed(self._latest):
            if evicted is None:
                self._registry.drop_last()
                continue
            self._registry.replace(slot, evicted.key)
            self._table.put(np.array([slot]), evicted.state)
            if evicted.alerts:
                self._book.load(evicted.alerts)
        self._latest.clear()

    def set_rules(self, slots: list[int]) -> None:
        """Give these slots' rows what the rules say of their series."""
        table, rules = self._table, self._rules
        keys = [self._registry.keys[slot] for slot in slots]
        thresholds = [rules.threshold_of(key, self._card.calibration.threshold_errors) for key in keys]
        table["threshold"][slots] = [threshold.value for threshold in thresholds]
        table["absolute"][slots] = [threshold.absolute for threshold in thresholds]
        limits.set_limits(table, slots, [rules.limits_of(key) for key in keys])
        table["convertible"][slots] = [rules.unit_change and key.metric not in rules.other_units for key in keys]


class _Order:
    """Who goes next, as of what was judged when it was made."""

    def __init__(self, table: Table, n: int, n_step: int, now: float, most: int) -> None:
        heard_at = table["received_at"][:n]
        keeps = (table["n_history"][:n] >= n_step) & (heard_at > now - PROTECTED_S)
        self._guarded_at = float(heard_at[keeps].min(initial=np.inf))
        self._all_keep = bool(keeps.all())
        slots = np.arange(n) if self._all_keep else np.flatnonzero(~keeps)
        heard_at = heard_at[slots]
        if most < len(slots):
            early = heard_at <= np.partition(heard_at, most - 1)[most - 1]
            slots, heard_at = slots[early], heard_at[early]
        last_first = np.argsort(heard_at, kind="stable")[::-1]
        self._slots: list[int] = slots[last_first].tolist()  # the next one at the end
        self._heard_at: list[float] = heard_at[last_first].tolist()

    def holds(self, now: float, waiting: AbstractSet[int], since: float) -> bool:
        """Whether the next one goes whatever is said of the readings that wait.

        A slot among theirs is heard at their arrival or, where they are rejected, as long ago as before. No other one
        changes, but for the protection that may end.
        """
        if not waiting:
            return True
        if not self._slots or self._all_keep or self._guarded_at <= now - PROTECTED_S:
            return False
        return self._heard_at[-1] < since and self._slots[-1] not in waiting

    def take(self) -> int:
        """The slot of the next one."""
        self._heard_at.pop()
        return self._slots.pop()
