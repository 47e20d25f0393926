"""The `sparkplug` dialect: Eclipse Sparkplug B 3.0, births, data and deaths of edge nodes and their devices.

Rules that hold here:

- A birth says what an alias stands for and which type an integer has. A metric that neither the message nor a birth
  explains is rejected, never guessed: a negative temperature would become four billion.
- What is unexplained or lost (a gap in `seq`) makes one request for a rebirth, and no other until the node was born or
  a thousand more of its messages would have made one.
- Memory is bounded over all nodes; the node that was born longest ago is forgotten first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.dialect import Input, Presence, Reader, Request, Sample, Told, joined
from forewarn.inputs.sparkplug_payload import Message, parse, payload_class, rebirth
from forewarn.inputs.times import epoch_seconds
from forewarn.inputs.topics import MAX_NAME, Topic, checked_name

_NAMESPACE = "spBv1.0"
_ASK_EVERY = 1000  # messages
_MOST_NODES = 1000
_MOST_KNOWN = 100_000  # names and aliases, of all nodes
_BITS = {1: 8, 2: 16, 3: 32, 4: 64}  # of the signed integers ("Datatype Details")
_UNSIGNED = frozenset({5, 6, 7, 8})
_NUMBERS = frozenset({*_BITS, *_UNSIGNED, 9, 10})
_NO_NUMBER = object()  # a switch, a text, a date
_CONTROL = ("Node Control/", "Device Control/")
_DEATH = "bdSeq"


class _Known(NamedTuple):
    """What is known of a metric; no name where it is that of an alias that no birth had."""

    name: str
    datatype: int


_Metrics = dict[int | str, _Known]  # by alias and by name


@dataclass(slots=True)
class _Node:
    """An edge node, with its metrics and those of its devices by the name of each."""

    born: bool = False
    death: object = None  # bdSeq of the birth
    seq: int | None = None
    asked: int = -1  # how many messages would have made a request since one was made
    metrics: dict[str, _Metrics] = field(default_factory=dict)


class _Place(NamedTuple):
    """What a topic names: `device` is the node's own name for its own messages."""

    node: str
    device: str
    command: str  # topic of the node's commands


class Sparkplug:
    """Messages of edge nodes."""

    def __init__(self, _source: Input) -> None:
        """Read the messages of an input."""
        payload_class()
        self._nodes: dict[str, _Node] = {}

    def reader(self, topic: Topic) -> Reader | None:
        """A reader; none of the topics of commands and of what host applications say of themselves."""
        before, found, rest = topic.text.rpartition(_NAMESPACE + "/")
        levels = rest.split("/")
        act = {
            (3, "NBIRTH"): self._node_birth,
            (3, "NDATA"): self._data,
            (3, "NDEATH"): self._node_death,
            (4, "DBIRTH"): self._device_birth,
            (4, "DDATA"): self._data,
            (4, "DDEATH"): self._device_death,
        }.get((len(levels), levels[min(1, len(levels) - 1)]))
        if act is None or not found:
            if found and (levels[0] == "STATE" or levels[1:2] in (["NCMD"], ["DCMD"])):
                return None
            raise PayloadError(Rejection.MALFORMED, f"no topic of {_NAMESPACE}: {topic.text[:60]!r}")
        group, _, node, *device = levels
        place = _Place(
            checked_name(joined(group, node)),
            checked_name(joined(group, node, *device)),
            f"{before}{_NAMESPACE}/{group}/NCMD/{node}",
        )
        return lambda payload, _properties: act(place, parse(payload))

    def _node_birth(self, place: _Place, message: Message) -> Iterator[Told]:
        self._nodes.pop(place.node, None)
        node = _Node(born=True, death=_bd_seq(message), seq=message.seq if message.HasField("seq") else None)
        self._remember(place, node, _explained(message))
        yield Presence(place.device, online=True)
        yield from self._values(node, place, message)

    def _device_birth(self, place: _Place, message: Message) -> Iterator[Told]:
        node = self._nodes.pop(place.node, None) or _Node()
        yield from _ordered(node, place, message)
        self._remember(place, node, _explained(message))
        yield Presence(place.device, online=True)
        yield from self._values(node, place, message)

    def _data(self, place: _Place, message: Message) -> Iterator[Told]:
        node = self._node(place)
        yield from _ordered(node, place, message)
        yield from self._values(node, place, message)

    def _node_death(self, place: _Place, message: Message) -> Iterator[Told]:
        """The node and its devices are gone, unless the death is that of an earlier birth ("NDEATH")."""
        node, death = self._nodes.get(place.node, _Node()), _bd_seq(message)
        if node.death is not None and death is not None and death != node.death:
            return
        self._nodes.pop(place.node, None)
        for device in {**node.metrics, place.node: {}}:
            yield Presence(device, online=False)

    def _device_death(self, place: _Place, message: Message) -> Iterator[Told]:
        node = self._node(place)
        yield from _ordered(node, place, message)
        node.metrics.pop(place.device, None)
        yield Presence(place.device, online=False)

    def _values(self, node: _Node, place: _Place, message: Message) -> Iterator[Told]:
        """The readings of a message, and what of it no birth has explained."""
        metrics, unexplained = node.metrics.get(place.device, {}), 0
        for metric in message.metrics:
            known = _known(metric, metrics)
            value = _number(metric, metric.datatype or known.datatype)
            if not known.name or value is None:
                unexplained += 1
            elif value is not _NO_NUMBER and known.name != _DEATH and not known.name.startswith(_CONTROL):
                at = metric.timestamp or message.timestamp
                yield Sample(
                    place.device,
                    joined(*known.name.split("/")),
                    None if metric.is_null else value,
                    epoch_seconds(at) if at else None,
                    old=metric.is_historical,
                )
        if unexplained:
            yield PayloadError(Rejection.UNKNOWN_ALIAS, f"{unexplained} metrics that no birth has explained")
            yield from _ask(node, place, message)

    def _node(self, place: _Place) -> _Node:
        """The node, whether or not it was born."""
        if place.node not in self._nodes:
            self._remember(place, _Node(), {})
        return self._nodes[place.node]

    def _remember(self, place: _Place, node: _Node, metrics: _Metrics) -> None:
        """What a birth has said, and the node as the newest; the oldest are forgotten."""
        node.metrics[place.device] = metrics
        nodes = self._nodes
        nodes[place.node] = node
        size = sum(len(known) + 1 for one in nodes.values() for known in one.metrics.values())
        while len(nodes) > 1 and (len(nodes) > _MOST_NODES or size > _MOST_KNOWN):
            oldest = nodes.pop(next(iter(nodes)))
            size -= sum(len(known) + 1 for known in oldest.metrics.values())
        if size > _MOST_KNOWN:
            node.metrics = {place.device: metrics}


def _ordered(node: _Node, place: _Place, message: Message) -> Iterator[Told]:
    """Ask for a rebirth where messages are missing before this one, or the node's birth."""
    missing = not node.born
    if message.HasField("seq"):
        missing = missing or (node.seq is not None and message.seq != (node.seq + 1) % 256)
        node.seq = message.seq
    if missing:
        yield from _ask(node, place, message)


def _ask(node: _Node, place: _Place, message: Message) -> Iterator[Told]:
    node.asked += 1
    if node.asked % _ASK_EVERY == 0:
        yield Request(place.command, rebirth(message.timestamp))


def _explained(message: Message) -> _Metrics:
    """What a birth says of its metrics."""
    metrics: _Metrics = {}
    for metric in message.metrics:
        name = _text(metric.name)
        if 0 < len(name) <= MAX_NAME:
            known = metrics[name] = _Known(name, metric.datatype)
            if metric.HasField("alias"):
                metrics[metric.alias] = known
    return metrics


def _known(metric: Message, metrics: _Metrics) -> _Known:
    """By its alias, else by its name."""
    if metric.HasField("alias") and metric.alias in metrics:
        return metrics[metric.alias]
    name = _text(metric.name)
    return metrics.get(name) or _Known(name, 0)


def _number(metric: Message, datatype: int) -> object:
    """The value, `_NO_NUMBER` where it is none by design, None where its type is not known."""
    kind = metric.WhichOneof("value")
    if kind is None:
        return 0.0 if metric.is_null and datatype in _NUMBERS else _NO_NUMBER
    if kind in ("float_value", "double_value"):
        return float(getattr(metric, kind))
    if kind == "boolean_value" or (datatype and datatype not in _NUMBERS):
        return _NO_NUMBER
    value = int(getattr(metric, kind))
    if datatype in _BITS:
        # In two's complement of its own width or, as some write it, of the field's.
        half = 1 << (_BITS[datatype] - 1)
        return (value + half) % (2 * half) - half
    return value if datatype else None


def _bd_seq(message: Message) -> object:
    found = (metric for metric in message.metrics if metric.name == _DEATH.encode())
    return next((_number(metric, 8) for metric in found), None)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(Rejection.NOT_TEXT, f"the name of a metric: {error}") from error
