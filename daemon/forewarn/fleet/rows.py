"""The tables that pass between the stages of a fleet job, as Spark names the types of their columns.

Rules that hold here:

- `MESSAGES` is what a source gives, `READ` what is dealt to the buckets, `SAID` what these say.
- Counts travel as rows too: so they are those of the micro-batches that count, however often one is repeated.
"""

from enum import IntEnum

MESSAGES = "topic string, payload binary, received_at double, retained boolean, damaged string"
"""Messages. `damaged`: a line of a file that is none; null otherwise."""

READ = (
    "bucket int, kind tinyint, device string, metric string, at double, received_at double, n long, measured binary, "
    "seed boolean"
)
"""What came. `n`: the row's place among those of its task, or a count; `measured`: float64 of each feature."""

SAID = (
    "bucket int, kind tinyint, n long, name string, device string, metric string, at double, received_at double, "
    "value double, expected double, lower double, upper double, residual double, score double, threshold double, "
    "alert boolean, topic string, payload string"
)
"""What is said. `n`: the row's place among those of its bucket, a count or an alert's sequence; `name`: of what is
counted, of the outcome, or the alert's id."""


class Read(IntEnum):
    """What a row of `READ` is."""

    READING = 0
    DEPARTURE = 1
    CLOCK = 2  # to every bucket: `at` and `received_at` of the first and last arrival that a task read
    COUNT = 3  # `device` names what is counted


class Said(IntEnum):
    """What a row of `SAID` is."""

    ALERT = 0
    SCORE = 1
    COUNT = 2
    LEVEL = 3  # how many a bucket has of something now, such as series
