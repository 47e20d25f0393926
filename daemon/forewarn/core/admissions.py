"""Slots for new series: free ones, and at the cap those of the series that have been silent for longest.

Rules that hold here:

- A series that had a window's worth of readings keeps its slot for `PROTECTED_S` after its last one, unless every
  series does: a flood of made-up names evicts itself. A window that restarts after a gap changes nothing in that.
- Who goes is the one who would go if each reading were judged before the next one is looked at. The order of going is
  looked up once for many newcomers; where readings that wait to be judged could change it, `knows` says no.
- A new series' row is made ready for it in `prepare`, together with others, before anything of it is judged.
- Until `settle`, everything can be taken back as if it had not been.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np

from forewarn.core.alerts import Alert, AlertBook, Event, SeriesEvicted
from forewarn.core.group import Group
from forewarn.core.readings import Floats, Mask, SeriesKey
from forewarn.core.slots import Registry, State

PROTECTED_S = 86_400.0
"""How long a series that is known keeps its slot against newcomers, in seconds since its last reading."""


class _Evicted(NamedTuple):
    """What had a slot before, its place, and every active alert where it had one."""

    key: SeriesKey
    group: int
    row: int
    state: State
    alerts: Sequence[Alert]


class Admissions:
    """Gives slots, and rows of the groups' tables, to series."""

    def __init__(
        self, groups: Sequence[Group], group_of: Callable[[SeriesKey], int], registry: Registry, book: AlertBook
    ) -> None:
        """Start with nothing to take back; `group_of` says whose table a series has a row of."""
        self._groups, self._group_of, self._registry, self._book = groups, group_of, registry, book
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
        group = self._group_of(key)
        if self._registry.full:
            slot = self._order_as_of(now, most).take()
            ended = self._evict(slot, key)
        else:
            slot = self._registry.add(key)
            self._latest.append((slot, None))
        self._registry.place(slot, group, self._groups[group].claim())
        self._fresh.append(slot)
        return slot, ended

    def _evict(self, slot: int, key: SeriesKey) -> Sequence[Event]:
        ended = self._book.ended(slot)
        alerts = tuple(self._book) if ended else ()
        old = self._registry.replace(slot, key)
        nth, row = int(self._registry.group[slot]), int(self._registry.row[slot])
        group = self._groups[nth]
        self._latest.append((slot, _Evicted(old, nth, row, group.table.take(np.array([row])), alerts)))
        group.release(row)
        for event in ended:
            self._book.take(event)
        return (*ended, SeriesEvicted(old, slot))

    def _order_as_of(self, now: float, most: int) -> "_Order":
        if self._order is None:
            self._order = _Order(*self._heard(), now, most)
        return self._order

    def _heard(self) -> tuple[Floats, Mask]:
        """When each series was heard last, and whether it ever had a window's worth of readings."""
        if len(self._groups) == 1:
            return self._groups[0].heard(np.arange(len(self._registry.keys)))
        heard_at, known = np.empty(len(self._registry.keys)), np.empty(len(self._registry.keys), np.bool_)
        for nth, group in enumerate(self._groups):
            slots = np.flatnonzero(self._registry.group == nth)
            heard_at[slots], known[slots] = group.heard(slots)
        return heard_at, known

    def prepare(self) -> None:
        """Make the rows ready: what waits is judged now, and the order of going is another one after that."""
        self._order = None
        if not self._fresh:
            return
        slots = np.array(self._fresh)
        at = self._registry.group[slots]
        for nth in np.unique(at).tolist():
            self._groups[nth].prepare(slots[at == nth])
        self._fresh = []

    def settle(self) -> None:
        """A reading of each series was judged."""
        self._latest.clear()

    def take_back(self) -> None:
        """Have everything as it was before the series that were admitted since `settle`."""
        self._order, self._fresh = None, []
        for slot, evicted in reversed(self._latest):
            self._groups[self._registry.group[slot]].release(int(self._registry.row[slot]))
            if evicted is None:
                self._registry.drop_last()
                continue
            self._registry.replace(slot, evicted.key)
            self._registry.place(slot, evicted.group, evicted.row)
            self._groups[evicted.group].reclaim(evicted.row, evicted.state)
            if evicted.alerts:
                self._book.load(evicted.alerts)
        self._latest.clear()


class _Order:
    """Who goes next, as of what was judged when it was made."""

    def __init__(self, heard_at: Floats, known: Mask, now: float, most: int) -> None:
        heard_at = np.where(np.isnan(heard_at), -np.inf, heard_at)  # not since another model judges it: it goes first
        keeps = known & (heard_at > now - PROTECTED_S)
        self._guarded_at = float(heard_at[keeps].min(initial=np.inf))
        self._all_keep = bool(keeps.all())
        slots = np.arange(len(keeps)) if self._all_keep else np.flatnonzero(~keeps)
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
