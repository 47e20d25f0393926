"""What the engine said of a batch."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forewarn.core.alerts import Event
from forewarn.core.readings import Floats, Mask, Outcome, Slots


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the engine said of a batch: columns in the batch's order, NaN where a column does not apply.

    Attributes:
        outcome: `(n,)` uint8, members of `Outcome`; `FAILED` where nothing is said yet.
        slot: `(n,)` the series' slot, -1 for a reading that has none.
        expected: the forecast that was made before the reading came, in the target's unit.
        lower: lower end of the band that holds about 95 % of this series' recent readings.
        upper: its upper end.
        residual: value - expected.
        score: in the unit of `threshold`; 0 unless scored. Finite in every row. Of the judge "tail" it is z of
            `anomalies.py`, of "residual" |residual|.
        anomaly_score: the same, but 0 where the reading alone would raise no alert, however low the threshold: of
            "tail" where it is not news.
        threshold: the score above which a reading exceeds.
        alert: `(n,)` bool: an alert of `alerts.OF_JUDGES` is active on the series after this reading; False for a
            rejected one.
        told: what happened, each with the row of its reading.
    """

    outcome: NDArray[np.uint8]
    slot: Slots
    expected: Floats
    lower: Floats
    upper: Floats
    residual: Floats
    score: Floats
    anomaly_score: Floats
    threshold: Floats
    alert: Mask
    told: list[tuple[int, Event]] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        """What happened, in the order of the readings."""
        return [event for _, event in sorted(self.told, key=lambda pair: pair[0])]

    @classmethod
    def blank(cls, n: int) -> "Verdicts":
        """Columns of length n with nothing said yet."""
        expected, lower, upper, residual, threshold = np.full((5, n), np.nan)
        return cls(
            outcome=np.full(n, Outcome.FAILED, np.uint8),
            slot=np.full(n, -1, np.int64),
            expected=expected,
            lower=lower,
            upper=upper,
            residual=residual,
            score=np.zeros(n),
            anomaly_score=np.zeros(n),
            threshold=threshold,
            alert=np.zeros(n, np.bool_),
        )
