"""Routes messages to their input and turns them into readings.

Rules that hold here:

- A message becomes readings or exactly one rejection; nothing a device sends raises past `decode`. What forewarn itself
  publishes, this one or another, becomes neither.
- A message of several series that has only some of their values becomes the readings that are there, and one rejection
  for each that is not.
- What a topic means is looked up once and remembered, for a bounded number of short topics. A rejection is not: names
  that are made up cost time, but neither memory nor what is remembered of real devices.
- A model with one feature judges each metric as a series of its own. A model with several needs them all in one
  message; the series then has the name of the target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from forewarn.core.card import ModelCard
from forewarn.core.readings import Rejection, SeriesKey
from forewarn.errors import PayloadError
from forewarn.inputs import json_paths
from forewarn.inputs.number import parse_number
from forewarn.inputs.times import epoch_seconds
from forewarn.inputs.topics import TopicPattern, checked_name

MAX_TOPICS = 20_000
MAX_TOPIC = 512  # characters; a longer topic is looked up each time


Retained = Literal["ignore", "seed", "live"]


class Reading(NamedTuple):
    """One decoded reading; `at` is None where its arrival counts as its time, `seed` as in `Batch`."""

    key: SeriesKey
    at: float | None
    values: tuple[float, ...]
    seed: bool = False


class Decoded(NamedTuple):
    """What one message is: at least one reading, and why values of other series in it are none.

    No reading at all: the message is of forewarn itself.
    """

    readings: Sequence[Reading]
    rejected: Sequence[PayloadError] = ()


_OWN = Decoded(())


@dataclass(frozen=True, slots=True)
class Input:
    """How the messages of one topic pattern are read. Paths are split at their dots.

    Attributes:
        pattern: which topics.
        dialect: what the payload is.
        device: JSON path of the device, where the topic has none.
        metric: name of the metric, where the topic has none.
        values: JSON path of each metric's value; the empty name stands for the metric of the topic or `metric`.
        time: JSON path of the reading's time; None where the arrival counts.
        retained: what a retained message is: "ignore" rejects it, "seed" takes it as the first reading of a series
            that has none, "live" as one like any other.
    """

    pattern: TopicPattern
    dialect: Literal["number", "json"] = "number"
    device: tuple[str, ...] | None = None
    metric: str | None = None
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    time: tuple[str, ...] | None = None
    retained: Retained = "seed"


class _Route(NamedTuple):
    """What a topic means; `key` where it alone says which series it is."""

    source: Input
    device: str | None
    metric: str | None
    key: SeriesKey | None


class Decoder:
    """Messages to readings, for one model."""

    def __init__(
        self, inputs: Sequence[Input], card: ModelCard, *, max_payload_bytes: int, own_prefix: str | None = None
    ) -> None:
        """Read messages of these inputs; the first whose pattern matches a topic has it.

        Args:
            inputs: in the order in which they are asked.
            card: of the model.
            max_payload_bytes: a longer payload is rejected.
            own_prefix: below which topics are those that forewarn publishes to.
        """
        self._inputs = tuple(inputs)
        self._own = None if own_prefix is None else f"{own_prefix}/"
        self._features = tuple(feature.name for feature in card.features)
        self._target = card.target
        self._most = max_payload_bytes
        self._routes: dict[str, _Route] = {}

    def decode(self, topic: str, payload: bytes, retained: bool = False) -> Decoded:
        """The readings of one message.

        Raises:
            PayloadError: with the one reason why there are none.
        """
        route = self._routes.get(topic)
        if route is None:
            if self._own is not None and topic.startswith(self._own):
                return _OWN
            route = self._learn(topic)
        source = route.source
        if len(payload) > self._most:
            raise PayloadError(Rejection.TOO_LARGE, f"{len(payload)} bytes, limits.max_payload_bytes is {self._most}")
        if not retained or source.retained == "live":
            return self._read(route, payload)
        if source.retained == "ignore":
            raise PayloadError(Rejection.RETAINED, f"{topic[:80]!r}")
        readings, rejected = self._read(route, payload)
        return Decoded(tuple(reading._replace(seed=True) for reading in readings), rejected)

    def _read(self, route: _Route, payload: bytes) -> Decoded:
        source = route.source
        if source.dialect == "json":
            return self._json(source, route, payload)
        if route.key is None:
            raise PayloadError(Rejection.MISSING_VALUE, f"the model needs {', '.join(self._features)} in one message")
        return Decoded((Reading(route.key, None, (parse_number(payload),)),))

    def _learn(self, topic: str) -> _Route:
        route = self._route(topic)
        if len(topic) <= MAX_TOPIC:
            if len(self._routes) >= MAX_TOPICS:
                self._routes.clear()
            self._routes[topic] = route
        return route

    def _route(self, topic: str) -> _Route:
        for source in self._inputs:
            names = source.pattern.match(topic)
            if names is None:
                continue
            device = checked_name(names["device"]) if "device" in names else None
            metric = checked_name(names["metric"]) if "metric" in names else source.metric
            key = SeriesKey(device, metric) if device and metric and len(self._features) == 1 else None
            return _Route(source, device, metric, key)
        raise PayloadError(Rejection.NO_ROUTE, f"{topic[:80]!r}")

    def _json(self, source: Input, route: _Route, payload: bytes) -> Decoded:
        document = json_paths.parse_json(payload)
        at = None
        if source.time is not None:
            at = epoch_seconds(json_paths.follow(document, source.time))
        if route.key is not None and len(source.values) == 1 and "" in source.values:
            value = json_paths.number(json_paths.follow(document, source.values[""]))
            return Decoded((Reading(route.key, at, (value,)),))
        device = route.device if source.device is None else self._device(document, source.device)
        values, rejected = self._values(document, source, route)
        return Decoded(self._readings(device or "", at, values), rejected)

    def _values(self, document: object, source: Input, route: _Route) -> tuple[dict[str, float], list[PayloadError]]:
        """The values that are there, by metric, and why the others are not."""
        values: dict[str, float] = {}
        rejected: list[PayloadError] = []
        for name, path in source.values.items():
            metric = name or route.metric or ""
            try:
                values[metric] = json_paths.number(json_paths.follow(document, path))
            except PayloadError as error:
                # Made anew, since the traceback of this one leads to the list that it would be in.
                rejected.append(PayloadError(error.reason, f"{metric!r}: {error.detail}"))
        if rejected and (len(self._features) > 1 or not values):
            raise PayloadError(rejected[0].reason, rejected[0].detail)
        return values, rejected

    def _device(self, document: object, path: tuple[str, ...]) -> str:
        name = json_paths.follow(document, path)
        if isinstance(name, int) and not isinstance(name, bool):
            name = str(name)
        if not isinstance(name, str):
            raise PayloadError(Rejection.BAD_DEVICE, "the path leads to no name")
        return checked_name(name)

    def _readings(self, device: str, at: float | None, values: Mapping[str, float]) -> Sequence[Reading]:
        if len(self._features) == 1:
            return tuple(Reading(SeriesKey(device, metric), at, (value,)) for metric, value in values.items())
        absent = [name for name in self._features if name not in values]
        if absent:
            raise PayloadError(Rejection.MISSING_VALUE, f"the model needs {', '.join(absent)} in the same message")
        return (Reading(SeriesKey(device, self._target), at, tuple(values[name] for name in self._features)),)
