"""What a payload dialect is: it turns the messages of one input into what they say, and knows nothing of models.

Rules that hold here:

- A dialect is made once for an input and asked once for each topic; what it gives then reads every payload there.
- A reader gives what a message says as it stands: names and values are checked, filtered and converted by the decoder,
  the same for all dialects. A value that is there but null is None; what the message does not speak of is left out.
- Nothing that a device sends raises but `PayloadError`. What is no reading by design (a command, a state, a birth)
  gives nothing. A `PayloadError` that is raised rejects the whole message, one that is given only a part of it.
- Between messages a dialect remembers what its format asks for (aliases, identifiers seen), bounded.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from forewarn.errors import PayloadError
from forewarn.inputs.topics import Topic, TopicPattern

Retained = Literal["ignore", "seed", "live"]

NO_TEMPERATURE = "1"
"""The unit of a sample that is no temperature, for certain: the unit of its input is not for it."""


class Sample(NamedTuple):
    """What a message says of one metric of one device.

    Attributes:
        device: not yet checked.
        metric: not yet checked.
        value: a number, or a number in a string, where it is one.
        at: UTC epoch seconds; None where the arrival counts.
        unit: as the device declares it; "" where it does not.
        since_arrival: seconds that the reading is later than its arrival, where that counts; negative for earlier.
        old: whether the format says that it is no current value: it may begin a window, and raises nothing.
    """

    device: str
    metric: str
    value: object
    at: float | None = None
    unit: str = ""
    since_arrival: float = 0.0
    old: bool = False


class Presence(NamedTuple):
    """A device, or whoever speaks for it, says that it is there, or that it is not any more.

    It holds for this device and for every device that is joined below it: `plug` speaks for `plug` and for each device
    whose name begins with `plug:`.
    """

    device: str
    online: bool


class Request(NamedTuple):
    """A message that the format wants published, for what is missing to be sent."""

    topic: str
    payload: bytes


Told = Sample | Presence | Request | PayloadError
Reader = Callable[[bytes, bytes], Iterable[Told]]
"""From payload and MQTT 5 properties, as they are in the packet, to what they say. May raise `PayloadError`."""


@dataclass(frozen=True, slots=True)
class Input:
    """How the messages of one topic pattern are read. Paths are split at their dots.

    Attributes:
        pattern: which topics.
        dialect: what the payload is, of `DIALECTS`.
        device: path (json) or name of the field or tag that has the device, where a dialect lets one choose.
        metric: name of the metric, where the topic has none.
        values: JSON path of each metric's value; the empty name stands for the metric of the topic or `metric`.
        time: JSON path of the reading's time; None where the arrival counts.
        metrics: patterns of the metrics that are wanted, whatever their case; None for all.
        unit: of the values, where the device does not declare it; "" where it is not known.
        absent_is_zero: metrics that are 0 where a message leaves them out.
        retained: what a retained reading is: "ignore" rejects it, "seed" takes it as the first reading of a series
            that has none, "live" as one like any other.
    """

    pattern: TopicPattern
    dialect: str = "number"
    device: tuple[str, ...] | None = None
    metric: str | None = None
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    time: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    unit: str = ""
    absent_is_zero: tuple[str, ...] = ()
    retained: Retained = "seed"


class Dialect(Protocol):
    """One dialect, for one input."""

    def reader(self, topic: Topic) -> Reader | None:
        """What reads the payloads of a topic; None where they are never readings.

        Raises:
            PayloadError: where the topic cannot be used.
        """


def joined(*levels: str) -> str:
    """One name from several, such as the levels of a topic: no two lists of names give the same one.

    `kitchen`, `fridge` is `kitchen:fridge`. A colon or per cent sign inside a level is written `%3A` or `%25`. A name
    begins with that of its first levels and a colon.
    """
    return ":".join(level.replace("%", "%25").replace(":", "%3A") for level in levels)


def told_name(*parts: str) -> str:
    """The name that a payload gives in parts: one alone stays as it is, since whoever publishes may write any name."""
    return parts[0] if len(parts) == 1 else joined(*parts)


def presence(device: str, payload: bytes, *, online: bytes, offline: bytes) -> tuple[Presence, ...]:
    """What one of two payloads says; nothing, where it is neither."""
    return (Presence(device, payload == online),) if payload in (online, offline) else ()
