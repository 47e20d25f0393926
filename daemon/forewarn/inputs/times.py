"""The time of a reading as devices write it: epoch seconds, milli-, micro- or nanoseconds, or ISO 8601."""

import math
from datetime import UTC, datetime

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError

# From here on a number is milliseconds, microseconds, nanoseconds: as seconds 1e11 would be the year 5138, as
# milliseconds it is 1973, and so on.
_FROM = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
# 2016: a device that does not keep the time without power counts from 1970 until it has asked for it.
_CLOCK_SET = 1_451_606_400.0


def epoch_seconds(value: object) -> float:
    """UTC epoch seconds of a number, a number in a string, or an ISO 8601 text (without a zone it is taken as UTC).

    Raises:
        PayloadError: `bad_time`.
    """
    seconds, _ = _read(value)
    return seconds


def trusted_seconds(value: object) -> float | None:
    """UTC epoch seconds where they can be relied on.

    None, so that the arrival counts, where there is no time, where a text has no zone and may be anybody's local time,
    and where the device's clock was not set yet.

    Raises:
        PayloadError: `bad_time`.
    """
    if value is None or value == "":
        return None
    seconds, zoned = _read(value)
    return seconds if zoned and seconds >= _CLOCK_SET else None


def _read(value: object) -> tuple[float, bool]:
    """Seconds, and whether they are the same everywhere."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return _iso(str(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            seconds = value / next((unit for start, unit in _FROM if abs(value) >= start), 1.0)
        except OverflowError:
            seconds = math.inf
        if math.isfinite(seconds):
            return seconds, True
    raise PayloadError(Rejection.BAD_TIME, f"{str(value)[:40]!r} is no time")


def _iso(text: str) -> tuple[float, bool]:
    try:
        moment = datetime.fromisoformat(text)
        zoned = moment.tzinfo is not None
        return (moment if zoned else moment.replace(tzinfo=UTC)).timestamp(), zoned
    except (ValueError, OverflowError) as error:
        raise PayloadError(Rejection.BAD_TIME, f"{text[:40]!r} is no time") from error
