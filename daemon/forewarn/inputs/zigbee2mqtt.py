"""The `zigbee2mqtt` dialect: one JSON document for each device, or a topic for each of its attributes.

Topics and payloads: https://www.zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages.html

Rules that hold here:

- An object is the whole of a device, anything else one attribute of it, named by the last level of the topic. Where a
  device sends both (`output: attribute_and_json`), the document comes first and the attributes repeat it: they are
  skipped.
- `last_seen` is the time, where it can be relied on.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from forewarn.inputs.dialect import Input, Presence, Reader, Sample, joined, presence
from forewarn.inputs.json_paths import measured, parse_json
from forewarn.inputs.remembered import Remembered
from forewarn.inputs.times import trusted_seconds
from forewarn.inputs.topics import Topic, checked_name


class Zigbee2mqtt:
    """Zigbee devices behind one bridge."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._below = source.pattern.below
        self._whole: Remembered[str, bool] = Remembered()

    def reader(self, topic: Topic) -> Reader | None:
        """A reader of a device, its attribute or its availability."""
        levels = self._below(topic)
        if not levels or levels[0] == "bridge" or "set" in levels[1:] or "get" in levels[1:]:
            return None
        *above, last = levels
        if last == "availability" and above:
            return partial(_availability, joined(*above))
        return partial(self._read, joined(*levels), joined(*above), last)

    def _read(self, device: str, above: str, last: str, payload: bytes, _properties: bytes) -> Iterator[Sample]:
        if payload[:1] == b"{":
            yield from self._document(device, parse_json(payload))
        elif above and above not in self._whole:
            yield Sample(above, last, payload.decode(errors="replace") or None)
        elif payload and not above:
            parse_json(payload)  # says what is wrong with it

    def _document(self, device: str, document: dict[str, Any]) -> Iterator[Sample]:
        if device not in self._whole:
            self._whole[checked_name(device)] = True
        at = trusted_seconds(document.get("last_seen"))
        for metric, value in document.items():
            if measured(value) and metric != "last_seen":
                yield Sample(device, metric, value, at)


def _availability(device: str, payload: bytes, _properties: bytes) -> tuple[Presence, ...]:
    if payload[:1] == b"{":
        state = parse_json(payload).get("state")
        payload = state.encode("utf-8", "replace") if isinstance(state, str) else b""
    return presence(device, payload, online=b"online", offline=b"offline")
