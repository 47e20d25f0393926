"""What `forewarn` says over MQTT: alerts, states and forecasts as topic and JSON. Documented in docs/mqtt-api.md.

Pure functions of what the engine returned. Times are UTC epoch seconds; a field that does not apply is null.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.core.alerts import Alert, AlertChange, AlertCleared, AlertRaised, AlertUpdated, Kind
from forewarn.core.deviations import STREAMS
from forewarn.core.patterns import Choice
from forewarn.core.readings import Batch, Fleet, Floats, SeriesKey, SeriesState, status_name
from forewarn.core.verdicts import Verdicts
from forewarn.envelope import cloud_event

ALERT_SCHEMA = "forewarn.alert/1"
STATE_SCHEMA = "forewarn.state/1"
FORECAST_SCHEMA = "forewarn.forecast/1"

TYPES = {AlertRaised: "raised", AlertUpdated: "updated", AlertCleared: "cleared"}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One MQTT message to publish."""

    topic: str
    payload: str
    qos: int = 1
    retain: bool = False


class ModelTold(NamedTuple):
    """What is told of a model.

    Attributes:
        document: its name, version and sha256.
        unit: of its target.
    """

    document: Mapping[str, str]
    unit: str


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """Makes the messages of one daemon.

    Attributes:
        root: the topics' first levels, `forewarn/<instance>`.
        models: by series, as every alert repeats them.
        units: of the metrics, by name; that of every other one is the model's.
        cloudevents: whether an alert is told in a CloudEvents envelope.
    """

    root: str
    models: Choice[ModelTold]
    units: Mapping[str, str]
    cloudevents: bool = False

    def unit_of(self, series: SeriesKey) -> str:
        """The unit of a series' readings, "" where it is not known."""
        unit = self.units.get(series.metric)
        return self.models.of(series).unit if unit is None else unit

    def model_of(self, series: SeriesKey) -> Mapping[str, str]:
        """Name, version and sha256 of the model that judges a series."""
        return self.models.of(series).document

    def sentence(self, change: AlertChange) -> str:
        """What a person is told of an alert."""
        return sentence(change, self.unit_of(change.alert.series))

    @property
    def status_topic(self) -> str:
        """Where the daemon's own state is."""
        return f"{self.root}/status"

    def state_topic(self, series: SeriesKey) -> str:
        """Where the state of a series is."""
        return self._topic("state", series)

    def status(self, online: bool) -> Outgoing:
        """The daemon's own state: `online` as birth, `offline` as last will."""
        return Outgoing(self.status_topic, "online" if online else "offline", retain=True)

    def alert(self, change: AlertChange) -> Outgoing:
        """One step in the life of an alert."""
        alert = change.alert
        kind_of_change = TYPES[type(change)]
        body = {
            "schema": ALERT_SCHEMA,
            "id": alert.id,
            "sequence": alert.sequence,
            "type": kind_of_change,
            "kind": alert.kind,
            "severity": alert.severity,
            "device": alert.series.device,
            "metric": alert.series.metric,
            "unit": self.unit_of(alert.series),
            "value": alert.value,
            "expected": alert.expected,
            "lower": alert.lower,
            "upper": alert.upper,
            "residual": alert.residual,
            "score": alert.score,
            "threshold": alert.threshold,
            "at": alert.at,
            "received_at": alert.received_at,
            "raised_at": alert.raised_at,
            "duration_s": alert.duration_s,
            "window_started_at": alert.window_started_at,
            "limit": alert.limit,
            "lead_s": alert.lead_s,
            "probability": alert.probability,
            "conversion": alert.conversion,
            "feature": alert.feature,
            "stream": alert.stream,
            "observed": alert.observed,
            "usual": alert.usual,
            "since_at": alert.since_at,
            "once_in_months": alert.once_in_months,
            "model": dict(self.model_of(alert.series)),
            "sentence": self.sentence(change),
        }
        return Outgoing(
            self._topic("alerts", alert.series), _json(cloud_event(self.root, body) if self.cloudevents else body)
        )

    def state(self, fleet: Fleet, row: int, alerts: list[Alert]) -> Outgoing:
        """What a series is doing now, retained."""
        series, horizon = fleet.keys[row], int(fleet.horizon[row])
        body = {
            "schema": STATE_SCHEMA,
            "device": series.device,
            "metric": series.metric,
            "unit": self.unit_of(series),
            "state": SeriesState(fleet.state[row]).name.lower(),
            **{name: _number(getattr(fleet, name)[row]) for name in _MEASURES},
            "path": _numbers(fleet.forecast[row, :horizon]),
            "path_80": _numbers(fleet.half_width[row, 0, :horizon]),
            "path_95": _numbers(fleet.half_width[row, 1, :horizon]),
            "at": _number(fleet.at[row]),
            "received_at": _number(fleet.received_at[row]),
            "alerts": [
                {"id": alert.id, "kind": alert.kind, "severity": alert.severity, "raised_at": alert.raised_at}
                for alert in alerts
            ],
        }
        return Outgoing(self.state_topic(series), _json(body), retain=True)

    def no_state(self, series: SeriesKey) -> Outgoing:
        """Removes a series' retained state."""
        return Outgoing(self.state_topic(series), "", retain=True)

    def forecast(self, batch: Batch, target: int, verdicts: Verdicts, row: int) -> Outgoing:
        """The verdict on one reading."""
        series = batch.keys[row]
        body = {
            "schema": FORECAST_SCHEMA,
            "device": series.device,
            "metric": series.metric,
            "at": _number(batch.at[row]),
            "value": _number(batch.values[row, target]),
            "status": status_name(int(verdicts.outcome[row])),
            **{name: _number(getattr(verdicts, name)[row]) for name in _MEASURES if name != "value"},
            "alert": bool(verdicts.alert[row]),
        }
        return Outgoing(self._topic("forecast", series), _json(body), qos=0)

    def _topic(self, branch: str, series: SeriesKey) -> str:
        return f"{self.root}/{branch}/{series.device}/{series.metric}"


_STREAMS = {stream.name: stream for stream in STREAMS}
_MEASURES = ("value", "expected", "lower", "upper", "residual", "score", "threshold")


def sentence(change: AlertChange, unit: str) -> str:
    """What a person is told, such as `freezer-3 reads 9.8 °C; 4.1 ± 0.6 °C was expected`."""
    alert = change.alert
    ended = isinstance(change, AlertCleared)
    name = alert.series.device
    if alert.series.metric not in ("temperature", "value"):
        name += f" {alert.series.metric}"
    if alert.kind is Kind.ANOMALY:
        return _anomaly(name, change, unit)
    if alert.kind in _SENTENCES:
        return _SENTENCES[alert.kind](name, alert, unit, ended)
    verb = {AlertRaised: "reads", AlertUpdated: "still reads", AlertCleared: "is as expected again: it reads"}[
        type(change)
    ]
    if isinstance(change, AlertUpdated) and alert.score <= alert.threshold:
        verb = "is back at"  # but not for long enough to clear
    return f"{name} {verb} {_quantity(alert, unit)}; {_expectation(alert, unit)}"


def _anomaly(name: str, change: AlertChange, unit: str) -> str:
    alert = change.alert
    if isinstance(change, AlertCleared):
        return f"{name} is as usual again after {span(alert.duration_s)}: {_quantity(alert, unit)}"
    if isinstance(change, AlertUpdated) and alert.score <= alert.threshold:
        return f"{name} seems to be as usual again: {_quantity(alert, unit)}"  # but not for long enough to clear
    stream = _STREAMS[alert.stream or ""]
    observed, usual = (f"{number} {unit}".rstrip() for number in _pair(alert))
    told = {
        "forecast": f"its last {stream.span} readings averaged {observed}; {usual} was forecast of them",
        "level": f"its last {stream.span} readings averaged {observed}; it has been about {usual} of late",
        "day": f"its last {stream.span} readings averaged {observed}; it was {usual} a day before",
        "volatility": f"its last {stream.span} readings vary by ± {observed}; ± {usual} is usual",
    }[stream.family]
    if stream.span == 1:
        told = f"it reads {observed}; it has been about {usual} of late"
    still = "still unusual: " if isinstance(change, AlertUpdated) else ""
    lasting = 0.0 if alert.since_at is None else alert.at - alert.since_at
    since = f", for {span(lasting)} now" if lasting > 0 else ""
    return f"{name}: {still}{told}{since} ({_rarity(alert.once_in_months or 0.0)})"


def _pair(alert: Alert) -> tuple[str, str]:
    """What came and what was usual, with as many decimals as show the difference."""
    observed, usual = (0.0 if number is None else number for number in (alert.observed, alert.usual))
    away = abs(observed - usual)
    decimals = min(6, max(1, 1 - math.floor(math.log10(1.001 * away)))) if away > 0 else 1
    return f"{observed:.{decimals}f}", f"{usual:.{decimals}f}"


def _rarity(months: float) -> str:
    if months > 120:
        return "less than once in ten years on a sensor"
    if months >= 1.5:
        return f"about once in {months:.0f} months on a sensor"
    return "about once a month on a sensor" if months > 0.7 else f"about {1 / max(months, 0.01):.0f} times a month"


def _multivariate(name: str, alert: Alert, unit: str, ended: bool) -> str:  # noqa: ARG001 - the face of `_SENTENCES`
    if ended:
        return f"{name}: its features go together as in the training again, after {span(alert.duration_s)}"
    if not alert.score > alert.threshold:
        return f"{name}: its features seem to go together as in the training again"  # but not for long enough to clear
    return (
        f"{name}: its features do not go together as in the training (T² is {alert.score:.1f} times its limit); "
        f"{alert.feature}, which reads {alert.observed:.4g}, contributes most"
    )


def _stuck(name: str, alert: Alert, unit: str, ended: bool) -> str:
    if ended:
        return f"{name} moves again after {span(alert.duration_s)}: {_quantity(alert, unit)}"
    return (
        f"{name} has read exactly {_quantity(alert, unit)} {alert.score:.0f} times in a row; "
        f"{alert.threshold:.0f} is the most to expect of it"
    )


def _silent(name: str, alert: Alert, unit: str, ended: bool) -> str:
    if ended:
        return f"{name} is heard again after {span(alert.duration_s)}: {_quantity(alert, unit)}"
    if alert.score <= alert.threshold:
        return f"{name} is said to be offline; its last reading was {span(alert.score)} before"
    return f"{name} has been silent for {span(alert.score)}; {span(alert.threshold)} is the most to expect of it"


def _range(name: str, alert: Alert, unit: str, ended: bool) -> str:
    if ended:
        return f"{name} is within its range again after {span(alert.duration_s)}: {_quantity(alert, unit)}"
    return f"{name} reads {_quantity(alert, unit)}; its range ends at {_limit(alert, unit)}"


def _rate(name: str, alert: Alert, unit: str, ended: bool) -> str:
    if ended:
        return f"{name} changes no faster than it may again: {_quantity(alert, unit)}"
    speed = f"{alert.score:.2g} {unit}".rstrip()
    return f"{name} reads {_quantity(alert, unit)} after a change of {speed} a second; {alert.threshold:g} is allowed"


def _unit_change(name: str, alert: Alert, unit: str, ended: bool) -> str:
    before, _, after = (alert.conversion or "").partition(" to ")
    if not ended:
        return f"{name} seems to have changed from {before} to {after}: it reads {_quantity(alert, '')}"
    if alert.score:
        return f"{name} is taken to read in {after} from now on: {_quantity(alert, '')}"
    return f"{name} seems to read in {before} again: {_quantity(alert, unit)}"


def _past_limit(name: str, alert: Alert, unit: str, ended: bool) -> str:
    if ended:
        return f"{name} is back from beyond {_limit(alert, unit)} after {span(alert.duration_s)}: " + _quantity(
            alert, unit
        )
    return f"{name} has passed {_limit(alert, unit)}: it reads {_quantity(alert, unit)}"


def _forecast_limit(name: str, alert: Alert, unit: str, ended: bool) -> str:
    if not ended:
        likely = f"{100 * (alert.probability or 0.0):.0f} % likely"
        lead = "soon" if alert.lead_s is None else f"in about {span(alert.lead_s)}"
        return f"{name} will pass {_limit(alert, unit)} {lead} ({likely}); it reads {_quantity(alert, unit)}"
    if alert.probability == 1.0:
        return f"{name} has passed {_limit(alert, unit)}, as was forecast: it reads {_quantity(alert, unit)}"
    return f"{name} is not expected to pass {_limit(alert, unit)} any more: it reads {_quantity(alert, unit)}"


_SENTENCES: Mapping[Kind, Callable[[str, Alert, str, bool], str]] = {
    Kind.MULTIVARIATE: _multivariate,
    Kind.STUCK: _stuck,
    Kind.SILENT: _silent,
    Kind.RANGE: _range,
    Kind.RATE: _rate,
    Kind.UNIT_CHANGE: _unit_change,
    Kind.LIMIT: _past_limit,
    Kind.FORECAST_LIMIT: _forecast_limit,
}


def _limit(alert: Alert, unit: str) -> str:
    return f"{alert.limit:g} {unit}".rstrip()


def _quantity(alert: Alert, unit: str) -> str:
    return f"{_rounded(alert.value, _decimals(alert))} {unit}".rstrip()


def _expectation(alert: Alert, unit: str) -> str:
    if alert.expected is None or alert.upper is None or alert.lower is None:
        return "there is no forecast for it"
    digits = _decimals(alert)
    half = (alert.upper - alert.lower) / 2
    return f"{_rounded(alert.expected, digits)} ± {_rounded(half, digits)} {unit}".rstrip() + " was expected"


def _decimals(alert: Alert) -> int:
    if alert.upper is None or alert.lower is None:
        return decimals(math.nan)
    return decimals((alert.upper - alert.lower) / 2)


def decimals(half_width: float) -> int:
    """As many as show the first digit of a band's half-width, 1 to 6; 2 where there is no band."""
    if not 0 < half_width < math.inf:
        return 2
    return min(6, max(1, -math.floor(math.log10(half_width))))


def _rounded(value: float | None, digits: int) -> str:
    return "nothing" if value is None else f"{value:.{digits}f}"


def span(seconds: float) -> str:
    """A duration for people: `45 s`, `12 min`, `3.5 h`, `2.0 days`."""
    for unit, length, digits in (("days", 86_400.0, 1), ("h", 3_600.0, 1), ("min", 60.0, 0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(column: Floats | NDArray[np.float32]) -> list[float] | None:
    """All of them, to seven digits as a model's are, or none."""
    return [float(f"{number:.7g}") for number in column.tolist()] if np.isfinite(column).all() else None


def _json(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
