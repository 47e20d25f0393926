"""The `shelly` dialect: topics of bare numbers (Gen1), component states and notifications in JSON (Gen2 and later).

Topics and payloads: https://shelly-api-docs.shelly.cloud/gen1/ and
https://shelly-api-docs.shelly.cloud/gen2/General/Notifications

Rules that hold here:

- Celsius is taken where there is Celsius, Fahrenheit only where there is nothing else, so that a reading counts once.
- A channel is a device of its own, joined below the Shelly: `<id>:100` for `temperature:100` and `humidity:100`.
- A device that sends notifications repeats them on `status/…`, where somebody switched that on: that is skipped.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from forewarn.inputs.dialect import NO_TEMPERATURE, Input, Presence, Reader, Sample, joined, presence
from forewarn.inputs.json_paths import measured, parse_json
from forewarn.inputs.number import parse_number
from forewarn.inputs.remembered import Remembered
from forewarn.inputs.times import trusted_seconds
from forewarn.inputs.topics import Topic, checked_name

_SENSORS = {"temperature": "", "humidity": "%", "battery": "%", "lux": "lx", "tilt": "°", "concentration": "ppm"}
_CHANNELS = {"ext_temperature": "°C", "ext_humidity": "%"}
_NO_PROBE = 999.0  # what a Gen1 device tells of an external probe that it has lost
_METHODS = ("NotifyStatus", "NotifyFullStatus")
_NAMES = {"temperature_tC": "temperature", "humidity_rh": "humidity"}


class Shelly:
    """Shelly devices of every generation."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._below = source.pattern.below
        self._notifying: Remembered[str, bool] = Remembered()

    def reader(self, topic: Topic) -> Reader | None:
        """A reader of a value, a component, notifications or the last will."""
        levels = self._below(topic)
        match levels:
            case [*device, "online"] if device:
                return partial(_online, joined(*device))
            case [*device, "events", "rpc"] if device:
                return partial(self._notification, device)
            case [*device, "status", component] if device:
                return partial(self._status, device, component)
        return _gen1(levels)

    def _notification(self, device: list[str], payload: bytes, _properties: bytes) -> Iterator[Sample]:
        frame = parse_json(payload)
        if not isinstance(frame, dict) or frame.get("method") not in _METHODS:
            return
        components = frame.get("params")
        if isinstance(components, dict):
            self._notifying[checked_name(joined(*device))] = True
            at = trusted_seconds(components.get("ts"))
            for name, fields in components.items():
                yield from _component(device, name, fields, at)

    def _status(self, device: list[str], component: str, payload: bytes, _properties: bytes) -> Iterator[Sample]:
        if joined(*device) not in self._notifying:
            yield from _component(device, component, parse_json(payload), None)


def _component(device: list[str], name: str, fields: object, at: float | None) -> Iterator[Sample]:
    """What the state of one component says, such as `temperature:0`; nothing of one that has no number."""
    kind, _, channel = name.partition(":")
    if not channel or not isinstance(fields, dict):
        return
    where = joined(*device, channel)
    yield from _temperature(where, f"{kind}_tC", fields, at)
    if isinstance(fields.get("temperature"), dict):
        yield from _temperature(where, f"{kind}_temperature", fields["temperature"], at)
    for key, value in fields.items():
        if key not in ("id", "tC", "tF") and measured(value):
            metric = f"{kind}_{key}"
            yield Sample(where, _NAMES.get(metric, metric), value, at, NO_TEMPERATURE)


def _temperature(where: str, metric: str, fields: Mapping[str, Any], at: float | None) -> Iterator[Sample]:
    celsius, fahrenheit = fields.get("tC"), fields.get("tF")
    if celsius is not None or "tC" in fields or fahrenheit is not None:
        in_fahrenheit = celsius is None and fahrenheit is not None
        value, unit = (fahrenheit, "°F") if in_fahrenheit else (celsius, "°C")
        yield Sample(where, _NAMES.get(metric, metric), value, at, unit)


def _gen1(levels: list[str]) -> Reader | None:
    match levels:
        case [*device, "sensor", name] if device and name in _SENSORS:
            # In °C or °F, as the device is set, and it does not say which.
            return partial(_number, joined(*device), name, _SENSORS[name])
        case [*device, name, channel] if device and name in _CHANNELS:
            return partial(_number, joined(*device, channel), name, _CHANNELS[name])
        case [*device, "temperature"] if device:
            return partial(_number, joined(*device), "temperature", "°C")
    return None


def _number(device: str, metric: str, unit: str, payload: bytes, _properties: bytes) -> tuple[Sample, ...]:
    value = parse_number(payload)
    lost = metric in _CHANNELS and value == _NO_PROBE
    return (Sample(device, metric, None if lost else value, None, unit),)


def _online(device: str, payload: bytes, _properties: bytes) -> tuple[Presence, ...]:
    return presence(device, payload, online=b"true", offline=b"false")
