"""Which series has which slot, one reading at a time: the reference for what the engine does to many at once."""

from collections.abc import Callable

from forewarn.core import admissions
from forewarn.core.readings import SeriesKey
from tests.core.scalar import Said, ScalarSeries
from tests.core.streams import Row

_Slot = tuple[SeriesKey, ScalarSeries]


class ScalarFleet:
    """All series of an engine with a device cap.

    Attributes:
        left: the series that lost their slots, in order.
    """

    def __init__(self, new: Callable[[], ScalarSeries], cap: int, n_step: int) -> None:
        self._new, self._cap, self._n_step = new, cap, n_step
        self.slots: list[_Slot] = []
        self.left: list[SeriesKey] = []

    def take(self, row: Row) -> Said:
        """Judge one reading."""
        for key, series in self.slots:
            if key == row.key:
                return series.take(row.at, row.received_at, row.value, row.seed)
        series = self._new()
        said = series.take(row.at, row.received_at, row.value, row.seed)
        if said.status in ("not_finite", "out_of_range", "from_future"):
            return said
        if len(self.slots) < self._cap:
            self.slots.append((row.key, series))
        elif row.seed:
            return Said("retained")
        else:
            slot = self._longest_silent(row.received_at)
            self.left.append(self.slots[slot][0])
            self.slots[slot] = (row.key, series)
        return said

    def _longest_silent(self, now: float) -> int:
        heard_at = [series.last_received_at for _, series in self.slots]
        unknown = [
            slot
            for slot, (_, series) in enumerate(self.slots)
            if series.n_history < self._n_step or not heard_at[slot] > now - admissions.PROTECTED_S
        ]
        return min(unknown or range(self._cap), key=lambda slot: heard_at[slot])
