"""Readings and what became of them.

A series is one metric of one device; a reading is its values at one time. Readings travel as columns. Each ends in
exactly one `Outcome`: scored, warming up, or rejected with a `Rejection`, whose members are all that can ever appear
in a metric label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Slots = NDArray[np.int64]
Mask = NDArray[np.bool_]


class SeriesKey(NamedTuple):
    """What a slot belongs to."""

    device: str
    metric: str


class Outcome(IntEnum):
    """What the engine made of a reading. Members from `NOT_FINITE` on are rejections."""

    SCORED = 0
    WARMING_UP = 1
    NOT_FINITE = 2
    OUT_OF_RANGE = 3
    FROM_FUTURE = 4
    DUPLICATE = 5
    OUT_OF_ORDER = 6
    RETAINED = 7
    FAILED = 8


class Rejection(StrEnum):
    """Why a message or a reading was not used. Bounded: a metric has one label value for each."""

    # Decided by the engine, from the reading and its series.
    NOT_FINITE = "not_finite"  # NaN or infinite
    OUT_OF_RANGE = "out_of_range"  # finite, but not as float32
    FROM_FUTURE = "from_future"  # its own time is too far ahead of its arrival
    DUPLICATE = "duplicate"  # the same time as the last reading of its series
    OUT_OF_ORDER = "out_of_order"  # an earlier time than the last reading of its series
    RETAINED = "retained"  # an old reading that the broker kept, of a known series or where none is wanted
    FAILED = "failed"  # while it was decoded or judged, something went wrong in forewarn itself
    # Decided while decoding, from the message alone.
    NO_ROUTE = "no_route"  # no input's topic pattern matches
    TOO_LARGE = "too_large"  # longer than limits.max_payload_bytes
    NOT_TEXT = "not_text"  # no UTF-8
    NOT_JSON = "not_json"
    NOT_NUMBER = "not_number"
    MALFORMED = "malformed"  # not what the input's dialect is
    UNKNOWN_ALIAS = "unknown_alias"  # a value that its sender has not yet said the name or type of
    MISSING_VALUE = "missing_value"  # a path leads nowhere, or a feature of the model is absent
    BAD_TIME = "bad_time"  # no time where one was configured, or one that cannot be read
    BAD_DEVICE = "bad_device"  # a device or metric name that is empty, too long or has characters of MQTT or control


REJECTED_FROM = Outcome.NOT_FINITE
OUTCOME_REJECTION = {Outcome[r.name]: r for r in Rejection if r.name in Outcome.__members__}


def status_name(outcome: int) -> str:
    """`scored`, `warming_up` or the rejection's reason code, as files and metrics spell it."""
    member = Outcome(outcome)
    return OUTCOME_REJECTION[member].value if member in OUTCOME_REJECTION else member.name.lower()


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings in the order of their arrival, as columns of one length n.

    Attributes:
        keys: the series of each reading.
        at: `(n,)` each reading's own time, UTC epoch seconds.
        received_at: `(n,)` its arrival, UTC epoch seconds; not decreasing.
        values: `(n, n_feature)` engineering units, columns in the order of the features of the model that judges the
            series; columns that it has not are 0.
        seed: `(n,)` which are old readings that the broker kept: each begins the window of a series that has none, and
            raises nothing; None for none of them.
    """

    keys: Sequence[SeriesKey]
    at: Floats
    received_at: Floats
    values: Floats
    seed: Mask | None = None

    def __len__(self) -> int:
        """Number of readings."""
        return len(self.keys)

    def some(self, chosen: Mask) -> "Batch":
        """Those of these rows."""
        keys = [self.keys[row] for row in np.flatnonzero(chosen).tolist()]
        seed = None if self.seed is None else self.seed[chosen]
        return Batch(keys, self.at[chosen], self.received_at[chosen], self.values[chosen], seed)


class SeriesState(IntEnum):
    """What a series is doing now."""

    WARMING_UP = 0
    OK = 1
    ALERT = 2


@dataclass(frozen=True, slots=True)
class Fleet:
    """A copy of the engine's arrays at one moment: one row for each known series, NaN where a column has nothing yet.

    Attributes:
        keys: the series.
        slot: of each series.
        state: uint8, members of `SeriesState`.
        at: time of the last accepted reading, UTC epoch seconds.
        received_at: its arrival.
        value: the last accepted reading of the target.
        expected: what had been forecast for it.
        lower: of the band around `expected`.
        upper: of the band around `expected`.
        residual: value - expected.
        score: in the unit of `threshold`.
        threshold: see `Verdicts.threshold`.
        horizon: how many readings ahead the series' model forecasts; `forecast` and `half_width` have as many as the
            furthest looking one.
        forecast: `(n, most)` what is forecast for the readings to come.
        half_width: `(n, 2, most)` of the bands around it that hold 80 % and 95 %.
    """

    keys: tuple[SeriesKey, ...]
    slot: Slots
    state: NDArray[np.uint8]
    at: Floats
    received_at: Floats
    value: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    residual: Floats
    score: Floats
    threshold: Floats
    horizon: NDArray[np.int64]
    forecast: NDArray[np.float32]
    half_width: Floats
