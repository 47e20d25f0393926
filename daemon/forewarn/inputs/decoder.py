"""Routes messages to their input and turns them into readings.

Rules that hold here:

- A message becomes readings, rejections or neither where it is no reading by design, as what forewarn itself publishes,
  this one or another; nothing a device sends raises past `decode` but `PayloadError`.
- A message of several series that has only some of their values becomes the readings that are there, and one rejection
  for each that is not.
- What a topic means is looked up once and remembered, for a bounded number of short topics. A rejection is not: names
  that are made up cost time, but neither memory nor what is remembered of real devices.
- Which model judges what, and which values are features of one, is said in `feeds.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from forewarn.core.card import ModelCard
from forewarn.core.patterns import SeriesPattern
from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.dialect import Dialect, Input, Presence, Reader, Request, Sample, Told
from forewarn.inputs.dialects import DIALECTS
from forewarn.inputs.feeds import Feed, Feeds, Measured, Reading
from forewarn.inputs.json_paths import number
from forewarn.inputs.topics import MAX_REMEMBERED, checked_name, series

MAX_TOPICS = MAX_REMEMBERED
MAX_TOPIC = 512  # characters; a longer topic is looked up each time
_MAX_METRICS = 4096  # whose names were held against the patterns of an input


class Decoded(NamedTuple):
    """What one message is: readings, why other values in it are none, and what it says besides."""

    readings: Sequence[Reading] = ()
    rejected: Sequence[PayloadError] = ()
    others: Sequence[Presence | Request] = ()


class _Source(NamedTuple):
    """One input; `wants` is None where every metric is wanted."""

    input: Input
    dialect: Dialect
    wants: Callable[[str], bool] | None


class _Route(NamedTuple):
    """What a topic means: nothing, where there is no reader."""

    source: _Source
    read: Reader | None


class Decoder:
    """Messages to readings, for one model or several."""

    def __init__(
        self,
        inputs: Sequence[Input],
        card: ModelCard,
        *,
        max_payload_bytes: int,
        own_prefix: str | None = None,
        units: Mapping[str, str] | None = None,
        hold_s: float = 900.0,
        max_devices: int = 10_000,
        monitors: Sequence[tuple[SeriesPattern, ModelCard]] = (),
    ) -> None:
        """Read messages of these inputs; the first whose pattern matches a topic has it.

        Args:
            inputs: in the order in which they are asked.
            card: of the model that judges every series that no monitor takes.
            max_payload_bytes: a longer payload is rejected.
            own_prefix: below which topics are those that forewarn publishes to.
            units: that readings of a metric are wanted in, where it is a temperature; the model's or °C otherwise.
            hold_s: for how long the last value of a feature counts that comes in messages of its own.
            max_devices: that are remembered for that.
            monitors: the models of some series; the first whose pattern matches a series judges it.
        """
        self._sources = tuple(_Source(one, DIALECTS[one.dialect].make(one), _wants(one.metrics)) for one in inputs)
        self._own = None if own_prefix is None else f"{own_prefix}/"
        feeds = {
            id(one): Feed(one, units or {}, hold_s=hold_s, max_devices=max_devices)
            for one in (card, *(one for _, one in monitors))
        }
        self._feed = feeds[id(card)]
        single = not monitors and self._feed.joint is None
        self._feeds = None if single else Feeds(self._feed, [(pattern, feeds[id(one)]) for pattern, one in monitors])
        self._most = max_payload_bytes
        self._routes: dict[str, _Route] = {}

    def decode(
        self, topic: str, payload: bytes, retained: bool = False, received_at: float = 0.0, properties: bytes = b""
    ) -> Decoded:
        """What comes of one message; nothing, where it is no reading by design.

        Args:
            topic: of the message.
            payload: of the message.
            retained: whether the broker had kept it.
            received_at: its arrival, UTC epoch seconds.
            properties: those of MQTT 5 as they are in the packet.

        Raises:
            PayloadError: with the one reason why there is no reading.
        """
        route = self._routes.get(topic)
        if route is None:
            if self._own is not None and topic.startswith(self._own):
                return _NOTHING
            route = self._learn(topic)
        if len(payload) > self._most:
            raise PayloadError(Rejection.TOO_LARGE, f"{len(payload)} bytes, limits.max_payload_bytes is {self._most}")
        if route.read is None:
            return _NOTHING
        source = route.source.input
        seed = retained and source.retained == "seed"
        told = route.read(payload, properties)
        readings, measured, rejected, others = self._readings(route.source, told, received_at, seed=seed)
        if retained and source.retained == "ignore" and (readings or measured or rejected):
            raise PayloadError(Rejection.RETAINED, f"{topic[:80]!r}")
        if self._feeds is not None:
            readings = self._feeds.readings(measured, rejected, received_at)
        if rejected and not readings and not others:
            raise PayloadError(rejected[0].reason, rejected[0].detail)
        return Decoded(tuple(readings), rejected, others)

    def _learn(self, topic: str) -> _Route:
        route = self._route(topic)
        if len(topic) <= MAX_TOPIC:
            if len(self._routes) >= MAX_TOPICS:
                self._routes.clear()
            self._routes[topic] = route
        return route

    def _route(self, topic: str) -> _Route:
        for source in self._sources:
            match = source.input.pattern.match(topic)
            if match is not None:
                for name in match.names.values():
                    checked_name(name)
                return _Route(source, source.dialect.reader(match))
        raise PayloadError(Rejection.NO_ROUTE, f"{topic[:80]!r}")

    def _readings(
        self, source: _Source, told: Iterable[Told], received_at: float, *, seed: bool
    ) -> tuple[list[Reading], list[Measured], list[PayloadError], list[Presence | Request]]:
        """Each sample that is wanted as a reading or as what feeds one, or why it is none; and what is no sample."""
        readings: list[Reading] = []
        measured: list[Measured] = []
        rejected: list[PayloadError] = []
        others: list[Presence | Request] = []
        wants, usual_unit = source.wants, source.input.unit
        for item in told:
            if not isinstance(item, Sample):
                _put(item, rejected, others)
                continue
            device, metric, value, at, unit, since_arrival, old = item
            if wants is not None and not wants(metric):
                continue
            try:
                key = series(device, metric)
                size = value if isinstance(value, float) else number(value)
            except PayloadError as error:
                # Made anew, since the traceback of this one leads to the list that it would be in.
                rejected.append(PayloadError(error.reason, f"{metric[:40]!r}: {error.detail}"))
                continue
            if since_arrival and at is None:
                at = received_at + since_arrival
            if self._feeds is not None:
                measured.append(Measured(key, at, size, unit or usual_unit, seed or old))
                continue
            if unit or usual_unit:
                size = self._feed.converted(size, metric, unit or usual_unit)
            readings.append(Reading(key, at, (size,), seed or old))
        return readings, measured, rejected, others


def _put(
    told: Presence | Request | PayloadError, rejected: list[PayloadError], others: list[Presence | Request]
) -> None:
    """Where what is no sample belongs."""
    if isinstance(told, PayloadError):
        rejected.append(told)
    elif isinstance(told, Presence):
        others.append(Presence(checked_name(told.device), told.online))
    else:
        others.append(told)


_NOTHING = Decoded()


def _wants(patterns: tuple[str, ...] | None) -> Callable[[str], bool] | None:
    """Whether a metric is wanted, remembered for so many."""
    if patterns is None:
        return None
    low = [pattern.lower() for pattern in patterns]
    return lru_cache(_MAX_METRICS)(lambda metric: any(fnmatchcase(metric.lower(), pattern) for pattern in low))
