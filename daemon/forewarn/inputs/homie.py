"""The `homie` dialect: Homie 4 (`homie/<device>/…`) and 5 (`homie/5/<device>/…`).

The convention: https://homieiot.github.io/

Rules that hold here:

- A node is a device, joined below that of Homie, and a property its metric.
- Everything is retained, and a broker may deliver a value before what says its unit (`$unit`, `$description`): the
  first value of a property of which nothing was said yet is left out, and each later one counts.
- A device that is `lost` or `disconnected` is not there; one that is `sleeping` is. In Homie 5, the children of a root
  that is `lost` are lost as well.
"""

from collections.abc import Iterator
from functools import partial

from forewarn.core.readings import SeriesKey
from forewarn.inputs.dialect import Input, Presence, Reader, Sample, joined
from forewarn.inputs.json_paths import parse_json
from forewarn.inputs.remembered import Remembered
from forewarn.inputs.topics import Topic, checked_name, series

_THERE = {b"ready": True, b"alert": True, b"sleeping": True, b"disconnected": False, b"lost": False}
_MAX_UNIT = 16  # characters


class Homie:
    """Devices of one Homie domain."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._below = source.pattern.below
        self._units: Remembered[SeriesKey, str] = Remembered()
        self._states: Remembered[str, bytes] = Remembered()
        self._roots: Remembered[str, str] = Remembered()  # by child

    def reader(self, topic: Topic) -> Reader | None:
        """A reader of a property, or of an attribute that says what properties are, or whether the device is there."""
        levels = self._below(topic)
        match levels[1:] if levels[:1] == ["5"] else levels:
            case [device, "$state"]:
                return partial(self._state, joined(device))
            case [device, "$description"]:
                return partial(self._description, device)
            case [device, node, name, "$unit"]:
                return partial(self._unit, series(joined(device, node), name))
            case [device, node, name, "$datatype"]:
                return partial(self._datatype, series(joined(device, node), name))
            case [device, node, name] if not any(level.startswith("$") for level in (device, node, name)):
                return partial(self._value, series(joined(device, node), name))
        return None

    def _value(self, key: SeriesKey, payload: bytes, _properties: bytes) -> Iterator[Sample]:
        unit = self._units.get(key)
        if unit is None:
            self._units[key] = ""
        elif payload:  # an empty one takes the property away
            yield Sample(key.device, key.metric, payload.decode(errors="replace"), None, unit)

    def _unit(self, key: SeriesKey, payload: bytes, _properties: bytes) -> tuple[()]:
        self._units[key] = payload.decode(errors="replace")[:_MAX_UNIT]
        return ()

    def _datatype(self, key: SeriesKey, _payload: bytes, _properties: bytes) -> tuple[()]:
        if key not in self._units:
            self._units[key] = ""
        return ()

    def _description(self, device: str, payload: bytes, _properties: bytes) -> Iterator[Presence]:
        document = parse_json(payload) if payload else None
        for node, fields in _objects(document, "nodes"):
            for name, described in _objects(fields, "properties"):
                unit = described.get("unit")
                key = series(joined(device, node), name)
                self._units[key] = unit[:_MAX_UNIT] if isinstance(unit, str) else ""
        root = document.get("root") if isinstance(document, dict) else None
        if isinstance(root, str):
            child = checked_name(joined(device))
            self._roots[child] = checked_name(joined(root))
            if not self._there(child):
                yield Presence(child, online=False)

    def _state(self, device: str, payload: bytes, _properties: bytes) -> Iterator[Presence]:
        if payload not in _THERE:
            return
        self._states[checked_name(device)] = payload
        yield Presence(device, self._there(device))
        for child, root in self._roots.items():
            if root == device:
                yield Presence(child, self._there(child))

    def _there(self, device: str) -> bool:
        root = self._roots.get(device, "")
        return self._states.get(root) != b"lost" and _THERE[self._states.get(device, b"ready")]


def _objects(document: object, name: str) -> Iterator[tuple[str, dict[str, object]]]:
    """The objects in an object of a document, by their names."""
    held = document.get(name) if isinstance(document, dict) else None
    for key, value in held.items() if isinstance(held, dict) else ():
        if isinstance(value, dict):
            yield key, value
