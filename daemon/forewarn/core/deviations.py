"""How far a series is from what it was: the streams that the `tail` judge watches.

Rules that hold here:

- A deviation is measured with what was known before the reading, then the reading is learnt from.
- Everything counts in readings but `day`, which counts in the readings' own time. A reading that must not teach is not
  among them at all.
- A stream says nothing until enough readings in a row are there for it; they start afresh after a long gap.

The streams were chosen on series of the Numenta Anomaly Benchmark; docs/quality.md has what each is worth.
One reading ahead is not among them: a forecast that follows best is blind to what lasts.
"""

from typing import Literal, NamedTuple

import numpy as np

from forewarn.core.card import BLOCKS
from forewarn.core.ports import Forecast
from forewarn.core.readings import Floats, Mask
from forewarn.core.slots import Column, State

HALF_LIVES = (50.0, 200.0, 1000.0, 4000.0)
"""Of the levels, in readings."""
_KEPT = max(BLOCKS)
_STARTS = (0, *np.cumsum(BLOCKS).tolist())  # of each block's pending forecasts in the column
_BIN_S = 300.0
_BINS = 288  # of a day
_REACH = 6  # bins, to either side, in which the reading of a day ago may lie
_RELATIVE_FLOOR = 1e-9  # of the level: a smaller deviation is rounding
_FORECAST_FLOOR = 1e-6  # where float32 is involved
_LEAST_FLOOR = 1e-45  # the smallest float32
_LARGEST_CHANGE = 3.4e38  # that float32 holds
_LOG_SCALES = 100.0  # to either side of 0: beyond them lies no float32
_LAST_BIN = 2**30  # ten thousand years: a time that is further from 1970 is none

Family = Literal["forecast", "level", "day", "volatility"]


class Stream(NamedTuple):
    """One way of being unusual.

    Attributes:
        name: as alerts have it.
        family: "forecast": the mean of the last `span` readings against what was forecast of it; "level": the same
            mean against an exponentially weighted mean of older readings; "day": against the same readings a day
            before; "volatility": the standard deviation of the last `span` readings.
        span: readings.
        weight: of its tail score in the fused one.
        half_life: of the level, as an index of `HALF_LIVES`.
        scaled: whether the deviation is divided by the square root of the error that the model itself expects.
    """

    name: str
    family: Family
    span: int
    weight: float = 1.0
    half_life: int = 0
    scaled: bool = False


STREAMS = (
    Stream("forecast_20", "forecast", 20),
    Stream("forecast_60", "forecast", 60),
    Stream("forecast_60_scaled", "forecast", 60, scaled=True),
    Stream("level_1_50", "level", 1, half_life=0),
    Stream("level_1_200", "level", 1, half_life=1),
    Stream("level_1_1000", "level", 1, half_life=2),
    Stream("level_5_200", "level", 5, half_life=1),
    Stream("level_60_1000", "level", 60, half_life=2),
    Stream("level_60_4000", "level", 60, half_life=3),
    Stream("day_25", "day", 25, weight=0.6),
    Stream("day_60", "day", 60, weight=0.6),
    Stream("volatility_12", "volatility", 12, weight=0.5),
)

COLUMNS = {
    "n_taken": Column(np.int64),  # readings
    "n_run": Column(np.int64),  # of them since the last long gap
    "recent": Column(np.float64, (_KEPT,)),
    "level": Column(np.float64, (len(HALF_LIVES),)),
    "block_mean": Column(np.float32, (_STARTS[-1],), np.nan),  # forecast, until the block is complete
    "block_log_scale": Column(np.float32, (_STARTS[-1],), np.nan),
    "day_origin": Column(np.float64),  # what the next three count from, so that float32 is enough
    "day": Column(np.float32, (_BINS,)),
    "day_bin": Column(np.int32, (_BINS,), -1),  # which bin since 1970 each entry is of
    "day_ago": Column(np.float32, (_KEPT,), np.nan),  # for each of `recent`
}


class Deviations(NamedTuple):
    """Columns `(n, n_stream)` for the readings of a round.

    Attributes:
        size: at least 0, NaN where the stream says nothing yet.
        floor: below it a size is rounding.
        unit: what a size is at least compared with: the floor, or the sensor's resolution.
        observed: what came, in the target's unit.
        usual: what was expected of it; NaN for "volatility".
    """

    size: Floats
    floor: Floats
    unit: Floats
    observed: Floats
    usual: Floats


def restart(state: State, gap: Mask) -> None:
    """Begin a new run of readings for these series; what was learnt stays."""
    if gap.any():
        for name, blank in (("n_run", 0), ("block_mean", np.nan), ("day_ago", np.nan)):
            state[name][gap] = blank


def measure(state: State, at: Floats, value: Floats, interval_s: Floats) -> Deviations:
    """The deviations that a reading of each of these series makes, before it is learnt from.

    Args:
        state: of the series.
        at: `(n,)` UTC epoch seconds.
        value: `(n,)` of the target.
        interval_s: `(n,)` the series' own cadence, NaN where it is not known.
    """
    first = state["n_taken"] == 0
    if first.any():
        for name in ("recent", "level"):
            state[name][first] = value[first, None]
        state["day_origin"][first] = value[first]
    recent = np.empty((len(value), _KEPT))
    recent[:, :-1] = state["recent"][:, 1:]
    recent[:, -1] = value
    state["recent"] = recent
    _see_day(state, at, value, interval_s)
    return _compare(state, recent, value)


def learn(state: State, value: Floats) -> None:
    """Take the readings into the levels."""
    n = state["n_taken"]
    level = state["level"]
    state["level"] = level + np.maximum(1.0 / (n[:, None] + 1.0), _LEVEL_SHARE) * (value[:, None] - level)
    state["n_taken"] = n + 1
    state["n_run"] += 1


def expect(state: State, forecast: Forecast | None, full: Mask) -> None:
    """Keep what was forecast from the newest readings, for those series that have a forecast."""
    nth = state["n_taken"] - 1
    everyone = np.arange(len(nth))
    for i, block in enumerate(BLOCKS):
        place = _STARTS[i] + nth % block
        for name in ("block_mean", "block_log_scale"):
            column = np.full(len(nth), np.nan, np.float32)
            if forecast is not None:
                column[full] = getattr(forecast, name)[:, i]
            state[name][everyone, place] = column


_LEVEL_SHARE = 1.0 - 0.5 ** (1.0 / np.array(HALF_LIVES))
_NEED = np.array([max(stream.span - 1, 1) for stream in STREAMS])  # readings before the one that is judged
_IS_FORECAST = np.array([stream.family == "forecast" for stream in STREAMS])
_IS_SCALED = np.array([stream.scaled for stream in STREAMS])
_FLOORS = np.where(_IS_FORECAST, _FORECAST_FLOOR, _RELATIVE_FLOOR)


def _compare(state: State, recent: Floats, value: Floats) -> Deviations:
    n = len(value)
    observed, usual = np.empty((2, n, len(STREAMS)))
    means = {span: recent[:, -span:].sum(axis=1) / span for span in (5, *BLOCKS)} | {1: value}
    ago = recent - state["day_origin"][:, None] - state["day_ago"]
    divisor: Floats | None = None
    for i, stream in enumerate(STREAMS):
        if stream.family == "level":
            observed[:, i], usual[:, i] = means[stream.span], state["level"][:, stream.half_life]
        elif stream.family == "forecast":
            observed[:, i] = means[stream.span]
            usual[:, i], scale = _forecast_of(state, stream.span)
            divisor = np.exp(0.5 * np.clip(scale, -_LOG_SCALES, _LOG_SCALES)) if stream.scaled else divisor
        elif stream.family == "day":
            observed[:, i] = recent[:, -stream.span :].sum(axis=1) / stream.span
            usual[:, i] = observed[:, i] - ago[:, -stream.span :].sum(axis=1) / stream.span
        else:
            last = recent[:, -stream.span :]
            away = last - (last.sum(axis=1) / stream.span)[:, None]
            observed[:, i], usual[:, i] = np.sqrt((away * away).sum(axis=1) / stream.span), 0.0
    size = np.abs(observed - usual)
    level = np.abs(value) + np.abs(state["level"][:, 0])
    floor = _FLOORS * level[:, None] + _LEAST_FLOOR
    resolution = state["resolution"]
    unit = np.maximum(floor, np.where(np.isfinite(resolution), resolution, 0.0)[:, None])
    if divisor is not None:
        size[:, _IS_SCALED] /= divisor[:, None]
        floor[:, _IS_SCALED] /= divisor[:, None]
        unit[:, _IS_SCALED] /= divisor[:, None]
    size[state["n_run"][:, None] < _NEED] = np.nan
    return Deviations(size, floor, unit, observed, usual)


def _forecast_of(state: State, block: int) -> tuple[Floats, Floats]:
    """The mean and the log scale that were forecast of the block that ends with this reading."""
    place = _STARTS[BLOCKS.index(block)] + state["n_taken"] % block
    everyone = np.arange(len(place))
    mean, scale = (state[name][everyone, place].astype(np.float64) for name in ("block_mean", "block_log_scale"))
    return mean, scale


def _see_day(state: State, at: Floats, value: Floats, interval_s: Floats) -> None:
    """Find the reading of 24 hours before, none where there is none near it; then keep this one for tomorrow."""
    everyone = np.arange(len(at))
    now = np.floor(np.clip(at / _BIN_S, -_LAST_BIN, _LAST_BIN)).astype(np.int64)
    reach = np.clip(np.floor(1.5 * np.where(np.isfinite(interval_s), interval_s, 0.0) / _BIN_S), 1, _REACH)
    ago = np.full(len(at), np.nan, np.float32)
    for away in (0, *(sign * step for step in range(1, _REACH + 1) for sign in (1, -1))):
        left = np.isnan(ago) & (abs(away) <= reach)
        if not left.any():
            break
        wanted = now - _BINS + away
        found = left & (state["day_bin"][everyone, wanted % _BINS] == wanted)
        ago = np.where(found, state["day"][everyone, wanted % _BINS], ago)
    state["day_ago"][:, :-1] = state["day_ago"][:, 1:]
    state["day_ago"][:, -1] = ago
    place = now % _BINS
    change = np.clip(value - state["day_origin"], -_LARGEST_CHANGE, _LARGEST_CHANGE).astype(np.float32)
    known = state["day_bin"][everyone, place] == now
    state["day"][everyone, place] = np.where(known, 0.5 * state["day"][everyone, place] + 0.5 * change, change)
    state["day_bin"][everyone, place] = now
