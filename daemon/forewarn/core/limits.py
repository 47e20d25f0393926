"""What the operator said that a series must not do: leave a range, change too fast, pass a limit.

Rules that hold here:

- There are no default limits: a series that no override names is never judged here.
- `range` and `rate` are sensor faults, of readings that the sensor cannot have measured; `limit` is a true reading that
  somebody must know of.
- An alert begins with the first reading that is beyond, and ends after `clear_after` readings in a row that are not.
"""

from collections.abc import Sequence

import numpy as np

from forewarn.core.cadences import SHORTEST_S
from forewarn.core.readings import Floats, Mask, Slots
from forewarn.core.rules import Limits, Rules
from forewarn.core.rulings import Ruling, held
from forewarn.core.slots import Column, State, Table

_BOUNDS = {"low": -np.inf, "high": np.inf, "max_rate_per_s": np.inf, "limit_below": -np.inf, "limit_above": np.inf}

COLUMNS = {name: Column(np.float64, (), fill) for name, fill in _BOUNDS.items()} | {
    name: Column(np.int64) for name in ("range_calm", "rate_calm", "limit_calm")
}


def set_limits(table: Table, rows: Slots, found: Sequence[Limits]) -> None:
    """Take over what the operator said of the series that have these rows."""
    for name in _BOUNDS:
        table[name][rows] = [getattr(limits, name) for limits in found]


def given(table: Table, row: int) -> dict[str, float]:
    """What the operator said of the values of one series."""
    bounds = {name: float(table[name][row]) for name in ("low", "high", "limit_below", "limit_above")}
    return {name: bound for name, bound in bounds.items() if np.isfinite(bound)}


def out_of_range(state: State, value: Floats, active: Mask, rules: Rules) -> Ruling:
    """Readings outside [low, high]. The score is how far, in the target's unit."""
    return _beyond(state, "range_calm", _Band(state["low"], state["high"]), value, active, rules)


def past_limit(state: State, value: Floats, active: Mask, rules: Rules) -> Ruling:
    """Readings above `limit_above` or below `limit_below`. The score is how far, in the target's unit."""
    return _beyond(state, "limit_calm", _Band(state["limit_below"], state["limit_above"]), value, active, rules)


def too_fast(state: State, change: Floats, interval: Floats, active: Mask, rules: Rules) -> Ruling:
    """Readings that differ from the one before by more than `max_rate_per_s`, in the target's unit a second.

    Args:
        state: of the series.
        change: from the reading before, NaN for the first.
        interval: seconds of the readings' own time since the reading before.
        active: whether such an alert was active before.
        rules: see `Rules`.
    """
    rate = np.abs(change) / np.maximum(interval, SHORTEST_S)
    found = rate > state["max_rate_per_s"]
    return Ruling(
        active=held(state, "rate_calm", found, active, rules.clear_after),
        score=np.where(np.isfinite(rate), rate, 0.0),
        threshold=state["max_rate_per_s"].copy(),
    )


class _Band:
    def __init__(self, low: Floats, high: Floats) -> None:
        self.low, self.high = low.copy(), high.copy()

    def distance(self, value: Floats) -> Floats:
        """How far outside; negative inside."""
        return np.maximum(value - self.high, self.low - value)

    def nearer(self, value: Floats) -> Floats:
        """The end of the band that the value is beyond or next to."""
        return np.where(value - self.high >= self.low - value, self.high, self.low)


def _beyond(state: State, calm: str, band: _Band, value: Floats, active: Mask, rules: Rules) -> Ruling:
    over = band.distance(value)
    return Ruling(
        active=held(state, calm, over > 0, active, rules.clear_after),
        score=np.maximum(over, 0.0),
        threshold=np.zeros(len(value)),
        limit=band.nearer(value),
    )
