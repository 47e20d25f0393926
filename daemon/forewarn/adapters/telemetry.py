"""What the daemon measures, as Prometheus metrics. The only importer of prometheus_client; docs/metrics.md is its page.

Rules that hold here:

- Nothing is global: each `Telemetry` has a registry of its own.
- The loop's thread adds to plain numbers and arrays; samples are made when somebody scrapes. What concerns one series
  is read from the fleet then, not kept here.
- Label values come from closed sets, and each is there with 0 from the start, since `increase()` does not see the first
  step of a counter that was absent. Only series are open: capped, and their names may be any text.
"""

import platform
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice, product
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily as _Counter
from prometheus_client.core import GaugeMetricFamily as _Gauge
from prometheus_client.core import HistogramMetricFamily, Metric, Sample
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from forewarn.core.alerts import Alert, AlertCleared, AlertRaised, AlertUpdated, Event, Kind, SeriesEvicted, Severity
from forewarn.core.card import ModelCard
from forewarn.core.readings import (
    OUTCOME_REJECTION,
    REJECTED_FROM,
    Fleet,
    Floats,
    Outcome,
    Rejection,
    SeriesKey,
    SeriesState,
)
from forewarn.core.verdicts import Verdicts

EVENTS: Final = {AlertRaised: "raised", AlertUpdated: "updated", AlertCleared: "cleared"}
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_INFERENCE_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_READINGS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
_SERIES: Final = (
    ("forewarn_last_reading_timestamp_seconds", "received_at", "Arrival of the last accepted reading, UTC epoch."),
    ("forewarn_series_value", "value", "Last accepted reading, in its own unit."),
    ("forewarn_series_expected", "expected", "What had been forecast for the last reading, in its own unit."),
    ("forewarn_series_lower", "lower", "Lower end of the band around the expected value, in its own unit."),
    ("forewarn_series_upper", "upper", "Upper end of the band around the expected value, in its own unit."),
    ("forewarn_series_residual", "residual", "Last reading minus the expected value, in its own unit."),
    ("forewarn_series_score", "score", "How unusual the last reading is, in the unit of the threshold."),
    ("forewarn_series_threshold", "threshold", "Score above which a reading counts as exceeding."),
    ("forewarn_series_state", "state", "What the series is doing: 0 warming up, 1 ok, 2 alert."),
)


class Tallies(NamedTuple):
    """What has come in so far, and what waits.

    Attributes:
        received: readings, used or not.
        rejected: readings not used, by reason.
        queues: messages that wait, and how many were dropped, by queue.
    """

    received: int
    rejected: dict[Rejection, int]
    queues: dict[str, tuple[int, int]]


class Telemetry(Collector):
    """Counts what the loop reports and renders it with the fleet's current state. Any thread may scrape.

    Args:
        version: of forewarn.
        fleet: gives a consistent copy of the engine's arrays; called once for each scrape.
        max_devices: series that are exposed one by one, those longest known first.
    """

    def __init__(self, *, version: str, fleet: Callable[[], Fleet], max_devices: int) -> None:
        self._fleet, self._max_devices = fleet, max_devices
        self._build = {"version": version, "python": platform.python_version()}
        self._models: list[dict[str, str]] = []
        self._known: dict[SeriesKey, None] = {}  # in the order in which scrapes first met them
        self._lock, self._scraping = threading.Lock(), threading.Lock()
        self._received = self._forecasts = self._evicted = self._published = 0
        self._outcomes = np.zeros(len(Outcome), np.int64)
        self._rejected = dict.fromkeys(Rejection, 0)  # while decoding
        self._events = dict.fromkeys(product(Kind, Severity, EVENTS.values()), 0)
        self._active: dict[tuple[SeriesKey, Kind], float] = {}  # when each was raised
        self._is_connected, self._connects = False, 0
        self._state_failing = False
        self._redelivered = self._restamped = self._skipped = 0
        self._reloads = {"taken": 0, "refused": 0}
        self._queues: dict[str, tuple[int, int]] = {}  # depth, dropped
        self._batch = Histogram("forewarn_batch_readings", "Readings judged together.", _READINGS)
        self._latency = Histogram(
            "forewarn_reading_latency_seconds", "From a reading's arrival to its verdict.", _LATENCY_S
        )
        self._inference = Histogram(
            "forewarn_inference_duration_seconds", "Time of one call of the model, however many windows.", _INFERENCE_S
        )
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def models_loaded(self, models: Iterable[tuple[ModelCard, str]]) -> None:
        """The models that the daemon runs, each with the hash of its file."""
        self._models = labels_of(models)

    @property
    def active_alerts(self) -> int:
        """Alerts raised and not yet cleared."""
        return len(self._active)

    def resumed(self, alerts: Iterable[Alert]) -> None:
        """The alerts that were active in a restored state; they count as active without having been raised again."""
        with self._lock:
            self._active.update({(alert.series, alert.kind): alert.raised_at for alert in alerts})

    def ingested(self, verdicts: Verdicts, latency_s: Floats) -> None:
        """A batch was judged; `latency_s` is `(n,)`, seconds from each reading's arrival to its verdict."""
        outcomes = np.bincount(verdicts.outcome, minlength=len(Outcome))
        with self._lock:
            self._received += len(verdicts.outcome)
            self._outcomes += outcomes
            self._batch.add(len(verdicts.outcome))
            self._latency.add_all(np.maximum(latency_s, 0.0))  # a clock may be set back between the two

    def repeated(self, verdicts: Verdicts) -> None:
        """A batch of before the start was judged again: it counts, but took no time."""
        with self._lock:
            self._received += len(verdicts.outcome)
            self._outcomes += np.bincount(verdicts.outcome, minlength=len(Outcome))

    def counts(self) -> dict[str, Any]:
        """What is to go on being counted after a restart, for JSON."""
        with self._lock:
            return {
                "received": self._received,
                "outcomes": self._outcomes.tolist(),
                "rejected": {reason.value: n for reason, n in self._rejected.items()},
                "events": [[*map(str, labels), n] for labels, n in self._events.items() if n],
                "evicted": self._evicted,
            }

    def take_counts(self, counts: Mapping[str, Any]) -> None:
        """Go on from what `counts` gave; labels of another version are left out.

        Raises:
            ValueError, TypeError, KeyError: where it is something else.
        """
        if not counts:
            return
        with self._lock:
            self._received, self._evicted = int(counts["received"]), int(counts["evicted"])
            outcomes = [int(n) for n in counts["outcomes"]][: len(self._outcomes)]
            self._outcomes[: len(outcomes)] = outcomes  # a version with fewer had the same first ones
            self._rejected |= {r: int(counts["rejected"].get(r.value, 0)) for r in self._rejected}
            known = {tuple(map(str, labels)): labels for labels in self._events}
            for *labels, n in counts["events"]:
                if (own := known.get(tuple(labels))) is not None:
                    self._events[own] = int(n)

    def tallies(self) -> Tallies:
        """What has come in so far, and what waits."""
        with self._lock:
            return Tallies(self._received, self._reasons(), dict(self._queues))

    def _reasons(self) -> dict[Rejection, int]:
        """Readings not used, while decoding or by the engine."""
        by_engine = {OUTCOME_REJECTION[o]: int(self._outcomes[o]) for o in Outcome if o >= REJECTED_FROM}
        return {reason: n + by_engine.get(reason, 0) for reason, n in self._rejected.items()}

    def reloaded(self, *, taken: bool) -> None:
        """Changed settings or another model were taken up, or refused."""
        with self._lock:
            self._reloads["taken" if taken else "refused"] += 1

    def redelivered(self, n: int) -> None:
        """N messages came that had been worked on before."""
        with self._lock:
            self._redelivered += n

    def skipped(self) -> None:
        """A message is no reading by design."""
        with self._lock:
            self._skipped += 1

    def restamped(self, n: int) -> None:
        """N readings had a time too far ahead, and their arrival was taken for it."""
        with self._lock:
            self._restamped += n

    def state_failing(self, failing: bool) -> None:
        """Whether the state file cannot be written."""
        self._state_failing = failing

    def rejected(self, reason: Rejection) -> None:
        """A message was received that never became a reading."""
        with self._lock:
            self._received += 1
            self._rejected[reason] += 1

    def inferred(self, n: int, seconds: float) -> None:
        """The model was called once, for n windows."""
        with self._lock:
            self._forecasts += n
            self._inference.add(seconds)

    def event(self, event: Event) -> None:
        """An alert changed, or a series gave up its slot."""
        with self._lock:
            if isinstance(event, SeriesEvicted):
                self._evicted += 1
                return
            alert = event.alert
            self._events[alert.kind, alert.severity, EVENTS[type(event)]] += 1
            if isinstance(event, AlertCleared):
                self._active.pop((alert.series, alert.kind), None)
            else:
                self._active[alert.series, alert.kind] = alert.raised_at

    def connected(self, is_connected: bool) -> None:
        """The connection to the broker came or went."""
        with self._lock:
            self._connects += is_connected and not self._is_connected
            self._is_connected = is_connected

    def queue(self, name: Literal["inbox", "outbox"], depth: int, dropped: int) -> None:
        """Messages that wait, and how many were dropped since the start."""
        with self._lock:
            self._queues[name] = depth, dropped

    def published(self, n: int) -> None:
        """N messages were handed over for the broker."""
        with self._lock:
            self._published += n

    def exposition(self) -> tuple[bytes, str]:
        """Everything in the Prometheus text format, with its content type. One scrape is rendered at a time."""
        with self._scraping:
            return generate_latest(self._registry), CONTENT_TYPE

    def collect(self) -> Iterator[Metric]:
        """Every family of samples, for the registry."""
        with self._lock:
            families = [*self._of_daemon(), *self._of_readings(), *self._of_alerts()]
            active = self._active.copy()
        yield from families
        yield from self._of_series(self._fleet(), active)

    def _of_daemon(self) -> Iterator[Metric]:
        build = _Gauge("forewarn_build_info", "The running forewarn.", labels=tuple(self._build))
        yield _filled(build, [(tuple(self._build.values()), 1)])
        if self._models:
            model = _Gauge("forewarn_model_info", "A model that makes forecasts.", labels=tuple(self._models[0]))
            yield _filled(model, [(tuple(one.values()), 1) for one in self._models])
        yield _Gauge("forewarn_mqtt_connected", "Whether the broker is connected.", self._is_connected)
        reconnects = max(0, self._connects - 1)
        yield _Counter("forewarn_mqtt_reconnects_total", "Connections after the first one.", reconnects)
        depth = _Gauge("forewarn_queue_depth", "Messages that wait.", labels=["queue"])
        yield _filled(depth, (([name], depth) for name, (depth, _) in self._queues.items()))
        reloads = _Counter("forewarn_reloads_total", "Reloads of settings and model.", labels=["result"])
        yield _filled(reloads, (([result], n) for result, n in self._reloads.items()))
        yield _Gauge("forewarn_state_failing", "Whether the state file cannot be written.", self._state_failing)
        dropped = _Counter("forewarn_dropped_total", "Messages dropped from a full queue.", labels=["queue"])
        yield _filled(dropped, (([name], dropped) for name, (_, dropped) in self._queues.items()))
        yield _Counter("forewarn_messages_published_total", "Messages handed over for the broker.", self._published)

    def _of_readings(self) -> Iterator[Metric]:
        judged = dict(zip(Outcome, self._outcomes.tolist(), strict=True))
        reasons = self._reasons()
        outcomes = {o.name.lower(): n for o, n in judged.items() if o < REJECTED_FROM}
        outcomes["rejected"] = sum(reasons.values())
        yield _Counter(
            "forewarn_redelivered_total",
            "Messages that the broker sent again and that changed nothing.",
            self._redelivered,
        )
        yield _Counter(
            "forewarn_messages_skipped_total",
            "Messages that are no readings by design: states, commands, metrics that are not asked for.",
            self._skipped,
        )
        yield _Counter(
            "forewarn_restamped_total",
            "Readings whose time was too far ahead and became that of their arrival.",
            self._restamped,
        )
        yield _Counter("forewarn_readings_received_total", "Readings received, used or not.", self._received)
        by_outcome = _Counter("forewarn_readings_total", "Readings by what became of them.", labels=["outcome"])
        yield _filled(by_outcome, (([name], n) for name, n in outcomes.items()))
        rejections = _Counter("forewarn_rejections_total", "Readings not used, by reason.", labels=["reason"])
        yield _filled(rejections, (([reason.value], n) for reason, n in reasons.items()))
        yield _Counter("forewarn_forecasts_total", "Windows that were forecast from.", self._forecasts)
        yield from (self._batch.family(), self._latency.family(), self._inference.family())

    def _of_alerts(self) -> Iterator[Metric]:
        changes = _Counter("forewarn_alerts_total", "Changes of alerts.", labels=["kind", "severity", "type"])
        yield _filled(changes, self._events.items())
        active = _Gauge("forewarn_alerts_active", "Alerts raised and not yet cleared.", labels=["kind"])
        yield _filled(active, (([kind.value], sum(kind == k for _, k in self._active)) for kind in Kind))
        yield _Counter("forewarn_evictions_total", "Series that gave their slot to a new one.", self._evicted)

    def _of_series(self, fleet: Fleet, active: Mapping[tuple[SeriesKey, Kind], float]) -> Iterator[Metric]:
        worst: dict[str, int] = {}
        for key, state in zip(fleet.keys, fleet.state.tolist(), strict=True):
            worst[key.device] = max(state, worst.get(key.device, 0))
        counts = np.bincount(np.array([*worst.values()], np.int64), minlength=len(SeriesState)).tolist()
        devices = _Gauge(
            "forewarn_devices", "Known devices, each in the highest state of its series.", labels=["state"]
        )
        yield _filled(devices, (([state.name.lower()], counts[state]) for state in SeriesState))
        place = {key: row for row, key in enumerate(fleet.keys)}
        self._known = {key: None for key in self._known if key in place} | dict.fromkeys(place)
        shown = islice(self._known, self._max_devices)
        rows = {(_label(key.device), _label(key.metric)): place[key] for key in shown}
        omitted = len(fleet.keys) - len(rows)
        yield _Gauge("forewarn_series_omitted", "Series left out of those with labels device and metric.", omitted)
        labels = [({"device": device, "metric": metric}, row) for (device, metric), row in rows.items()]
        for name, column, text in _SERIES:
            values = getattr(fleet, column).tolist()
            family = _Gauge(name, text)
            # A column that has nothing yet is NaN, the one value that is not itself.
            family.samples = [Sample(name, pair, v) for pair, row in labels if (v := values[row]) == v]
            yield family
        raised = {(_label(key.device), _label(key.metric), kind.value): at for (key, kind), at in active.items()}
        since = _Gauge(
            "forewarn_series_alert_timestamp_seconds",
            "When the active alert of this kind was raised, by the reading's own time, UTC epoch.",
            labels=["device", "metric", "kind"],
        )
        yield _filled(since, ((labels, at) for labels, at in raised.items() if labels[:2] in rows))


class Histogram:
    """Counts of values by bucket; `bounds` are inclusive upper ends, in order."""

    def __init__(self, name: str, text: str, bounds: tuple[float, ...]) -> None:
        """Count nothing yet."""
        self._name, self._text, self._bounds = name, text, bounds
        self._edges = np.array(bounds)
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_all(self, values: Floats) -> None:
        """Count many."""
        self._counts += np.bincount(self._edges.searchsorted(values), minlength=len(self._counts))
        self._sum += float(values.sum())

    def family(self) -> Metric:
        """The samples."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts.tolist()), strict=True))
        return HistogramMetricFamily(self._name, self._text, buckets, self._sum)


def _filled(family: _Counter | _Gauge, samples: Iterable[tuple[Sequence[str], float]]) -> Metric:
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def labels_of(models: Iterable[tuple[ModelCard, str]]) -> list[dict[str, str]]:
    """The labels of each model, which is named with the hash of its file; one that is named twice has one row."""
    found = {
        sha256: {
            "name": _label(card.name),
            "version": _label(card.version),
            "target": _label(card.target),
            "unit": _label(card.unit),
            "n_step": str(card.n_step),
            "horizon": str(card.horizon),
            "sha256": sha256,
        }
        for card, sha256 in models
    }
    return list(found.values())


def _label(text: str) -> str:
    r"""Text as UTF-8 can carry it: a lone surrogate, which JSON may smuggle in, becomes its `\udc80` escape."""
    return text.encode("utf-8", "backslashreplace").decode()
