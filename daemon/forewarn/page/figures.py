"""Numbers and times as the page writes them."""

import math
from datetime import UTC, datetime
from functools import lru_cache
from html import escape
from urllib.parse import urlencode

from forewarn.axes import FIRST_AT, LAST_AT
from forewarn.core.readings import SeriesKey
from forewarn.messages import decimals

UNKNOWN = "–"  # noqa: RUF001 - a dash
_LARGE = 1e7


def number(value: float, half_width: float) -> str:
    """With as many decimals as show the first digit of the half-width of the band around it."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:.{decimals(half_width)}f}" if abs(value) < _LARGE else f"{value:.6g}"


def amount(value: float, half_width: float, unit: str) -> str:
    """A number with its unit, as HTML."""
    text = number(value, half_width)
    return text if text is UNKNOWN else escape(f"{text} {unit}".rstrip())


def band(expected: float, half_width: float, unit: str) -> str:
    """`4.1 ± 0.6 °C`, as HTML."""
    if not math.isfinite(expected) or not math.isfinite(half_width):
        return UNKNOWN
    text = f"{number(expected, half_width)} ± {number(half_width, half_width)} {unit}"
    return escape(text.rstrip())


def moment(at: float, now: float) -> str:
    """A time, UTC, as HTML: of the day alone where it is that of `now`."""
    if not FIRST_AT <= at <= LAST_AT:
        return UNKNOWN
    when = datetime.fromtimestamp(at, UTC)
    same_day = FIRST_AT <= now <= LAST_AT and datetime.fromtimestamp(now, UTC).date() == when.date()
    text = when.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S")
    return f'<time datetime="{when.strftime("%Y-%m-%dT%H:%M:%SZ")}">{text}</time>'


def name(series: SeriesKey) -> str:
    """Device and metric, as text."""
    return f"{series.device} {series.metric}"


@lru_cache(maxsize=2048)  # a fifth of the time of a row
def link(series: SeriesKey, text: str) -> str:
    """A link to the page of a series, as HTML around text."""
    where = urlencode({"device": series.device, "metric": series.metric})
    return f'<a href="/device?{escape(where)}">{escape(text)}</a>'
