"""From values to pixels: the axes of a chart, its ticks, and how a long series is thinned to what can be seen.

Rules that hold here:

- An axis is linear in what it is given; a logarithmic one is given decimal logarithms, and says so in its ticks.
- A long series is thinned to the smallest and largest value of each pixel column, so no spike is lost.
- NaN breaks a line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from html import escape

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LARGEST = 1e300  # so that the span of an axis stays finite
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 10, 40
_TICK_PX = 110  # room for the label of a time
FIRST_AT, LAST_AT = -6.2e10, 2.53e11  # about the years 5 and 9987, for what `datetime` can write
_TIME_STEPS = tuple(
    s * m for m, steps in ((1, (1, 5, 15, 30)), (60, (1, 5, 15, 30)), (3600, (1, 3, 6, 12))) for s in steps
) + tuple(86400 * days for days in (1, 2, 7, 14, 28, 91, 182, 365, 1825, 3650))


class Scale(Enum):
    """What the numbers along an axis are."""

    LINEAR = "linear"
    LOG = "log"  # decimal logarithms, told as what they are of
    TIME = "time"  # UTC epoch seconds


@dataclass(frozen=True, slots=True)
class Size:
    """Of a chart, in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Axes:
    """The ends of both axes and the size of the whole chart."""

    size: Size
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @classmethod
    def around(cls, series: Sequence[tuple[Floats, Floats]], size: Size) -> "Axes | None":
        """Axes that hold all finite points of these x and y; None where there is no point."""
        x = np.concatenate([x[np.isfinite(y)] for x, y in series])
        y = np.concatenate([y[np.isfinite(y)] for _, y in series])
        if not len(y):
            return None
        across = span(float(x.min()), float(x.max()), 0.0)
        return cls(size, *across, *span(float(y.min()), float(y.max()), 0.04))

    def px(self, x: float) -> float:
        """From the left edge."""
        inner = self.size.width - _LEFT - _RIGHT
        return _LEFT + (x - self.x_low) / (self.x_high - self.x_low) * inner

    def py(self, y: float) -> float:
        """From the top edge."""
        inner = self.size.height - _TOP - _BOTTOM
        return self.size.height - _BOTTOM - (y - self.y_low) / (self.y_high - self.y_low) * inner

    def path(self, x: Floats, y: Floats) -> str:
        """The `d` of an SVG path through these points."""
        commands = []
        pen = "M"
        for a, b in zip(x.tolist(), y.tolist(), strict=True):
            if math.isnan(b):
                pen = "M"
                continue
            commands.append(f"{pen}{self.px(a):.1f} {self.py(b):.1f}")
            pen = "L"
        return "".join(commands)

    def band(self, low: tuple[Floats, Floats], high: tuple[Floats, Floats]) -> str:
        """One polygon for each stretch where both ends are known."""
        columns = self.size.width // 2
        x, bottom = thin(*low, columns, pick=np.fmin)
        _, top = thin(*high, columns, pick=np.fmax)
        known = np.isfinite(bottom) & np.isfinite(top)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]])))
        shapes = []
        for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            over = self.path(x[a:b], top[a:b])
            back = self.path(x[a:b][::-1], bottom[a:b][::-1])
            shapes.append(f'<path class="band" d="{over}L{back[1:]}Z"/>')
        return "".join(shapes)

    def dots(self, x: Floats, y: Floats) -> str:
        """A dot for each point."""
        return "".join(
            f'<circle class="mark" cx="{self.px(a):.1f}" cy="{self.py(b):.1f}" r="3.5"/>'
            for a, b in zip(x.tolist(), y.tolist(), strict=True)
            if math.isfinite(b)
        )

    def shades(self, spans: Sequence[tuple[float, float]]) -> str:
        """The stretches of the x axis, over the whole height; what lies outside it is cut off."""
        shapes = []
        for begin, end in spans:
            left, right = max(begin, self.x_low), min(end, self.x_high)
            if left <= right:
                x, width = self.px(left), max(self.px(right) - self.px(left), 1.0)
                shapes.append(
                    f'<rect class="shade" x="{x:.1f}" y="{_TOP}" width="{width:.1f}" '
                    f'height="{self.size.height - _TOP - _BOTTOM}"/>'
                )
        return "".join(shapes)

    def frame(self, x_label: str, y_label: str, x_scale: Scale, y_scale: Scale = Scale.LINEAR) -> str:
        """Grid lines, tick labels and the labels of the axes."""
        width, height = self.size.width, self.size.height
        parts = []
        for value, text in ticks(self.y_low, self.y_high, y_scale, 6):
            y = self.py(value)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        for value, text in ticks(self.x_low, self.x_high, x_scale, (width - _LEFT) // _TICK_PX):
            x = self.px(value)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>')
            anchor = "end" if x > width - 50 else "middle"
            parts.append(f'<text x="{x:.1f}" y="{height - _BOTTOM + 16}" text-anchor="{anchor}">{text}</text>')
        x_label = x_label or ("UTC" if x_scale is Scale.TIME else "")
        parts.append(
            f'<text x="{width - _RIGHT}" y="{height - 6}" text-anchor="end">{escape(x_label)}</text>'
            f'<text x="{_LEFT + 4}" y="{_TOP + 12}">{escape(y_label)}</text>'
        )
        return "".join(parts)


def thin(x: Floats, y: Floats, columns: int, pick: np.ufunc | None = None) -> tuple[Floats, Floats]:
    """The smallest and largest y of each of `columns` runs of points, in their order; or one by `pick`.

    NaN goes on breaking the line, unless there are more breaks than columns.
    """
    n = len(x)
    per_column = math.ceil(n / columns)
    if per_column <= (1 if pick else 2):
        return x, y
    if pick is not None:
        starts = np.arange(0, n, per_column)
        return x[starts], pick.reduceat(y, starts)
    starts = _starts(np.isnan(y), per_column, columns)
    ends = np.append(starts[1:], n) - 1
    smallest = np.fmin.reduceat(y, starts)
    largest = np.fmax.reduceat(y, starts)
    rising = y[starts] <= y[ends]
    pair = np.where(rising[:, None], np.stack([smallest, largest], 1), np.stack([largest, smallest], 1))
    return np.stack([x[starts], x[ends]], 1).ravel(), pair.ravel()


def _starts(unknown: Mask, per_column: int, columns: int) -> NDArray[np.intp]:
    """Where runs of at most so many points begin, each of known points or of unknown ones alone."""
    place = np.arange(len(unknown))
    turns = np.flatnonzero(unknown[1:] != unknown[:-1]) + 1
    if len(turns) > columns:
        return place[::per_column]
    begin = np.zeros(len(unknown), np.intp)
    begin[turns] = turns
    return np.flatnonzero((place - np.maximum.accumulate(begin)) % per_column == 0)


def span(low: float, high: float, room: float) -> tuple[float, float]:
    """Ends of an axis with a share of room on both sides; values that are all but equal get a span all the same."""
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size or size < 1e-200:
        return low - (0.01 * size or 1.0), high + (0.01 * size or 1.0)
    return low - room * (high - low), high + room * (high - low)


def ticks(low: float, high: float, scale: Scale, most: int) -> list[tuple[float, str]]:
    """Where along an axis a label stands, and what it says; about `most` of them."""
    if scale is Scale.TIME:
        return _time_ticks(low, high, most)
    return _log_ticks(low, high) if scale is Scale.LOG else _round_ticks(low, high)


def _round_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers between low and high, 4 to 10 of them, and how they are written."""
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    values = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    plain = decimals <= 6 and max(abs(low), abs(high)) < 1e7
    return [(v, f"{v + 0.0:.{decimals}f}" if plain else f"{v:.6g}") for v in values]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """1, 2 and 5 of each power of ten, more of few powers; of many the powers alone, or every second, and so on."""
    powers = range(math.floor(low), math.floor(high) + 1)
    leading = (1, 1.5, 2, 3, 4, 5, 7) if high - low <= 1.2 else (1, 2, 5) if high - low <= 3 else (1,)
    every = max(1, math.ceil(len(powers) / 8))
    values = [(p + math.log10(m), f"{m * 10.0**p:.6g}") for p in powers[::every] for m in leading]
    return [(v, text) for v, text in values if low <= v <= high]


def _time_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    low, high = max(low, FIRST_AT), min(high, LAST_AT)
    step = next((s for s in _TIME_STEPS if (high - low) / s <= most), _TIME_STEPS[-1])
    form = "%Y-%m-%d" if step >= 86400 else "%d %b %H:%M" if step >= 60 else "%H:%M:%S"
    values = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(float(v), datetime.fromtimestamp(v, UTC).strftime(form)) for v in values]
