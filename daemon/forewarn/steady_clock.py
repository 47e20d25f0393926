"""The wall clock without its steps back: when messages arrived, and what silence is counted from.

Rules that hold here:

- No two calls give the same time, and none an earlier one: its arrival may be the only time that a reading has.
- Where the wall clock is set forward, so is this one. Where it is set back, this one goes on more slowly, by a tenth,
  until the wall clock has come up to it: a correction by an hour takes ten hours and rejects no reading.
"""

import time
from collections.abc import Callable

LEAST_STEP_S = 1e-6
SLOWED = 0.9


class SteadyClock:
    """UTC epoch seconds that rise."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start at the wall clock's time."""
        self._wall, self._monotonic = wall, monotonic
        self._last, self._read_at = wall(), monotonic()

    def now(self) -> float:
        """The time."""
        read_at = self._monotonic()
        slowed = self._last + max(SLOWED * (read_at - self._read_at), LEAST_STEP_S)
        self._last, self._read_at = max(self._wall(), slowed), read_at
        return self._last

    def at_least(self, seen: float) -> None:
        """Go on from a time that was given before a restart."""
        self._last = max(self._last, seen)
