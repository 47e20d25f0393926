"""Examples of a dialect: `VECTORS` of its module of tests, from the documentation that is named there.

They are what its tests hold it to, what random changes begin with, and what the fuzzer does.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

from forewarn.errors import PayloadError
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Presence, Request
from forewarn.inputs.dialects import DIALECTS
from forewarn.inputs.feeds import Reading
from forewarn.settings.inputs import InputSettings
from forewarn.wiring import inputs_of
from tests.forecasters import card

OF_ECOSYSTEMS = tuple(name for name in DIALECTS if name not in ("number", "json"))

Said = tuple[tuple[str, str, float, float | None] | Presence | Request | str, ...]


class Vector(NamedTuple):
    """A message, and what the decoder says of it with the default settings of the dialect.

    Attributes:
        topic: of the message.
        payload: of the message.
        says: readings as device, metric, value and time, presences and requests, and the reasons of rejections.
    """

    topic: str
    payload: bytes
    says: Said = ()


def examples(dialect: str) -> Sequence[Vector]:
    """All of a dialect."""
    vectors = import_module(f"tests.inputs.test_{dialect.replace('-', '_')}").VECTORS
    return [Vector(*vector) for vector in vectors]


def decoder(dialect: str, **chosen: Any) -> Decoder:  # noqa: ANN401 - a setting is any of its types
    """What reads the messages of one input, as the daemon makes it from its settings."""
    if DIALECTS[dialect].topic is None:
        chosen.setdefault("topic", "+/#")
    settings = InputSettings(dialect=dialect, **chosen)
    return Decoder(inputs_of([settings]), card(), max_payload_bytes=65_536)


def said(source: Decoder, topic: str, payload: bytes, *, retained: bool = False) -> Said:
    """What the decoder says of a message."""
    try:
        readings, rejected, others = source.decode(topic, payload, retained)
    except PayloadError as error:
        return (str(error.reason),)
    return (*map(_plain, readings), *others, *(str(error.reason) for error in rejected))


def _plain(reading: Reading) -> tuple[str, str, float, float | None]:
    return reading.key.device, reading.key.metric, round(reading.values[0], 9), reading.at
