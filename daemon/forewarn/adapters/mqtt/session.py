"""paho's client as the link and the tools need it, and where a broker is.

What is overridden here is not public in paho; docs/decisions/0005-publish-packets.md says why it is.
"""

import contextlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from paho.mqtt import client as paho
from paho.mqtt.client import mqtt_ms_publish, mqtt_ms_queued
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from forewarn.adapters.mqtt.tls import Tls
from forewarn.envelope import Properties as PublishProperties
from forewarn.errors import ForewarnError

READ_BYTES = 65_536
CONNECT_TIMEOUT_S = 3.0
RECEIVE_MOST = 4096  # messages of QoS 1 that a broker may ever have under way; MQTT 3.1.1 cannot say it
ANSWER_S = 10.0  # for a broker to acknowledge the connection and the subscriptions


class BrokerError(ForewarnError):
    """The broker cannot be reached or refuses the client."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to talk to it."""

    host: str
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    protocol: Literal["5", "3.1.1"] = "5"
    keepalive_s: int = 30
    tls: Tls | None = None

    def __str__(self) -> str:
        """The address, for people."""
        return f"{self.host}:{self.port}"


class Client(paho.Client):
    """paho's client, which can be left without a goodbye, and leaves TLS to tls.py."""

    tls: Tls | None = None
    _alert: ssl.SSLError | None = None

    def why_ended(self, reason: ReasonCode, broker: Broker) -> str:
        """Of a connection that ended before it was set up. With TLS 1.3 a client certificate is refused only then."""
        if self.tls is not None and self._alert is not None:
            return self.tls.explain(self._alert, ANSWER_S)
        return f"ends the connection before it is set up ({reason}){hint(broker)}"

    def hang_up(self) -> None:
        """Close the sockets without a word: to a broker that is a broken link, so it publishes the last will."""
        self._reset_sockets()

    def _create_socket(self) -> socket.socket:
        self._alert = None
        plain = self._create_socket_connection()
        return plain if self.tls is None else self.tls.wrap(plain, self._host, self.connect_timeout)

    def _sock_recv(self, bufsize: int) -> bytes:
        try:
            return super()._sock_recv(bufsize)
        except ssl.SSLError as error:
            self._alert = self._alert or error
            raise

    def _sock_send(self, buf: Any) -> int:  # noqa: ANN401 - as it comes
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError:  # the broker hung up: what it said before that may be there to read
            with contextlib.suppress(OSError):
                self._sock_recv(1)
            raise


class FedClient(Client):
    """paho's client, which reads from the packets it is given, and publishes only where it may."""

    _given: bytes | None = None

    @property
    def unsent(self) -> int:
        """Packets that the network has not taken."""
        return len(self._out_packet)

    def give(self, packet: bytes) -> None:
        """Let paho work on one packet that was read for it."""
        self._given = packet
        while self._given and self._sock is not None:
            self.loop_read()
        self._given = None

    def receive(self) -> bytes:
        """Whatever has come, at most `READ_BYTES`; empty where nothing has, or the connection is over.

        paho finds out the latter by itself.
        """
        try:
            data = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.loop_read()
            return data
        self.heard()
        return data if self.tls is None else data + self._further_records(READ_BYTES - len(data))

    def _further_records(self, most: int) -> bytes:
        """What else has come over TLS, where one read gives one record and a broker makes one of each message."""
        records = []
        with contextlib.suppress(OSError):  # nothing more, or the end, which the next read finds too
            while most > 0 and (record := self._sock_recv(most)):
                records.append(record)
                most -= len(record)
        return b"".join(records)

    def heard(self) -> None:
        """Something came: a sign of life. The answer to a ping may be a long way behind a flood of messages."""
        self._ping_t = 0.0

    def _send_publish(self, *args: Any, **kwargs: Any) -> MQTTErrorCode:  # noqa: ANN401 - as they come
        # paho would send between CONNECT and its answer, in the worst case before CONNECT, which another thread sends.
        return super()._send_publish(*args, **kwargs) if self.is_connected() else MQTTErrorCode.MQTT_ERR_NO_CONN

    def _handle_connack(self) -> MQTTErrorCode:
        # paho would send all that waits at once; a broker may end a connection that has more under way than it takes
        # (MQTT 5.0, section 3.3.4). What is queued follows as acknowledgements come.
        if not self.is_connected():
            with self._out_message_mutex:
                for i, message in enumerate(self._out_messages.values()):
                    message.state = mqtt_ms_publish if i < self.max_inflight_messages else mqtt_ms_queued
        return super()._handle_connack()

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._given is None:
            return super()._sock_recv(bufsize)
        if not self._given:  # paho would read further packets while messages of its own are under way
            raise BlockingIOError
        taken, self._given = self._given[:bufsize], self._given[bufsize:]
        return taken


_C = TypeVar("_C", bound=Client)


def set_up(kind: type[_C], broker: Broker, client_id: str, *, keeps_session: bool = False) -> _C:
    """A client of that kind for a broker, not connected yet; the broker may keep its session while it is away.

    Raises:
        SettingsError: naming a file of `broker.tls` that cannot be used.
    """
    five = broker.protocol == "5"
    client = kind(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv5 if five else paho.MQTTv311,
        clean_session=None if five else not keeps_session,
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.suppress_exceptions = True
    client.tls = broker.tls
    if broker.tls is not None:
        broker.tls.context()  # so that a file that cannot be used is told now, not at the first connection
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    return client


def connect(client: Client, broker: Broker, keep_s: int | None, receive_most: int) -> None:
    """Connect.

    Args:
        client: that connects.
        broker: where to.
        keep_s: seconds for which the broker is to keep the session after the connection ends; None for no session.
        receive_most: messages of QoS 1 that it may send before the first of them is acknowledged (MQTT 5).

    Raises:
        OSError: where there is no connection.
        ValueError: where the broker's name can be none.
    """
    if broker.protocol != "5":
        client.connect(broker.host, broker.port, broker.keepalive_s)
        return
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.ReceiveMaximum = min(receive_most, RECEIVE_MOST)
    if keep_s is not None:
        properties.SessionExpiryInterval = keep_s
    client.connect(broker.host, broker.port, broker.keepalive_s, clean_start=keep_s is None, properties=properties)


def subscriptions(broker: Broker, topics: Sequence[str], qos: int) -> list[Any]:
    """What to subscribe to: with MQTT 5, retained messages are asked for once in a session."""
    if broker.protocol != "5":
        return [(topic, qos) for topic in topics]
    options = SubscribeOptions(qos, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    return [(topic, options) for topic in topics]


def publish_properties(broker: Broker, given: PublishProperties | None) -> Properties | None:
    """As paho wants them; None where there are none, or the protocol knows none."""
    if given is None or broker.protocol != "5":
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
    properties.ContentType = given.content_type
    properties.UserProperty = list(given.user)
    if given.expiry_s is not None:
        properties.MessageExpiryInterval = given.expiry_s
    if given.response_topic is not None:
        properties.ResponseTopic = given.response_topic
    return properties


def refusal(reason: ReasonCode) -> str:
    """Why a broker refuses, with what to do where that is known."""
    unsupported = "version" in str(reason).lower()
    return f'{reason} (set mqtt.protocol = "3.1.1")' if unsupported else str(reason)


def hint(broker: Broker) -> str:
    """What to try with a broker that does not answer."""
    tips = ['if it knows no MQTT 5: set mqtt.protocol = "3.1.1"'] * (broker.protocol == "5")
    tips += ["if this port speaks TLS: set mqtt.tls = true"] * (broker.tls is None)
    return f" ({'; '.join(tips)})" if tips else ""
