"""Readings of the past to a broker, in their order and at a chosen pace, as if they came now.

Rules that hold here:

- The readings of one device keep their order, and devices are merged by time, so that a file may hold one device after
  the other; a reading that is older than the one before it is sent at once.
- Pace comes from the readings' own times: one of their seconds takes 1 / speed seconds; speed 0 does not look at them.
- It never sends more than `rate` readings a second: a broker drops what a subscriber cannot follow (Mosquitto keeps
  1,000 messages for one), and nobody is told.
- What a topic or a payload cannot carry is an error before anything is sent, or is left out and counted.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
from tqdm import tqdm

from forewarn.errors import DataError, UsageError
from forewarn.history import History
from forewarn.simulate import METRIC, Simulation

DEFAULT_TOPIC: Final = "sensors/{device}/{metric}"
_LEAST_WAIT_S: Final = 0.002  # shorter ones would cost more than they are worth
_NOT_IN_A_NAME: Final = frozenset("/+#\0")


class Publisher(Protocol):
    """The side of an MQTT client that is needed here."""

    def publish(self, topic: str, payload: bytes | str, qos: int = 0, retain: bool = False) -> None:
        """Send, or wait where too much is unsent."""

    def flush(self) -> None:
        """Wait until everything is sent."""


class Message(NamedTuple):
    """What is published, and the reading's own time before any shift, UTC epoch seconds."""

    at: float
    topic: str
    payload: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and what a reading says of its time.

    Attributes:
        speed: seconds of the readings' own time in a second; 0 for as fast as `rate` lets it.
        rate: readings a second at most.
        restamp: shift all times so that the last reading, when it is sent, says "now". At speed 1 the first one does
            as well; at a higher speed it begins in the past, since a reading must not come from the future.
    """

    speed: float = 1.0
    restamp: bool = False
    rate: float = 2000.0

    def __post_init__(self) -> None:
        """Refuse a pace that cannot be kept.

        Raises:
            UsageError: naming the option.
        """
        if not self.rate > 0:
            raise UsageError(f"--rate {self.rate}: give readings a second, more than 0")
        if not (self.speed >= 0 and math.isfinite(self.speed)):
            raise UsageError(f"--speed {self.speed}: give a number above 0, or 0 for as fast as it goes")

    def shift(self, first_at: float, last_at: float, now: float) -> float:
        """Seconds to add to every reading's own time."""
        if not self.restamp:
            return 0.0
        took = (last_at - first_at) / self.speed if self.speed else 0.0
        return now + took - last_at


def topic_of(template: str, device: str, metric: str) -> str:
    """Fill in `{device}` and `{metric}`.

    Raises:
        UsageError: where the template names neither, or has a wildcard.
        DataError: where a name cannot be a level of a topic.
    """
    if "{device}" not in template or set("+#\0") & set(template):
        raise UsageError(f"--topic {template!r}: write {{device}} where its name goes, and no + or #")
    for name in (device, metric):
        if not name or _NOT_IN_A_NAME & set(name):
            raise DataError(f"{name!r} cannot be a level of an MQTT topic: rename it to something without / + # in it")
    return template.replace("{device}", device).replace("{metric}", metric)


def history_messages(
    history: History, *, topic: str = DEFAULT_TOPIC, plain: bool = False, shift_s: float = 0.0
) -> Iterator[Message]:
    """The rows of a file; one without a time or without any number is left out, as is a feature that is no number.

    Args:
        history: what to send. One feature becomes `{"value": …, "time": …}`, several become a key each.
        topic: template; the metric is the target's name.
        plain: send the target as a bare number instead.
        shift_s: added to the times in the payloads.
    """
    topics = {device: topic_of(topic, device, history.target) for device in dict.fromkeys(history.device)}
    single = plain or len(history.features) == 1
    names = ("value",) if single else history.features
    values = history.values[:, [history.target_index]] if single else history.values
    for row in _merged(history):
        at = float(history.at[row])
        present = {name: value for name, value in zip(names, values[row].tolist(), strict=True) if math.isfinite(value)}
        if present:
            payload = _payload(present, None if plain else at + shift_s)
            yield Message(at, topics[history.device[row]], payload)


def _merged(history: History) -> list[int]:
    """The rows that have a time, devices merged by time; a device's time never goes back."""
    latest: dict[str, float] = {}
    due: list[tuple[float, int]] = []
    for row, (device, at) in enumerate(zip(history.device, history.at.tolist(), strict=True)):
        if math.isfinite(at):
            latest[device] = max(at, latest.get(device, at))
            due.append((latest[device], row))
    return [row for _, row in sorted(due)]


def simulation_messages(
    simulation: Simulation, *, topic: str = DEFAULT_TOPIC, plain: bool = False, shift_s: float = 0.0
) -> Iterator[Message]:
    """The readings of a simulated fleet: `{"value": …, "time": …}`, or bare numbers where `plain`."""
    topics = [topic_of(topic, device, METRIC) for device in simulation.devices]
    rows = zip(simulation.device.tolist(), simulation.at.tolist(), simulation.value.tolist(), strict=True)
    for device, at, value in rows:
        yield Message(at, topics[device], _payload({"value": value}, None if plain else at + shift_s))


def _payload(values: dict[str, float], at: float | None) -> str:
    """JSON; the bare first value where there is no time to say."""
    return repr(next(iter(values.values()))) if at is None else json.dumps({**values, "time": round(at, 3)})


def publish(
    messages: Iterable[Message],
    publisher: Publisher,
    *,
    speed: float,
    rate: float = math.inf,
    qos: int = 0,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Publish messages at their pace and return how many.

    Args:
        messages: in the order to keep.
        publisher: to what.
        speed: see `Pace`.
        rate: see `Pace`.
        qos: of each message.
        sleep: waits for that many seconds; one that returns True ends the publishing.
        clock: monotonic seconds.
    """
    n = 0
    began: float | None = None
    for message in messages:
        if began is None:
            began, first_at = clock(), message.at
        due = (message.at - first_at) / speed if speed else 0.0
        wait = max(due, n / rate) - (clock() - began)
        if wait > _LEAST_WAIT_S and sleep(wait) is True:
            break
        publisher.publish(message.topic, message.payload, qos)
        n += 1
    publisher.flush()
    return n


def progress(messages: Iterable[Message], total: int) -> Iterator[Message]:
    """The same messages, with a progress bar on standard error where that is a terminal."""
    yield from tqdm(messages, total=total, unit=" readings", disable=None, leave=False)


def replay(
    source: History | Simulation,
    publisher: Publisher,
    pace: Pace,
    *,
    topic: str = DEFAULT_TOPIC,
    plain: bool = False,
    qos: int = 1,
) -> int:
    """Send a file of history, or a simulated fleet, to a broker and return how many readings were sent.

    Raises:
        DataError: where a device's name cannot be in a topic.
        UsageError: where the topic template cannot be used.
    """
    known = source.at[np.isfinite(source.at)]
    shift_s = pace.shift(float(known.min()), float(known.max()), time.time())
    if isinstance(source, History):
        messages = history_messages(source, topic=topic, plain=plain, shift_s=shift_s)
    else:
        messages = simulation_messages(source, topic=topic, plain=plain, shift_s=shift_s)
    return publish(progress(messages, len(source)), publisher, speed=pace.speed, rate=pace.rate, qos=qos)
