"""What a fleet job measures, as Prometheus metrics. docs/fleet.md has them; Spark's own are at its own port.

Rules that hold here:

- What is counted came with the micro-batches themselves, so one that is repeated by the same driver counts again and
  nothing else does.
- Label values come from closed sets, and each is there with 0 from the start.
"""

import threading
from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily as _Counter
from prometheus_client.core import GaugeMetricFamily as _Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from forewarn import __version__
from forewarn.adapters.telemetry import CONTENT_TYPE, EVENTS
from forewarn.core.alerts import AlertRaised, Kind, Severity
from forewarn.core.card import ModelCard
from forewarn.core.readings import Outcome, Rejection, status_name

if TYPE_CHECKING:
    from collections.abc import Mapping

READINGS, REJECTED, ALERTS = "readings:", "rejected:", "alerts:"
"""Begin the names of counts: of readings by outcome, of messages by the reason why they are none, and of messages about
alerts by type, kind and severity."""
_STATUSES: Final = tuple(dict.fromkeys([*map(status_name, Outcome), *(reason.value for reason in Rejection)]))
_LEVELS: Final = ("series", "waiting", "active")
CLOCK: Final = "clock_ms"


class FleetTelemetry(Collector):
    """Counts what the micro-batches say. Any thread may scrape."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._lock = threading.Lock()
        self._readings = dict.fromkeys(_STATUSES, 0)
        self._alerts = dict.fromkeys(product(EVENTS.values(), Kind, Severity), 0)
        self._other = dict.fromkeys(("skipped", "restamped", "evicted"), 0)
        self._reloads = {"taken": 0, "refused": 0}
        self._levels: dict[int, Mapping[str, int]] = {}  # by bucket
        self._models: list[dict[str, str]] = []
        self._batch, self._batches, self._sink_s = -1, 0, 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def models_loaded(self, models: Iterable[tuple[ModelCard, str]]) -> None:
        """The models that judge from now on, each with the hash of its file."""
        labels = [{"name": c.name, "version": c.version, "target": c.target, "sha256": sha} for c, sha in models]
        with self._lock:
            self._models = labels

    def reloaded(self, outcome: str) -> None:
        """Changed model files were `taken` or `refused`."""
        with self._lock:
            self._reloads[outcome] += 1

    def batch_done(
        self, batch: int, counts: "Mapping[str, int]", levels: "Mapping[int, Mapping[str, int]]", sink_s: float
    ) -> None:
        """A micro-batch is with the sinks.

        Args:
            batch: its number.
            counts: by name.
            levels: how much each of its buckets has, by name.
            sink_s: seconds that the sinks took.
        """
        with self._lock:
            for name, n in counts.items():
                self._count(name, n)
            self._levels.update(levels)
            self._batch, self._sink_s = batch, self._sink_s + sink_s
            self._batches += 1

    def _count(self, name: str, n: int) -> None:
        for begin in (READINGS, REJECTED):
            if name.startswith(begin):
                self._readings[name.removeprefix(begin)] += n
                return
        if name.startswith(ALERTS):
            kind_of_change, kind, severity = name.removeprefix(ALERTS).split(":")
            self._alerts[kind_of_change, Kind(kind), Severity(severity)] += n
        else:
            self._other[name] += n

    def summary(self) -> str:
        """What was counted, in a line."""
        with self._lock:
            readings = ", ".join(f"{n} {status}" for status, n in self._readings.items() if n)
            raised = sum(n for (change, _, _), n in self._alerts.items() if change == EVENTS[AlertRaised])
            series = sum(level.get("series", 0) for level in self._levels.values())
        return f"{readings or 'no readings'}; {series} series, {raised} alerts"

    def exposition(self) -> tuple[bytes, str]:
        """What Prometheus reads, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE

    def collect(self) -> Iterator[Metric]:
        """The samples of a scrape."""
        with self._lock:
            readings, alerts, other = dict(self._readings), dict(self._alerts), dict(self._other)
            levels, models = list(self._levels.values()), list(self._models)
            reloads, batch, n, sink_s = dict(self._reloads), self._batch, self._batches, self._sink_s
        info = _Gauge("forewarn_fleet_info", "The forewarn that runs.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        names = ["name", "version", "target", "sha256"]
        model = _Gauge("forewarn_fleet_model_info", "Models that judge.", labels=names)
        for labels in models:
            model.add_metric([labels[name] for name in names], 1)
        yield model
        family = _Counter("forewarn_fleet_readings", "Readings by what became of them.", labels=["status"])
        for status, count in readings.items():
            family.add_metric([status], count)
        yield family
        family = _Counter("forewarn_fleet_alerts", "Messages about alerts.", labels=["type", "kind", "severity"])
        for (kind_of_change, kind, severity), count in alerts.items():
            family.add_metric([kind_of_change, kind, severity], count)
        yield family
        yield _Counter("forewarn_fleet_messages_skipped", "Messages that are no readings by design.", other["skipped"])
        yield _Counter("forewarn_fleet_readings_restamped", "Readings dated by their arrival.", other["restamped"])
        yield _Counter("forewarn_fleet_series_evicted", "Series that gave way at the cap.", other["evicted"])
        family = _Counter("forewarn_fleet_model_reloads", "Changed model files.", labels=["outcome"])
        for outcome, count in reloads.items():
            family.add_metric([outcome], count)
        yield family
        totals = {name: sum(level.get(name, 0) for level in levels) for name in _LEVELS}
        yield _Gauge("forewarn_fleet_series", "Series that are followed.", totals["series"])
        yield _Gauge("forewarn_fleet_readings_waiting", "Readings held for late ones.", totals["waiting"])
        yield _Gauge("forewarn_fleet_alerts_active", "Alerts that are active.", totals["active"])
        clocks = [level[CLOCK] for level in levels if CLOCK in level]
        last_at = _Gauge(
            "forewarn_fleet_last_arrival_timestamp_seconds", "Up to which arrival the source was read, UTC epoch."
        )
        if clocks:
            last_at.add_metric([], max(clocks) / 1000)
        yield last_at
        yield _Counter("forewarn_fleet_batches", "Micro-batches that were done.", n)
        yield _Gauge("forewarn_fleet_batch", "Number of the last micro-batch.", batch)
        yield _Counter("forewarn_fleet_batch_duration_seconds", "Time that micro-batches took.", sink_s)
