"""The engine's rules once more, one series and one reading at a time, as plainly as they can be written.

The vectorised engine must agree with this to the bit. It shares no code with it past the rules' numbers.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from forewarn.core import faults, residuals
from forewarn.core.ports import Forecaster
from forewarn.core.rules import Rules


@dataclass
class Said:
    """The verdict on one reading and the changes of its alerts, as (kind, type)."""

    status: str
    expected: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    score: float = 0.0
    alert: bool = False
    changes: list[tuple[str, str]] = field(default_factory=list)


class ScalarSeries:
    """One series of a single-feature model."""

    def __init__(self, forecaster: Forecaster, rules: Rules, threshold: float, absolute: bool) -> None:
        self.forecaster, self.rules = forecaster, rules
        self.threshold, self.absolute = threshold, absolute
        self.window: list[float] = []
        self.last_at = self.last_received_at = self.last_value = math.nan
        self.expected = math.nan
        self.n = 0
        self.mean = self.band = 0.0
        self.resolution = math.inf
        self.run = self.longest = self.n_change = self.n_interval = 0
        self.cadence = math.nan
        self.exceeded: list[bool] = []
        self.calm = 0
        self.active = self.critical = self.stuck = False
        self.told_at = math.nan

    def take(self, at: float, received_at: float, value: float) -> Said:
        if not (math.isfinite(value) and math.isfinite(at)):
            return Said("not_finite", alert=self.active)
        if abs(value) > float(np.finfo(np.float32).max):
            return Said("out_of_range", alert=self.active)
        if at > received_at + self.rules.max_future_s:
            return Said("from_future", alert=self.active)
        if at == self.last_at:
            return Said("duplicate", alert=self.active)
        if at < self.last_at:
            return Said("out_of_order", alert=self.active)
        said = self._judge(value)
        self._alert(said, at)
        if not math.isnan(self.expected):
            self._learn(abs(value - self.expected))
        change = value - self.last_value
        if abs(change) > 0:
            self.resolution = min(self.resolution, abs(change))
        self._stuck(said, change)
        self._cadence(received_at - self.last_received_at)
        self.last_at, self.last_received_at, self.last_value = at, received_at, value
        self._look_ahead(value)
        return said

    def _scale(self) -> float:
        known = self.resolution if math.isfinite(self.resolution) else 0.0
        return max(self.mean, known, 1e-6 * abs(self.expected), 1e-12)

    def _judge(self, value: float) -> Said:
        if math.isnan(self.expected):
            return Said("warming_up")
        said = Said("warming_up", self.expected, self.expected - self.band, self.expected + self.band)
        if self.n >= residuals.WARM_UP:
            said.status = "scored"
            said.score = abs(value - self.expected) / (1.0 if self.absolute else self._scale())
        return said

    def _alert(self, said: Said, at: float) -> None:
        rules = self.rules
        exceeds = said.status == "scored" and said.score > self.threshold
        self.exceeded = [*self.exceeded, exceeds][-rules.raise_within :]
        self.calm = self.calm + 1 if said.score < rules.clear_ratio * self.threshold else 0
        critical = said.score > rules.critical_ratio * self.threshold
        if not self.active:
            if exceeds and sum(self.exceeded) >= rules.raise_after:
                said.changes.append(("residual", "raised"))
                self.active, self.critical, self.told_at = True, critical, at
        elif self.calm >= rules.clear_after:
            said.changes.append(("residual", "cleared"))
            self.active = self.critical = False
            self.told_at = at
        elif (critical and not self.critical) or at >= self.told_at + rules.update_every_s:
            said.changes.append(("residual", "updated"))
            self.critical, self.told_at = self.critical or critical, at
        said.alert = self.active

    def _learn(self, size: float) -> None:
        warm = self.n >= residuals.WARM_UP
        clipped = min(size, residuals.CLIP * self._scale()) if warm else size
        self.mean += (clipped - self.mean) * max(1.0 / (self.n + 1.0), 1.0 / residuals.MEMORY)
        if warm:
            missed = float(size > self.band)
            self.band = max(0.0, self.band + residuals.BAND_STEP * self.mean * (missed - residuals.BAND_MISS))
        else:
            self.band = 2.456 * self.mean
        self.n += 1

    def _stuck(self, said: Said, change: float) -> None:
        if change == 0.0:
            self.run += 1
        else:
            self.longest = max(self.longest, self.run)
            self.n_change += self.run > 0
            self.run = 1
        limit = max(self.rules.stuck_factor * self.longest, self.rules.stuck_min_run)
        stuck = self.run >= limit and self.n_change >= faults.MIN_CHANGES and self.rules.stuck
        if self.stuck and change == 0.0:
            stuck = True
        if stuck != self.stuck:
            said.changes.append(("stuck", "raised" if stuck else "cleared"))
        self.stuck = stuck

    def _cadence(self, interval: float) -> None:
        if math.isnan(interval):
            return
        if self.n_interval < faults.MIN_INTERVALS:
            self.cadence = interval if math.isnan(self.cadence) else max(self.cadence, interval)
        else:
            self.cadence *= math.exp(0.095) if interval > self.cadence else math.exp(-0.005)
        self.n_interval += 1

    def _look_ahead(self, value: float) -> None:
        n_step = self.forecaster.card.n_step
        self.window = [*self.window, value][-n_step:]
        if len(self.window) == n_step:
            window = np.array(self.window, np.float32).reshape(1, n_step, 1)
            self.expected = float(self.forecaster.forecast(window)[0, 0])
