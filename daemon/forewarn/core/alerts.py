"""The alert lifecycle: one object from raise to clear, with one id.

Rules that hold here:

- An alert belongs to one series and one kind; at most one of each kind is active on a series.
- Its id follows from device, metric, kind and the time of the reading that raised it, so the same readings give the
  same ids in the daemon, in a backtest and after a restart.
- `raised` comes once, `updated` when the severity rises or `update_every_s` has passed, `cleared` once.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from forewarn.core.readings import SeriesKey


class Kind(StrEnum):
    """What an alert is about. Its order is that of the events of one reading."""

    ANOMALY = "anomaly"  # unusual for this series: the judge "tail"
    RESIDUAL = "residual"  # not what the model expected of this reading: the judge "residual"
    MULTIVARIATE = "multivariate"  # the features of a reading do not go together as they did in the training
    LIMIT = "limit"  # beyond the operator's limit
    FORECAST_LIMIT = "forecast_limit"  # will be beyond it within the horizon
    STUCK = "stuck"  # this and the following are sensor faults
    SILENT = "silent"
    RANGE = "range"
    RATE = "rate"
    UNIT_CHANGE = "unit_change"


OF_JUDGES = frozenset({Kind.ANOMALY, Kind.RESIDUAL, Kind.MULTIVARIATE})
"""What a judge with a model says; the others are sensor faults and limits."""


class Severity(StrEnum):
    """How far past the threshold."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Alert:
    """The state of an alert as of its latest change. Times are UTC epoch seconds, `None` where a field does not apply.

    Attributes:
        id: 16 hexadecimal digits.
        kind: what it is about.
        severity: the highest so far.
        series: the device and metric.
        slot: of the series in the engine.
        value: the reading, in the target's unit. For `silent`, the last one.
        expected: what had been forecast.
        lower: of the band around `expected`.
        upper: of the band around `expected`.
        residual: value - expected.
        score: in the unit of `threshold`. For `anomaly` and `residual` see `Verdicts.score`; for `stuck` the number of
            equal readings; for `silent` the seconds since the last reading; for `range` and `limit` how far beyond, for
            `rate` the change a second, for `unit_change` the number of readings that fit the conversion, for
            `forecast_limit` the probability, for `multivariate` T² over the model's limit.
        threshold: what the score went over.
        at: the reading's own time (for `silent`, the time of the check).
        received_at: its arrival.
        raised_at: `at` of the reading that raised the alert.
        window_started_at: the time of the oldest reading that the forecast was made from.
        limit: for `range`, `limit` and `forecast_limit`, what was or will be passed, in the target's unit.
        lead_s: for `forecast_limit`, seconds from the reading until then; None once the forecast says so no more.
        probability: of it.
        conversion: for `unit_change`, such as "°C to °F".
        feature: for `multivariate`, the name of the one that contributes most.
        stream: for `anomaly`, the name in `deviations.STREAMS` of what is most unusual.
        observed: what came, of that stream in the target's unit, or of that feature in its own.
        usual: what was expected of it.
        since_at: when it began.
        once_in_months: about how rare that is on one device.
        sequence: counts what is told of the alert, from 1: with the id it says which message this is.
    """

    id: str
    kind: Kind
    severity: Severity
    series: SeriesKey
    slot: int
    value: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    residual: float | None
    score: float
    threshold: float
    at: float
    received_at: float
    raised_at: float
    window_started_at: float | None
    limit: float | None = None
    lead_s: float | None = None
    probability: float | None = None
    conversion: str | None = None
    feature: str | None = None
    stream: str | None = None
    observed: float | None = None
    usual: float | None = None
    since_at: float | None = None
    once_in_months: float | None = None
    sequence: int = 1

    @property
    def duration_s(self) -> float:
        """Seconds from the raise to the latest change."""
        return max(0.0, self.at - self.raised_at)


@dataclass(frozen=True, slots=True)
class AlertRaised:
    """An alert began."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class AlertUpdated:
    """An alert goes on: it became more severe, or it is due for a sign of life."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class AlertCleared:
    """An alert ended."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class SeriesEvicted:
    """The device cap was reached and this series, the longest silent one, gave its slot to a new one."""

    series: SeriesKey
    slot: int


ABOUT = ("limit", "conversion", "feature", "stream", "observed", "usual", "since_at", "once_in_months")
"""The fields that say what an alert is about: at its end they are those of the last message before."""

AlertChange = AlertRaised | AlertUpdated | AlertCleared
Event = AlertChange | SeriesEvicted


def alert_id(series: SeriesKey, kind: Kind, raised_at: float) -> str:
    """16 hexadecimal digits that follow from the arguments alone (BLAKE2b, RFC 7693)."""
    text = f"{series.device}\0{series.metric}\0{kind}\0{raised_at!r}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class AlertBook:
    """The active alerts of all series. Rare things, so plain objects; the engine keeps masks beside it.

    What an event would be is asked first; only `take` changes anything.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._active: dict[tuple[int, Kind], Alert] = {}

    def observed(self, alert: Alert) -> AlertRaised | AlertUpdated:
        """An alert is raised, or the active one of the same series and kind brought up to date.

        The id, the time of the raise and the highest severity of an active one are kept.
        """
        before = self._active.get((alert.slot, alert.kind))
        if before is None:
            return AlertRaised(alert)
        severity = max(before.severity, alert.severity, key=list(Severity).index)
        return AlertUpdated(
            replace(alert, id=before.id, raised_at=before.raised_at, severity=severity, sequence=before.sequence + 1)
        )

    def cleared(self, alert: Alert) -> AlertCleared:
        """The active alert of the same series and kind ends; `alert` says how things stand now.

        Kept beside the id, the time of the raise and the severity: what it was about.
        """
        before = self._active[alert.slot, alert.kind]
        kept = {name: getattr(before, name) for name in ("id", "raised_at", "severity", *ABOUT)}
        return AlertCleared(replace(alert, **kept, sequence=before.sequence + 1))

    def get(self, slot: int, kind: Kind) -> Alert | None:
        """The active alert of this kind as it was last told."""
        return self._active.get((slot, kind))

    def ended(self, slot: int) -> list[AlertCleared]:
        """Every alert of a slot ends as it stands."""
        return [AlertCleared(replace(alert, sequence=alert.sequence + 1)) for alert in self.of(slot)]

    def take(self, event: AlertChange) -> None:
        """It happened."""
        place = (event.alert.slot, event.alert.kind)
        if isinstance(event, AlertCleared):
            del self._active[place]
        else:
            self._active[place] = event.alert

    def of(self, slot: int) -> list[Alert]:
        """The active alerts of a slot."""
        return [self._active[slot, kind] for kind in Kind if (slot, kind) in self._active]

    def __iter__(self) -> Iterator[Alert]:
        """Every active alert, in the order of their raises, whatever batches these came in."""
        return iter(sorted(self._active.values(), key=lambda alert: (alert.raised_at, alert.id)))

    def load(self, alerts: Iterable[Alert]) -> None:
        """Take the active alerts of a snapshot."""
        self._active = {(alert.slot, alert.kind): alert for alert in alerts}
