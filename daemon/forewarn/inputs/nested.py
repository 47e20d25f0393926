"""The values of a JSON document by the names of their levels, joined by dots: `{"soil": [{"t": 4}]}` has `soil.0.t`."""

from collections.abc import Iterator

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.topics import MAX_NAME

MAX_ENTRIES = 1000
"""A frame of LoRaWAN has at most 242 bytes; more than this is no message of a device."""


def leaves(document: object) -> Iterator[tuple[str, object]]:
    """Name and value of each number, and None where a value is null.

    A number may be in a string. Other texts and switches are no values. What lies below a name that is too long for a
    metric is given as it is, for the decoder to reject.

    Raises:
        PayloadError: `malformed` where objects and lists have more than `MAX_ENTRIES` entries.
    """
    count = 0
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict | list) and len(name) <= MAX_NAME:
            count += len(value)
            if count > MAX_ENTRIES:
                raise PayloadError(Rejection.MALFORMED, f"more than {MAX_ENTRIES} entries")
            items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
            start = f"{name}." if name else ""
            waiting.extend((f"{start}{key}", inner) for key, inner in reversed(items))
        elif not isinstance(value, bool) and not (isinstance(value, str) and not _is_number(value)):
            yield name, value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
