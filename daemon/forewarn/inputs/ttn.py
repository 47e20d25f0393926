"""The `ttn` dialect: uplink messages of The Things Stack 3 (The Things Network), with the formatter's decoded payload.

Source: The Things Stack's documentation, data formats and MQTT server.

Rules that hold here:

- The Things Stack leaves what is zero out of its JSON. What a device left out is known from what it sent before, on
  the same port, since ports have payloads of their own.
- Memory is bounded: so many ports of devices, so many metrics of each.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.dialect import Input, Reader, Sample
from forewarn.inputs.json_paths import device_name, follow, parse_json
from forewarn.inputs.nested import leaves
from forewarn.inputs.seen import Seen
from forewarn.inputs.times import epoch_seconds
from forewarn.inputs.topics import MAX_NAME, Topic, checked_name

_MOST_PORTS = 4000
_MOST_METRICS = 32
_DEVICE = ("end_device_ids", "device_id")
_TIMES = (("uplink_message", "settings", "time"), ("uplink_message", "received_at"), ("received_at",))
# As protobuf's JSON writes them: 0 is left out.
_PORT, _COUNT = "f_port", "f_cnt"


class TheThingsStack:
    """Uplinks of LoRaWAN devices."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._device = source.device or _DEVICE
        self._zero = frozenset(source.absent_is_zero)
        self._seen = Seen()
        self._told: dict[tuple[str, str], dict[str, None]] = {}

    def reader(self, topic: Topic) -> Reader:
        """A reader; messages of other kinds than uplinks, which share their topics' beginning, give nothing."""
        named = topic.names.get("device")

        def read(payload: bytes, _properties: bytes) -> Iterator[Sample]:
            message = parse_json(payload)
            if not isinstance(message, dict):
                raise PayloadError(Rejection.MALFORMED, "a message is an object")
            uplink = message.get("uplink_message")
            if not isinstance(uplink, dict):
                return
            if uplink.get("decoded_payload") is None:
                if uplink.get("frm_payload"):
                    raise PayloadError(Rejection.MISSING_VALUE, "no decoded_payload: a payload formatter is needed")
                return
            device = checked_name(device_name(message, self._device) if named is None else named)
            times = (follow(message, path) for path in _TIMES)
            at = next((epoch_seconds(time) for time in times if time is not None), None)
            self._once(device, message, uplink)
            values = dict(leaves(uplink["decoded_payload"]))
            values |= self._left_out((device, str(uplink.get(_PORT, 0))[:9]), values)
            for metric, value in values.items():
                yield Sample(device, metric, value, at)

        return read

    def _once(self, device: str, message: Mapping[str, Any], uplink: Mapping[str, Any]) -> None:
        """Refuse what was read before, by its place in the session, else by what the Application Server called it."""
        session = uplink.get("session_key_id")
        if isinstance(session, str):
            self._seen.check(device, session, str(uplink.get(_COUNT, 0)))
            return
        names = message.get("correlation_ids")
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str) and name.startswith("as:up:"):
                self._seen.check(name)
                return

    def _left_out(self, port: tuple[str, str], values: Mapping[str, object]) -> dict[str, object]:
        """Of the metrics that came before those that did not now: 0 where they are told to be, else None."""
        told = self._told.pop(port, {})
        absent: dict[str, object] = {name: 0.0 if name in self._zero else None for name in told if name not in values}
        for name in values:
            if len(told) < _MOST_METRICS and len(name) <= MAX_NAME:
                told[name] = None
        self._told[port] = told
        if len(self._told) > _MOST_PORTS:
            del self._told[next(iter(self._told))]
        return absent
