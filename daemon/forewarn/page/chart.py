"""The chart of one series: its readings, what was expected of them, the forecast, limits and active alerts, as SVG.

Rules that hold here:

- It is drawn in two sizes, of which the style shows the one that fits; a phone needs no sideways scrolling.
- No line is told by its colour alone: the forecast is dashed, limits are dashed and named, alerts are shaded.
- A limit that is far from everything else is left out, or it would press the readings into a line.
"""

import math
from html import escape

import numpy as np

from forewarn.axes import Axes, Scale, Size
from forewarn.charts import SMALL, WIDE
from forewarn.core.courses import Course
from forewarn.core.readings import Floats, SeriesState
from forewarn.page.figures import number

_Points = tuple[Floats, Floats]
_LIMITS = {"low": "range", "high": "range", "limit_below": "limit", "limit_above": "limit"}
_NEAR = 1.0  # spans of everything else that a limit may be away


def chart(course: Course, name: str, unit: str) -> str:
    """A legend and the drawing in both sizes, as HTML."""
    label = escape(_in_words(course, name, unit))
    sizes = {"large": WIDE, "small": SMALL}
    drawings = "".join(
        f'<svg class="{kind}" viewBox="0 0 {size.width} {size.height}" role="img" aria-label="{label}">'
        f"{_drawing(course, unit, size)}</svg>"
        for kind, size in sizes.items()
    )
    return f"<figure>{_legend(course)}{drawings}</figure>"


def _drawing(course: Course, unit: str, size: Size) -> str:
    last = course.last
    readings = course.at, course.value
    latest = last.at[:1], last.value[:1]
    told = course.told_at, course.told
    coming = _joined(readings, (course.coming_at, last.forecast[0].astype(np.float64)))
    narrow, wide = np.insert(last.half_width[0], 0, 0.0, axis=1)[:, -len(coming[0]) :]
    told_ends = _ends(told, course.told_half_width[1])
    ends = [_ends(coming, half) for half in (wide, narrow)]
    shown = [readings, latest, told, coming, *told_ends, *ends[0]]
    near = _near_limits(course, shown)
    begin = course.at[:1] if len(course.at) else last.at[:1]
    axes = Axes.around([*shown, *((begin, np.array([bound])) for bound in near.values())], size)
    if axes is None:
        return f'<text x="{size.width // 2}" y="{size.height // 2}" text-anchor="middle">no readings yet</text>'
    parts = [
        axes.shades(_alert_spans(course)),
        axes.frame("", unit, Scale.TIME),
        axes.band(*told_ends),
        *(axes.band(*pair) for pair in ends),
        *(_limit(axes, name, bound) for name, bound in near.items()),
        f'<path class="line told" d="{axes.path(*told)}"/>',
        f'<path class="line forecast" d="{axes.path(*coming)}"/>',
        f'<path class="line readings" d="{axes.path(*readings)}"/>',
        f'<g class="{"in-alert" if last.state[0] == SeriesState.ALERT else "last"}">{axes.dots(*latest)}</g>',
    ]
    return "".join(parts)


def _joined(readings: _Points, coming: _Points) -> _Points:
    """The forecast from the last reading on."""
    return np.append(readings[0][-1:], coming[0]), np.append(readings[1][-1:], coming[1])


def _ends(line: _Points, half: Floats) -> tuple[_Points, _Points]:
    x, y = line
    return (x, y - half), (x, y + half)


def _near_limits(course: Course, shown: list[_Points]) -> dict[str, float]:
    values = np.concatenate([y for _, y in shown])
    values = values[np.isfinite(values)]
    if not len(values):
        return {}
    low, high = float(values.min()), float(values.max())
    room = _NEAR * (high - low)
    return {name: bound for name, bound in course.limits.items() if low - room <= bound <= high + room}


def _limit(axes: Axes, name: str, bound: float) -> str:
    left, right, y = axes.px(axes.x_low), axes.px(axes.x_high), axes.py(bound)
    return (
        f'<line class="limit" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{right - 4:.1f}" y="{y - 4:.1f}" text-anchor="end">{_LIMITS[name]} {bound:g}</text>'
    )


def _alert_spans(course: Course) -> list[tuple[float, float]]:
    latest = float(course.last.at[0])
    begins = [alert.raised_at if alert.since_at is None else alert.since_at for alert in course.alerts]
    return [(begin, max(begin, latest)) for begin in begins]


def _legend(course: Course) -> str:
    keys = [("readings", "reading")]
    if len(course.told):
        keys.append(("told", "expected, with the band that holds 95 %"))
    if np.isfinite(course.last.forecast).any():
        keys.append(("forecast", "forecast, with bands that hold 80 and 95 %"))
    if course.alerts:
        keys.append(("shade", "active alert"))
    swatches = " ".join(
        f'<span><svg viewBox="0 0 24 10" aria-hidden="true"><path class="line {kind}" d="M0 5h24"/></svg>{text}</span>'
        for kind, text in keys
    )
    return f'<div class="legend">{swatches}</div>'


def _in_words(course: Course, name: str, unit: str) -> str:
    """What a person is told who does not see the chart."""
    values = course.value[np.isfinite(course.value)]
    if not len(values):
        return f"{name}: no readings yet"
    half = float(course.last.half_width[0, 0, 0])
    low, high = (number(float(end), half) for end in (values.min(), values.max()))
    told = f"{name}: {len(values)} readings between {low} and {high} {unit}".rstrip()
    path, ends = course.last.forecast[0], course.last.half_width[0, 0]
    if not math.isfinite(path[-1]):
        return told
    after = f"{number(float(path[-1]), float(ends[-1]))} ± {number(float(ends[-1]), float(ends[-1]))} {unit}".rstrip()
    return f"{told}; the forecast of {len(path)} more ends at {after} (80 %)"
