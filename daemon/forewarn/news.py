"""What is told: of events, states, readings and devices, the messages that are due. No I/O.

Rules that hold here:

- What must arrive (changes of alerts, removals) is a list, for the outbox; the rest is made when it is sent.
- A message that cannot be made is told as a failure, and costs the others nothing.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from forewarn.adapters.telemetry import Telemetry
from forewarn.core.alerts import Event, SeriesEvicted
from forewarn.core.engine import Engine, Renewed
from forewarn.core.readings import Batch, Fleet, SeriesKey, SeriesState, Slots
from forewarn.core.verdicts import Verdicts
from forewarn.guard import Guard
from forewarn.homeassistant import Discovery
from forewarn.inbox import Message
from forewarn.logs import Complaints
from forewarn.messages import Outgoing, Phrasebook
from forewarn.page.changes import Changes
from forewarn.states import StateFeed

log = logging.getLogger(__name__)

_DEVICES_AT_ONCE = 50  # that Home Assistant is told of at each pulse, so that a large fleet floods nobody

_Told = Iterator[Outgoing | None]


class News:
    """What one daemon has to tell.

    Attributes:
        phrases: that it is told in.
        changes: the latest ones of alerts, for the page.
    """

    def __init__(
        self,
        phrases: Phrasebook,
        feed: StateFeed,
        discovery: Discovery,
        telemetry: Telemetry,
        complaints: Complaints,
        guard: Guard,
    ) -> None:
        """Begin with nothing told."""
        self.phrases, self.changes = phrases, Changes()
        self._feed, self._discovery = feed, discovery
        self._telemetry, self._complaints, self._guard = telemetry, complaints, guard

    def take(self, phrases: Phrasebook) -> None:
        """Tell in these from now on, and Home Assistant of every device again."""
        self.phrases = phrases
        self._discovery.renew()

    def resume(self, fleet: Fleet) -> None:
        """Go on with the series of before a restart, whose states are on the broker."""
        self._feed.resume(fleet.slot, fleet.state)
        self._announce(fleet.keys[row] for row in np.flatnonzero(fleet.state != SeriesState.WARMING_UP))

    def connected(self) -> None:
        """The broker may have lost everything."""
        self._feed.forget()
        self._discovery.renew()

    def without_births(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages that may be readings; see `Discovery.without_births`."""
        return self._discovery.without_births(messages)

    # -- what must arrive -------------------------------------------------------------------------------------------

    def of_events(self, events: Iterable[Event]) -> list[Outgoing]:
        """What must reach the subscribers of these."""
        outgoing = []
        for event in events:
            self._telemetry.event(event)
            if isinstance(event, SeriesEvicted):
                outgoing += self._discovery.remove(self.phrases, event.series)
                if self._feed.reset(event.slot):
                    outgoing.append(self.phrases.no_state(event.series))
                self._complaints.add("evicted", f"{event.series.device!r} gave its slot to a new series")
                continue
            alert = event.alert
            self._feed.renew(alert.slot)
            message = self._guard.attempt("telling an alert", self.phrases.alert, event)
            if message is None:
                continue
            outgoing.append(message)
            sentence = self.phrases.sentence(event)
            self.changes.add(event, sentence)
            told = {"alert": alert.id, "kind": alert.kind, "device": alert.series.device, "metric": alert.series.metric}
            log.info("%s %s: %s", alert.kind, alert.id, sentence, extra=told)
        return outgoing

    def of_renewed(self, renewed: Renewed, forgotten: Iterable[SeriesKey] = ()) -> list[Outgoing]:
        """What must be told of series that begin anew: their alerts have ended, and they have no state.

        Args:
            renewed: those that the engine has.
            forgotten: others, that it does not know any more.
        """
        outgoing = self.of_events(renewed.cleared)
        for series, slot in renewed.series:
            outgoing += self._discovery.remove(self.phrases, series)
            self._feed.reset(slot)
            outgoing.append(self.phrases.no_state(series))
        return [*outgoing, *(self.phrases.no_state(series) for series in forgotten)]

    # -- the rest ---------------------------------------------------------------------------------------------------

    def states(self, engine: Engine, slots: Slots, now: float) -> _Told:
        """The retained states of these series that are due, `now` being monotonic seconds."""
        due = self._feed.due(slots, engine.state(slots), now)
        if not len(due):
            return
        fleet = engine.fleet(due)
        for row, slot in enumerate(due.tolist()):
            yield self._guard.attempt("telling a state", self.phrases.state, fleet, row, engine.alerts(slot))
        self._announce(fleet.keys)

    def forecasts(self, engine: Engine, batch: Batch, verdicts: Verdicts) -> _Told:
        """The verdict on each reading that is none of before."""
        told = range(len(batch)) if batch.seed is None else np.flatnonzero(~batch.seed).tolist()
        for row in told:
            target = engine.card_of(batch.keys[row]).target_index
            yield self._guard.attempt("telling a forecast", self.phrases.forecast, batch, target, verdicts, row)

    def devices(self) -> Iterator[Outgoing]:
        """Some of the devices that Home Assistant is to be told of."""
        return self._discovery.due(self.phrases, _DEVICES_AT_ONCE)

    def _announce(self, keys: Iterable[SeriesKey]) -> None:
        """Have Home Assistant told of the series among these that it does not know; their states are published."""
        for key in keys:
            if not self._discovery.add(key):
                self._complaints.add("homeassistant", f"no room for {key.device!r}: see homeassistant.max_series")
