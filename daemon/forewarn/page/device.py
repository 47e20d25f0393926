"""The page of one series: facts, chart, active alerts, the latest changes, and the numbers of the chart as tables."""

from collections.abc import Sequence
from html import escape

import numpy as np

from forewarn.core.courses import Course
from forewarn.core.readings import Floats, SeriesKey, SeriesState
from forewarn.messages import Phrasebook
from forewarn.page import alerts, document
from forewarn.page.changes import Change
from forewarn.page.chart import chart
from forewarn.page.drawn import Drawn
from forewarn.page.figures import UNKNOWN, amount, band, moment, name, number

LIMITS = {"low": "range from", "high": "range to", "limit_below": "limit below", "limit_above": "limit above"}
_LISTED = 20  # changes


def device(course: Course, changes: Sequence[Change], phrases: Phrasebook, now: float) -> Drawn:
    """The page in pieces."""
    (series,) = course.last.keys
    unit = phrases.unit_of(series)
    parts = {
        "facts": _facts(course, unit, now),
        "chart": chart(course, name(series), unit),
        "alerts": alerts.active(course.alerts, phrases, now),
        "changes": alerts.changes(changes[:_LISTED], now),
        "numbers": _readings(course, now) + _forecast(course, now),
    }
    mark = "! " if course.alerts else ""
    return Drawn(f"{mark}{name(series)} – forewarn", parts)  # noqa: RUF001 - a dash


def page(drawn: Drawn, series: SeriesKey) -> bytes:
    """The page as a document."""
    parts = drawn.parts
    header = (
        '<nav aria-label="Pages"><a href="/">All devices</a></nav>'
        f'<h1>{escape(series.device)} <span class="soft">{escape(series.metric)}</span></h1>'
    )
    body = (
        f'<section aria-label="The last reading"><div id="facts" data-part>{parts["facts"]}</div></section>'
        f"{document.section('chart', 'Readings and forecast', parts['chart'])}"
        f"{document.section('alerts', 'Active alerts', parts['alerts'])}"
        f"{document.section('changes', 'Latest changes of its alerts', parts['changes'])}"
        '<section aria-labelledby="numbers-title"><h2 id="numbers-title">Numbers of the chart</h2>'
        f'<details><summary>Show them</summary><div id="numbers" data-part>{parts["numbers"]}</div></details></section>'
    )
    return document.document(drawn.title, header, body)


def unknown() -> bytes:
    """What is said of a series that is not followed."""
    return document.document(
        "Not followed – forewarn",  # noqa: RUF001 - a dash
        '<nav aria-label="Pages"><a href="/">All devices</a></nav><h1>Not followed</h1>',
        "<p>forewarn follows no device and metric of these names: it has had no reading of them, or it gave their "
        "place to another one.</p>",
        live=False,
    )


def _facts(course: Course, unit: str, now: float) -> str:
    last = course.last
    half = float(last.upper[0] - last.lower[0]) / 2
    state = SeriesState(int(last.state[0]))
    kind = {SeriesState.ALERT: "alert", SeriesState.OK: "ok"}.get(state, "soft")
    facts = [
        ("state", f'<b class="{kind}">{state.name.lower().replace("_", " ")}</b>'),
        ("reading", f"<b>{amount(float(last.value[0]), half, unit)}</b>"),
        ("expected of it", f"<b>{band(float(last.expected[0]), half, unit)}</b>"),
        ("score", f"<b>{number(float(last.score[0]), np.nan)}</b>, limit {number(float(last.threshold[0]), np.nan)}"),
        ("time, UTC", f"<b>{moment(float(last.at[0]), now)}</b>"),
        *((LIMITS[limit], f"<b>{escape(f'{bound:g} {unit}'.rstrip())}</b>") for limit, bound in course.limits.items()),
    ]
    tiles = "".join(f"<div><dt>{term}</dt><dd>{value}</dd></div>" for term, value in facts)
    return f'<dl class="tiles">{tiles}</dl>'


def _readings(course: Course, now: float) -> str:
    if not len(course.at):
        return "<p>No reading is kept.</p>"
    told, half = _beside(course)
    usual = float(course.last.half_width[0, 1, 0])
    lines = []
    for at, value, expected, width in zip(
        *(c[::-1].tolist() for c in (course.at, course.value, told, half)), strict=True
    ):
        within = UNKNOWN if expected != expected else "yes" if abs(value - expected) <= width else "no"  # noqa: PLR0124 - NaN
        lines.append((moment(at, now), number(value, usual), band(expected, width, ""), within))
    return _table("Readings, the last one first", ("time, UTC", "reading", "expected, 95 %", "within"), lines)


def _beside(course: Course) -> tuple[Floats, Floats]:
    """What was expected of each reading that is kept and the half-width of its 95 % band; NaN for unknown."""
    told, half = np.full(len(course.at), np.nan), np.full(len(course.at), np.nan)
    if len(course.told_at):
        apart = np.abs(course.at[:, None] - course.told_at)
        nearest = apart.argmin(axis=1)
        interval = np.diff(course.told_at).min() if len(course.told_at) > 1 else np.inf
        near = apart[np.arange(len(nearest)), nearest] < interval / 2
        told[near], half[near] = course.told[nearest[near]], course.told_half_width[1, nearest[near]]
    return told, half


def _forecast(course: Course, now: float) -> str:
    path, widths = course.last.forecast[0], course.last.half_width[0]
    if not np.isfinite(path).all():
        return "<p>There is no forecast yet.</p>"
    lines = [
        (moment(at, now), number(value, narrow), f"± {number(narrow, narrow)}", f"± {number(wide, narrow)}")
        for at, value, narrow, wide in zip(course.coming_at.tolist(), path.tolist(), *widths.tolist(), strict=True)
    ]
    return _table("Forecast of the readings to come", ("time, UTC", "forecast", "80 %", "95 %"), lines)


def _table(caption: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
