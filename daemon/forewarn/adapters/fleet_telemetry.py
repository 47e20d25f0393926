"""What a fleet job measures, as Prometheus metrics. docs/fleet.md has them; Spark's own are at its own port.

Rules that hold here:

- What is counted came with the micro-batches themselves, so one that is repeated by the same driver counts again and
  nothing else does.
- What the daemon measures too has the name and the labels that it has there, after `forewarn_fleet_`.
- Label values come from closed sets, and each is there with 0 from the start. Only models are open.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily as _Counter
from prometheus_client.core import GaugeMetricFamily as _Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from forewarn import __version__
from forewarn.adapters.telemetry import CONTENT_TYPE, EVENTS, Histogram, labels_of
from forewarn.core.alerts import AlertRaised, Kind, Severity
from forewarn.core.card import ModelCard
from forewarn.core.readings import REJECTED_FROM, Outcome, Rejection, status_name

READINGS, REJECTED, ALERTS = "readings:", "rejected:", "alerts:"
"""Begin the names of counts: of readings by outcome, of messages by the reason why they are none, and of messages about
alerts by type, kind and severity."""
CLOCK: Final = "clock_ms"
_ACCEPTED: Final = tuple(status_name(outcome) for outcome in Outcome if outcome < REJECTED_FROM)
_LEVELS: Final = ("series", "waiting", "active")
_BATCH_S: Final = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_MODEL: Final = ("name", "version", "target", "unit", "n_step", "horizon", "sha256")


class FleetTelemetry(Collector):
    """Counts what the micro-batches say. Any thread may scrape."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._lock = threading.Lock()
        self._accepted = dict.fromkeys(_ACCEPTED, 0)
        self._rejected = dict.fromkeys((reason.value for reason in Rejection), 0)
        self._alerts = dict.fromkeys(product(Kind, Severity, EVENTS.values()), 0)
        self._other = dict.fromkeys(("skipped", "restamped", "evicted"), 0)
        self._reloads = {"taken": 0, "refused": 0}
        self._levels: dict[int, Mapping[str, int]] = {}  # by bucket
        self._models: list[dict[str, str]] = []
        self._batch = -1
        self._duration = Histogram(
            "forewarn_fleet_batch_duration_seconds",
            "From when a micro-batch is begun to be computed until the sinks have it.",
            _BATCH_S,
        )
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def models_loaded(self, models: Iterable[tuple[ModelCard, str]]) -> None:
        """The models that judge from now on, each with the hash of its file."""
        labels = labels_of(models)
        with self._lock:
            self._models = labels

    def reloaded(self, outcome: str) -> None:
        """Changed model files were `taken` or `refused`."""
        with self._lock:
            self._reloads[outcome] += 1

    def batch_done(
        self, batch: int, counts: Mapping[str, int], levels: Mapping[int, Mapping[str, int]], seconds: float
    ) -> None:
        """A micro-batch is with the sinks.

        Args:
            batch: its number.
            counts: by name.
            levels: how much each of its buckets has, by name.
            seconds: that it took, from its source to its sinks.
        """
        with self._lock:
            for name, n in counts.items():
                self._count(name, n)
            self._levels.update(levels)
            self._batch = batch
            self._duration.add(seconds)

    def _count(self, name: str, n: int) -> None:
        of, _, rest = name.partition(":")
        if f"{of}:" in (READINGS, REJECTED):
            by_name = self._accepted if rest in self._accepted else self._rejected
            by_name[rest] += n
        elif f"{of}:" == ALERTS:
            kind_of_change, kind, severity = rest.split(":")
            self._alerts[Kind(kind), Severity(severity), kind_of_change] += n
        else:
            self._other[name] += n

    def summary(self) -> str:
        """What was counted, in a line."""
        with self._lock:
            counted = {**self._accepted, **self._rejected}
            readings = ", ".join(f"{n} {status}" for status, n in counted.items() if n)
            raised = sum(n for (_, _, change), n in self._alerts.items() if change == EVENTS[AlertRaised])
            series = sum(level.get("series", 0) for level in self._levels.values())
        return f"{readings or 'no readings'}; {series} series, {raised} alerts"

    def exposition(self) -> tuple[bytes, str]:
        """What Prometheus reads, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE

    def collect(self) -> Iterator[Metric]:
        """The samples of a scrape."""
        with self._lock:
            families = [*self._of_job(), *self._of_readings(), *self._of_alerts(), *self._of_buckets()]
        yield from families

    def _of_job(self) -> Iterator[Metric]:
        info = _Gauge("forewarn_fleet_build_info", "The running forewarn.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        model = _Gauge("forewarn_fleet_model_info", "A model that makes forecasts.", labels=_MODEL)
        for labels in self._models:
            model.add_metric([labels[name] for name in _MODEL], 1)
        yield model
        reloads = _Counter("forewarn_fleet_reloads_total", "Changed model files.", labels=["result"])
        for result, n in self._reloads.items():
            reloads.add_metric([result], n)
        yield reloads
        yield _Gauge("forewarn_fleet_batch", "Number of the last micro-batch, -1 before the first.", self._batch)
        yield self._duration.family()

    def _of_readings(self) -> Iterator[Metric]:
        outcomes = {**self._accepted, "rejected": sum(self._rejected.values())}
        readings = _Counter("forewarn_fleet_readings_total", "Readings by what became of them.", labels=["outcome"])
        for outcome, n in outcomes.items():
            readings.add_metric([outcome], n)
        yield readings
        rejections = _Counter("forewarn_fleet_rejections_total", "Readings not used, by reason.", labels=["reason"])
        for reason, n in self._rejected.items():
            rejections.add_metric([reason], n)
        yield rejections
        yield _Counter(
            "forewarn_fleet_messages_skipped_total",
            "Messages that are no readings by design: states, commands, metrics that are not asked for.",
            self._other["skipped"],
        )
        yield _Counter(
            "forewarn_fleet_restamped_total",
            "Readings whose time was too far ahead and became that of their arrival.",
            self._other["restamped"],
        )
        yield _Counter(
            "forewarn_fleet_evictions_total", "Series that gave their slot to a new one.", self._other["evicted"]
        )

    def _of_alerts(self) -> Iterator[Metric]:
        changes = _Counter("forewarn_fleet_alerts_total", "Changes of alerts.", labels=["kind", "severity", "type"])
        for labels, n in self._alerts.items():
            changes.add_metric(labels, n)
        yield changes

    def _of_buckets(self) -> Iterator[Metric]:
        """As each bucket was when it was last asked."""
        levels = self._levels.values()
        totals = {name: sum(level.get(name, 0) for level in levels) for name in _LEVELS}
        yield _Gauge("forewarn_fleet_series", "Series that are followed.", totals["series"])
        yield _Gauge("forewarn_fleet_readings_waiting", "Readings held for earlier ones.", totals["waiting"])
        yield _Gauge("forewarn_fleet_alerts_active", "Alerts raised and not yet cleared.", totals["active"])
        clocks = [level[CLOCK] for level in levels if CLOCK in level]
        last_at = _Gauge(
            "forewarn_fleet_last_arrival_timestamp_seconds", "Up to which arrival the source was read, UTC epoch."
        )
        if clocks:
            last_at.add_metric([], max(clocks) / 1000)
        yield last_at
