"""What is kept of series, to be shown: their readings, what was expected of them, what is forecast, and their limits.

Rules that hold here:

- Everything is a copy, so whoever shows it needs no lock.
- The readings are those of the windows and of the steps before them: of sensor faults they have nothing.
- Nothing is kept for showing alone. What was expected is read from the forecasts that are kept to learn from, beside
  the half-widths of today; it reaches back as far as these do.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.core import bands, cadences, limits, windows
from forewarn.core.alerts import Alert
from forewarn.core.readings import Fleet, Floats, SeriesKey, Slots
from forewarn.core.slots import Table


class Recent(NamedTuple):
    """The readings of some series, `(n, k)`, the oldest first; NaN before those that are known.

    Attributes:
        keys: the series.
        at: the readings' own times, UTC epoch seconds.
        value: of the target.
    """

    keys: tuple[SeriesKey, ...]
    at: Floats
    value: Floats


@dataclass(frozen=True, slots=True)
class Course:
    """One series. Times are UTC epoch seconds.

    Attributes:
        last: its row of the fleet.
        alerts: those that are active.
        at: `(k,)` of the readings that are kept.
        value: `(k,)` of the target.
        told_at: `(m,)` of readings, taken or missing, that were forecast.
        told: `(m,)` the latest forecast of each.
        told_half_width: `(2, m)` of the bands around it that hold 80 % and 95 %.
        coming_at: `(horizon,)` of the readings to come, NaN where no interval is known.
        limits: what the operator said: `low`, `high`, `limit_below`, `limit_above`, those that there are.
    """

    last: Fleet
    alerts: tuple[Alert, ...]
    at: Floats
    value: Floats
    told_at: Floats
    told: Floats
    told_half_width: Floats
    coming_at: Floats
    limits: dict[str, float]


def recent(table: Table, slots: Slots, target: int) -> tuple[Floats, Floats]:
    """`(n, k)`: the times and values of the steps that are kept; NaN before those that are known."""
    at = np.concatenate([table["earlier_at"][slots], table["window_at"][slots]], axis=1)
    value = np.concatenate([table["earlier"][slots][..., target], table["window"][slots][..., target]], axis=1)
    known = windows.n_known(table["filled"][slots], table["n_earlier"][slots], table["window"].shape[1])
    unknown = np.arange(at.shape[1]) < (at.shape[1] - known)[:, None]
    return np.where(unknown, np.nan, at), np.where(unknown, np.nan, value.astype(np.float64))


def course(table: Table, slot: int, target: int, last: Fleet, alerts: tuple[Alert, ...]) -> Course:
    """Of the series that has this slot."""
    slots = np.array([slot])
    at, value = (column[0][np.isfinite(column[0])] for column in recent(table, slots, target))
    nth, told, half_width = bands.told(table, slot)
    interval_s = float(table["usual_interval"][slot])
    lead = np.arange(1.0, table["forecast"].shape[1] + 1.0)
    latest = at[-1] if len(at) else np.nan
    told_at = _moments(at, nth, interval_s, even=bool(cadences.even(table.take(slots))[0]))
    placed = np.isfinite(told_at)
    return Course(
        last=last,
        alerts=alerts,
        at=at,
        value=value,
        told_at=told_at[placed],
        told=told[placed],
        told_half_width=half_width[:, placed],
        coming_at=latest + lead * interval_s,
        limits=limits.given(table, slot),
    )


def _moments(at: Floats, nth: NDArray[np.int64], interval_s: float, *, even: bool) -> Floats:
    """When the readings were that stand so many places after the last one, 0 and less.

    Of an even series missing readings are counted, so its places are a clock; of another one none is missing.
    """
    if even:
        return at[-1] + nth * interval_s if len(at) else np.full(len(nth), np.nan)
    place = len(at) - 1 + nth
    known = place >= 0
    moments = np.full(len(nth), np.nan)
    moments[known] = at[place[known]]
    return moments
