"""`unit_change`: a thermometer that goes on in another unit, after new firmware or an exchanged sensor.

Rules that hold here:

- A reading opens a case where it is far from what was expected, and read back through one of the conversions between
  °C, °F and K it is what was expected: no further off than the band, three recent errors, or the largest step between
  two readings in the window; and where it is outside everything that the series ever read, unexpected readings left
  out, so that a machine that goes between two levels is no change of unit. "Far" is `JUMP` times the distance above,
  so that nothing is said where the units are too close to tell apart (-40 °C is -40 °F).
- Each of the next readings, read back, must be within the same distance of the one before it: level and spread are
  then those of before in another unit. The alert is raised with the `EVIDENCE`-th reading; one that does not fit
  before closes the case.
- The alert ends with the first reading that is nearer to the ones before without the conversion, or after
  `accept_after` readings, from which on the new unit is taken as the series' own. Either way, it has then read
  there, and goes there and back without another alert.
"""

import math
from typing import NamedTuple

import numpy as np

from forewarn.core.readings import Floats, Mask
from forewarn.core.residuals import Judgement
from forewarn.core.rulings import Ruling
from forewarn.core.slots import Column, State

EVIDENCE = 5
JUMP = 8.0
_ERRORS = 3.0
TEMPERATURE_UNITS = frozenset({"", "°c", "c", "degc", "celsius", "°f", "f", "degf", "fahrenheit", "k", "kelvin"})
"""Units, in small letters, that a series may have to be judged here; "" is one that is not known."""


class Conversion(NamedTuple):
    """`there = factor * here + offset`."""

    name: str
    factor: float
    offset: float

    def back(self, value: float) -> float:
        """A reading in the old unit."""
        return (value - self.offset) / self.factor


CONVERSIONS = (
    Conversion("°C to °F", 1.8, 32.0),
    Conversion("°F to °C", 1 / 1.8, -32.0 / 1.8),
    Conversion("°C to K", 1.0, 273.15),
    Conversion("K to °C", 1.0, -273.15),
    Conversion("°F to K", 1 / 1.8, 459.67 / 1.8),
    Conversion("K to °F", 1.8, -459.67),
)

COLUMNS = {
    "convertible": Column(np.bool_),  # whether it may be a temperature
    "lowest": Column(np.float64, (), np.nan),  # of all readings that were not far from what was expected
    "highest": Column(np.float64, (), np.nan),
    "conversion": Column(np.int64, (), -1),  # index of the one that is looked into
    "n_converted": Column(np.int64),  # readings that fit it
    "converted_base": Column(np.float64, (), np.nan),  # the last reading, in the old unit
    "converted_reach": Column(np.float64, (), np.nan),  # how far the next one may be from it
}


def rule(state: State, judged: Judgement, value: Floats, target: int, accept_after: int) -> Ruling:
    """Follow open cases and open new ones; a case, raised or not, is open where `conversion` is not negative.

    Args:
        state: of the series, before this reading joined the window.
        judged: the readings against their forecasts.
        value: `(n,)` the readings.
        target: which feature of the window they are.
        accept_after: see `Rules`.
    """
    n = len(value)
    active, score = np.zeros(n, np.bool_), np.zeros(n)
    names: list[str | None] = [None] * n
    far = judged.warm & state["convertible"] & (np.abs(judged.residual) > JUMP * judged.scale)
    odd = far | (state["conversion"] >= 0)
    for i in np.flatnonzero(odd).tolist():
        row, reading = state[i], float(value[i])
        if row["conversion"] < 0:
            _open(row, reading, float(judged.expected[i]), _ERRORS * float(judged.scale[i]), target)
        else:
            _follow(row, reading)
        n_fit = int(row["n_converted"])
        if row["conversion"] < 0 or n_fit < EVIDENCE:
            continue
        active[i], score[i] = n_fit < accept_after, n_fit
        names[i] = CONVERSIONS[row["conversion"]].name
        if not active[i]:
            _close(row)
    known = np.where(odd, np.nan, value)
    state["lowest"], state["highest"] = np.fmin(state["lowest"], known), np.fmax(state["highest"], known)
    return Ruling(active, score, np.full(n, float(EVIDENCE)), conversion=names)


def _open(row: np.void, value: float, expected: float, errors: float, target: int) -> None:
    steps = np.abs(np.diff(row["window"][:, target].astype(np.float64)))
    reach = max(float(row["band"]), errors, float(steps.max(initial=0.0)))
    if abs(value - expected) <= JUMP * reach or row["lowest"] <= value <= row["highest"]:
        return
    miss = [abs(conversion.back(value) - expected) for conversion in CONVERSIONS]
    best = miss.index(min(miss))
    if miss[best] <= reach:
        row["conversion"], row["n_converted"], row["converted_reach"] = best, 1, reach
        row["converted_base"] = CONVERSIONS[best].back(value)


def _follow(row: np.void, value: float) -> None:
    back, base = CONVERSIONS[row["conversion"]].back(value), float(row["converted_base"])
    away = abs(back - base)
    fits = away <= (row["converted_reach"] if row["n_converted"] < EVIDENCE else abs(value - base))
    if not fits or math.isnan(away):
        _close(row)
    else:
        row["n_converted"] += 1
        row["converted_base"] = back


def _close(row: np.void) -> None:
    if row["n_converted"] >= EVIDENCE:
        conversion = CONVERSIONS[row["conversion"]]
        last = conversion.factor * float(row["converted_base"]) + conversion.offset
        row["lowest"], row["highest"] = min(row["lowest"], last), max(row["highest"], last)
    row["conversion"], row["n_converted"] = -1, 0


def open_cases(state: State) -> Mask:
    """The series that seem to be in another unit, raised or not yet."""
    cases: Mask = state["conversion"] >= 0
    return cases
