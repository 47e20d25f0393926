"""Series as slots: which series has which row, and the columns that hold its state.

Rules that hold here:

- Everything the engine knows of a series is one row of a `Table`; a slot is the row's number.
- Columns grow by doubling up to the cap. At the cap a new series takes the slot of the one that has been silent for
  longest; series that filled their window are spared while they are alive, so a flood of made-up names evicts itself.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from forewarn.core.readings import SeriesKey


class Column(NamedTuple):
    """The type of one column: its dtype, the shape of one row's entry, and what a new row holds."""

    dtype: DTypeLike
    shape: tuple[int, ...] = ()
    fill: float = 0.0


class Table:
    """Named columns over one axis of slots."""

    def __init__(self, *columns: Mapping[str, Column], rows: int = 64) -> None:
        """Make the columns of all these parts, with `rows` fresh rows.

        Raises:
            ValueError: where two parts use one name.
        """
        self._columns: dict[str, Column] = {}
        for part in columns:
            if self._columns.keys() & part.keys():
                raise ValueError(f"columns {self._columns.keys() & part.keys()} stand for two things")
            self._columns |= part
        self._arrays = {name: self._fresh(name, rows) for name in self._columns}
        self.rows = rows

    def _fresh(self, name: str, rows: int) -> NDArray[Any]:
        column = self._columns[name]
        return np.full((rows, *column.shape), column.fill, column.dtype)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The whole column, rows not in use included."""
        return self._arrays[name]

    def grow(self, rows: int) -> None:
        """Have at least `rows` rows."""
        if rows <= self.rows:
            return
        for name, array in self._arrays.items():
            self._arrays[name] = np.concatenate([array, self._fresh(name, rows - self.rows)])
        self.rows = rows

    def reset(self, slot: int) -> None:
        """Make one row fresh again."""
        for name, array in self._arrays.items():
            array[slot] = self._columns[name].fill

    def dump(self, rows: int) -> dict[str, NDArray[Any]]:
        """Copies of the first `rows` rows of every column."""
        return {name: array[:rows].copy() for name, array in self._arrays.items()}

    def load(self, arrays: Mapping[str, NDArray[Any]], rows: int) -> None:
        """Take the first `rows` rows from `dump`'s result.

        Raises:
            ValueError: where a column is missing or of another type or shape.
        """
        for name, own in self._arrays.items():
            given = arrays.get(name)
            if given is None or given.dtype != own.dtype or given.shape != (rows, *own.shape[1:]):
                raise ValueError(f"column {name} is missing or has another type or shape")
        self.grow(rows)
        for name, own in self._arrays.items():
            own[:rows] = arrays[name]


class Registry:
    """Which series has which slot, up to a cap."""

    def __init__(self, cap: int) -> None:
        """Start with no series."""
        self.cap = cap
        self.keys: list[SeriesKey] = []
        self.slots: dict[SeriesKey, int] = {}

    @property
    def full(self) -> bool:
        """Whether a new series needs another one's slot."""
        return len(self.keys) >= self.cap

    def add(self, key: SeriesKey) -> int:
        """Give a new series the next free slot."""
        slot = len(self.keys)
        self.keys.append(key)
        self.slots[key] = slot
        return slot

    def replace(self, slot: int, key: SeriesKey) -> SeriesKey:
        """Give a slot to another series and return the one that had it."""
        old = self.keys[slot]
        del self.slots[old]
        self.keys[slot] = key
        self.slots[key] = slot
        return old
