"""Which series has a slot: new ones are given one, and it is taken back from those that no reading was judged of.

Rules that hold here:

- While there are free slots a new series gets the next one, at the cap that of the series that is silent for longest.
- A series that filled its window is spared while it is alive, so a flood of made-up names evicts itself.
- Until `settle`, everything can be taken back as if it had not been.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from forewarn.core.alerts import Alert, AlertBook, Event, SeriesEvicted
from forewarn.core.readings import SeriesKey
from forewarn.core.slots import Registry, State, Table

PROTECTED_S = 86_400.0
"""How long a series that filled its window keeps its slot against newcomers, in seconds since its last reading."""


class _Evicted(NamedTuple):
    """What had a slot before, and every active alert where it had one."""

    key: SeriesKey
    state: State
    alerts: Sequence[Alert]


class Admissions:
    """Gives out the slots of a registry, with their rows of the table and their alerts."""

    def __init__(self, registry: Registry, table: Table, book: AlertBook, n_step: int) -> None:
        """Start with nothing to take back; `n_step` readings fill a window."""
        self._registry, self._table, self._book, self._n_step = registry, table, book, n_step
        self._latest: list[tuple[int, _Evicted | None]] = []

    def admit(self, key: SeriesKey, now: float) -> tuple[int, Sequence[Event]]:
        """A slot with a fresh row for a new series, and what the one that had it leaves behind."""
        if self._registry.full:
            return self._evict(self._longest_silent(now), key)
        slot = self._registry.add(key)
        self._latest.append((slot, None))
        if slot >= self._table.rows:
            self._table.grow(min(2 * self._table.rows, self._registry.cap))
        return slot, ()

    def settle(self) -> None:
        """A reading of each series was judged."""
        self._latest.clear()

    def take_back(self) -> None:
        """Have everything as it was before the series that were admitted since `settle`."""
        for slot, evicted in reversed(self._latest):
            self._table.reset(slot)
            if evicted is None:
                self._registry.drop_last()
                continue
            self._registry.replace(slot, evicted.key)
            self._table.put(np.array([slot]), evicted.state)
            if evicted.alerts:
                self._book.load(evicted.alerts)
        self._latest.clear()

    def _evict(self, slot: int, key: SeriesKey) -> tuple[int, Sequence[Event]]:
        old = self._registry.keys[slot]
        ended = self._book.ended(slot)
        alerts = tuple(self._book) if ended else ()
        self._latest.append((slot, _Evicted(old, self._table.take(np.array([slot])), alerts)))
        self._registry.replace(slot, key)
        self._table.reset(slot)
        for event in ended:
            self._book.take(event)
        return slot, (*ended, SeriesEvicted(old, slot))

    def _longest_silent(self, now: float) -> int:
        n = self._registry.cap
        heard_at = self._table["received_at"][:n]
        keeps = (self._table["filled"][:n] >= self._n_step) & (heard_at > now - PROTECTED_S)
        candidates = np.flatnonzero(~keeps) if not keeps.all() else np.arange(n)
        return int(candidates[np.argmin(heard_at[candidates])])
