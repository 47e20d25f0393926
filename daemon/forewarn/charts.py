"""Charts as inline SVG in one HTML file that opens anywhere: no script, no network, no dependency.

Rules that hold here:

- All text is escaped. Colours follow the reader's light or dark setting by CSS.
- Three sizes: `WIDE` fills a page, and is moved sideways on a phone; `LOW` is as wide and stands below one; `SMALL`
  stands beside another one, or fills a phone.
- A chart of nothing says so. For the rest see `axes.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from forewarn.axes import LARGEST, Axes, Floats, Scale, Size, span, thin

WIDE, LOW, SMALL = Size(960, 320), Size(960, 150), Size(460, 250)
_MANY = 1000  # values from which a histogram leaves out the outermost

STYLE = """
:root{--ink:#1d2329;--soft:#626c77;--rule:#e3e7eb;--paper:#fff;--raised:#f5f7f9;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#e69f00;--mark:#c8102e;--shade:#e69f00}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--soft:#98a3ad;--rule:#2c343c;--paper:#14181c;--raised:#1c2228;
--c0:#56b4e9;--c1:#f0863a;--c2:#3cc79a;--c3:#e3a3c8;--c4:#f2c14e;--mark:#ff5a68;--shade:#f2c14e}}
body{margin:2rem auto;max-width:62rem;padding:0 1rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem}h1,p{overflow-wrap:anywhere}h2{font-size:1.15rem;margin-top:2.5rem}
.wide{overflow-x:auto;margin:1rem 0}table{border-collapse:collapse}
th,td{padding:.25rem .8rem;border-bottom:1px solid var(--rule);text-align:right;font-variant-numeric:tabular-nums;
vertical-align:top}td{white-space:nowrap}th{vertical-align:bottom}
.text td:last-child{white-space:normal;overflow-wrap:anywhere;min-width:9rem}
th:first-child,td:first-child,.text td,.text th{text-align:left}th{color:var(--soft);font-weight:600}
tr.chosen td{background:var(--raised);font-weight:600}
figure{margin:1.5rem 0}figcaption{font-weight:600}svg{width:100%;height:auto;display:block}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}.grid{stroke:var(--rule)}
.legend{color:var(--soft);font-size:13px}.legend span{white-space:nowrap;margin-right:1em}
.legend i{display:inline-block;width:1.1em;height:.3em;margin:0 .4em .2em 0}
.line{fill:none;stroke-width:1.4;stroke-linejoin:round}
.band{fill:var(--c0);opacity:.18;stroke:none}.mark{fill:var(--mark);stroke:none}.bar{fill:var(--c0)}
.shade{fill:var(--shade);opacity:.22}
@media(max-width:42rem){figure.page{overflow-x:auto}figure.page svg{width:44rem}
table{font-size:13px}th,td{padding:.25rem .4rem}}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One series: `x` and `y` of one length, `x` not decreasing.

    Without a name it is not in the legend; `colour` is one of five, by its place where None.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    colour: int | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """The room between `lower` and `upper` over `x`."""

    name: str
    x: ArrayLike
    lower: ArrayLike
    upper: ArrayLike


@dataclass(frozen=True, slots=True)
class Shades:
    """Stretches of the x axis."""

    name: str
    spans: Sequence[tuple[float, float]]


def page(title: str, body: str, *, style: str = "") -> str:
    """One self-contained HTML page around a body that is HTML already, with more CSS where it needs some."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<style>{STYLE}{style}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, chosen: int | None = None, text: bool = False
) -> str:
    """An HTML table of text; the first column is set to the left.

    Args:
        header: names of the columns.
        rows: of fields.
        chosen: the row that stands out.
        text: whether every column is set to the left.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    lines = ["".join(f"<td>{escape(field)}</td>" for field in row) for row in rows]
    starts = ['<tr class="chosen">' if i == chosen else "<tr>" for i in range(len(rows))]
    body = "".join(f"{start}{line}</tr>" for start, line in zip(starts, lines, strict=True))
    kind = ' class="text"' if text else ""
    return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def line_chart(  # noqa: PLR0913 - so many parts a chart has, all but two of them optional
    title: str,
    lines: Sequence[Line],
    *,
    band: Band | None = None,
    marks: Line | None = None,
    shades: Shades | None = None,
    x_label: str = "",
    y_label: str = "",
    x_is_time: bool = False,
    log: bool = False,
    size: Size = WIDE,
) -> str:
    """Lines over a common axis, as an HTML figure.

    Args:
        title: of the figure.
        lines: drawn in order, the last on top.
        band: drawn below them.
        marks: points, drawn above them.
        shades: drawn below everything.
        x_label: below the axis.
        y_label: above the axis, such as a unit.
        x_is_time: whether x is UTC epoch seconds.
        log: whether both axes are logarithmic; what is not above 0 has no place then.
        size: `WIDE`, `LOW` or `SMALL`.
    """
    place = _log_points if log else _points
    drawn = [place(line.x, line.y) for line in lines]
    dots = place(marks.x, marks.y) if marks else _points([], [])
    low = place(band.x, band.lower) if band else _points([], [])
    high = place(band.x, band.upper) if band else _points([], [])
    axes = Axes.around([*drawn, dots, low, high], size)
    if axes is None:
        return _nothing(title, size)
    scale = Scale.LOG if log else Scale.LINEAR
    parts = [axes.shades(shades.spans)] if shades else []
    parts.append(axes.frame(x_label, y_label, Scale.TIME if x_is_time else scale, scale))
    names: list[tuple[str, str]] = []
    if band:
        names.append((band.name, "var(--c0);opacity:.35"))
        parts.append(axes.band(low, high))
    for i, (line, (x, y)) in enumerate(zip(lines, drawn, strict=True)):
        colour = f"var(--c{(i if line.colour is None else line.colour) % 5})"
        names.append((line.name, colour))
        parts.append(f'<path class="line" style="stroke:{colour}" d="{axes.path(*thin(x, y, size.width))}"/>')
    if marks:
        names.append((marks.name, "var(--mark)"))
        parts.append(axes.dots(*dots))
    if shades:
        names.append((shades.name, "var(--shade);opacity:.4"))
    return _figure(title, _legend(names), "".join(parts), size)


def histogram(title: str, values: ArrayLike, *, bins: int = 60, x_label: str = "") -> str:
    """How often values occur, as an HTML figure.

    The outermost 0.1 % on each side of many values are left out and counted.
    """
    finite = np.asarray(values, np.float64)
    finite = finite[np.abs(finite) < LARGEST]
    if not len(finite):
        return _nothing(title, WIDE)
    share = 0.001 if len(finite) >= _MANY else 0.0
    low, high = np.quantile(finite, [share, 1 - share])
    shown = finite[(finite >= low) & (finite <= high)]
    counts, edges = np.histogram(shown, bins, range=span(float(low), float(high), 0.0))
    axes = Axes(WIDE, float(edges[0]), float(edges[-1]), 0.0, float(counts.max()) * 1.05)
    bars = [
        f'<rect class="bar" x="{axes.px(a):.1f}" y="{axes.py(n):.1f}" '
        f'width="{max(axes.px(b) - axes.px(a) - 0.5, 0.5):.1f}" height="{axes.py(0.0) - axes.py(n):.1f}"/>'
        for a, b, n in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        if n
    ]
    beyond = len(finite) - len(shown)
    note = f'<p class="legend">{beyond} of {len(finite)} lie beyond the axis</p>' if beyond else ""
    return _figure(title, note, axes.frame(x_label, "", Scale.LINEAR) + "".join(bars), WIDE)


def _points(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Float columns of one length, without the points that have no place on the x axis."""
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    placed = np.abs(xs) < LARGEST
    return xs[placed], np.where(np.abs(ys) < LARGEST, ys, np.nan)[placed]


def _log_points(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """As `_points`, of the decimal logarithms."""
    logs = []
    for column in (x, y):
        values = np.asarray(column, np.float64)
        logs.append(np.log10(values, where=values > 0, out=np.full(values.shape, np.nan)))
    return _points(*logs)


def _legend(names: Sequence[tuple[str, str]]) -> str:
    keys = " ".join(f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in names if name)
    return f'<div class="legend">{keys}</div>'


def _nothing(title: str, size: Size) -> str:
    middle = f'<text x="{size.width // 2}" y="{size.height // 2}" text-anchor="middle">no data</text>'
    return _figure(title, "", middle, size)


def _figure(title: str, above: str, drawing: str, size: Size) -> str:
    label = escape(title, quote=True)
    svg = f'<svg viewBox="0 0 {size.width} {size.height}" role="img" aria-label="{label}">{drawing}</svg>'
    kind = ' class="page"' if size.width == WIDE.width else ""
    return f"<figure{kind}><figcaption>{escape(title)}</figcaption>{above}{svg}</figure>\n"
