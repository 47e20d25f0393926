"""The `json` dialect: values by dotted paths into a JSON document. `a.0.b` is `{"a": [{"b": …}]}`."""

import json
from collections.abc import Sequence
from typing import Any

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.dialect import Input, Reader, Sample
from forewarn.inputs.times import epoch_seconds
from forewarn.inputs.topics import Topic


class Json:
    """Documents with one or several values."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._source = source

    def reader(self, topic: Topic) -> Reader:
        """A reader of the topic's device and metric, where it names them."""
        source = self._source
        device, metric = topic.names.get("device", ""), topic.names.get("metric") or source.metric or ""
        paths = tuple((name or metric, path) for name, path in source.values.items())

        def read(payload: bytes, _properties: bytes) -> list[Sample]:
            document = parse_json(payload)
            at = None if source.time is None else epoch_seconds(follow(document, source.time))
            name = device if source.device is None else device_name(document, source.device)
            return [Sample(name, metric, follow(document, path), at) for metric, path in paths]

        return read


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


def measured(value: object) -> bool:
    """Whether this is a number, or the null that stands for one, and not a text, a switch or a structure."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def device_name(document: object, path: Sequence[str]) -> str:
    """The name that a path leads to.

    Raises:
        PayloadError: `bad_device` where it leads to none.
    """
    name = follow(document, path)
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str):
        raise PayloadError(Rejection.BAD_DEVICE, "the path leads to no name")
    return name


def number(value: object) -> float:
    """A JSON number, or a number in a string, as float.

    Raises:
        PayloadError: `missing_value` for null or no value, else `not_number`.
    """
    if isinstance(value, float):
        return value
    if value is None:
        raise PayloadError(Rejection.MISSING_VALUE, "there is no value")
    try:
        if isinstance(value, int | str) and not isinstance(value, bool) and "_" not in str(value):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise PayloadError(Rejection.NOT_NUMBER, f"{str(value)[:40]!r} is no number")
