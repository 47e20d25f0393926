"""History as training data: parts by time, gaps bridged, windows.

Rules that hold here:

- The split comes first, for each device by time; everything after it sees one part alone. Nothing of a later part
  reaches an earlier one, neither through interpolation nor through a window or a scale.
- A gap of at most `max_gap` readings is bridged by a straight line; a window never reaches over a longer one.
- Windows are float32, as the daemon's are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forewarn.core.card import BLOCKS
from forewarn.core.clock import DAY_S, WEEK_S
from forewarn.errors import DataError
from forewarn.history import History

Floats = NDArray[np.float64]
Windows32 = NDArray[np.float32]
PARTS = ("training", "validation", "test")
_SCALED_WINDOWS = 20_000  # how many windows the scales are taken from
# Scaled inputs beyond this are cut off: one absurd reading must not saturate the cell for a whole window.
INPUT_LIMIT = 10.0
# Differences beyond this are cut off, so that the sum of 512 of their squares stays finite in float32.
DIFFERENCE_LIMIT = 1e17
LEAST_PERIODS = 4
"""Days or weeks in the training part that its rhythm is learnt from."""
SPREAD_MEMORY = 20_000
"""Readings over which the daemon's running standard deviation of a series forgets."""


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of time of all devices, as rows and the windows that can be cut from them.

    Attributes:
        at: `(n,)` UTC epoch seconds of each row; rows of one device are together and in order.
        device: `(n,)` index of each row's device.
        values: `(n, n_feature)` engineering units, NaN where a gap was too long to bridge.
        starts: `(n_window,)` first row of each window of `n_step` inputs and `horizon` targets.
        n_step: inputs of a window.
        horizon: targets of a window.
        target_index: the column that is forecast.
        spread: `(n,)` standard deviation of the target so far, see `running_spread`.
    """

    at: Floats
    device: NDArray[np.int64]
    values: Windows32
    starts: NDArray[np.int64]
    n_step: int
    horizon: int
    target_index: int
    spread: Windows32

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.starts)

    def inputs(self, chosen: NDArray[np.int64] | slice = slice(None)) -> Windows32:
        """`(n, n_step, n_feature)` of the chosen windows."""
        out: Windows32 = self.values[self.starts[chosen, None] + np.arange(self.n_step)]
        return out

    def targets(self, chosen: NDArray[np.int64] | slice = slice(None)) -> Windows32:
        """`(n, horizon)` of the chosen windows."""
        rows = self.starts[chosen, None] + self.n_step + np.arange(self.horizon)
        out: Windows32 = self.values[rows, self.target_index]
        return out

    def block_targets(self, chosen: NDArray[np.int64] | slice = slice(None)) -> Windows32:
        """`(n, len(BLOCKS))` means of the target over the readings that follow the chosen windows.

        NaN where not all of them are there: a window needs only `horizon` readings after it.
        """
        first = self.starts[chosen, None]
        rows = first + self.n_step + np.arange(max(BLOCKS))
        inside = np.minimum(rows, len(self.values) - 1)
        there = (rows == inside) & (self.device[inside] == self.device[first])
        coming = np.where(there, self.values[inside, self.target_index], np.nan).astype(np.float64)
        return np.stack([coming[:, :n].mean(axis=1) for n in BLOCKS], axis=1).astype(np.float32)

    def spreads(self, chosen: NDArray[np.int64] | slice = slice(None)) -> Windows32:
        """`(n,)` standard deviation of the device's target from the part's first reading to the window's last."""
        return self.spread[self.starts[chosen] + self.n_step - 1]

    def ends_at(self, chosen: NDArray[np.int64] | slice = slice(None)) -> Floats:
        """`(n,)` UTC epoch seconds of the last readings of the chosen windows."""
        out: Floats = self.at[self.starts[chosen] + self.n_step - 1]
        return out

    def target_at(self) -> Floats:
        """`(n_window, horizon)` times of the targets."""
        out: Floats = self.at[self.starts[:, None] + self.n_step + np.arange(self.horizon)]
        return out

    def some(self, most: int) -> NDArray[np.int64]:
        """At most `most` windows, spread evenly."""
        return np.unique(np.linspace(0, len(self) - 1, min(most, len(self))).astype(np.int64))


@dataclass(frozen=True, slots=True)
class Dataset:
    """The parts of a file of history.

    Attributes:
        training: what weights and scales come from.
        validation: what stops the training and calibrates the threshold.
        test: what only the table of errors sees.
        interval_s: median seconds between readings in the training part.
        features: names of the columns.
        target: the feature that is forecast.
        devices: names, by the index in `Part.device`.
        sha256: of the file.
    """

    training: Part
    validation: Part
    test: Part
    interval_s: float
    features: tuple[str, ...]
    target: str
    devices: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Cut:
    """How history becomes windows.

    Attributes:
        n_step: inputs of a window.
        horizon: targets of a window.
        shares: of the readings of each device that are for training and for validation; the rest is for the test.
        max_gap: the longest gap in readings that is bridged.
    """

    n_step: int
    horizon: int
    shares: tuple[float, float] = (0.6, 0.2)
    max_gap: int = 3


def prepare(history: History, cut: Cut) -> Dataset:
    """Split, bridge and index.

    Raises:
        DataError: where a part has no window, saying how long the file would have to be.
    """
    devices = tuple(sorted(set(history.device)))
    index = {name: i for i, name in enumerate(devices)}
    owner = np.fromiter((index[name] for name in history.device), np.int64, len(history))
    order = np.argsort(owner, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(owner, minlength=len(devices)))[:-1])
    stretches = [_by_time(history, mine) for mine in rows]
    split = [_split(at, values, cut.shares) for at, values in stretches]
    interval_s = _interval(history.path, [parts[0][0] for parts in split])
    parts = [
        _part([_bridge(*device[i], interval_s, cut.max_gap) for device in split], cut, history.target_index)
        for i in range(len(PARTS))
    ]
    for name, part in zip(PARTS, parts, strict=True):
        if not len(part):
            raise DataError(
                f"{history.path}: the {name} part ({len(part.at)} readings) has no window of {cut.n_step} inputs and "
                f"{cut.horizon} targets without a gap of more than {cut.max_gap} readings: give more history, a "
                "smaller --n-step or --horizon, another --split, or a larger --max-gap"
            )
    training, validation, test = parts
    return Dataset(training, validation, test, interval_s, history.features, history.target, devices, history.sha256)


def _by_time(history: History, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Times and values of one device's rows, in order of time, the first of readings at the same time."""
    rows = rows[np.isfinite(history.at[rows])]
    at, first = np.unique(history.at[rows], return_index=True)
    values = history.values[rows[first]]
    return at, np.where(np.isfinite(values), values, np.nan)


def _split(at: Floats, values: Floats, shares: tuple[float, float]) -> list[tuple[Floats, Floats]]:
    ends = [round(len(at) * shares[0]), round(len(at) * sum(shares))]
    return list(zip(np.split(at, ends), np.split(values, ends), strict=True))


def _interval(path: Path, times: list[Floats]) -> float:
    steps = np.concatenate([np.diff(at) for at in times])
    if not len(steps):
        raise DataError(
            f"{path}: no device has two readings at different times in its training part: give more history"
        )
    return float(np.median(steps))


def _bridge(at: Floats, values: Floats, interval_s: float, max_gap: int) -> tuple[Floats, Floats]:
    """Insert rows where readings are missing, and fill short runs of NaN by a straight line in time.

    A gap that is too long to bridge becomes one row of NaN, which no window may hold.
    """
    missing = np.maximum(np.rint(np.diff(at) / interval_s) - 1, 0) if len(at) else np.empty(0)
    rows = np.where(missing > max_gap, 1, missing).astype(np.int64)
    positions = np.concatenate([[0], np.cumsum(rows + 1)])[: len(at)].astype(np.int64)
    n = int(positions[-1]) + 1 if len(at) else 0
    grid = np.interp(np.arange(n), positions, at) if n else at
    filled = np.full((n, values.shape[1]), np.nan)
    filled[positions] = values
    broken = np.zeros(n, np.bool_)
    broken[positions[:-1][missing > max_gap] + 1] = True
    for column in filled.T:
        _fill_short_runs(grid, column, broken, max_gap)
    return grid, filled


def _fill_short_runs(at: Floats, column: Floats, broken: NDArray[np.bool_], max_gap: int) -> None:
    for start, end in _runs(np.isnan(column)):
        inside = start > 0 and end < len(column)
        if inside and end - start <= max_gap and not broken[start:end].any():
            column[start:end] = np.interp(at[start:end], [at[start - 1], at[end]], [column[start - 1], column[end]])


def _runs(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and past-the-last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _part(stretches: list[tuple[Floats, Floats]], cut: Cut, target_index: int) -> Part:
    at = np.concatenate([at for at, _ in stretches])
    values = np.concatenate([values for _, values in stretches]).astype(np.float32)
    device = np.concatenate([np.full(len(at), i, np.int64) for i, (at, _) in enumerate(stretches)])
    span = cut.n_step + cut.horizon
    bad = np.concatenate([[0], np.cumsum(~np.isfinite(values).all(axis=1))])
    starts = np.arange(max(0, len(at) - span + 1))
    whole = (bad[starts + span] == bad[starts]) & (device[starts + span - 1] == device[starts])
    spread = running_spread(values[:, target_index], device)
    return Part(at, device, values, starts[whole], cut.n_step, cut.horizon, target_index, spread)


def running_spread(y: Windows32, device: NDArray[np.int64]) -> Windows32:
    """Standard deviation of each device's readings so far `(n,)`, as the daemon has it when it asks for a forecast.

    Exponentially weighted mean and variance (West 1979) with a weight of max(1 / n, 1 / `SPREAD_MEMORY`) for the n-th
    reading, so that the first ones count alike. NaN is passed over.
    """
    out = np.empty(len(y))
    owner = n = -1
    mean = variance = 0.0
    for i, (value, mine) in enumerate(zip(y.tolist(), device.tolist(), strict=True)):
        if mine != owner:
            owner, n, mean, variance = mine, 0, 0.0, 0.0
        if value == value:  # noqa: PLR0124 - a quick test for NaN
            n += 1
            weight = max(1 / n, 1 / SPREAD_MEMORY)
            away = value - mean
            mean += weight * away
            variance = (1 - weight) * (variance + weight * away * away)
        out[i] = variance
    return np.minimum(np.sqrt(out), np.finfo(np.float32).max).astype(np.float32)


def scales(part: Part) -> tuple[Windows32, Windows32, Windows32]:
    """Root mean squares, over a part's windows, of what goes in and out of a network.

    Of x_i - x_last `(n_feature,)`, of y[t + h] - y[t] `(horizon,)` and of a block's mean - y[t] `(len(BLOCKS),)`. One
    that is zero, of a constant, becomes 1. A block that no window is followed by has the scale of the last lead.
    """
    chosen = part.some(_SCALED_WINDOWS)
    inputs = part.inputs(chosen).astype(np.float64)
    last = inputs[:, -1, :]
    changes = part.targets(chosen) - last[:, part.target_index, None]
    of_inputs = np.sqrt(np.mean((inputs - last[:, None, :]) ** 2, axis=(0, 1)))
    of_outputs = np.sqrt(np.mean(changes**2, axis=0))
    of_blocks = np.full(len(BLOCKS), of_outputs[-1])
    blocks = part.block_targets(chosen) - last[:, part.target_index, None]
    followed = np.isfinite(blocks)
    some = followed.any(axis=0)
    squares = np.where(followed, blocks, 0.0) ** 2
    of_blocks[some] = np.sqrt(squares.sum(axis=0)[some] / followed.sum(axis=0)[some])
    return _never_zero(of_inputs), _never_zero(of_outputs), _never_zero(of_blocks)


def extremes(part: Part) -> tuple[Windows32, Windows32]:
    """Least value and range of each feature in a part, both `(n_feature,)`; a range of zero becomes 1."""
    values = part.values[np.isfinite(part.values).all(axis=1)]
    low = values.min(axis=0)
    return low, _never_zero((values.max(axis=0) - low).astype(np.float64))


def whole_periods(part: Part, period_s: float) -> int:
    """The most whole periods that the readings of one device span."""
    spans = [np.ptp(part.at[part.device == device]) for device in np.unique(part.device)]
    return int(max(spans, default=0.0) // period_s)


def clock_scale(part: Part) -> Windows32:
    """What the channels of `core.clock` are multiplied by `(CHANNELS,)`: 0 where a part has too few of the period.

    Of fewer than `LEAST_PERIODS` of them it is a trend that is learnt, not a rhythm.
    """
    enough = [whole_periods(part, period_s) >= LEAST_PERIODS for period_s in (DAY_S, DAY_S, WEEK_S, WEEK_S)]
    return np.array(enough, np.float32)


def _never_zero(scale: Floats) -> Windows32:
    return np.where(scale > 0, scale, 1.0).astype(np.float32)


def naive_error(part: Part, n_device: int) -> Floats:
    """Mean |y[t] - y[t-1]| of each device `(n_device,)`: what MASE divides by (Hyndman and Koehler 2006)."""
    y = part.values[:, part.target_index].astype(np.float64)
    change = np.abs(np.diff(y))
    usable = np.isfinite(change) & (np.diff(part.device) == 0)
    owner = part.device[1:][usable]
    total = np.bincount(owner, change[usable], n_device)
    count = np.bincount(owner, minlength=n_device)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
