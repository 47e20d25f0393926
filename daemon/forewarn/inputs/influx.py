r"""The `influx` dialect: InfluxDB line protocol, as Telegraf and many gateways publish it.

Source: InfluxDB's documentation, line protocol reference (v2): elements, data types, special characters, comments.

Rules that hold here:

- `measurement,tag=…,tag=… field=…,field=… timestamp`, a line for each point. In names `\` escapes comma, equals sign,
  space and itself, in a text `"` and itself; before anything else it stands for itself.
- A line whose tags name no device is one rejection; it costs less than a reading does, since it may be any number.
- A line that is none rejects the whole message: what follows a quote that is not closed could be anything.
"""

import re
from collections.abc import Iterator, Mapping

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.dialect import Input, Reader, Sample, told_name
from forewarn.inputs.times import epoch_seconds
from forewarn.inputs.topics import Topic

_TAGS = ("device", "host", "sensor", "id")  # of which the first that a line has names its device
# Possessive throughout, so that no text makes them look at a character twice.
_NAME = r"(?:[^\\,= \n]|\\[^\n])++"
_BLANK = re.compile(r"(?:[ \t]*+(?:#[^\n]*+)?\n)*+[ \t]*+(?:#[^\n]*+)?")
_POINT = re.compile(rf"((?:[^\\, \n]|\\[^\n])++)((?:,{_NAME}={_NAME})*+) ++")
_TAG = re.compile(rf",({_NAME})=({_NAME})")
_FIELD = re.compile(rf'({_NAME})=(?:"(?:[^"\\]|\\.)*+"|([^,\s"]++))(,?)', re.DOTALL)
_END = re.compile(r"(?: ++(-?\d++))? *+(?:\n|\Z)")
_SWITCHES = frozenset({"t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"})
_INTEGER = re.compile(r"-?\d++[iu]")
_ESCAPED = re.compile(r"\\([,= \\])")


class Influx:
    """Points of line protocol."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._device = source.device

    def reader(self, topic: Topic) -> Reader:
        """A reader of the topic's device, where it names one."""
        named = topic.names.get("device")
        nameless = PayloadError(
            Rejection.BAD_DEVICE, f"no tag {' and '.join(self._device or ()) or ' or '.join(_TAGS)}"
        )

        def read(payload: bytes, _properties: bytes) -> Iterator[Sample | PayloadError]:
            text = _text(payload)
            at = _after(_BLANK, text, 0)
            while at < len(text):
                point = _POINT.match(text, at)
                if point is None:
                    raise _malformed(text, at)
                device = self._name(point[2]) if named is None else named
                fields, at, time = _fields(text, point.end())
                if fields and not device:
                    yield nameless
                    fields = []
                for name, value in fields:
                    yield Sample(device, _plain(point[1]) if name == "value" else name, value, time)
                at = _after(_BLANK, text, at)

        return read

    def _name(self, tags: str) -> str:
        """The device that a line's tags name, nothing where they do not."""
        known: Mapping[str, str] = {_plain(key): _plain(value) for key, value in _TAG.findall(tags)}
        if self._device is not None:
            return told_name(*(known[tag] for tag in self._device)) if known.keys() >= set(self._device) else ""
        return next((known[tag] for tag in _TAGS if tag in known), "")


def _text(payload: bytes) -> str:
    try:
        return payload.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise PayloadError(Rejection.NOT_TEXT, str(error)) from error


def _fields(text: str, at: int) -> tuple[list[tuple[str, str]], int, float | None]:
    """Name and value of each number from there on, where the line ends, and its time."""
    fields: list[tuple[str, str]] = []
    while True:
        field = _FIELD.match(text, at)
        if field is None:
            raise _malformed(text, at)
        at = field.end()
        value = field[2]
        if value is not None and value not in _SWITCHES:
            fields.append((_plain(field[1]), value[:-1] if _INTEGER.fullmatch(value) else value))
        if not field[3]:
            break
    end = _END.match(text, at)
    if end is None:
        raise _malformed(text, at)
    return fields, end.end(), None if end[1] is None else epoch_seconds(end[1])


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _plain(name: str) -> str:
    return _ESCAPED.sub(r"\1", name) if "\\" in name else name


def _malformed(text: str, at: int) -> PayloadError:
    return PayloadError(Rejection.MALFORMED, f"no line protocol from {text[at : at + 30]!r} on")
