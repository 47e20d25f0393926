"""The `number` dialect: the payload is one number as text, its device and metric are in the topic."""

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.dialect import Input, Reader, Sample
from forewarn.inputs.topics import Topic


class Number:
    """Bare numbers."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._metric = source.metric

    def reader(self, topic: Topic) -> Reader:
        """A reader of the topic's device and metric."""
        device, metric = topic.names.get("device", ""), topic.names.get("metric") or self._metric or ""
        return lambda payload, _properties: (Sample(device, metric, parse_number(payload)),)


def parse_number(payload: bytes) -> float:
    """The number, as Python reads it but without `_`; NaN and infinities pass, the engine rejects them.

    Raises:
        PayloadError: `not_number`.
    """
    try:
        if b"_" not in payload:
            return float(payload)
    except ValueError:
        pass
    raise PayloadError(Rejection.NOT_NUMBER, f"{payload[:40]!r} is no number")
