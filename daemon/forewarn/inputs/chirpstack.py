"""The `chirpstack` dialect: uplink events of ChirpStack 4's MQTT integration, with the `object` of the device's codec.

Source: ChirpStack's documentation, integrations, MQTT and event types.
"""

from collections.abc import Iterator

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.dialect import Input, Reader, Sample
from forewarn.inputs.json_paths import device_name, parse_json
from forewarn.inputs.nested import leaves
from forewarn.inputs.seen import Seen
from forewarn.inputs.times import epoch_seconds
from forewarn.inputs.topics import Topic

_OTHERS = frozenset({"status", "join", "ack", "txack", "log", "location", "integration"})
_DEVICE = ("deviceInfo", "devEui")


class ChirpStack:
    """Uplinks of LoRaWAN devices."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._device = source.device or _DEVICE
        self._seen = Seen()

    def reader(self, topic: Topic) -> Reader | None:
        """A reader; none of the topics of other events and of commands."""
        *_, kind, event = ("", *topic.text.split("/"))
        if (kind == "event" and event in _OTHERS) or kind == "command":
            return None
        named = topic.names.get("device")

        def read(payload: bytes, _properties: bytes) -> Iterator[Sample]:
            event = parse_json(payload)
            if not isinstance(event, dict):
                raise PayloadError(Rejection.MALFORMED, "an event is an object")
            if event.get("object") is None:
                if event.get("data"):
                    raise PayloadError(Rejection.MISSING_VALUE, "no object: the device profile needs a codec")
                return  # a frame without a payload
            device = device_name(event, self._device) if named is None else named
            at = None if event.get("time") is None else epoch_seconds(event["time"])
            if isinstance(event.get("deduplicationId"), str):
                self._seen.check(event["deduplicationId"])
            for metric, value in leaves(event["object"]):
                yield Sample(device, metric, value, at)

        return read
