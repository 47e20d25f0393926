"""What several groups of series show of themselves, as one: the engine's views.

Rules that hold here:

- With one group its view is taken as it is.
- Models differ in how far they look: what is shorter is filled up with NaN, a forecast at its end, what was read at its
  beginning. `Fleet.horizon` says how much of a forecast is there.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.core.courses import Recent
from forewarn.core.readings import Fleet, SeriesKey, Slots

Places = slice | Slots


def fleet(parts: Sequence[tuple[Places, Fleet]], slots: Slots) -> Fleet:
    """The series of these slots, of which each part has those at its places."""
    if len(parts) == 1:
        return parts[0][1]
    columns = {field.name: [getattr(part, field.name) for _, part in parts] for field in fields(Fleet)}
    keys = _keys([(some, part.keys) for some, part in parts], len(slots))
    places = [some for some, _ in parts]
    joined = {name: _joined(places, column, len(slots)) for name, column in columns.items() if name != "keys"}
    return Fleet(keys=keys, **joined)


def recent(parts: Sequence[tuple[Places, Recent]], n: int) -> Recent:
    """The readings of `n` series, of which each part has those at its places."""
    if len(parts) == 1:
        return parts[0][1]
    places = [some for some, _ in parts]
    newest_first = (
        _joined(places, [column[:, ::-1] for column in columns], n)
        for columns in ([part.at for _, part in parts], [part.value for _, part in parts])
    )
    at, value = (column[:, ::-1] for column in newest_first)
    return Recent(_keys([(some, part.keys) for some, part in parts], n), at, value)


def _joined(places: Sequence[Places], columns: Sequence[NDArray[Any]], n: int) -> NDArray[Any]:
    """One column of parts whose last axis may differ in length."""
    longest = max(columns, key=lambda column: column.shape[-1] if column.ndim > 1 else 0)
    whole = np.full((n, *longest.shape[1:]), np.nan if longest.dtype.kind == "f" else 0, longest.dtype)
    for some, column in zip(places, columns, strict=True):
        whole[(some, ..., slice(column.shape[-1])) if column.ndim > 1 else some] = column
    return whole


def _keys(parts: Sequence[tuple[Places, tuple[SeriesKey, ...]]], n: int) -> tuple[SeriesKey, ...]:
    keys: list[SeriesKey] = [SeriesKey("", "")] * n
    for some, known in parts:
        for i, key in zip(np.arange(n)[some].tolist(), known, strict=True):
            keys[i] = key
    return tuple(keys)
