"""The `zwavejs` dialect: what the MQTT gateway of Z-Wave JS UI publishes, with named topics or those of value ids.

Topics and payloads: https://zwave-js.github.io/zwave-js-ui/#/usage/setup?id=gateway

Rules that hold here:

- The levels before the command class are the device, with the endpoint where it is another than the first; those after
  the endpoint are the metric.
- Of the command classes only those that measure are read. Others have settings of the same names.
- A node that is asleep is there; one that is dead is not.
"""

from collections.abc import Iterator
from functools import partial

from forewarn.inputs.dialect import Input, Presence, Reader, Sample, joined
from forewarn.inputs.json_paths import measured, parse_json
from forewarn.inputs.times import trusted_seconds
from forewarn.inputs.topics import Topic

_MEASURING = frozenset({"sensor_multilevel", "meter", "battery", "49", "50", "128"})
_THERE = {"Alive": True, "Awake": True, "Asleep": True, "Dead": False}


class ZwaveJs:
    """The nodes of one Z-Wave network."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._below = source.pattern.below

    def reader(self, topic: Topic) -> Reader | None:
        """A reader of a value or of the status of a node."""
        levels = self._below(topic)
        if not levels or levels[0].startswith("_") or levels[-1] == "set":
            return None
        if levels[-1] == "status" and len(levels) > 1:
            return partial(_status, joined(*levels[:-1]))
        for place in range(len(levels) - 3, 0, -1):  # from the end, since a node can have the number of a class
            endpoint = levels[place + 1].removeprefix("endpoint_")
            if levels[place] in _MEASURING and endpoint.isdecimal():
                node, names = levels[:place], levels[place + 2 :]
                device = joined(*node) if endpoint.strip("0") == "" else joined(*node, endpoint)
                return partial(_value, device, joined(*names))
        return None


def _value(device: str, metric: str, payload: bytes, _properties: bytes) -> Iterator[Sample]:
    document = parse_json(payload)
    fields = document if isinstance(document, dict) else {"value": document}
    if "value" in fields and measured(fields["value"]):
        at, unit = trusted_seconds(fields.get("time", fields.get("lastUpdate"))), fields.get("unit")
        yield Sample(device, metric, fields["value"], at, unit if isinstance(unit, str) else "")


def _status(device: str, payload: bytes, _properties: bytes) -> Iterator[Presence]:
    document = parse_json(payload)
    if isinstance(document, dict):
        status = document.get("status")
        online = _THERE.get(status) if isinstance(status, str) else document.get("value")
    else:
        online = document
    if isinstance(online, bool):
        yield Presence(device, online)
