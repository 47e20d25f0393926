"""The `cloudevents` dialect: CloudEvents 1.0 over MQTT, structured as JSON or binary with MQTT 5 properties.

Sources: CloudEvents 1.0.2, MQTT protocol binding and JSON event format.

Rules that hold here:

- Both modes become the same document, the one of the JSON event format; every path of the input leads into it.
- The content type tells the modes apart, and without one whether there are attributes among the user properties:
  MQTT 3.1.1 has neither, and then the event is structured (binding, section 3).
"""

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.dialect import Input, Reader, Sample, told_name
from forewarn.inputs.json_paths import device_name, follow, parse_json
from forewarn.inputs.nested import leaves
from forewarn.inputs.number import parse_number
from forewarn.inputs.properties import parse
from forewarn.inputs.seen import Seen
from forewarn.inputs.times import epoch_seconds
from forewarn.inputs.topics import Topic

_STRUCTURED = "application/cloudevents"
_JSON = ("", _STRUCTURED, _STRUCTURED + "+json", "application/json")
_REQUIRED = ("specversion", "id", "source", "type")
_Event = Mapping[str, Any]


class CloudEvents:
    """Events with a reading, or several."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._source = source
        self._seen = Seen()

    def reader(self, topic: Topic) -> Reader:
        """A reader of the topic's device and metric, where it names them."""
        device, metric = topic.names.get("device"), topic.names.get("metric") or self._source.metric
        path = self._source.time or ("time",)

        def read(payload: bytes, properties: bytes) -> Iterator[Sample]:
            event = _event(payload, properties)
            time = follow(event, path)
            at = None if time is None and self._source.time is None else epoch_seconds(time)
            name = self._device(event) if device is None else device
            self._seen.check(event["source"], event["id"])
            for found, value in self._values(event):
                yield Sample(name, found or metric or event["type"].rpartition(".")[2], value, at)

        return read

    def _device(self, event: _Event) -> str:
        """What the path leads to, else the subject, else the last segment of the source."""
        if self._source.device is not None:
            return device_name(event, self._source.device)
        subject = event.get("subject")
        if isinstance(subject, str) and subject:
            return told_name(*subject.strip("/").split("/"))
        source: str = event["source"]
        return source.rstrip("/").rpartition("/")[2]

    def _values(self, event: _Event) -> Iterator[tuple[str, object]]:
        """Metric and value; the empty name stands for that of the topic, of the input or of the event's type."""
        if self._source.values:
            yield from ((name, follow(event, path)) for name, path in self._source.values.items())
        else:
            yield from leaves(event.get("data"))


def _event(payload: bytes, properties: bytes) -> _Event:
    """The event as the JSON format has it, whichever way it came."""
    content_type, user = parse(properties)
    if content_type.lower().startswith(_STRUCTURED) or "specversion" not in user:
        if content_type.lower().partition(";")[0].strip() not in _JSON:
            raise PayloadError(Rejection.MALFORMED, f"{content_type[:60]!r} is not the JSON event format")
        event = _checked(parse_json(payload))
        if "data_base64" in event:
            return {**event, "data": _content(_base64(event["data_base64"]), event.get("datacontenttype") or "-")}
        if isinstance(event.get("data"), str) and not _is_json(event.get("datacontenttype") or ""):
            return {**event, "data": _content(event["data"].encode(errors="replace"), "-")}
        return event
    kind = content_type or user.get("datacontenttype", "")
    return {**_checked(dict(user)), "datacontenttype": kind, "data": _content(payload, kind)}


def _checked(event: object) -> dict[str, Any]:
    """An event that has the attributes that each must have (specification, section 3.1)."""
    if not isinstance(event, dict):
        raise PayloadError(Rejection.MALFORMED, "an event is an object; there are no batches over MQTT")
    absent = [name for name in _REQUIRED if not isinstance(event.get(name), str) or not event[name]]
    if absent:
        raise PayloadError(Rejection.MALFORMED, f"an event without {', '.join(absent)}")
    if not event["specversion"].startswith("1."):
        raise PayloadError(Rejection.MALFORMED, f"specversion {event['specversion'][:20]!r} is not 1.0")
    return event


def _is_json(content_type: object) -> bool:
    """Whether a content type declares JSON, which is what counts without one (JSON format, section 3.1.1)."""
    kind = str(content_type).lower().partition(";")[0].strip()
    return not kind or kind.endswith(("/json", "+json"))


def _content(data: bytes, content_type: object) -> object:
    """JSON where it is declared, else a bare number."""
    return parse_json(data) if _is_json(content_type) else parse_number(data)


def _base64(text: object) -> bytes:
    try:
        return b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PayloadError(Rejection.MALFORMED, f"data_base64: {error}") from error
