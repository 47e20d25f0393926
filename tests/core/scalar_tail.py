"""The `tail` judge once more, one series and one reading at a time, as plainly as it can be written.

The vectorised judge must agree with this to the bit. It shares no code with it past the rules' numbers. Two things are
done as NumPy does them, because the bits depend on it: what the table keeps as float32 is `np.float32` here, and sums,
exponentials, logarithms and powers are NumPy's.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from forewarn.core.card import BLOCKS
from forewarn.core.deviations import HALF_LIVES, STREAMS, Stream
from forewarn.core.ports import Forecast

F4, F8 = np.float32, np.float64
ZERO = F4(0)
LN_2 = math.log(2.0)


@dataclass
class Unusual:
    """What is said of one reading."""

    warm: bool
    score: float = 0.0
    z: float = 0.0
    stream: str = STREAMS[0].name
    observed: float = math.nan
    usual: float = math.nan
    since_at: float = math.nan


@dataclass
class Deviation:
    """Of one reading, in one stream."""

    size: float
    floor: float
    unit: float
    observed: float
    usual: float


@dataclass
class Tail:
    """What is known of the sizes of one stream."""

    visited: Counter[str]
    n: int = 0
    first: list[float] = field(default_factory=list)
    median: np.float32 = ZERO
    mean: np.float32 = ZERO
    threshold: np.float32 = ZERO
    centre: np.float32 = ZERO
    deviation: np.float32 = ZERO
    excess: np.float32 = ZERO
    n_excess: np.float32 = ZERO
    peak: np.float32 | None = None  # of the present or last excursion
    peak_n: int = 0
    peaks: list[np.float32] = field(default_factory=list)  # of those before, the newest last

    def score(self, deviation: Deviation, nth: int) -> float:
        """-log10 of the probability of such a deviation, 0 for one that is usual; then learn it."""
        size = min(deviation.size, 1e38) if deviation.size > deviation.floor else 0.0
        self.n += 1
        if self.n <= 20:
            self._gather(size, deviation.unit)
            return 0.0
        g = float(np.log1p(size / self._usual(deviation.unit)))
        score = self._excursion(g, nth) if g > self.threshold else 0.0
        self._learn(g)
        if self.n <= 100:
            self._follow_median(size)
        return score

    def _usual(self, unit: float) -> float:
        usual = float(self.median) + 0.001 * float(self.mean)
        self.visited["moved" if usual > 0.01 * unit else "flat"] += 1
        return usual if usual > 0.01 * unit else unit

    def _gather(self, size: float, unit: float) -> None:
        self.visited["first"] += 1
        self.first.append(float(F4(size)))
        if self.n < 20:
            return
        first = np.array(self.first)
        mean, middle = float(first.mean()), float(np.median(first))
        median = middle if middle > 0 else mean
        usual = median + 0.001 * mean
        g = np.log1p(first / (usual if usual > 0.01 * unit else unit))
        self.median, self.mean = F4(median), F4(mean)
        self.threshold = F4(max(float(g.max()), LN_2))
        self.centre = F4(g.mean())
        self.deviation = F4(np.abs(g - g.mean()).mean())

    def _excursion(self, g: float, nth: int) -> float:
        beta = (self.excess + 18.0) / (self.n_excess + 60.0)
        before = sum(bool(peak >= F4(g)) for peak in self.peaks[-32:])
        rare = -math.log10(1.0 - 0.98) + math.log10(math.e) * (g - float(self.threshold)) / float(beta)
        self.visited["as high before"] += before > 0
        self.visited["ring is full"] += len(self.peaks) > 32
        if self.peak is None or nth - self.peak_n > 20:
            self.visited["excursion begins"] += 1
            if self.peak is not None:
                self.peaks.append(self.peak)
            self.peak = F4(g)
        else:
            self.visited["excursion goes on"] += 1
            self.peak = max(self.peak, F4(g))
        self.peak_n = nth
        return rare / float(np.sqrt(1.0 + before))

    def _learn(self, g: float) -> None:
        threshold, over = float(self.threshold), g > self.threshold
        slow = max(1.0 / self.n, 0.001)
        centre, deviation = float(self.centre), float(self.deviation)
        deviation += slow * (abs(min(g, threshold + 1.0) - centre) - deviation)
        step = max(2.0 / self.n, 0.001) * max(deviation, 0.05) * 10.0
        keep = F4(1.0 - 1.0 / 8000.0)
        self.excess = F4(float(self.excess * keep) + (g - threshold if over else 0.0))
        self.n_excess = self.n_excess * keep + F4(over)
        self.centre = F4(centre + slow * (g - centre))
        self.deviation = F4(deviation)
        self.threshold = F4(max(threshold + step * (over - (1.0 - 0.98)), LN_2))
        self.visited["least threshold"] += bool(self.threshold == F4(LN_2))

    def _follow_median(self, size: float) -> None:
        self.visited["median follows"] += 1
        median, mean, share = float(self.median), float(self.mean), 1.0 / self.n
        self.median = F4(median * float(np.exp(2.0 * share * float(np.sign(size - median)))))
        self.mean = F4(mean + (size - mean) * share)


class ScalarTail:
    """The judge of one series. `visited` counts the branches that its readings went through."""

    def __init__(self) -> None:
        self.visited: Counter[str] = Counter()
        self.n = self.run = 0
        self.values: list[float] = []
        self.levels = [0.0] * len(HALF_LIVES)
        self.pending: dict[int, dict[int, tuple[float, float]]] = {block: {} for block in BLOCKS}
        self.origin = 0.0
        self.day: dict[int, tuple[int, np.float32]] = {}  # by bin of the day: the bin since 1970, the value
        self.ago: list[float] = []
        self.interval = math.nan
        self.tails = [Tail(self.visited) for _ in STREAMS]
        self.notable: np.float32 | None = None
        self.notable_n = 0
        self.unusual_n, self.unusual_at = -(2**30), math.nan
        self.notables: list[np.float32] = []
        self.told, self.told_n = F4(0), -(2**30)

    def restart(self) -> None:
        """After a long gap."""
        self.visited["gap"] += 1
        self.run, self.ago = 0, [math.nan] * 60
        self.pending = {block: {} for block in BLOCKS}

    def take(self, at: float, value: float, interval: float, resolution: float) -> Unusual:
        """Judge one reading that teaches, with what was known before it."""
        self._see_interval(interval)
        if not self.values:
            self.origin, self.levels = value, [value] * len(HALF_LIVES)
        self.values = [*self.values, value][-60:]
        self._see_day(at, value)
        deviations = [self._deviation(stream, value, resolution) for stream in STREAMS]
        found = Unusual(warm=self.n >= 60)
        shares = []
        for stream, deviation, tail in zip(STREAMS, deviations, self.tails, strict=True):
            seen = self.run >= max(stream.span - 1, 1) and math.isfinite(deviation.size)
            self.visited[f"{stream.name} {'seen' if seen else 'not seen'}"] += 1
            share = tail.score(deviation, self.n) if seen else 0.0
            shares.append(share * stream.weight if found.warm else 0.0)
        fused = _fused(shares)
        most = shares.index(max(shares))
        if fused > 0:
            found.z = self._z(fused)
        if found.z > 0.5 and self._stands_out(found.z):
            found.score = found.z
        found.stream, found.observed, found.usual = (
            STREAMS[most].name,
            deviations[most].observed,
            deviations[most].usual,
        )
        if STREAMS[most].family == "volatility":
            found.usual = float(self.tails[most].median)
        found.since_at = self.unusual_at if self.n - self.unusual_n <= 5 else at
        if fused > 1.0:
            self.unusual_n, self.unusual_at = self.n, found.since_at
        for i, half_life in enumerate(HALF_LIVES):
            share = max(1.0 / (self.n + 1.0), 1.0 - 0.5 ** (1.0 / half_life))
            self.levels[i] += share * (value - self.levels[i])
        self.n += 1
        self.run += 1
        return found

    def expect(self, forecast: Forecast | None) -> None:
        """What was forecast after the reading that was just taken: one row, or nothing."""
        for i, block in enumerate(BLOCKS):
            self.pending[block].pop(self.n - 1, None)
            if forecast is not None:
                mean, log_scale = float(forecast.block_mean[0, i]), float(forecast.block_log_scale[0, i])
                self.pending[block][self.n - 1 + block] = mean, log_scale

    def _see_interval(self, interval: float) -> None:
        interval = min(interval, 1e9) if math.isfinite(interval) else interval
        if math.isnan(self.interval):
            self.interval = interval
        else:
            share = max(4.0 / (self.n + 1.0), 0.002)
            self.interval *= float(np.exp(share * float(np.sign(interval - self.interval))))

    def _see_day(self, at: float, value: float) -> None:
        now = math.floor(at / 300.0)
        reach = 0 if math.isnan(self.interval) else math.floor(1.5 * self.interval / 300.0)
        reach = min(max(reach, 1), 6)
        ago = math.nan
        for away in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6):
            wanted = now - 288 + away
            entry = self.day.get(wanted % 288)
            if abs(away) <= reach and entry is not None and entry[0] == wanted:
                ago = float(entry[1])
                self.visited[f"day ago {'here' if away == 0 else 'near'}"] += 1
                break
        self.ago = [*self.ago, ago][-60:]
        change = F4(min(max(value - self.origin, -3.4e38), 3.4e38))
        entry = self.day.get(now % 288)
        if entry is not None and entry[0] == now:
            self.visited["second in its bin"] += 1
            change = F4(0.5) * entry[1] + F4(0.5) * change
        self.day[now % 288] = now, change

    def _deviation(self, stream: Stream, value: float, resolution: float) -> Deviation:
        last = np.array(self.values[-stream.span :])
        observed = value if stream.span == 1 else float(last.sum() / stream.span)
        divisor = 1.0
        if stream.family == "level":
            usual = self.levels[stream.half_life]
        elif stream.family == "forecast":
            usual, log_scale = self.pending[stream.span].get(self.n, (math.nan, math.nan))
            divisor = float(np.exp(0.5 * min(max(log_scale, -100.0), 100.0))) if stream.scaled else 1.0
        elif stream.family == "day":
            since = [v - self.origin - ago for v, ago in zip(self.values, self.ago[-len(self.values) :], strict=True)]
            usual = observed - float(np.array(since[-stream.span :]).sum() / stream.span)
        else:
            away = last - float(last.sum() / stream.span)
            observed, usual = float(np.sqrt((away * away).sum() / stream.span)), 0.0
        level = abs(value) + abs(self.levels[0])
        floor = (1e-6 if stream.family == "forecast" else 1e-9) * level + 1e-45
        unit = max(floor, resolution if math.isfinite(resolution) else 0.0)
        size = abs(observed - usual)
        return Deviation(size / divisor, floor / divisor, unit / divisor, observed, usual)

    def _a_day(self) -> float:
        return 100.0 if math.isnan(self.interval) else min(86_400.0 / max(self.interval, 1.0), 2_000.0)

    def _z(self, fused: float) -> float:
        before = sum(bool(peak >= F4(fused)) for peak in self.notables[-16:])
        cadence = 0.5 * float(np.log10(self._a_day() / 100.0))
        if fused > 1.0:
            if self.notable is None or self.n - self.notable_n > 50:
                self.visited["notable begins"] += 1
                self.notables += [] if self.notable is None else [self.notable]
                self.notable = F4(fused)
            else:
                self.visited["notable goes on"] += 1
                self.notable = max(self.notable, F4(fused))
            self.notable_n = self.n
        self.visited["notable as high before"] += before > 0
        self.visited["notable ring is full"] += len(self.notables) > 16
        return fused / float(np.power(1.0 + before, 0.25)) - cadence

    def _stands_out(self, z: float) -> bool:
        scale = self._a_day() / 100.0
        ago = self.n - self.told_n - 300.0 * scale
        fade = float(np.exp(-max(ago, 0.0) / (50.0 * scale)))
        needed = float(self.told * F4(1.4)) * fade
        held = "nothing was told" if self.told == 0 else "hold" if ago <= 0 else "fade" if fade > 0.01 else "faded"
        self.visited[f"{held}: {'told' if z > needed else 'held back'}"] += 1
        if z > needed:
            self.told, self.told_n = F4(z), self.n
        return z > needed


def _fused(shares: list[float]) -> float:
    most = max(shares)
    if most <= 0:
        return 0.0
    relative = np.array(shares) / most
    return most * float(np.power((relative * relative * relative).sum(), 1.0 / 3.0))
