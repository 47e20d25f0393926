"""The `esphome` dialect: a bare number for each sensor of a node.

Topics and payloads: https://esphome.io/components/mqtt.html

Rules that hold here:

- The node is the device and the sensor's object id the metric.
- A sensor that has no value says `nan`, or `None` with `publish_nan_as_none`.
"""

from functools import partial

from forewarn.inputs.dialect import Input, Presence, Reader, Sample, joined, presence
from forewarn.inputs.number import parse_number
from forewarn.inputs.topics import Topic


class Esphome:
    """Nodes with ESPHome."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._below = source.pattern.below

    def reader(self, topic: Topic) -> Reader | None:
        """A reader of a sensor or of the node's birth and last will."""
        match self._below(topic):
            case [*node, "sensor", sensor, "state"] if node:
                return partial(_state, joined(*node), sensor)
            case [*node, "status"] if node:
                return partial(_status, joined(*node))
        return None


def _state(device: str, metric: str, payload: bytes, _properties: bytes) -> tuple[Sample, ...]:
    return (Sample(device, metric, None if payload in (b"nan", b"None", b"") else parse_number(payload)),)


def _status(device: str, payload: bytes, _properties: bytes) -> tuple[Presence, ...]:
    return presence(device, payload, online=b"online", offline=b"offline")
