"""What a sender says of a PUBLISH packet's payload with MQTT 5 properties (MQTT 5.0, section 2.2.2).

Time and memory are bounded by the packet: each property is looked at once.
"""

from collections.abc import Mapping
from typing import NamedTuple

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError

_CONTENT_TYPE, _USER = 0x03, 0x26
# The others of a PUBLISH (section 3.3.2.3): how many bytes they have, or whether these begin with their length.
_FIXED = {0x01: 1, 0x02: 4, 0x23: 2}
_PREFIXED = frozenset({0x08, 0x09})
_SUBSCRIPTION = 0x0B  # a variable byte integer


class Properties(NamedTuple):
    """Of one message; the last of several user properties of a name counts."""

    content_type: str = ""
    user: Mapping[str, str] = {}


def parse(data: bytes) -> Properties:
    """Read the properties of a PUBLISH, as they are in the packet.

    Raises:
        PayloadError: `malformed`.
    """
    content_type, user = "", dict[str, str]()
    at = 0
    try:
        while at < len(data):
            kind = data[at]
            at += 1
            if kind == _USER:
                name, at = _text(data, at)
                user[name], at = _text(data, at)
            elif kind == _CONTENT_TYPE:
                content_type, at = _text(data, at)
            elif kind in _PREFIXED:
                at = _end(data, at)
            elif kind in _FIXED:
                at += _FIXED[kind]
            elif kind == _SUBSCRIPTION:
                while data[at] >= 0x80:
                    at += 1
                at += 1
            else:
                raise PayloadError(Rejection.MALFORMED, f"property {kind:#04x} is none of a PUBLISH")
    except (IndexError, UnicodeDecodeError) as error:
        raise PayloadError(Rejection.MALFORMED, f"MQTT 5 properties: {error}") from error
    if at > len(data):
        raise PayloadError(Rejection.MALFORMED, "MQTT 5 properties end too early")
    return Properties(content_type, user)


def _end(data: bytes, at: int) -> int:
    """Where what begins with its length ends, which may be too far."""
    return at + 2 + (data[at] << 8 | data[at + 1])


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = _end(data, at)
    return data[at + 2 : end].decode(), end
