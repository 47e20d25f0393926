"""The `json` dialect: values by dotted paths into a JSON document. `a.0.b` is `{"a": [{"b": …}]}`."""

import json
from collections.abc import Sequence
from typing import Any

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError


def parse_json(payload: bytes) -> Any:  # noqa: ANN401 - JSON is any of its types
    """The document.

    Raises:
        PayloadError: `not_text` or `not_json`.
    """
    try:
        # Decoded here since json would take bytes for UTF-16 or UTF-32 where they look like it.
        return json.loads(payload.decode().removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise PayloadError(Rejection.NOT_TEXT, str(error)) from error
    except (ValueError, RecursionError) as error:
        raise PayloadError(Rejection.NOT_JSON, str(error)) from error


def follow(document: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - the same
    """What a path leads to; None where it leads nowhere, as for an explicit null.

    A key that contains dots itself is not reachable.
    """
    for step in path:
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def number(value: object) -> float:
    """A JSON number, or a number in a string, as float.

    Raises:
        PayloadError: `missing_value` for null or no value, else `not_number`.
    """
    if isinstance(value, float):
        return value
    if value is None:
        raise PayloadError(Rejection.MISSING_VALUE, "the path leads nowhere")
    try:
        if isinstance(value, int | str) and not isinstance(value, bool) and "_" not in str(value):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise PayloadError(Rejection.NOT_NUMBER, f"{str(value)[:40]!r} is no number")
