"""Links to brokers, for the tests of the MQTT adapter."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import pytest

from forewarn.adapters.mqtt.link import LastWill, MqttLink
from forewarn.adapters.mqtt.session import Broker
from forewarn.inbox import Inbox, Message
from tests.brokers import MISSING_MOSQUITTO, Amqtt, Mosquitto, mosquitto_path

Version = Literal["5", "3.1.1"]
MOST = 1_000_000


class Address(Protocol):
    """Anything that listens."""

    host: str
    port: int


class Links:
    """Makes links and closes them at the end of a test."""

    def __init__(self) -> None:
        self._made: list[MqttLink] = []

    def __call__(
        self,
        to: Address,
        *topics: str,
        protocol: Version = "5",
        name: str = "link",
        waiting: int = 1000,
        inbox: Inbox | None = None,
        **of_broker: Any,  # noqa: ANN401 - any field of Broker
    ) -> MqttLink:
        made = MqttLink(
            Broker(to.host, to.port, protocol=protocol, **of_broker),
            client_id=f"test-{name}-{to.port}",
            subscriptions=topics or ("in/#",),
            qos=1,
            last_will=LastWill(f"{name}/status", "offline"),
            max_unacknowledged=waiting,
            max_payload_bytes=MOST,
            inbox=inbox,
        )
        self._made.append(made)
        return made

    def close(self) -> None:
        for each in self._made:
            each.close(0.0)


def turning(link: MqttLink, until: Callable[[list[Message]], bool], timeout_s: float = 10.0) -> list[Message]:
    """The messages of as many turns as it takes."""
    ends_at = time.monotonic() + timeout_s
    messages: list[Message] = []
    while not until(messages):
        assert time.monotonic() < ends_at, f"{len(messages)} messages, the last are {messages[-3:]}"
        messages += link.turn(0.05)
    return messages


def connected(link: MqttLink) -> MqttLink:
    turning(link, lambda _: link.subscribed)
    return link


def lines(caplog: pytest.LogCaptureFixture, least: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= least]


SPOKEN: list[tuple[str, Version]] = [("mosquitto", "5"), ("mosquitto", "3.1.1"), ("amqtt", "3.1.1")]


def busy(link: MqttLink, seconds: float) -> int:
    """How many turns there are in a time in which nothing comes."""
    ends_at, n = time.monotonic() + seconds, 0
    while time.monotonic() < ends_at:
        assert link.turn(seconds) == []
        n += 1
    return n


def own(name: str) -> Mosquitto | Amqtt:
    """A broker of this test alone, not running."""
    if name == "amqtt":
        return Amqtt()
    need_mosquitto()
    return Mosquitto(["max_queued_messages 0"])


def need_mosquitto() -> None:
    """Skip where Mosquitto is missing; in CI, fail."""
    if mosquitto_path() is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(MISSING_MOSQUITTO)


def address(to: Address, protocol: Version = "5") -> Broker:
    return Broker(to.host, to.port, protocol=protocol)
