"""Series as slots: which series has which row, and the columns that hold its state.

Rules that hold here:

- A slot is the number of a series, up to the cap. Everything the engine knows of it is one row of a `Table`: that of
  the group of series that one model judges (`group.py`). With one group a slot is the row's number.
- Columns grow by doubling up to the cap. What a new series gets is in admissions.py.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from forewarn.core.readings import SeriesKey, Slots

State = NDArray[Any]
"""Records of a `Table`: the state of the series of a round, worked on in place between `take` and `put`."""


class Column(NamedTuple):
    """The type of one column: its dtype, the shape of one row's entry, and what a new row holds."""

    dtype: DTypeLike
    shape: tuple[int, ...] = ()
    fill: float | NDArray[Any] = 0.0


class Table:
    """Named columns over one axis of slots, kept as one array of records: a slot's whole state lies side by side.

    So `take` and `put` move all that a batch's series know in one copy each, however many columns there are.
    """

    def __init__(self, *columns: Mapping[str, Column], rows: int = 64) -> None:
        """Make the columns of all these parts, with `rows` fresh rows.

        Raises:
            ValueError: where two parts use one name.
        """
        joined: dict[str, Column] = {}
        for part in columns:
            if joined.keys() & part.keys():
                raise ValueError(f"columns {joined.keys() & part.keys()} stand for two things")
            joined |= part
        self._dtype = np.dtype([(name, column.dtype, column.shape) for name, column in joined.items()], align=True)
        self._opaque = np.dtype((np.void, self._dtype.itemsize))  # as bytes: numpy copies records field by field
        self._blank = np.zeros(1, self._dtype)
        for name, column in joined.items():
            self._blank[name] = column.fill
        self._rows = self._fresh(rows)

    def _fresh(self, rows: int) -> NDArray[Any]:
        return np.repeat(self._blank.view(self._opaque), rows)

    @property
    def rows(self) -> int:
        """How many there are, in use or not."""
        return len(self._rows)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The whole column, rows not in use included."""
        column: NDArray[Any] = self._rows.view(self._dtype)[name]
        return column

    def take(self, slots: Slots) -> State:
        """A copy of these rows, as an array of records `(n,)` whose fields are the columns."""
        return self._rows[slots].view(self._dtype)

    def put(self, slots: Slots, state: State) -> None:
        """Write back what `take` gave for these distinct slots."""
        self._rows[slots] = state.view(self._opaque)

    def grow(self, rows: int) -> None:
        """Have at least `rows` rows."""
        if rows > self.rows:
            self._rows = np.concatenate([self._rows, self._fresh(rows - self.rows)])

    def reset(self, rows: Slots) -> None:
        """Make rows fresh again."""
        self._rows[rows] = self._fresh(1)

    def dump(self, rows: Slots) -> dict[str, NDArray[Any]]:
        """Copies of these rows of every column."""
        return {name: self[name][rows] for name in self._dtype.names or ()}

    def check(self, arrays: Mapping[str, NDArray[Any]], n: int) -> None:
        """Make sure that `load` can take n rows of these.

        Raises:
            ValueError: where a column is of another type or shape.
        """
        for name in self._known(arrays):
            given, own = arrays[name], self[name]
            if given.dtype != own.dtype or given.shape != (n, *own.shape[1:]):
                raise ValueError(f"column {name} has another type or shape")

    def load(self, arrays: Mapping[str, NDArray[Any]], rows: Slots) -> None:
        """Take `dump`'s result into these rows. A column that it has not stays as it is, as do the other rows.

        Raises:
            ValueError: as `check`.
        """
        self.check(arrays, len(rows))
        for name in self._known(arrays):
            self[name][rows] = arrays[name]

    def clear(self, rows: int) -> None:
        """Have at least `rows` rows, all of them fresh."""
        self._rows = self._fresh(max(rows, self.rows))

    def _known(self, arrays: Mapping[str, NDArray[Any]]) -> list[str]:
        return [name for name in self._dtype.names or () if name in arrays]


def rows_of(state: State, chosen: NDArray[np.bool_]) -> State:
    """A copy of some records. As bytes: numpy copies records field by field."""
    return state.view(_bytes(state))[chosen].view(state.dtype)


def put_rows(state: State, chosen: NDArray[np.bool_], part: State) -> None:
    """Write back what `rows_of` gave."""
    state.view(_bytes(state))[chosen] = part.view(_bytes(state))


def _bytes(state: State) -> np.dtype[np.void]:
    return np.dtype((np.void, state.dtype.itemsize))


class Registry:
    """Which series has which slot, up to a cap, and where its row is."""

    def __init__(self, cap: int) -> None:
        """Start with no series."""
        self.cap = cap
        self._group, self._row = np.empty((2, 64), np.int64)
        self.load(())

    def load(self, keys: Iterable[SeriesKey]) -> None:
        """Have these series, by slot, and no others."""
        self.keys: list[SeriesKey] = list(keys)
        self.slots: dict[SeriesKey, int] = {key: slot for slot, key in enumerate(self.keys)}
        self._make_room()

    @property
    def full(self) -> bool:
        """Whether a new series needs another one's slot."""
        return len(self.keys) >= self.cap

    @property
    def group(self) -> Slots:
        """`(n,)` the number of the group of each slot."""
        return self._group[: len(self.keys)]

    @property
    def row(self) -> Slots:
        """`(n,)` the row of each slot in the table of its group."""
        return self._row[: len(self.keys)]

    def place(self, slot: int, group: int, row: int) -> None:
        """A slot has this row of this group."""
        self._group[slot], self._row[slot] = group, row

    def add(self, key: SeriesKey) -> int:
        """Give a new series the next free slot."""
        slot = len(self.keys)
        self.keys.append(key)
        self.slots[key] = slot
        self._make_room()
        return slot

    def drop_last(self) -> None:
        """Forget the series that was added last."""
        del self.slots[self.keys.pop()]

    def replace(self, slot: int, key: SeriesKey) -> SeriesKey:
        """Give a slot to another series and return the one that had it."""
        old = self.keys[slot]
        del self.slots[old]
        self.keys[slot] = key
        self.slots[key] = slot
        return old

    def _make_room(self) -> None:
        lacking = len(self.keys) - len(self._row)
        if lacking > 0:
            grown = np.zeros(max(len(self._row), lacking), np.int64)
            self._group, self._row = np.concatenate([self._group, grown]), np.concatenate([self._row, grown])
