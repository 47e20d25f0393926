"""A plain MQTT client for the tools that publish or listen."""

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt.reasoncodes import ReasonCode

from forewarn.adapters.mqtt.session import ANSWER_S, Broker, BrokerError, Client, hint, refusal, set_up
from forewarn.adapters.mqtt.tls import HandshakeError

if TYPE_CHECKING:
    from paho.mqtt import client as paho

_UNSENT_MOST = 1_000


class MqttClient:
    """A plain client for tools that publish or listen, with a network thread of its own. Use as a context manager."""

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str = "",
        on_message: Callable[[str, bytes], None] | None = None,
        subscriptions: Sequence[str] = (),
    ) -> None:
        """Prepare; entering the context connects and subscribes."""
        self._broker = broker
        self._subscriptions = [(topic, 1) for topic in subscriptions]
        self._ready = threading.Event()
        self._refusal: str | None = None
        self._client = client = set_up(Client, broker, client_id)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = lambda _c, _d, message: (
            on_message(message.topic, bytes(message.payload)) if on_message else None
        )
        self._infos: list[paho.MQTTMessageInfo] = []

    def __enter__(self) -> Self:
        """Connect and subscribe.

        Raises:
            BrokerError: saying which broker did not answer and why.
        """
        try:
            self._client.connect(self._broker.host, self._broker.port, self._broker.keepalive_s)
        except HandshakeError as error:
            raise BrokerError(f"broker {self._broker} {error}") from None
        except (OSError, ValueError) as error:
            raise BrokerError(
                f"broker {self._broker} cannot be reached ({error}): is it running, is the address right?"
            ) from None
        self._client.loop_start()
        answered = self._ready.wait(ANSWER_S)
        why = self._refusal if answered else f"gives no answer within {ANSWER_S:g} s{hint(self._broker)}"
        if why:
            self.__exit__(None, None, None)
            raise BrokerError(f"broker {self._broker} {why}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
        self._client.hang_up()

    def publish(self, topic: str, payload: bytes | str, qos: int = 0, retain: bool = False) -> None:
        """Publish; waits while too much is unsent.

        Raises:
            BrokerError: where the connection was lost.
        """
        self._infos.append(self._client.publish(topic, payload, qos, retain))
        if len(self._infos) >= _UNSENT_MOST:
            self.flush()

    def flush(self) -> None:
        """Wait until everything is sent (QoS 1: acknowledged).

        Raises:
            BrokerError: where the connection was lost, ten seconds pass without a message that is, or the broker
                refuses one.
        """
        for info in self._infos:
            ends_at = time.monotonic() + 10.0
            while not info.rc and not info.is_published() and self._client.socket() and time.monotonic() < ends_at:
                info.wait_for_publish(0.2)
            if info.rc or not info.is_published():
                lost = info.rc or not self._client.socket()
                why = "connection lost" if lost else "does not take messages any more"
                raise BrokerError(f"broker {self._broker}: {why}")
        self._infos.clear()
        if self._refusal:
            raise BrokerError(f"broker {self._broker} {self._refusal}")

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:  # noqa: ANN401 - paho's signature
        if reason.is_failure:
            self._refusal = f"refuses the connection: {refusal(reason)}"
        elif self._subscriptions:
            self._client.subscribe(self._subscriptions)
            return
        self._ready.set()

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:  # noqa: ANN401 - the same
        if not self._ready.is_set():
            self._refusal = self._refusal or self._client.why_ended(reason, self._broker)
            self._ready.set()

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:  # noqa: ANN401 - the same
        for (topic, _), reason in zip(self._subscriptions, reasons, strict=False):
            if reason.is_failure:
                self._refusal = f"refuses the subscription to {topic}: {reason}"
        self._ready.set()

    def _on_publish(self, _client: Any, _data: Any, _mid: int, reason: ReasonCode, _properties: Any) -> None:  # noqa: ANN401 - the same
        if reason.is_failure:
            self._refusal = f"refuses what is published: {reason}; may this user write there?"
