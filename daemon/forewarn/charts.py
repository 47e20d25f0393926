"""Charts as inline SVG in one HTML file that opens anywhere: no script, no network, no dependency.

Rules that hold here:

- All text is escaped. Colours follow the reader's light or dark setting by CSS.
- A long series is thinned to the smallest and largest value of each pixel column, so no spike is lost.
- NaN breaks a line; a chart of nothing says so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_WIDTH, _HEIGHT = 960, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 10, 40
_MANY = 1000  # values from which a histogram leaves out the outermost
_FIRST_AT, _LAST_AT = -6.2e10, 2.53e11  # about the years 5 and 9987, for what `datetime` can write
_LARGEST = 1e300  # so that the span of an axis stays finite
_TIME_STEPS = tuple(
    s * m for m, steps in ((1, (1, 5, 15, 30)), (60, (1, 5, 15, 30)), (3600, (1, 3, 6, 12))) for s in steps
) + tuple(86400 * days for days in (1, 2, 7, 14, 28, 91, 182, 365, 1825, 3650))

_STYLE = """
:root{--ink:#1d2329;--soft:#68727d;--rule:#e3e7eb;--paper:#fff;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#e69f00;--mark:#c8102e}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--soft:#98a3ad;--rule:#2c343c;--paper:#14181c;
--c0:#56b4e9;--c1:#f0863a;--c2:#3cc79a;--c3:#e3a3c8;--c4:#f2c14e;--mark:#ff5a68}}
body{margin:2rem auto;max-width:62rem;padding:0 1rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.25rem .8rem;border-bottom:1px solid var(--rule);text-align:right;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}
figure{margin:1.5rem 0}figcaption{font-weight:600}svg{width:100%;height:auto;display:block}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}.grid{stroke:var(--rule)}
.legend{color:var(--soft);font-size:13px}.legend i{display:inline-block;width:1.1em;height:.3em;margin:0 .4em .2em 1em}
.legend i:first-child{margin-left:0}.line{fill:none;stroke-width:1.4;stroke-linejoin:round}
.band{fill:var(--c0);opacity:.18;stroke:none}.mark{fill:var(--mark);stroke:none}.bar{fill:var(--c0)}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One series: `x` and `y` of one length, `x` not decreasing."""

    name: str
    x: ArrayLike
    y: ArrayLike


@dataclass(frozen=True, slots=True)
class Band:
    """The room between `lower` and `upper` over `x`."""

    name: str
    x: ArrayLike
    lower: ArrayLike
    upper: ArrayLike


def page(title: str, body: str) -> str:
    """One self-contained HTML page around a body that is HTML already."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of text; the first column is set to the left."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    lines = ["".join(f"<td>{escape(field)}</td>" for field in row) for row in rows]
    return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{'</tr><tr>'.join(lines)}</tr></tbody></table>"


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    band: Band | None = None,
    marks: Line | None = None,
    x_label: str = "",
    y_label: str = "",
    x_is_time: bool = False,
) -> str:
    """Lines over a common axis, as an HTML figure.

    Args:
        title: of the figure.
        lines: drawn in order, the last on top.
        band: drawn below them.
        marks: points, drawn above them.
        x_label: below the axis.
        y_label: above the axis, such as a unit.
        x_is_time: whether x is UTC epoch seconds.
    """
    drawn = [_points(line.x, line.y) for line in lines]
    dots = _points(marks.x, marks.y) if marks else _points([], [])
    low = _points(band.x, band.lower) if band else _points([], [])
    high = _points(band.x, band.upper) if band else _points([], [])
    axes = _Axes.around([*drawn, dots, low, high])
    if axes is None:
        return _figure(title, "", '<text x="480" y="160" text-anchor="middle">no data</text>')
    parts = [axes.frame(x_label, y_label, x_is_time=x_is_time)]
    names: list[tuple[str, str]] = []
    if band:
        names.append((band.name, "var(--c0);opacity:.35"))
        parts.append(axes.band(low, high))
    for i, (line, (x, y)) in enumerate(zip(lines, drawn, strict=True)):
        colour = f"var(--c{i % 5})"
        names.append((line.name, colour))
        parts.append(f'<path class="line" style="stroke:{colour}" d="{axes.path(*_thin(x, y, _WIDTH))}"/>')
    if marks:
        names.append((marks.name, "var(--mark)"))
        parts.append(axes.dots(*dots))
    return _figure(title, _legend(names), "".join(parts))


def histogram(title: str, values: ArrayLike, *, bins: int = 60, x_label: str = "") -> str:
    """How often values occur, as an HTML figure.

    The outermost 0.1 % on each side of many values are left out and counted.
    """
    finite = np.asarray(values, np.float64)
    finite = finite[np.abs(finite) < _LARGEST]
    if not len(finite):
        return _figure(title, "", '<text x="480" y="160" text-anchor="middle">no data</text>')
    share = 0.001 if len(finite) >= _MANY else 0.0
    low, high = np.quantile(finite, [share, 1 - share])
    shown = finite[(finite >= low) & (finite <= high)]
    counts, edges = np.histogram(shown, bins, range=_span(float(low), float(high), 0.0))
    axes = _Axes(float(edges[0]), float(edges[-1]), 0.0, float(counts.max()) * 1.05)
    bars = [
        f'<rect class="bar" x="{axes.px(a):.1f}" y="{axes.py(n):.1f}" '
        f'width="{max(axes.px(b) - axes.px(a) - 0.5, 0.5):.1f}" height="{axes.py(0.0) - axes.py(n):.1f}"/>'
        for a, b, n in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        if n
    ]
    beyond = len(finite) - len(shown)
    note = f'<p class="legend">{beyond} of {len(finite)} lie beyond the axis</p>' if beyond else ""
    return _figure(title, note, axes.frame(x_label, "", x_is_time=False) + "".join(bars))


@dataclass(frozen=True, slots=True)
class _Axes:
    """From values to pixels."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @classmethod
    def around(cls, series: Sequence[tuple[Floats, Floats]]) -> "_Axes | None":
        x = np.concatenate([x[np.isfinite(y)] for x, y in series])
        y = np.concatenate([y[np.isfinite(y)] for _, y in series])
        if not len(y):
            return None
        return cls(*_span(float(x.min()), float(x.max()), 0.0), *_span(float(y.min()), float(y.max()), 0.04))

    def px(self, x: float) -> float:
        return _LEFT + (x - self.x_low) / (self.x_high - self.x_low) * (_WIDTH - _LEFT - _RIGHT)

    def py(self, y: float) -> float:
        return _HEIGHT - _BOTTOM - (y - self.y_low) / (self.y_high - self.y_low) * (_HEIGHT - _TOP - _BOTTOM)

    def path(self, x: Floats, y: Floats) -> str:
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
        x, bottom = _thin(*low, _WIDTH // 2, pick=np.fmin)
        _, top = _thin(*high, _WIDTH // 2, pick=np.fmax)
        known = np.isfinite(bottom) & np.isfinite(top)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]])))
        shapes = []
        for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            over = self.path(x[a:b], top[a:b])
            back = self.path(x[a:b][::-1], bottom[a:b][::-1])
            shapes.append(f'<path class="band" d="{over}L{back[1:]}Z"/>')
        return "".join(shapes)

    def dots(self, x: Floats, y: Floats) -> str:
        return "".join(
            f'<circle class="mark" cx="{self.px(a):.1f}" cy="{self.py(b):.1f}" r="3"/>'
            for a, b in zip(x.tolist(), y.tolist(), strict=True)
            if math.isfinite(b)
        )

    def frame(self, x_label: str, y_label: str, *, x_is_time: bool) -> str:
        """Grid lines, tick labels and the labels of the axes."""
        parts = []
        for value, text in _ticks(self.y_low, self.y_high):
            y = self.py(value)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        across = _time_ticks(self.x_low, self.x_high) if x_is_time else _ticks(self.x_low, self.x_high)
        for value, text in across:
            x = self.px(value)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
            anchor = "end" if x > _WIDTH - 50 else "middle"
            parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="{anchor}">{text}</text>')
        x_label = x_label or ("UTC" if x_is_time else "")
        parts.append(
            f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">{escape(x_label)}</text>'
            f'<text x="{_LEFT + 4}" y="{_TOP + 12}">{escape(y_label)}</text>'
        )
        return "".join(parts)


def _points(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Float columns of one length, without the points that have no place on the x axis."""
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    placed = np.abs(xs) < _LARGEST
    return xs[placed], np.where(np.abs(ys) < _LARGEST, ys, np.nan)[placed]


def _thin(x: Floats, y: Floats, columns: int, pick: np.ufunc | None = None) -> tuple[Floats, Floats]:
    """The smallest and largest y of each of `columns` runs of points, in their order; or one by `pick`."""
    per_column = math.ceil(len(x) / columns)
    if per_column <= (1 if pick else 2):
        return x, y
    starts = np.arange(0, len(x), per_column)
    if pick is not None:
        return x[starts], pick.reduceat(y, starts)
    smallest = np.fmin.reduceat(y, starts)
    largest = np.fmax.reduceat(y, starts)
    run = np.arange(len(x)) // per_column
    first_small = np.searchsorted(run, np.arange(len(starts)))
    ends = np.minimum(starts + per_column, len(x)) - 1
    rising = y[first_small] <= y[ends]
    pair = np.where(rising[:, None], np.stack([smallest, largest], 1), np.stack([largest, smallest], 1))
    return np.stack([x[starts], x[ends]], 1).ravel(), pair.ravel()


def _span(low: float, high: float, room: float) -> tuple[float, float]:
    """Ends of an axis with a share of room on both sides; values that are all but equal get a span all the same."""
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size or size < 1e-200:
        return low - (0.01 * size or 1.0), high + (0.01 * size or 1.0)
    return low - room * (high - low), high + room * (high - low)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers between low and high, 4 to 10 of them, and how they are written."""
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    values = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    plain = decimals <= 6 and max(abs(low), abs(high)) < 1e7
    return [(v, f"{v + 0.0:.{decimals}f}" if plain else f"{v:.6g}") for v in values]


def _time_ticks(low: float, high: float) -> list[tuple[float, str]]:
    low, high = max(low, _FIRST_AT), min(high, _LAST_AT)
    step = next((s for s in _TIME_STEPS if (high - low) / s <= 8), _TIME_STEPS[-1])
    form = "%Y-%m-%d" if step >= 86400 else "%d %b %H:%M" if step >= 60 else "%H:%M:%S"
    values = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(float(v), datetime.fromtimestamp(v, UTC).strftime(form)) for v in values]


def _legend(names: Sequence[tuple[str, str]]) -> str:
    keys = "".join(f'<i style="background:{colour}"></i>{escape(name)}' for name, colour in names)
    return f'<div class="legend">{keys}</div>'


def _figure(title: str, above: str, drawing: str) -> str:
    label = escape(title, quote=True)
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{drawing}</svg>'
    return f"<figure><figcaption>{escape(title)}</figcaption>{above}{svg}</figure>\n"
