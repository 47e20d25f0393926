"""What counts as an alert: the operator's choices, in the core's own terms."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from forewarn.core.patterns import SeriesPattern
from forewarn.core.readings import SeriesKey

MIN_SENSITIVITY, MAX_SENSITIVITY = 0.001, 7.0
"""Alerts per device and month: below, nothing would ever be told; above, the judge's score says nothing."""

DEFAULT_THRESHOLD_ERRORS = 8.0
"""Multiples of a series' own mean absolute error, for a model that brings no calibrated threshold. For Gaussian
errors 8 mean absolute errors are 6.4 standard deviations."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold on |residual|.

    Attributes:
        value: the score above which a reading exceeds; None stands for the model's own calibrated value.
        absolute: True where `value` is in the target's unit, False where it counts multiples of the series' own recent
            mean absolute error.
    """

    value: float | None = None
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Override(SeriesPattern):
    """Another threshold for some series."""

    threshold: Threshold


@dataclass(frozen=True, slots=True)
class Limits(SeriesPattern):
    """What some series must not do; infinite for no limit.

    Attributes:
        device: see `SeriesPattern`.
        metric: see `SeriesPattern`.
        low: a reading below cannot have been measured.
        high: nor one above.
        max_rate_per_s: nor a change from one reading to the next of more than this a second.
        limit_below: somebody must know when a reading is below, and before it is.
        limit_above: the same above.
    """

    device: str = "*"
    metric: str = "*"
    low: float = -inf
    high: float = inf
    max_rate_per_s: float = inf
    limit_below: float = -inf
    limit_above: float = inf


_NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Rules:
    """How readings become alerts.

    Attributes:
        detector: which judge says that a reading is not as it should be: "tail" (`anomalies.py`) or "residual"
            (`residuals.py`).
        sensitivity: of "tail", the expected number of alerts per device and month.
        threshold: of "residual", for every series that no override matches.
        overrides: the first that matches a series wins.
        raise_after: of "residual", k of "k of the last m readings exceed".
        raise_within: m of it, 1 to 32.
        clear_ratio: of "residual", an alert may clear once the score is below this share of the threshold (hysteresis).
        clear_after: readings in a row that must be below before it does.
        critical_ratio: an alert is critical at this multiple of the threshold.
        update_every_s: seconds between the signs of life of a lasting alert.
        multivariate: whether T² is judged, with a model that says it.
        stuck: whether equal readings are judged.
        stuck_min_run: fewest equal readings that can be called stuck.
        stuck_factor: how many times longer than ever before on this series.
        silent: whether silence is judged.
        silent_factor: how many of the series' own cadences (the 95 % quantile of its arrival intervals).
        silent_min_s: shortest silence that can be called one, in seconds.
        unit_change: whether a change of the unit of temperature is looked for.
        other_units: metrics whose unit is known and is none of temperature.
        limits: the first that matches a series holds for it.
        limit_probability: from which on a limit is said to be passed within the horizon, 0.5 to 1.
        accept_after: readings in a row inside sensor faults from which on they teach the judges all the same.
        max_gap: a window restarts after a gap of more than so many of the series' own cadences.
        max_future_s: how far a reading's own time may be ahead of its arrival, in seconds.
        max_series: the device cap.
    """

    detector: Literal["tail", "residual"] = "tail"
    sensitivity: float = 1.0
    threshold: Threshold = Threshold()
    overrides: tuple[Override, ...] = ()
    raise_after: int = 1
    raise_within: int = 1
    clear_ratio: float = 0.5
    clear_after: int = 3
    critical_ratio: float = 2.0
    update_every_s: float = 900.0
    multivariate: bool = True
    stuck: bool = True
    stuck_min_run: int = 20
    stuck_factor: float = 3.0
    silent: bool = True
    silent_factor: float = 5.0
    silent_min_s: float = 30.0
    unit_change: bool = True
    other_units: frozenset[str] = frozenset()
    limits: tuple[Limits, ...] = ()
    limit_probability: float = 0.8
    accept_after: int = 256
    max_gap: float = 12.0
    max_future_s: float = 300.0
    max_series: int = 10_000

    def threshold_of(self, series: SeriesKey, calibrated: float | None) -> Threshold:
        """The threshold of one series, with the model's calibrated value filled in.

        Args:
            series: whose threshold.
            calibrated: the model's own, in multiples of the mean absolute error; None where it has none.
        """
        chosen = next((o.threshold for o in self.overrides if o.matches(series)), self.threshold)
        if chosen.value is not None:
            return chosen
        return Threshold(DEFAULT_THRESHOLD_ERRORS if calibrated is None else calibrated, absolute=False)

    def limits_of(self, series: SeriesKey) -> Limits:
        """The limits of one series."""
        return next((limits for limits in self.limits if limits.matches(series)), _NO_LIMITS)
