"""A numbered stream of readings of many devices, some of which go wrong, and who publishes and hears it.

`CHAOS=long` makes the tests of this folder as long as their documents say; otherwise they are short.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from forewarn.adapters.journal import Journal
from forewarn.core.snapshot import Snapshot
from tests.brokers import BrokerProcess, Subscriber
from tests.daemons import INSTANCE

LONG = os.environ.get("CHAOS") == "long"
STARTED_AT = 1.7e9
EXTRA = """
[[inputs]]
topic = "sensors/{device}/{metric}"
dialect = "json"
value = "value"
time = "time"
[faults]
silent = false
"""
BY_ARRIVAL = {"received_at", "cadence", "longest_interval"}
"""Columns that follow from when readings arrived, which no two runs have in common."""


class Reading(NamedTuple):
    """One message."""

    topic: str
    payload: str


def numbered(n: int, n_device: int, *, seed: int = 0) -> list[Reading]:
    """Readings round the devices, each ten seconds after the device's last, with an excursion now and then."""
    random = np.random.default_rng(seed)
    noise = random.normal(4.0, 0.2, n)
    phase = random.integers(40, 90, n_device)
    readings = []
    for i in range(n):
        device, nth = i % n_device, i // n_device
        away = 9.0 if nth > 35 and (nth + phase[device]) % 60 < 2 else 0.0
        value = {"time": STARTED_AT + 10.0 * nth, "value": round(float(noise[i]) + away, 3)}
        readings.append(Reading(f"sensors/d{device}/temperature", json.dumps(value)))
    return readings


_UNDER_WAY = 20_000  # messages: paho has identifiers for 65,535


class Publisher:
    """Publishes readings at QoS 1 from a thread of its own, at most so many a second; survives the broker's absence."""

    def __init__(self, broker: BrokerProcess, readings: Sequence[Reading], rate: float) -> None:
        self._readings, self._rate = readings, rate
        self.sent = 0
        self._stop, self._held = threading.Event(), threading.Event()
        self._infos: list[paho.MQTTMessageInfo] = []
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, "publisher", clean_session=False, protocol=paho.MQTTv311
        )
        self._client.max_inflight_messages_set(500)
        self._client.max_queued_messages_set(0)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._publish)

    def _publish(self) -> None:
        begun = time.monotonic()
        for i, (topic, payload) in enumerate(self._readings):
            if self._stop.is_set():
                return
            while self._held.is_set() or i > (time.monotonic() - begun) * self._rate:
                if self._stop.is_set():
                    return
                time.sleep(0.01)
            while i >= _UNDER_WAY and not self._infos[i - _UNDER_WAY].is_published() and not self._stop.is_set():
                time.sleep(0.001)
            self._wait_for_connection()
            self._infos.append(self._client.publish(topic, payload, 1))
            self.sent = i + 1
        for info in self._infos:
            while not info.is_published() and not self._stop.is_set():
                time.sleep(0.01)

    def _wait_for_connection(self) -> None:
        """What is published while paho connects may overtake what it has to send again."""
        if not self._client.is_connected():
            while not self._client.is_connected() and not self._stop.is_set():
                time.sleep(0.01)
            time.sleep(0.2)

    def hold(self) -> None:
        """Publish nothing more for now, and wait until the broker has what was published."""
        self._held.set()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not all(info.is_published() for info in list(self._infos)):
            time.sleep(0.05)

    def go_on(self) -> None:
        """Publish again."""
        self._held.clear()

    def hurry(self) -> None:
        """Publish the rest as fast as it goes."""
        self._rate = 1e6

    def wait(self, timeout_s: float) -> None:
        """Until the broker has everything."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"{self.sent} of {len(self._readings)} readings published"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()


def alerts_of(subscriber: Subscriber) -> Iterator[dict[str, Any]]:
    """Every alert message that arrived, repeats included."""
    for message in list(subscriber.messages):
        if message.topic.startswith(f"forewarn/{INSTANCE}/alerts/"):
            yield json.loads(message.payload)


def told(subscriber: Subscriber) -> dict[tuple[str, int], dict[str, Any]]:
    """The alerts that arrived, once each: without when they arrived, and the file of the model."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for alert in alerts_of(subscriber):
        found.setdefault((alert["id"], alert["sequence"]), {**alert, "received_at": None})
    return found


def in_order(subscriber: Subscriber) -> bool:
    """Whether the first arrivals of each series' alerts came in the order in which they were told."""
    last: dict[str, tuple[float, str, int]] = {}
    seen: set[tuple[str, int]] = set()
    for alert in alerts_of(subscriber):
        one = (alert["id"], alert["sequence"])
        if one in seen:
            continue
        seen.add(one)
        series = f"{alert['device']}/{alert['metric']}/{alert['kind']}"
        if series in last and (alert["at"], *one) <= (last[series][0], "", 0):
            return False
        last[series] = (alert["at"], *one)
    return True


def final_state(folder: Path) -> dict[str, Any]:
    """The columns of the state file that do not depend on when readings arrived, by series, and the counts."""
    journal = Journal(folder / "state.sqlite")
    found = journal.recover()
    journal.close()
    assert found.snapshot is not None
    assert found.entries == []
    assert found.outbox == []
    snapshot = Snapshot.from_bytes(found.snapshot)
    order = sorted(range(len(snapshot.keys)), key=lambda slot: snapshot.keys[slot])
    state: dict[str, Any] = {
        name: column[order].tobytes() for name, column in snapshot.parts[0].columns.items() if name not in BY_ARRIVAL
    }
    counts = json.loads(found.counts)["telemetry"]
    state["readings"] = counts["outcomes"][:2]
    state["events"] = sorted(map(str, counts["events"]))
    return state
