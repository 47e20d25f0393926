"""The daemon's link to its broker: stays subscribed, hands over messages, publishes.

Rules that hold here:

- The link has no thread of its own but for the moment of connecting (connecting.py): the service calls `turn`, which
  waits for the network, reads what has come and returns it.
- The link reads the socket itself: wire.py cuts the messages out of what has come, and paho gets every other packet.
- A message of QoS 1 is acknowledged at the turn after the one that handed it over, when it has been worked on. Until
  then it waits in the inbox, so that the socket is read and the connection kept alive however much comes.
- Whatever a broker says, `turn` does not raise.
- Nothing is sent before the broker has accepted the connection, and what waits to be sent is bounded.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from forewarn.adapters.mqtt.connecting import Connecting
from forewarn.adapters.mqtt.session import (
    READ_BYTES,
    Broker,
    FedClient,
    publish_properties,
    refusal,
    set_up,
    subscriptions,
)
from forewarn.adapters.mqtt.waiting import Waiting
from forewarn.envelope import Properties
from forewarn.inbox import Inbox, Message
from forewarn.steady_clock import LEAST_STEP_S, SteadyClock
from forewarn.wire import Inflow, Publish

log = logging.getLogger(__name__)

LEAST_AT_ONCE, MOST_AT_ONCE = 16, 2048  # messages that are handed over together
WORK_S = 0.1  # for what is handed over together: the link stands still meanwhile
_READS = 64  # of a socket in one turn: several times what is worked on meanwhile
_MUCH = 16_384  # bytes
_LEAST_READ_S = 0.02  # in a turn after one that brought nothing to work on
_USUAL_INBOX = 20_000


@dataclass(frozen=True, slots=True)
class LastWill:
    """What the broker publishes, retained, when the link is lost."""

    topic: str
    payload: str


@dataclass(frozen=True, slots=True)
class Session:
    """What the broker keeps for us while we are away.

    Attributes:
        expiry_s: for how long (MQTT 5; with 3.1.1 the broker decides).
        unwanted: topic filters that an earlier run subscribed to and this one does not.
        lost: called when the broker had none, before any message.
    """

    expiry_s: int
    unwanted: list[str]
    lost: Callable[[], None]


class MqttLink:
    """The daemon's connection: stays subscribed, hands over messages, publishes. One thread uses it."""

    def __init__(  # noqa: PLR0913 - what a link is made of, by name
        self,
        broker: Broker,
        *,
        client_id: str,
        subscriptions: Sequence[str],
        qos: int,
        last_will: LastWill,
        max_unacknowledged: int,
        max_payload_bytes: int,
        inbox: Inbox | None = None,
        clock: SteadyClock | None = None,
        session: Session | None = None,
    ) -> None:
        """Prepare the link; the first `turn` begins to connect.

        Args:
            broker: where to connect.
            client_id: the MQTT client id.
            subscriptions: topic filters.
            qos: of the subscriptions.
            last_will: published, retained, when the link breaks.
            max_unacknowledged: messages that may wait for the broker; further ones are dropped and counted.
            max_payload_bytes: longer payloads are handed over cut to one byte more.
            inbox: where messages wait; None for one of the usual size.
            clock: of arrivals; None for one of its own.
            session: that the broker keeps for us; None for none.
        """
        self._client = client = set_up(FedClient, broker, client_id, keeps_session=session is not None)
        self.broker = broker
        self.subscribed = False
        self.connects = 0
        self.dropped = 0
        self.inbox = Inbox(_USUAL_INBOX) if inbox is None else inbox  # an empty one is false
        self._clock = clock or SteadyClock()
        self._session = session
        self._unacknowledged: set[int] = set()
        self._done: list[int] = []
        self._topics = list(subscriptions)
        self._qos = qos
        self._max_payload_bytes = max_payload_bytes
        self._to_acknowledge: list[int] = []
        self._at_once, self._handed_over_at = MOST_AT_ONCE, math.inf
        self._worked_s = 0.0
        self._max_unsent = max_unacknowledged
        self._refused: set[str] = set()  # why, on this connection
        self._waiting = Waiting()
        keep_s = None if session is None else session.expiry_s
        self._connecting = Connecting(client, broker, keep_s=keep_s, receive_most=self.inbox.most)
        client.manual_ack_set(True)  # noqa: FBT003 - the signature is the library's
        client.will_set(last_will.topic, last_will.payload, qos=1, retain=True)
        client.max_queued_messages_set(min(max_unacknowledged, 60_000))  # a message id has 16 bits
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    @property
    def unacknowledged(self) -> int:
        """Messages of QoS 1 that wait for the broker."""
        return len(self._unacknowledged)

    @property
    def stuck(self) -> bool:
        """Whether an attempt to connect does not come to an end, so that there will be no other."""
        return self._connecting.stuck

    # -- the service's side -----------------------------------------------------------------------------------------

    def turn(self, timeout_s: float) -> list[Message]:
        """Wait up to `timeout_s` for the network, do what is due, and return the messages that came."""
        if not self._connection(timeout_s):
            return []
        try:
            messages = self._serve(timeout_s)
        except Exception as error:  # noqa: BLE001 - paho's own, of something that the broker said
            self._give_up(f"says what cannot be understood ({error!r})")
            return []
        if why := self._connecting.overdue:
            self._give_up(why)
        return messages

    def _serve(self, timeout_s: float) -> list[Message]:
        client = self._client
        self._pace()
        self._acknowledge()
        timeout_s = 0.0 if len(self.inbox) else timeout_s
        readable, writable = self._waiting.wait(client.socket(), timeout_s, to_write=client.want_write())
        if writable:
            client.loop_write()
        if readable and self.inbox.full:
            client.heard()
        elif readable:
            self._receive()
        client.loop_misc()
        messages = self.inbox.take(self._at_once)
        self._handed_over_at = time.monotonic() if messages else math.inf
        self._to_acknowledge += [m.mid for m in messages if m.mid and m.connection == self.connects]
        return messages

    def _pace(self) -> None:
        """Hand over less where the work on the last messages took long."""
        self._worked_s = worked_s = max(0.0, time.monotonic() - self._handed_over_at)
        if worked_s > WORK_S:
            self._at_once = max(LEAST_AT_ONCE, self._at_once // 2)
        elif 0 < worked_s < WORK_S / 4:
            self._at_once = min(MOST_AT_ONCE, self._at_once * 2)

    def wake(self) -> None:
        """End the present or next wait of `turn`. May be called from a signal handler."""
        self._waiting.wake()

    def publish(
        self, topic: str, payload: str | bytes, *, qos: int, retain: bool, properties: Properties | None = None
    ) -> int | None:
        """Publish now, or as soon as the link is back (QoS 1); what does not fit is dropped and counted.

        MQTT 3.1.1 has no properties: they are left out.

        Returns:
            The packet identifier at QoS 1; `take_acknowledged` has it once the broker has the message.
        """
        if qos == 0 and self._client.unsent >= self._max_unsent:
            self.dropped += 1
            return None
        data = payload if isinstance(payload, bytes) else payload.encode("utf-8", "replace")
        with_properties = publish_properties(self.broker, properties)
        info = self._client.publish(topic, data, qos, retain, with_properties)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE or (qos == 0 and info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS):
            self.dropped += 1
            return None
        if qos > 0:
            self._unacknowledged.add(info.mid)
            return int(info.mid)
        return None

    def take_acknowledged(self) -> list[int]:
        """The packet identifiers that the broker has acknowledged since the last call."""
        done, self._done = self._done, []
        return done

    def close(self, timeout_s: float) -> bool:
        """Send what waits, disconnect, and return whether everything was acknowledged in time."""
        ends_at = time.monotonic() + timeout_s
        self._connecting.close()
        if not self._connecting.ended(0.1):  # it ends its connection itself
            return self.unacknowledged == 0
        if self._client.socket() is not None:
            self._acknowledge()
        while self.unacknowledged and self.subscribed and time.monotonic() < ends_at:
            self.turn(0.05)
            self._to_acknowledge.clear()  # what comes now is not worked on any more
        if self._client.socket() is not None:
            self._client.disconnect()
            while self._client.want_write() and time.monotonic() < ends_at:
                self._client.loop_write()
            self._client.hang_up()
        self._waiting.close()
        return self.unacknowledged == 0

    def _receive(self) -> None:
        """Read what has come, so much at most, and put the messages that are complete into the inbox.

        What a socket holds is less than a broker may have to say: where a lot came, the rest is waited for, for a
        moment, so that it is the inbox that too much of it ends in, not an unseen buffer. Reading takes no longer than
        the work on the last messages did: a flood would else leave no time for any.
        """
        came, until = 0, time.monotonic() + max(self._worked_s, _LEAST_READ_S)
        for _ in range(_READS):
            data = self._client.receive()
            came += len(data)
            publishes, others = self._inflow.feed(data)
            for packet in others:
                self._client.give(packet)
            self._put(publishes)
            if not data or time.monotonic() > until:
                return
            if len(data) < READ_BYTES and (came < _MUCH or not self._waiting.more_comes()):
                return

    def _put(self, publishes: list[Publish]) -> None:
        """Into the inbox; each has a time of arrival of its own."""
        came_at, connection = self._clock.now(), self.connects
        messages = [
            Message(_text(topic), payload, came_at + i * LEAST_STEP_S, retain, mid, dup, connection, properties)
            for i, (topic, payload, mid, retain, dup, properties) in enumerate(publishes)
        ]
        self._clock.at_least(came_at + len(messages) * LEAST_STEP_S)
        self.inbox.put(messages)

    def _acknowledge(self) -> None:
        for mid in self._to_acknowledge:
            self._client.ack(mid, 1)
        self._to_acknowledge.clear()

    def _connection(self, timeout_s: float) -> bool:
        """Whether there is a socket to work with; begins to connect when it is time, and waits where it is not."""
        if not self._connecting.ended(min(timeout_s, 0.05)):
            return False
        if self._client.socket() is not None:
            return True
        if pause_s := self._connecting.pause_s:
            self._waiting.wait(None, min(timeout_s, pause_s))
            return False
        self._inflow = Inflow(five=self.broker.protocol == "5", most=self._max_payload_bytes)
        self._to_acknowledge.clear()
        self._connecting.begin()
        return False

    def _give_up(self, why: str) -> None:
        self.subscribed = False
        self._connecting.give_up(why)

    # -- paho's side ------------------------------------------------------------------------------------------------

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:  # noqa: ANN401 - paho's signature
        if reason.is_failure:
            self._connecting.refused(f"refuses the connection: {refusal(reason)}")
            return
        self.connects += 1
        if self._session is not None:
            if not flags.session_present:
                self._session.lost()
            else:
                self.inbox.give_back()
            if flags.session_present and self._session.unwanted:
                self._client.unsubscribe(self._session.unwanted)
        self._client.subscribe(subscriptions(self.broker, self._topics, self._qos))

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:  # noqa: ANN401 - the same
        for topic, reason in zip(self._topics, reasons, strict=False):
            if reason.is_failure:
                log.error("broker %s refuses the subscription to %s: %s", self.broker, topic, reason)
        self.subscribed = True
        self._connecting.answered()
        self._refused.clear()
        log.info("connected to %s, subscribed to %s", self.broker, ", ".join(self._topics))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:  # noqa: ANN401 - the same
        self._connecting.lost(reason, subscribed=self.subscribed)
        self.subscribed = False

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:  # noqa: ANN401 - the same
        self._unacknowledged.discard(mid)
        self._done.append(mid)
        if reason.is_failure and str(reason) not in self._refused:
            self._refused.add(str(reason))
            log.error("broker %s refuses what is published: %s; may this user write there?", self.broker, reason)


def _text(topic: bytes) -> str:
    try:
        return topic.decode()
    except UnicodeDecodeError:
        return ""  # matches no pattern
