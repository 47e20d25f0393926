"""Which retained states are due: a retained message for each reading would be more than a broker likes to keep."""

import numpy as np
from numpy.typing import NDArray

from forewarn.core.readings import SeriesState, Slots

_SILENT = int(SeriesState.WARMING_UP)


class StateFeed:
    """When a series' retained state was published last, and which states are due."""

    def __init__(self, interval_s: float) -> None:
        """Renew the state of a series at most every `interval_s` seconds."""
        self._interval_s = interval_s
        self._state = np.empty(0, np.uint8)
        self._at = np.empty(0)

    def due(self, slots: Slots, state: NDArray[np.uint8], now: float) -> Slots:
        """The slots to publish now: changed, or not renewed for long. Until it first leaves its warm-up, none is."""
        if not len(slots):
            return slots
        self._make_room(slots)
        changed = state != self._state[slots]
        old = (state != _SILENT) & (now - self._at[slots] >= self._interval_s)
        wanted = changed | old
        due: Slots = slots[wanted]
        self._state[due], self._at[due] = state[wanted], now
        return due

    def resume(self, slots: Slots, state: NDArray[np.uint8]) -> None:
        """Take the states of before a restart for published; they are due all the same."""
        if len(slots):
            self._make_room(slots)
            self._state[slots] = state

    def _make_room(self, slots: Slots) -> None:
        most = int(slots.max()) + 1
        if most > len(self._at):
            grown = 2 * most - len(self._at)
            self._state = np.concatenate([self._state, np.full(grown, SeriesState.WARMING_UP, np.uint8)])
            self._at = np.concatenate([self._at, np.full(grown, -np.inf)])

    def renew(self, slot: int) -> None:
        """Publish the state of a slot as soon as it is asked for: something in it changed."""
        if slot < len(self._at):
            self._at[slot] = -np.inf

    def reset(self, slot: int) -> bool:
        """The slot has another series; whether a state of the old one was ever published."""
        told = slot < len(self._at) and self._state[slot] != _SILENT
        if told:
            self._state[slot] = _SILENT
        return bool(told)

    def forget(self) -> None:
        """Publish everything anew."""
        self._at[:] = -np.inf
