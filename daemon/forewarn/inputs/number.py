"""The `number` dialect: the payload is one number as text."""

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError


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
