"""The engine's rules once more, one series and one reading at a time, as plainly as they can be written.

The vectorised engine must agree with this to the bit. It shares no code with it past the rules' numbers.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from forewarn.core import cadences, conversions, crossings, faults, residuals, windows
from forewarn.core.ports import Forecaster
from forewarn.core.rules import Limits, Rules
from tests.core.scalar_bands import ScalarBands
from tests.core.scalar_tail import ScalarTail, Unusual


class Told(NamedTuple):
    """When an active alert was last told, and whether it is critical."""

    at: float
    critical: bool


@dataclass
class Said:
    """The verdict on one reading and the changes of its alerts, as (kind, type)."""

    status: str
    expected: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    score: float = 0.0
    alert: bool = False
    unusual: Unusual | None = None  # of the judge "tail"
    changes: list[tuple[str, str]] = field(default_factory=list)


class ScalarSeries:
    """One series of a single-feature model."""

    def __init__(
        self, forecaster: Forecaster, rules: Rules, threshold: float, absolute: bool, limits: Limits | None = None
    ) -> None:
        self.forecaster, self.rules, self.limits = forecaster, rules, limits or Limits()
        self.threshold, self.absolute = threshold, absolute
        self.window: list[float] = []
        self.at = self.last_at = self.last_received_at = self.last_value = math.nan
        self.expected = math.nan
        self.n = 0
        self.mean = self.band = 0.0
        self.resolution = math.inf
        self.run = self.longest = self.n_change = self.n_interval = 0
        self.first_intervals: list[float] = []
        self.cadence = self.usual_interval = math.nan
        self.uneven = 0.0
        self.exceeded: list[bool] = []
        self.calm = 0
        self.told: dict[str, Told] = {}
        self.path: list[float] = []  # that was forecast last
        self.bands = ScalarBands(forecaster.card.horizon)
        self.n_ahead = 0
        self.n_calm = {"range": 0, "rate": 0, "limit": 0, "forecast_limit": 0}
        self.conversion: conversions.Conversion | None = None
        self.fits, self.base, self.reach = 0, math.nan, math.nan
        self.usual: list[float] = []
        self.n_faulty = 0
        self.tail = ScalarTail() if rules.detector == "tail" else None
        self.n_calm["anomaly"] = 0
        self.n_history, self.history_mean, self.history_variance = 0, 0.0, 0.0

    def take(self, at: float, received_at: float, value: float, seed: bool = False) -> Said:  # noqa: C901, PLR0911, PLR0912 - a flat list of what is looked at
        if not (math.isfinite(value) and math.isfinite(at)):
            return Said("not_finite")
        if abs(value) > float(np.finfo(np.float32).max):
            return Said("out_of_range")
        if at > received_at + self.rules.max_future_s:
            return Said("from_future")
        if seed and not math.isnan(self.last_at):
            return Said("retained")
        if at == self.last_at:
            return Said("duplicate")
        if at < self.last_at:
            return Said("out_of_order")
        change, interval = value - self.last_value, at - self.last_at
        if self.n_interval >= cadences.MIN_INTERVALS and interval > self.rules.max_gap * self.cadence:
            self.window, self.path = [], []
            self.bands.forget()
            if self.tail:
                self.tail.restart()
        missing = self._missing(interval)
        self.expected = self.path[min(missing, len(self.path) - 1)] if self.path else math.nan
        self._cadence(interval)
        self.at = at
        said = self._judge(value)
        self._count_equal(change)
        found: dict[str, tuple[bool, bool]] = {}  # active, critical
        if not self.tail:
            found["residual"] = self._residual(said)
        found["stuck"] = (self._stuck(), False)
        found["unit_change"] = (self._unit_change(said, value), False)
        found["range"] = (self._held("range", not self.limits.low <= value <= self.limits.high), False)
        rate = abs(change) / max(interval, 1e-9) if not math.isnan(interval) else 0.0
        found["rate"] = (self._held("rate", rate > self.limits.max_rate_per_s), False)
        found["limit"] = (self._held("limit", self._passed(value)), False)
        faulty = any(found[kind][0] for kind in ("stuck", "range", "rate", "unit_change"))
        if self._teach(value, change, faulty=faulty):
            if self.tail:
                said.unusual = self.tail.take(at, value, interval, self.resolution)
            self._look_ahead(value, missing)
        self.last_at, self.last_received_at, self.last_value = at, received_at, value
        found["forecast_limit"] = (self._forecast_limit(value), False)
        if self.tail:
            found["anomaly"] = self._anomaly(said)
        if seed:
            found = dict.fromkeys(found, (False, False))
        for kind, (active, critical) in found.items():
            self._change(said, kind, active, critical, at)
        said.alert = found["anomaly" if self.tail else "residual"][0]
        return said

    def _change(self, said: Said, kind: str, active: bool, critical: bool, at: float) -> None:
        told = self.told.get(kind)
        if active and told is None:
            said.changes.append((kind, "raised"))
            self.told[kind] = Told(at, critical)
        elif active and told and ((critical and not told.critical) or at >= told.at + self.rules.update_every_s):
            said.changes.append((kind, "updated"))
            self.told[kind] = Told(at, critical or told.critical)
        elif told and not active:
            said.changes.append((kind, "cleared"))
            del self.told[kind]

    def _held(self, kind: str, found: bool) -> bool:
        self.n_calm[kind] = 0 if found else self.n_calm[kind] + 1
        return found or (kind in self.told and self.n_calm[kind] < self.rules.clear_after)

    def _passed(self, value: float) -> bool:
        return value > self.limits.limit_above or value < self.limits.limit_below

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

    def _residual(self, said: Said) -> tuple[bool, bool]:
        rules = self.rules
        exceeds = said.status == "scored" and said.score > self.threshold
        self.exceeded = [*self.exceeded, exceeds][-rules.raise_within :]
        self.calm = self.calm + 1 if said.score < rules.clear_ratio * self.threshold else 0
        raised = exceeds and sum(self.exceeded) >= rules.raise_after
        active = self.calm < rules.clear_after if "residual" in self.told else raised
        return active, said.score > rules.critical_ratio * self.threshold

    def _unit_change(self, said: Said, value: float) -> bool:
        if self.conversion is not None:
            back = self.conversion.back(value)
            near = self.reach if self.fits < conversions.EVIDENCE else abs(value - self.base)
            if abs(back - self.base) <= near:
                self.base, self.fits = back, self.fits + 1
            else:
                self._end_conversion()
        elif said.status == "scored" and abs(value - self.expected) > conversions.JUMP * self._scale():
            steps = [abs(float(np.float32(b)) - float(np.float32(a))) for a, b in pairwise(self.window)]
            self.reach = max([self.band, 3.0 * self._scale(), *steps])
            known = min(self.usual, default=math.inf) <= value <= max(self.usual, default=-math.inf)
            for one in sorted(conversions.CONVERSIONS, key=lambda one: abs(one.back(value) - self.expected)):
                far = abs(value - self.expected) > conversions.JUMP * self.reach
                if far and not known and abs(one.back(value) - self.expected) <= self.reach:
                    self.conversion, self.fits, self.base = one, 1, one.back(value)
                break
        else:
            self.usual.append(value)
        if self.conversion is None or self.fits < conversions.EVIDENCE:
            return False
        if self.fits >= self.rules.accept_after:
            self._end_conversion()
        return self.conversion is not None

    def _end_conversion(self) -> None:
        if self.conversion and self.fits >= conversions.EVIDENCE:
            self.usual.append(self.conversion.factor * self.base + self.conversion.offset)
        self.conversion = None

    def _anomaly(self, said: Said) -> tuple[bool, bool]:
        known = self.tail is not None and self.tail.n >= 60
        unusual = said.unusual or Unusual(warm=known)
        said.status, said.score = "scored" if unusual.warm else "warming_up", unusual.z
        threshold = max((1.2 - math.log10(self.rules.sensitivity)) / 0.5, 0.5)
        lasting = self._held("anomaly", unusual.z > threshold)
        active = unusual.score > threshold or ("anomaly" in self.told and lasting)
        return active, unusual.z > self.rules.critical_ratio * threshold

    def _teach(self, value: float, change: float, *, faulty: bool) -> bool:
        faulty = faulty or self.conversion is not None
        self.n_faulty = self.n_faulty + 1 if faulty else 0
        teaches = not faulty or self.n_faulty > self.rules.accept_after
        if teaches and not math.isnan(self.expected):
            self._learn(abs(value - self.expected))
        if abs(change) > 0:
            self.resolution = min(self.resolution, abs(change))
        if not teaches:
            self.bands.forget()
        return teaches

    def _forecast_limit(self, value: float) -> bool:
        most, worst = -math.inf, 0.0
        for i, forecast in enumerate(self.path):
            worst = max(worst, self.bands.error[i] if self.bands.n[i] else self.mean * math.sqrt(i + 1))
            over = max(forecast - self.limits.limit_above, self.limits.limit_below - forecast)
            most = max(most, over / max(worst, 1e-12))
        passed = self._passed(value)
        likely = most > crossings.quantile(self.rules.limit_probability) and self.n >= residuals.WARM_UP
        self.n_ahead = self.n_ahead + 1 if likely and not passed else 0
        still = self._held("forecast_limit", most > 0 and not passed)
        return not passed and (("forecast_limit" in self.told and still) or self.n_ahead >= crossings.CONFIRM)

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

    def _count_equal(self, change: float) -> None:
        if change == 0.0:
            self.run += 1
        else:
            told = math.ceil(1.25 * max(self.longest, self.rules.stuck_min_run / self.rules.stuck_factor))
            self.longest = max(self.longest, min(self.run, told) if "stuck" in self.told else self.run)
            self.n_change += self.run > 0
            self.run = 1

    def _stuck(self) -> bool:
        limit = max(self.rules.stuck_factor * self.longest, self.rules.stuck_min_run)
        known = self.n_change >= faults.MIN_CHANGES
        return self.rules.stuck and ((known and self.run >= limit) or ("stuck" in self.told and self.run > 1))

    def _cadence(self, interval: float) -> None:
        if math.isnan(interval):
            return
        interval = min(max(interval, 1e-9), 1e9)
        if self.n_interval < cadences.MIN_INTERVALS:
            self.first_intervals.append(interval)
            self.cadence = sorted(self.first_intervals)[-2] if self.n_interval else math.nan
        else:
            self.cadence *= math.exp(0.095) if interval > self.cadence else math.exp(-0.005)
        self._usual(interval)
        self.n_interval += 1

    def _usual(self, interval: float) -> None:
        if math.isnan(self.usual_interval):
            self.usual_interval = interval
            return
        away = min(abs(interval / self.usual_interval - 1), 0.5)
        self.uneven += (away - self.uneven) * max(1 / (self.n_interval + 1), 1 / 256)
        step = 1 + max(4 / (self.n_interval + 1), 0.002)
        if interval > self.usual_interval:
            self.usual_interval *= step
        elif interval < self.usual_interval:
            self.usual_interval /= step

    def _missing(self, interval: float) -> int:
        if self.n_interval < cadences.MIN_INTERVALS or self.uneven > cadences.EVEN:
            return 0
        return min(max(round(min(interval, 1e9) / self.usual_interval) - 1, 0), 1_000_000)

    def _bridge(self, value: float, missing: int) -> None:
        known = self.forecaster.card.interval_s is not None
        if known and self.window and 1 <= missing <= 3:
            before = float(np.float32(self.window[-1]))
            line = [before + nth / (missing + 1) * (value - before) for nth in range(1, missing + 1)]
            self.window += line

    def _look_ahead(self, value: float, missing: int) -> None:
        n_step = self.forecaster.card.n_step
        self.bands.take(value, missing)
        self._bridge(value, missing)
        self.window = [*self.window, value][-n_step:]
        self._see_history(value)
        forecast = None
        if len(self.window) == n_step:
            window = np.array(self.window, np.float32).reshape(1, n_step, 1)
            spread, at = np.array([self._spread()], np.float32), np.array([self.at])
            forecast = self.forecaster.forecast(window, spread, at)
            self.path = [float(each) for each in forecast.path[0]]
        self.bands.follow(None if forecast is None else self.path)
        if self.tail:
            self.tail.expect(forecast)

    def _see_history(self, value: float) -> None:
        share = max(1.0 / (self.n_history + 1.0), 1.0 / windows.SPREAD_MEMORY)
        if self.n_history == 0:
            self.history_mean = value
        away = value - self.history_mean
        self.history_mean += share * away
        self.history_variance = (1.0 - share) * (self.history_variance + share * away * away)
        self.n_history += 1

    def _spread(self) -> float:
        return math.sqrt(self.history_variance)
