"""What the judges say of the readings of a round, in one form for every kind of alert.

A judge is a function of the state and the readings that returns a `Ruling`; the engine compares it with the alerts that
were active before and tells what changed. Another kind of alert is another member of `Kind` and another ruling.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.core.readings import Floats, Mask
from forewarn.core.slots import State


@dataclass(frozen=True, slots=True)
class Ruling:
    """Columns `(n,)` for the n readings of a round.

    Attributes:
        active: whether such an alert is active on the series after this reading.
        score: what is compared, finite where `active` is or was.
        threshold: what it is compared with, finite there too.
        critical: whether the reading makes the alert critical; None where the kind has no such degree.
        limit: the limit that was or will be passed, in the target's unit.
        lead_s: seconds from the reading until then.
        probability: of it.
        conversion: for each reading the name of the conversion that it looks like.
        feature: index of the feature that contributes most.
        stream: index of the stream of deviation that is most unusual.
        observed: what came, of that stream in the target's unit, or of that feature in its own.
        usual: what was expected of it.
        since_at: when it began, UTC epoch seconds.
    """

    active: Mask
    score: Floats
    threshold: Floats
    critical: Mask | None = None
    limit: Floats | None = None
    lead_s: Floats | None = None
    probability: Floats | None = None
    conversion: list[str | None] | None = None
    feature: NDArray[np.intp] | None = None
    stream: NDArray[np.intp] | None = None
    observed: Floats | None = None
    usual: Floats | None = None
    since_at: Floats | None = None


def held(state: State, calm: str, found: Mask, active: Mask, clear_after: int) -> Mask:
    """Active from the reading on that is `found`, until `clear_after` readings in a row are not.

    Args:
        state: of the series.
        calm: the column that counts those readings.
        found: whether the reading itself calls for an alert.
        active: whether one was active before.
        clear_after: see `Rules`.
    """
    n_calm = np.where(found, 0, state[calm] + 1)
    state[calm] = n_calm
    still: Mask = found | (active & (n_calm < clear_after))
    return still
