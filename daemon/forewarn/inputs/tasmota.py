"""The `tasmota` dialect: telemetry with one object for each probe of a device.

Payloads: https://tasmota.github.io/docs/MQTT/ and https://tasmota.github.io/docs/DS18x20/

Rules that hold here:

- Each probe is a device of its own, joined below that of the topic, also where it is the only one. A probe with an
  address (`Id`) goes by its kind and address: its number changes when another is connected.
- `TempUnit` is the unit of what is a temperature.
- `Time` is local time without a zone, unless somebody changed that, and then not relied on.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from forewarn.inputs.dialect import NO_TEMPERATURE, Input, Presence, Reader, Sample, joined, presence
from forewarn.inputs.json_paths import measured, parse_json
from forewarn.inputs.times import trusted_seconds
from forewarn.inputs.topics import Topic

_TEMPERATURE = re.compile("temperature|dewpoint|heatindex", re.IGNORECASE)
_NUMBERED = re.compile(r"[-_]\d+$")
_DEEPEST = 3  # levels of objects: {"ZbReceived": {"0x1A2B": {"Temperature": …}}} are two


class Tasmota:
    """Devices with Tasmota, each with its probes."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._below = source.pattern.below

    def reader(self, topic: Topic) -> Reader | None:
        """A reader of the telemetry or the last will of a device."""
        levels = self._below(topic)
        if not levels:
            return None
        *above, what = levels
        device = (topic.names["device"],) if "device" in topic.names else tuple(above)
        if what == "SENSOR":
            return partial(_telemetry, device)
        return partial(_last_will, joined(*device)) if what == "LWT" else None


def _telemetry(device: tuple[str, ...], payload: bytes, _properties: bytes) -> Iterator[Sample]:
    document = parse_json(payload)
    if not isinstance(document, dict):
        return
    at, unit = trusted_seconds(document.get("Time")), document.get("TempUnit")
    unit = unit if isinstance(unit, str) else ""
    for where, metric, value in _leaves(document, device):
        if metric != "Time":
            yield Sample(where, metric, value, at, unit if _TEMPERATURE.search(metric) else NO_TEMPERATURE)


def _leaves(
    fields: Mapping[str, Any], device: tuple[str, ...], probes: tuple[str, ...] = (), depth: int = 0
) -> Iterator[tuple[str, str, object]]:
    """Device, name and value of every number."""
    where = joined(*device, *probes)
    for name, value in fields.items():
        if isinstance(value, dict):
            if depth < _DEEPEST:
                yield from _leaves(value, device, (*probes, *_probe(name, value)), depth + 1)
        elif measured(value):
            yield where, name, value


def _probe(name: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
    address = fields.get("Id")
    return (_NUMBERED.sub("", name), address) if isinstance(address, str) and address else (name,)


def _last_will(device: str, payload: bytes, _properties: bytes) -> tuple[Presence, ...]:
    return presence(device, payload, online=b"Online", offline=b"Offline")
