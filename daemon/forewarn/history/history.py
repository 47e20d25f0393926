"""What all readers of past readings give, and how a text becomes a number or a time."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import DataError

# From here on a number is nanoseconds, microseconds, milliseconds: as seconds 1e11 is the year 5138, as milliseconds it
# is March 1973, and so on.
_FROM = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
_EARLIEST_AT, _LATEST_AT = -62135596800.0, 253402300799.0  # the years 1 and 9999, what ISO 8601 spells in four digits
TIMES = "ISO 8601, or epoch seconds, milli-, micro- or nanoseconds"


@dataclass(frozen=True, slots=True)
class History:
    """Rows of a file as columns of one length n.

    Attributes:
        path: of the file; host and port where it is none.
        sha256: of the file's bytes, hexadecimal; of several files, that of their hashes.
        timestamp_text: the timestamp of each row as it was written.
        device: of each row; the file's stem where there is no device column.
        at: `(n,)` UTC epoch seconds, NaN where the timestamp cannot be read.
        values: `(n, n_feature)` engineering units, NaN where a field is no number.
        features: names of the columns of `values`.
        target: the feature that is forecast.
    """

    path: Path
    sha256: str
    timestamp_text: list[str]
    device: list[str]
    at: NDArray[np.float64]
    values: NDArray[np.float64]
    features: tuple[str, ...]
    target: str

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.device)

    @property
    def target_index(self) -> int:
        """The column of `values` that is forecast."""
        return self.features.index(self.target)

    def checked(self, time: str) -> "History":
        """Itself, where it has a time and a number of each feature.

        Raises:
            DataError: naming the column that has none; `time` is that of the times.
        """
        if np.isnan(self.at).all():
            raise DataError(
                f"{self.path}: line 2, column {time!r}: {self.timestamp_text[0]!r} is no time: write {TIMES}"
            )
        for name, column in zip(self.features, self.values.T, strict=True):
            if not np.isfinite(column).any():
                raise DataError(
                    f"{self.path}: column {name!r} holds no number: name another one with --target or --features"
                )
        return self


def parse_number(text: str) -> float:
    """The number that a field holds, NaN where it holds none. `inf` is a number."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def parse_time(text: str) -> float:
    """UTC epoch seconds of what `TIMES` names (ISO 8601 without a zone: UTC); NaN for anything else."""
    number = parse_number(text)
    if math.isnan(number):
        try:
            moment = datetime.fromisoformat(text.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return math.nan
    at = number / next((unit for start, unit in _FROM if abs(number) >= start), 1.0)
    return at if _EARLIEST_AT <= at <= _LATEST_AT else math.nan
