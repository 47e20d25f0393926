"""How many alerts there would have been at another sensitivity, or at another threshold of the residual judge.

Both judges score a reading without regard to the threshold, so one backtest answers for every one of them: the rule of
raise and clear is told again over the scores. The knob of the tail judge is the sensitivity, that of the residual judge
a factor on the threshold of each series.

Sensor faults and limits do not depend on either and are not counted here.
"""

import math
from dataclasses import dataclass

import numpy as np

from forewarn.backtest import Backtest
from forewarn.core.anomalies import rate_of, threshold_of
from forewarn.core.readings import Mask, Slots

SENSITIVITIES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FACTORS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)
_FINE = 41  # points of a curve


@dataclass(frozen=True, slots=True)
class Step:
    """One setting of the knob.

    Attributes:
        setting: the sensitivity (tail), or the factor on the thresholds in use (residual).
        threshold: on the score; NaN where series have different ones.
        expected: alerts per device and month; NaN where the judge promises none.
        raised: `(n,)` bool: the rows that would have raised an alert.
        telling: `(n,)` bool: the rows that would have, had none been active already.
    """

    setting: float
    threshold: float
    expected: float
    raised: Mask
    telling: Mask

    @property
    def n_alert(self) -> int:
        """How many alerts that makes."""
        return int(np.count_nonzero(self.raised))


def in_use(result: Backtest) -> float:
    """The setting that the backtest was made with."""
    return result.rules.sensitivity if result.rules.detector == "tail" else 1.0


def step(result: Backtest, setting: float) -> Step:
    """What there would have been at this setting."""
    if result.rules.detector == "tail":
        threshold = threshold_of(setting)
        over, loud = result.verdicts.anomaly_score > threshold, result.verdicts.score > threshold
        raised, telling = _told_again(result, over, loud, within=1, after=1)
        return Step(setting, threshold, rate_of(threshold), raised, telling)
    score, thresholds, rules = result.verdicts.score, setting * result.verdicts.threshold, result.rules
    loud = ~(score < rules.clear_ratio * thresholds)
    raised, telling = _told_again(result, score > thresholds, loud, within=rules.raise_within, after=rules.raise_after)
    return Step(setting, setting * _threshold(result), math.nan, raised, telling)


def steps(result: Backtest) -> list[Step]:
    """Some settings around the one in use, and that one."""
    usual = SENSITIVITIES if result.rules.detector == "tail" else FACTORS
    return [step(result, setting) for setting in sorted({*usual, in_use(result)})]


def curve(result: Backtest, low: float, high: float) -> list[tuple[float, float, int]]:
    """Setting, expected alerts per device and month, and number of alerts, at many settings from low to high."""
    fine = (step(result, setting) for setting in np.geomspace(low, high, _FINE).tolist())
    return [(one.setting, one.expected, one.n_alert) for one in fine]


def _threshold(result: Backtest) -> float:
    """The one threshold of all series, NaN where they differ."""
    known = np.unique(result.verdicts.threshold[result.order])
    return float(known[0]) if len(known) == 1 else math.nan


def _told_again(result: Backtest, exceeds: Mask, loud: Mask, *, within: int, after: int) -> tuple[Mask, Mask]:
    """Rows that raise, and rows that would: the rules of `core.anomalies` and `core.residuals` over a file.

    Args:
        result: whose rows.
        exceeds: which rows call for an alert, where `after` of the last `within` do.
        loud: which rows keep one active; all that call for one are among them.
        within: readings.
        after: readings of them.
    """
    order, n = result.order, len(result.order)
    exceeds, loud = exceeds[order], loud[order]
    begin = np.repeat(result.starts[:-1], np.diff(result.starts))  # of the series, for each place in `order`
    place = np.arange(n)

    n_over = np.concatenate([[0], np.cumsum(exceeds)])
    recent = n_over[1:] - n_over[np.maximum(place + 1 - within, begin)]
    telling = exceeds & (recent >= after)

    calm = place - np.maximum.accumulate(np.where(loud, place, -1))
    n_clear = np.cumsum(calm >= result.rules.clear_after)

    at = np.flatnonzero(telling)  # each is loud, and keeps an alert active until the next reading that clears
    new = np.ones(len(at), np.bool_)
    new[1:] = (begin[at[1:]] != begin[at[:-1]]) | (n_clear[at[1:]] > n_clear[at[:-1]])
    return _that_count(result, order[at[new]]), _that_count(result, order[at])


def _that_count(result: Backtest, rows: Slots) -> Mask:
    mask = np.zeros(len(result.history), np.bool_)
    mask[rows] = True
    return mask & result.counted


def likely_counts(mean: float) -> tuple[int, int]:
    """The 5 % and 95 % quantiles of a Poisson count, by its normal approximation from 100 on."""
    if mean > 100:
        half = 1.645 * math.sqrt(mean)
        return math.floor(mean - half), math.ceil(mean + half)
    share = below = math.exp(-mean)
    n, low = 0, None
    while below < 0.95:
        if low is None and below >= 0.05:
            low = n
        n += 1
        share *= mean / n
        below += share
    return n if low is None else low, n
