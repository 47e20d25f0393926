"""Real brokers and a real subscriber on loopback, for the integration tests.

Both brokers have one face: `name`, `host`, `port`, `start()`, `stop()`, `restart()`; the port survives a restart.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from forewarn.demo.broker import HOST, EmbeddedBroker
from tests.ports import free_port

MISSING_MOSQUITTO = "mosquitto is not installed: apt-get install -y mosquitto"


class BrokerProcess(Protocol):
    """A broker that a test may stop and start again."""

    name: str
    host: str
    port: int

    def start(self) -> None:
        """Start it and wait until it accepts connections."""

    def stop(self) -> None:
        """End it; nothing where none runs."""

    def restart(self) -> None:
        """Stop it, drop every connection, and start it on the same port."""


def mosquitto_path() -> str | None:
    """The Mosquitto program; Debian keeps it where a user's PATH does not look."""
    return shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))


class Mosquitto:
    """A Mosquitto without password, on loopback.

    Args:
        settings: further lines of its configuration file.
        keeps: whether it writes down, each second and at its end, what it has not delivered.
    """

    name = "mosquitto"
    host = HOST

    def __init__(self, settings: Sequence[str] = (), *, keeps: bool = False) -> None:
        self.port = free_port()
        self._settings = settings
        self._keeps = keeps
        self._folder = tempfile.TemporaryDirectory(prefix="forewarn-mosquitto-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = mosquitto_path()
        if program is None:
            raise FileNotFoundError(MISSING_MOSQUITTO)
        config = Path(self._folder.name) / "mosquitto.conf"
        lines = [f"listener {self.port} {self.host}", "allow_anonymous true", *self._settings]
        kept = [f"persistence_location {self._folder.name}/", "autosave_interval 1", "user root"]
        lines += ["persistence true", *kept] if self._keeps else ["persistence false"]
        config.write_text("\n".join(lines) + "\n")
        with (Path(self._folder.name) / "log").open("wb") as log:
            self._process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
        wait_until_listening(self.host, self.port)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """End it without a chance to write anything down."""
        if self._process is not None:
            self._process.kill()
            self.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it and remove its files."""
        self.stop()
        self._folder.cleanup()


class Amqtt(EmbeddedBroker):
    """The broker of `forewarn demo`."""

    name = "amqtt"

    def __init__(self) -> None:
        super().__init__(free_port())

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it."""
        self.stop()


def wait_until_listening(host: str, port: int, timeout_s: float = 15.0) -> None:
    """Return once a TCP connection is accepted.

    Raises:
        TimeoutError: after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(f"nothing listens on {host}:{port} after {timeout_s} s")


class Message(NamedTuple):
    """What arrived."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    arrived_at: float  # monotonic seconds


class Subscriber:
    """Collects messages; connected and subscribed once the `with` block begins. Also publishes.

    Args:
        broker: where to.
        topics: the filters, each at QoS 1.
        client_id: with one, the broker keeps what comes while the connection is lost.
    """

    def __init__(self, broker: BrokerProcess, *topics: str, client_id: str = "") -> None:
        self.messages: list[Message] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._broker = broker
        self._topics = [(topic, 1) for topic in topics or ("#",)]
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, clean_session=not client_id, protocol=paho.MQTTv311
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topics)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._collect

    def _collect(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.messages.append(
                Message(message.topic, bytes(message.payload), message.qos, message.retain, time.monotonic())
            )
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[Message], bool], timeout: float = 10.0) -> Message:
        """The first message, past or to come, for which `predicate` holds.

        Raises:
            TimeoutError: with what arrived instead.
        """
        with self._changed:
            found = self._changed.wait_for(lambda: next(filter(predicate, self.messages), None), timeout)
            if found is None:
                raise TimeoutError(f"not among {len(self.messages)} messages, the last are {self.messages[-5:]}")
            return found

    def wait_for_count(self, n: int, timeout: float = 10.0) -> list[Message]:
        """All messages, once there are at least `n`.

        Raises:
            TimeoutError: with what arrived instead.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.messages) >= n, timeout):
                raise TimeoutError(f"{len(self.messages)} messages instead of {n}, the last are {self.messages[-5:]}")
            return list(self.messages)

    def publish(self, topic: str, payload: bytes | str, *, qos: int = 1, retain: bool = False) -> None:
        """Publish and wait until the broker has it (QoS 1 and 2) or it was sent (QoS 0)."""
        self._client.publish(topic, payload, qos, retain).wait_for_publish(10)

    def __enter__(self) -> Self:
        """Connect and subscribe."""
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        if not self._subscribed.wait(10):
            raise TimeoutError(f"no subscription on {self._broker.name}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
