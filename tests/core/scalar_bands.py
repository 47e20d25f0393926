"""The bands around the leads of a forecast once more, one series and one reading at a time; see `core/bands.py`."""

import math

import numpy as np

from forewarn.core import bands


def single(number: float) -> float:
    """To float32 and back."""
    return float(np.float32(number))


class ScalarBands:
    """What is learnt of each lead of one series' forecasts."""

    def __init__(self, horizon: int) -> None:
        n_kept = max(1, min(horizon, bands.KEPT // horizon))
        self.every, self.n_kept = math.ceil(horizon / n_kept), n_kept
        while any(self.every % divisor == 0 for divisor in (2, 3, 5)):
            self.every += 1
        self.count = 0  # readings that taught so far, and those missing before them
        self.kept: dict[int, list[float]] = {}  # forecasts by the count when they were made
        self.n = [0] * horizon
        self.error = [0.0] * horizon
        self.width = [[0.0] * horizon, [0.0] * horizon]

    def forget(self) -> None:
        self.kept = {}

    def take(self, value: float, missing: int = 0) -> None:
        """A reading that teaches, before it enters the window."""
        self.count += missing
        for made, path in self.kept.items():
            lead = self.count - made
            if lead < len(path) and math.isfinite(path[lead]):
                self._learn(lead, min(abs(value - path[lead]), 1e37))

    def follow(self, path: list[float] | None) -> None:
        """What was forecast once it had entered."""
        self.count += 1
        if self.count % self.every == 0:
            self.kept[self.count] = list(path or [])
            self.kept = {made: kept for made, kept in self.kept.items() if self.count - made < self.every * self.n_kept}

    def _learn(self, lead: int, error: float) -> None:
        n, mean = self.n[lead], self.error[lead]
        warm = n >= bands.WARM_UP
        taken = min(error, bands.CLIP * mean) if warm else error
        mean += (taken - mean) * max(1.0 / (n + 1.0), 1.0 / bands.MEMORY)
        for width, miss, gaussian in zip(self.width, (1.0 - 0.80, 1.0 - 0.95), (1.606, 2.456), strict=True):
            followed = max(0.0, width[lead] + bands.STEP * mean * (float(error > width[lead]) - miss))
            width[lead] = single(followed if warm else gaussian * mean)
        self.error[lead] = single(mean)
        self.n[lead] += 1
