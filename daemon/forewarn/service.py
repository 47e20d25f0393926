"""The daemon: puts the parts together, runs the loop, stops cleanly.

Rules that hold here:

- One thread reads the network, judges and publishes. A batch is whatever came while the last one was worked on.
- The engine is touched under a lock, which a scrape of /metrics and the page take only to copy its arrays.
- Settings objects end here.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import FrameType
from typing import TypeVar

import numpy as np

from forewarn import __version__
from forewarn.adapters.mqtt.link import LastWill, MqttLink, Session
from forewarn.adapters.systemd import Notifier
from forewarn.adapters.telemetry import Telemetry
from forewarn.core.alerts import Event, SeriesEvicted
from forewarn.core.engine import Engine
from forewarn.core.readings import Batch, Outcome, Slots, status_name
from forewarn.core.records import Lost, Step, Tick
from forewarn.core.verdicts import Verdicts
from forewarn.errors import ForewarnError
from forewarn.guard import Guard
from forewarn.inbox import Inbox, Message
from forewarn.intake import Intake
from forewarn.ledger import Ledger
from forewarn.logs import Complaints, repeats
from forewarn.messages import Outgoing
from forewarn.monitors import signature
from forewarn.news import News
from forewarn.outbox import UNDER_WAY
from forewarn.page.health import Health, Rate
from forewarn.page.site import Site
from forewarn.port import open_port
from forewarn.settings import Settings
from forewarn.states import StateFeed
from forewarn.steady_clock import SteadyClock
from forewarn.wiring import (
    FIXED,
    Parts,
    alert_properties,
    broker_of,
    discovery_of,
    journal_of,
    model_told,
    overlaps,
    parts_of,
    topics_of,
)

log = logging.getLogger(__name__)

_Seen = TypeVar("_Seen")

_IDLE_S = 1.0  # the longest wait for the network, and so the pulse of everything that is due by time
_STALLED_S = 10.0  # without a turn of the loop for so long, /healthz says no
_STARTING_S = 60.0  # what systemd is asked for again and again while the broker has never been there
_MOST_AHEAD_S = 86_400.0  # how far the last arrival of before the start may be ahead of the clock
_STOP_S = 3.0  # for the last messages to be acknowledged at a stop


class Daemon:
    """One daemon, from its settings to its clean stop."""

    def __init__(self, settings: Settings, reread: Callable[[], Settings] | None = None) -> None:
        """Load the model and the saved state, open the port; nothing is connected yet.

        Args:
            settings: to run with.
            reread: gives the settings as they are now, at a reload; None for these.

        Raises:
            SettingsError: where it cannot run with these settings.
            ModelError: where the model cannot be used.
        """
        self._settings = settings
        self._reread = reread or (lambda: settings)
        self._lock = threading.Lock()
        fleet = partial(self._look, Engine.fleet)
        self._telemetry = Telemetry(version=__version__, fleet=fleet, max_devices=settings.metrics.max_devices)
        self._rate = Rate()
        self._complaints = Complaints()
        self._guard = Guard(self._complaints)
        parts = parts_of(settings, self._telemetry.inferred)
        feed, discovery = StateFeed(settings.publish.state_interval_s), discovery_of(settings)
        self._news = News(parts.phrases, feed, discovery, self._telemetry, self._complaints, self._guard)
        self._take(settings, parts)
        self._model_files = self._model_files_next = signature(settings)
        self._clock = SteadyClock()
        enters = settings.state.durability != "none"
        self._ledger = Ledger(
            journal_of(settings),
            self._engine,
            self._telemetry,
            self._guard,
            enters=enters,
            max_letters=settings.limits.max_queue,
        )
        self._clock.at_least(min(self._ledger.seen_at, time.time() + _MOST_AHEAD_S))
        fleet_now = self._engine.fleet()
        self._n_series = len(fleet_now.keys)
        self._news.resume(fleet_now)
        if self._ledger.renewed.series or self._ledger.forgotten:
            outgoing = self._news.of_renewed(self._ledger.renewed, self._ledger.forgotten)
            self._ledger.swap(self._engine, outgoing)
        topics = topics_of(settings)
        offline = self._news.phrases.status(online=False)
        self._link = MqttLink(
            broker_of(settings.mqtt),
            client_id=settings.mqtt.client_id or f"forewarn-{settings.instance}",
            subscriptions=topics,
            qos=settings.mqtt.qos,
            last_will=LastWill(offline.topic, offline.payload),
            max_unacknowledged=settings.limits.max_queue,
            max_payload_bytes=settings.limits.max_payload_bytes,
            inbox=Inbox(settings.limits.max_inbox, settings.limits.drop),
            clock=self._clock,
            session=self._session(topics),
        )
        self._notifier = Notifier()
        self._stopping = self._reloading = False
        self._connected = False
        self._listening_since = self._clock.now()
        self._started_at = self._turned_at = self._told_at = time.monotonic()
        site = Site(self._look, self._health, lambda: self._news.phrases, self._news.changes)
        self._http = open_port(
            settings.metrics, self._telemetry, site, unhealthy=self._unhealthy, unready=self._unready
        )

    # -- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then stop cleanly."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        signal.signal(signal.SIGHUP, self.reload)
        try:
            while not self._stopping:
                messages = self._link.turn(_IDLE_S)
                self._follow_connection()
                if messages:
                    self._work(messages)
                if self._reloading:
                    self._reload()
                self._tend()
        finally:
            self._close()

    def stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """End `run` after the batch at hand. May be called from a signal handler."""
        self._stopping = True
        self._link.wake()

    def reload(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Take up changed settings and model files, after the batch at hand. May be called from a signal handler."""
        self._reloading = True
        self._link.wake()

    def _reload(self) -> None:
        """Go on with the settings and the models as they are now, or, where these cannot be used, as before."""
        self._reloading = False
        self._notifier.reloading()
        self._model_files = signature(self._settings)
        try:
            given = self._reread()
            fixed = [name for name in FIXED if getattr(given, name) != getattr(self._settings, name)]
            settings = given.model_copy(update={name: getattr(self._settings, name) for name in FIXED})
            if topics_of(settings) != topics_of(self._settings):
                fixed.append("inputs")
                settings = settings.model_copy(update={"inputs": self._settings.inputs})
            parts = parts_of(settings, self._telemetry.inferred)
            renewed = parts.engine.restore(self._engine.snapshot())
        except (ForewarnError, ValueError) as error:
            log.error("reload refused, going on as before: %s", error)  # noqa: TRY400 - for the operator
            self._telemetry.reloaded(taken=False)
        else:
            self._settings = settings
            self._recording.close()
            self._take(settings, parts)
            self._ledger.swap(parts.engine, self._news.of_renewed(renewed))
            self._model_files = self._model_files_next = signature(settings)
            self._telemetry.reloaded(taken=True)
            later = f"; of {', '.join(fixed)} the changes count from the next start on" if fixed else ""
            models = ", ".join(f"{one.card.name} {one.card.version}" for one in parts.models.every)
            n_anew = len(renewed.series)
            anew = f", {n_anew} begin anew" if n_anew else ""
            log.info("reloaded: model %s, %d series go on%s%s", models, self._n_series - n_anew, anew, later)
        self._notifier.reloaded()

    def _take(self, settings: Settings, parts: Parts) -> None:
        """Judge with these from now on."""
        with self._lock:
            self._engine = parts.engine
        limits, models = settings.limits, parts.models.every
        self._models = [model_told(one).document for one in models]
        self._news.take(parts.phrases)
        self._alert_properties = alert_properties(settings)
        self._intake = Intake(
            parts.decoder,
            self._telemetry,
            self._complaints,
            n_feature=max(len(one.card.features) for one in models),
            restamp_after_s=limits.max_future_s if limits.future == "restamp" else None,
        )
        self._telemetry.models_loaded((one.card, one.sha256) for one in models)
        self._recording = parts.recording
        for warning in overlaps(settings):
            log.warning("%s", warning)

    def _watch_models(self) -> None:
        """Reload once a model file has changed and all stay as they are."""
        now = signature(self._settings)
        if None not in now and now != self._model_files and now == self._model_files_next:
            self._reloading = True
        self._model_files_next = now

    def _work(self, messages: Sequence[Message]) -> None:
        messages = self._news.without_births(messages)
        fresh = [message for message in messages if not self._ledger.receipts.has(message)]
        self._telemetry.redelivered(len(messages) - len(fresh))
        batch, departures, requests = self._intake.take(fresh)
        for request in requests:
            self._link.publish(request.topic, request.payload, qos=0, retain=False)
        steps: list[Step] = []
        events: list[Event] = []
        verdicts = self._judge(batch) if len(batch) else Verdicts.blank(0)
        if len(batch):
            judged = verdicts.outcome != Outcome.FAILED
            steps.append(batch if judged.all() else batch.some(judged))
            events += verdicts.events
        if departures:
            steps.append(Lost(departures))
            with self._lock:
                events += self._guard.lost(self._engine, Lost(departures))
        if steps:
            self._enter(steps, fresh, events, verdicts.slot[verdicts.outcome <= Outcome.WARMING_UP])
            if self._settings.publish.forecast:
                self._publish(self._news.forecasts(self._engine, batch, verdicts))

    def _judge(self, batch: Batch) -> Verdicts:
        with self._lock:
            verdicts = self._guard.ingest(self._engine, batch)
        self._n_series = max(self._n_series, int(verdicts.slot.max()) + 1)  # slots are given out in order
        self._telemetry.ingested(verdicts, self._clock.now() - batch.received_at)
        self._recording.write(batch, verdicts)
        self._log_rejections(batch, verdicts)
        return verdicts

    def _enter(self, steps: Sequence[Step], messages: Sequence[Message], events: Sequence[Event], moved: Slots) -> None:
        """Enter what the engine was given, all of it or nothing, then tell what came of it."""
        self._ledger.enter(steps, messages, self._news.of_events(events))
        self._send_letters()
        told = np.array([e.alert.slot for e in events if not isinstance(e, SeriesEvicted)], np.int64)
        self._publish_states(np.union1d(moved, told))

    def _follow_connection(self) -> None:
        connected = self._link.subscribed
        if connected == self._connected:
            return
        self._connected = connected
        self._telemetry.connected(connected)
        if connected:
            self._listening_since = self._clock.now()
            self._news.connected()
            self._publish([self._news.phrases.status(online=True)])
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
        self._ledger.outbox.acknowledged(self._link.take_acknowledged())
        self._send_letters()
        waiting = self._link.unacknowledged + self._ledger.outbox.n_unsent
        self._telemetry.queue("outbox", waiting, self._link.dropped + self._ledger.outbox.dropped)
        self._telemetry.queue("inbox", len(self._link.inbox), self._link.inbox.dropped)
        self._telemetry.state_failing(self._ledger.failing)
        pulse = self._notifier.watchdog_interval_s or 5.0
        if now - self._told_at >= min(pulse, _IDLE_S):
            self._told_at = now
            if not self._link.stuck:
                self._notifier.watchdog()
            if not self._link.connects:  # ready is said after the first subscription, however long the broker is away
                self._notifier.starting(_STARTING_S)
            self._complaints.flush()
            repeats.flush()
            self._rate.add(now, self._telemetry.tallies().received)
            self._notifier.status(self._status())
            self._find_silent()
            self._tell_home_assistant()
            self._watch_models()
            self._ledger.tend(self._settings.state.save_every_s)

    def _find_silent(self) -> None:
        if not self._connected:
            return
        now = self._clock.now()
        step = Tick(now, max(self._listening_since, self._clock.stepped_at))
        with self._lock:
            events = self._guard.tick(self._engine, step)
        if events:
            self._enter([step], (), events, np.zeros(0, np.int64))

    # -- telling ----------------------------------------------------------------------------------------------------

    def _send_letters(self) -> None:
        """Hand over what is due of the outbox. A letter that is not retained is an alert."""
        if not self._connected:  # how old an alert is counts when the broker takes it
            return
        n, outbox = 0, self._ledger.outbox
        for letter in outbox.due():
            properties = None if letter.retain else self._alert_properties.of(letter.payload, self._clock.now())
            if properties is not None and properties.expiry_s == 0:
                outbox.expire(letter)
                continue
            mid = self._link.publish(letter.topic, letter.payload, qos=1, retain=letter.retain, properties=properties)
            outbox.sent(letter, mid)
            if mid is None:
                break
            n += 1
        self._telemetry.published(n)

    def _publish_states(self, slots: Slots) -> None:
        if self._connected and len(slots):
            self._publish(self._news.states(self._engine, slots, time.monotonic()))

    def _tell_home_assistant(self) -> None:
        """Some of the devices that are due, after what waits: what is removed must not come after what is new."""
        waits = self._ledger.outbox.n_unsent or self._link.unacknowledged > UNDER_WAY
        if self._connected and not waits:
            self._publish(self._news.devices())

    def _publish(self, outgoing: Iterable[Outgoing | None]) -> None:
        n = 0
        for message in outgoing:
            if message is None:
                continue
            self._link.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
            n += 1
        self._telemetry.published(n)

    def _log_rejections(self, batch: Batch, verdicts: Verdicts) -> None:
        for row in np.flatnonzero(verdicts.outcome > Outcome.WARMING_UP).tolist():
            reason = status_name(int(verdicts.outcome[row]))
            self._complaints.add(reason, f"{batch.keys[row].device!r} at {batch.at[row]:.3f}")

    # -- state and port ---------------------------------------------------------------------------------------------

    def _look(self, look: Callable[[Engine], _Seen], /) -> _Seen:
        with self._lock:
            return look(self._engine)

    def _session(self, topics: Sequence[str]) -> Session | None:
        """That the broker is to keep: where every message is entered, what it repeats can be recognised."""
        settings = self._settings
        unwanted = self._ledger.unwanted(topics)
        if settings.mqtt.qos == 0 or not self._ledger.enters:
            return None
        return Session(settings.mqtt.session_expiry_s, unwanted, self._ledger.receipts.forget)

    def _health(self) -> Health:
        tallies = self._telemetry.tallies()
        return Health(
            at=self._clock.now(),
            instance=self._settings.instance,
            version=__version__,
            up_s=time.monotonic() - self._started_at,
            models=self._models,
            broker=str(self._link.broker),
            connected=self._connected,
            readings_per_s=self._rate.per_s,
            received=tallies.received,
            rejected={reason.value: n for reason, n in tallies.rejected.items()},
            queues=tallies.queues,
            state=self._ledger.standing,
            active_alerts=self._telemetry.active_alerts,
        )

    def _unhealthy(self) -> str:
        stalled_s = time.monotonic() - self._turned_at
        return "" if stalled_s < _STALLED_S else f"the loop has stood still for {stalled_s:.0f} s"

    def _unready(self) -> str:
        if self._ledger.failing:
            return "the state file cannot be written: see the log"
        return "" if self._connected else f"not connected to {self._link.broker}"

    def _close(self) -> None:
        self._notifier.stopping()
        if self._connected:
            self._publish([self._news.phrases.status(online=False)])
        if not self._link.close(_STOP_S):
            log.warning("%d messages were not acknowledged by the broker", self._link.unacknowledged)
        self._ledger.outbox.acknowledged(self._link.take_acknowledged())
        self._ledger.close()
        self._recording.close()
        self._complaints.flush()
        if self._http is not None:
            self._http.close()
        log.info("stopped")
