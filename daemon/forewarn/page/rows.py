"""A row of the list for each series: state, a sparkline of the last readings, value and expected band."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

import numpy as np

from forewarn.core.alerts import Alert
from forewarn.core.courses import Recent
from forewarn.core.readings import Fleet, Floats, SeriesKey, SeriesState
from forewarn.page.figures import amount, band, link, moment

READINGS = 40  # of a sparkline
_STEP, _HEIGHT, _BAND = 3, 28, 12  # in its own units: between two readings, of the whole, and how wide the band is
WIDTH = _STEP * (READINGS - 1)
_NOWHERE = -1  # the place of what is not known
_MOVES = {dy: f"{_STEP}{dy}" if dy < 0 else f"{_STEP} {dy}" for dy in range(-_HEIGHT, _HEIGHT + 1)}
_STATES = {int(state): state.name.lower().replace("_", " ") for state in SeriesState}
_CLASSES = {SeriesState.ALERT: "alert", SeriesState.OK: "ok", SeriesState.WARMING_UP: "soft"}


def rows(
    fleet: Fleet,
    chosen: Sequence[int],
    recent: Recent,
    alerts: Mapping[int, Sequence[Alert]],
    unit_of: Callable[[SeriesKey], str],
    now: float,
) -> Iterator[str]:
    """The cells of these rows of the fleet, as HTML.

    Args:
        fleet: all series.
        chosen: rows of it.
        recent: their readings, copied after the fleet: a series may have lost its slot since.
        alerts: the active ones, by slot.
        unit_of: a series.
        now: UTC epoch seconds.
    """
    half = (fleet.upper - fleet.lower) / 2
    place = np.array(chosen, np.int64)
    paths = sparklines(recent.value[:, -READINGS:], fleet.lower[place], fleet.upper[place])
    for row, key, path in zip(chosen, recent.keys, paths, strict=True):
        series, state = fleet.keys[row], int(fleet.state[row])
        kinds = ", ".join(alert.kind.replace("_", " ") for alert in alerts.get(int(fleet.slot[row]), ()))
        more = f" <span>{kinds}</span>" if kinds else ""
        width, unit = float(half[row]), unit_of(series)
        yield (
            f'<th scope="row">{link(series, series.device)} <span>{escape(series.metric)}</span></th>'
            f'<td class="{_CLASSES[SeriesState(state)]}">{_STATES[state]}{more}</td>'
            f"<td>{_drawing(path) if key == series else ''}</td>"
            f"<td>{amount(float(fleet.value[row]), width, unit)}</td>"
            f"<td>{band(float(fleet.expected[row]), width, unit)}</td>"
            f"<td>{moment(float(fleet.at[row]), now)}</td>"
        )


def sparklines(value: Floats, lower: Floats, upper: Floats) -> Iterator[str]:
    """SVG paths of each row's readings, with the band of the last one at the right; "" where there is nothing.

    Args:
        value: `(n, k)`, k at most `READINGS`, NaN before the first one.
        lower: `(n,)` of the band, NaN where there is none.
        upper: the same.
    """
    ends = np.stack([lower, upper], axis=1)
    ends = np.where(np.isfinite(ends).all(axis=1, keepdims=True), ends, np.nan)
    everything = np.concatenate([value, ends], axis=1)
    low, high = (pick.reduce(everything, axis=1, keepdims=True) for pick in (np.fmin, np.fmax))
    span = high - low
    placed = np.isfinite(span) & (span > 0)
    share = np.where(placed, (high - everything) / np.where(placed, span, 1.0), 0.5)
    pixels = np.where(np.isfinite(everything), np.rint(share * _HEIGHT), _NOWHERE).astype(np.int64)
    first = np.count_nonzero(np.isnan(value), axis=1)
    lines, steps, bands = pixels[:, :-2], np.diff(pixels[:, :-2]), pixels[:, -2:]
    for begin, line, step, end in zip(*(each.tolist() for each in (first, lines, steps, bands)), strict=True):
        yield "" if begin >= len(line) else _band(*end) + _line(line[begin], step[begin:])


def _line(y: int, steps: list[int]) -> str:
    moves = "l" + " ".join([_MOVES[dy] for dy in steps]) if steps else "h1"
    return f'<path d="M{WIDTH - _STEP * len(steps)} {y}{moves}"/>'


def _band(bottom: int, top: int) -> str:
    if bottom == _NOWHERE:
        return ""
    return f'<path class="band" d="M{WIDTH - _BAND} {top}h{_BAND}v{max(bottom - top, 1)}h-{_BAND}z"/>'


def _drawing(path: str) -> str:
    # Decoration for those who see it: the row's own cells say the same in words.
    return (
        f'<svg viewBox="0 -1 {WIDTH} {_HEIGHT + 2}" preserveAspectRatio="none" aria-hidden="true">{path}</svg>'
        * bool(path)
    )
