"""The daemon: puts the parts together, runs the loop, stops cleanly.

Rules that hold here:

- One thread reads the network, judges and publishes. A batch is whatever came while the last one was worked on.
- The engine is touched under a lock, which a scrape of /metrics takes only to copy its arrays.
- Settings objects end here.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

import numpy as np

from forewarn import __version__
from forewarn.adapters.http import HttpServer
from forewarn.adapters.http_access import BasicAuth, ServerFiles, ServerTls
from forewarn.adapters.journal import Journal
from forewarn.adapters.mqtt.link import LastWill, Message, MqttLink
from forewarn.adapters.mqtt.session import Broker
from forewarn.adapters.mqtt.tls import Tls
from forewarn.adapters.onnx_forecaster import OnnxForecaster, load_model, resolve_model
from forewarn.adapters.systemd import Notifier
from forewarn.adapters.telemetry import Telemetry
from forewarn.core.alerts import Event, SeriesEvicted
from forewarn.core.engine import Engine
from forewarn.core.readings import Batch, Fleet, Outcome, SeriesKey, Slots, status_name
from forewarn.core.snapshot import Snapshot
from forewarn.core.verdicts import Verdicts
from forewarn.errors import PayloadError, SettingsError
from forewarn.inputs.decoder import Decoder, Input
from forewarn.inputs.topics import TopicPattern
from forewarn.logs import Complaints, repeats
from forewarn.messages import Outgoing, Phrasebook
from forewarn.passwords import PasswordHash
from forewarn.settings import InputSettings, MetricsSettings, MqttSettings, Settings
from forewarn.states import StateFeed

log = logging.getLogger(__name__)

_IDLE_S = 1.0  # the longest wait for the network, and so the pulse of everything that is due by time
_STALLED_S = 10.0  # without a turn of the loop for so long, /healthz says no
_STARTING_S = 60.0  # what systemd is asked for again and again while the broker has never been there
_STOP_S = 3.0  # for the last messages to be acknowledged at a stop


def broker_of(settings: MqttSettings) -> Broker:
    """Where the broker is, as the adapter wants it."""
    return Broker(
        host=settings.host,
        port=settings.port,
        username=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        protocol=settings.protocol,
        keepalive_s=settings.keepalive_s,
        tls=Tls(settings.ca_file, settings.cert_file, settings.key_file) if settings.tls else None,
    )


def input_of(settings: InputSettings) -> Input:
    """How one input is read, as the decoder wants it."""
    values = settings.values or ({"": settings.value} if settings.value else {})
    return Input(
        pattern=TopicPattern(settings.topic),
        dialect=settings.dialect,
        device=_path(settings.device),
        metric=settings.metric,
        values={metric: tuple(path.split(".")) for metric, path in values.items()},
        time=_path(settings.time),
        retained=settings.retained == "accept",
    )


def server_tls(settings: MetricsSettings) -> ServerTls | None:
    """The certificates of the HTTP port.

    Raises:
        SettingsError: naming the file that cannot be used.
    """
    if settings.cert_file is None:
        return None
    return ServerTls(ServerFiles(settings.cert_file, settings.key_file, settings.client_ca_file))


def _auth(settings: MetricsSettings) -> BasicAuth | None:
    if not settings.username or settings.password_hash is None:
        return None
    return BasicAuth(settings.username, PasswordHash.parse(settings.password_hash.get_secret_value()))


def _path(dotted: str | None) -> tuple[str, ...] | None:
    return tuple(dotted.split(".")) if dotted else None


class Daemon:
    """One daemon, from its settings to its clean stop."""

    def __init__(self, settings: Settings) -> None:
        """Load the model and the saved state, open the port; nothing is connected yet.

        Raises:
            SettingsError: where it cannot run with these settings.
            ModelError: where the model cannot be used.
        """
        if not settings.inputs:
            raise SettingsError('inputs: at least one [[inputs]] with topic = "…" is needed')
        self._settings = settings
        self._lock = threading.Lock()
        self._telemetry = Telemetry(version=__version__, fleet=self._fleet, max_devices=settings.metrics.max_devices)
        forecaster = load_model(resolve_model(settings.model), observe=self._telemetry.inferred)
        self._telemetry.model_loaded(forecaster.card, forecaster.sha256)
        self._engine = Engine(forecaster, settings.rules())
        self._decoder = Decoder(
            [input_of(one) for one in settings.inputs],
            forecaster.card,
            max_payload_bytes=settings.limits.max_payload_bytes,
        )
        self._phrases = _phrasebook(settings, forecaster)
        self._feed = StateFeed(settings.publish.state_interval_s)
        self._complaints = Complaints()
        self._journal = _journal(settings)
        self._n_series = 0
        self._restore()
        offline = self._phrases.status(online=False)
        self._link = MqttLink(
            broker_of(settings.mqtt),
            client_id=settings.mqtt.client_id or f"forewarn-{settings.instance}",
            subscriptions=[TopicPattern(one.topic).subscription for one in settings.inputs],
            qos=settings.mqtt.qos,
            last_will=LastWill(offline.topic, offline.payload),
            max_unacknowledged=settings.limits.max_queue,
            max_payload_bytes=settings.limits.max_payload_bytes,
        )
        self._notifier = Notifier()
        self._stopping = False
        self._connected = False
        self._listening_since = time.time()
        self._turned_at = time.monotonic()
        self._saved_at = self._told_at = time.monotonic()
        self._http = self._open_port()

    # -- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then stop cleanly."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        try:
            while not self._stopping:
                messages = self._link.turn(_IDLE_S)
                self._follow_connection()
                if messages:
                    self._work(messages)
                self._tend()
        finally:
            self._close()

    def stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """End `run` after the batch at hand. May be called from a signal handler."""
        self._stopping = True
        self._link.wake()

    def _work(self, messages: Sequence[Message]) -> None:
        batch = self._decode(messages)
        if not len(batch):
            return
        with self._lock:
            verdicts = self._engine.ingest(batch)
        self._n_series = max(self._n_series, int(verdicts.slot.max()) + 1)  # slots are given out in order
        self._telemetry.ingested(verdicts, time.time() - batch.received_at)
        self._log_rejections(batch, verdicts)
        self._tell(verdicts.events)
        if self._settings.publish.forecast:
            target = self._engine.card.target_index
            self._publish(self._phrases.forecast(batch, target, verdicts, row) for row in range(len(batch)))
        moved = np.unique(verdicts.slot[verdicts.outcome <= Outcome.WARMING_UP])
        self._publish_states(moved)

    def _decode(self, messages: Sequence[Message]) -> Batch:
        keys: list[SeriesKey] = []
        at: list[float] = []
        received_at: list[float] = []
        values: list[tuple[float, ...]] = []
        decode = self._decoder.decode
        for topic, payload, came_at, retained in messages:
            try:
                readings = decode(topic, payload, retained)
            except PayloadError as error:
                self._telemetry.rejected(error.reason)
                self._complaints.add(error.reason, f"{topic[:80]!r}: {error}")
                continue
            for key, own_time, row in readings:
                keys.append(key)
                at.append(came_at if own_time is None else own_time)
                received_at.append(came_at)
                values.append(row)
        shape = (len(keys), len(self._engine.card.features))
        return Batch(keys, np.array(at), np.array(received_at), np.array(values, np.float64).reshape(shape))

    def _follow_connection(self) -> None:
        connected = self._link.subscribed
        if connected == self._connected:
            return
        self._connected = connected
        self._telemetry.connected(connected)
        if connected:
            self._listening_since = time.time()
            self._feed.forget()
            self._publish([self._phrases.status(online=True)])
            self._notifier.ready()
        self._notifier.status(self._status())

    def _status(self) -> str:
        """For `systemctl status`."""
        link = f"connected to {self._link.broker}" if self._connected else f"no connection to {self._link.broker}"
        return f"{link}; series: {self._n_series:,}, active alerts: {self._telemetry.active_alerts:,}"

    def _tend(self) -> None:
        """What is due by time."""
        now = time.monotonic()
        self._turned_at = now
        self._telemetry.outbox(self._link.unacknowledged, self._link.dropped)
        pulse = self._notifier.watchdog_interval_s or 5.0
        if now - self._told_at >= min(pulse, _IDLE_S):
            self._told_at = now
            self._notifier.watchdog()
            if not self._link.connects:  # ready is said after the first subscription, however long the broker is away
                self._notifier.starting(_STARTING_S)
            self._complaints.flush()
            repeats.flush()
            self._notifier.status(self._status())
            self._find_silent()
        if self._journal is not None and now - self._saved_at >= self._settings.state.save_every_s:
            self._save()

    def _find_silent(self) -> None:
        if not self._connected:
            return
        with self._lock:
            events = self._engine.tick(time.time(), self._listening_since)
        self._tell(events)
        self._publish_states(np.array([e.alert.slot for e in events if not isinstance(e, SeriesEvicted)], np.int64))

    # -- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self._telemetry.event(event)
            if isinstance(event, SeriesEvicted):
                if self._feed.reset(event.slot):
                    self._publish([self._phrases.no_state(event.series)])
                self._complaints.add("evicted", f"{event.series.device!r} gave its slot to a new series")
                continue
            self._feed.renew(event.alert.slot)
            outgoing = self._phrases.alert(event)
            alert = event.alert
            told = {"alert": alert.id, "kind": alert.kind, "device": alert.series.device, "metric": alert.series.metric}
            log.info("%s %s: %s", alert.kind, alert.id, self._phrases.sentence(event), extra=told)
            self._publish([outgoing])

    def _publish_states(self, slots: Slots) -> None:
        if not self._connected or not len(slots):
            return
        due = self._feed.due(slots, self._engine.state(slots), time.monotonic())
        if len(due):
            fleet = self._engine.fleet(due)
            told = enumerate(due.tolist())
            self._publish(self._phrases.state(fleet, row, self._engine.alerts(slot)) for row, slot in told)

    def _publish(self, outgoing: Iterable[Outgoing]) -> None:
        n = 0
        for message in outgoing:
            self._link.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
            n += 1
        self._telemetry.published(n)

    def _log_rejections(self, batch: Batch, verdicts: Verdicts) -> None:
        for row in np.flatnonzero(verdicts.outcome > Outcome.WARMING_UP).tolist():
            reason = status_name(int(verdicts.outcome[row]))
            self._complaints.add(reason, f"{batch.keys[row].device!r} at {batch.at[row]:.3f}")

    # -- state and port ---------------------------------------------------------------------------------------------

    def _fleet(self) -> Fleet:
        with self._lock:
            return self._engine.fleet()

    def _restore(self) -> None:
        data = self._journal.load() if self._journal else None
        if self._journal is None or data is None:
            return
        try:
            self._engine.restore(Snapshot.from_bytes(data))
        except ValueError as error:
            self._journal.set_aside(str(error))
            return
        fleet = self._engine.fleet()
        self._n_series = len(fleet.keys)
        self._telemetry.resumed(alert for slot in fleet.slot.tolist() for alert in self._engine.alerts(slot))
        log.info("restored %d series from %s", len(fleet.keys), self._journal.path)

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self._journal is not None:
            self._journal.save(self._engine.snapshot().to_bytes())

    def _open_port(self) -> HttpServer | None:
        metrics = self._settings.metrics
        if not metrics.enabled:
            return None
        routes = {"/metrics": self._metrics, "/healthz": self._healthz, "/readyz": self._readyz}
        tls, auth = server_tls(metrics), _auth(metrics)
        server = HttpServer(metrics.host, metrics.port, routes, tls=tls, auth=auth)
        log.info("metrics on %s/metrics", server.url)
        if not server.is_loopback and not (tls and (auth or metrics.client_ca_file)):
            log.warning(
                "whoever reaches metrics.host %s reads names and values of all sensors: TLS and a password, or a "
                "network that only Prometheus is in, would stop him; see SECURITY.md",
                metrics.host,
            )
        return server

    def _metrics(self) -> tuple[int, str, bytes]:
        body, content_type = self._telemetry.exposition()
        return 200, content_type, body

    def _healthz(self) -> tuple[int, str, bytes]:
        stalled_s = time.monotonic() - self._turned_at
        return _page(stalled_s < _STALLED_S, "ok", f"the loop has stood still for {stalled_s:.0f} s")

    def _readyz(self) -> tuple[int, str, bytes]:
        return _page(self._connected, "ok", f"not connected to {self._link.broker}")

    def _close(self) -> None:
        self._notifier.stopping()
        if self._connected:
            self._publish([self._phrases.status(online=False)])
        if not self._link.close(_STOP_S):
            log.warning("%d messages were not acknowledged by the broker", self._link.unacknowledged)
        self._save()
        self._complaints.flush()
        if self._http is not None:
            self._http.close()
        log.info("stopped")


def _phrasebook(settings: Settings, forecaster: OnnxForecaster) -> Phrasebook:
    card = forecaster.card
    return Phrasebook(
        root=f"{settings.publish.prefix}/{settings.instance}",
        model={"name": card.name, "version": card.version, "sha256": forecaster.sha256},
        units=settings.units,
        unit=card.unit,
    )


def _journal(settings: Settings) -> Journal | None:
    if settings.state.path is not None:
        return Journal(settings.state.path)
    directory = os.environ.get("STATE_DIRECTORY")
    return Journal(Path(directory.split(":")[0]) / "state.sqlite") if directory else None


def _page(good: bool, fine: str, trouble: str) -> tuple[int, str, bytes]:
    return (200 if good else 503), "text/plain; charset=utf-8", f"{fine if good else trouble}\n".encode()
