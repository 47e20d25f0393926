"""What the tests of the dialects share: a decoder with the settings' own defaults, and what no payload may do."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.decoder import Decoded, Decoder
from forewarn.settings import Settings
from forewarn.wiring import decoder_of
from tests.forecasters import card

MOST = 65_536
SLOW_S = 0.05
ARRIVED_AT = 1_700_000_000.0


class Vector(NamedTuple):
    """A message of an ecosystem."""

    topic: str
    payload: bytes


def decoder(dialect: str, **given: Any) -> Decoder:  # noqa: ANN401 - what a setting may be
    """As the daemon makes it of these keys of `[[inputs]]`, with all metrics unless it is told which."""
    keys = {"metrics": ("*",), **given}
    source = {"dialect": dialect, **{key: value for key, value in keys.items() if value is not None}}
    return decoder_of(Settings.model_validate({"inputs": [source]}), card())


def decode(source: Decoder, topic: str, payload: bytes | str, properties: bytes = b"") -> Decoded:
    raw = payload.encode() if isinstance(payload, str) else payload
    return source.decode(topic, raw, received_at=ARRIVED_AT, properties=properties)


def values(decoded: Decoded) -> Mapping[tuple[str, str], float]:
    """Value by device and metric."""
    return {(reading.key.device, reading.key.metric): reading.values[0] for reading in decoded.readings}


def times(decoded: Decoded) -> list[float | None]:
    return [reading.at for reading in decoded.readings]


def rejection(source: Decoder, topic: str, payload: bytes | str, properties: bytes = b"") -> Rejection:
    """Why there is no reading of a message."""
    with pytest.raises(PayloadError) as caught:
        decode(source, topic, payload, properties)
    assert str(caught.value).isprintable(), "a device writes into the log"
    assert len(str(caught.value)) < 400
    return caught.value.reason


def survive(source: Decoder, topic: str, payload: bytes, properties: bytes = b"") -> None:
    """Nothing but `PayloadError`, whose text can be logged."""
    try:
        rejected = decode(source, topic, payload, properties).rejected
    except PayloadError as error:
        rejected = [error]
    assert all(str(error).isprintable() and len(str(error)) < 400 for error in rejected)


def took(make: Callable[[], Decoder], topic: str, payload: bytes, properties: bytes = b"") -> float:
    """Least processor seconds of some runs, each by a decoder that has read nothing yet."""
    assert len(payload) <= MOST
    best = 1e9
    for _ in range(4):
        source = make()
        start = time.process_time()
        survive(source, topic, payload, properties)
        best = min(best, time.process_time() - start)
    return best


def filled(unit: bytes, start: bytes = b"", end: bytes = b"", between: bytes = b"") -> bytes:
    """As many of a unit as fit in the longest payload."""
    step = unit + between
    return start + step * ((MOST - len(start) - len(end) - len(unit)) // len(step)) + unit + end
