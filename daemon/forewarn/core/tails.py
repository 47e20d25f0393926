"""How a score of the tail judge and an expected rate of alerts belong together."""

import math


def threshold_of(sensitivity: float) -> float:
    """The score above which a reading alerts, for so many expected alerts per device and month."""
    return 2.0 * (1.15 - math.log10(sensitivity))


def rate_of(score: float) -> float:
    """Alerts per device and month to expect above a score: the inverse of `threshold_of`."""
    return float(10.0 ** (1.15 - score / 2.0))
