"""The wall clock without its steps back: when messages arrived, and what silence is counted from.

Rules that hold here:

- No two calls give the same time, and none an earlier one: its arrival may be the only time that a reading has.
- Where the wall clock is set forward, so is this one, and `stepped_at` says when: time that never passed is no silence.
  Where it is set back, this one goes on more slowly, by a tenth,
  until the wall clock has come up to it: a correction by an hour takes ten hours and rejects no reading.
"""

import time
from collections.abc import Callable

LEAST_STEP_S = 1e-6
STEP_S = 1.0
"""A wall clock that is so much further on than a monotonic one was set forward; sleep of the machine counts as that."""
SLOWED = 0.9


class SteadyClock:
    """UTC epoch seconds that rise.

    Attributes:
        stepped_at: the time right after it was last set forward; 0 for never.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start at the wall clock's time."""
        self._wall, self._monotonic = wall, monotonic
        self._last, self._read_at = wall(), monotonic()
        self.stepped_at = 0.0

    def now(self) -> float:
        """The time."""
        read_at = self._monotonic()
        passed, wall = read_at - self._read_at, self._wall()
        if wall > self._last + passed + STEP_S:
            self.stepped_at = wall
        slowed = self._last + max(SLOWED * passed, LEAST_STEP_S)
        self._last, self._read_at = max(wall, slowed), read_at
        return self._last

    def at_least(self, seen: float) -> None:
        """Go on from a time that was given before a restart."""
        self._last = max(self._last, seen)
