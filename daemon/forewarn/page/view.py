"""Which devices the list shows, and in which order: what the address of the page asks for.

Rules that hold here:

- An address that makes no sense shows the first page of everything; nothing in it is an error.
- `ROWS` series are on a page, so that a page costs the same with ten thousand of them.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self
from urllib.parse import urlencode

import numpy as np

from forewarn.core.readings import Fleet, Floats, SeriesState, Slots

ROWS = 100
STATES = {state.name.lower(): state for state in (SeriesState.ALERT, SeriesState.OK, SeriesState.WARMING_UP)}
SORTS = {"deviation": "alerts, then furthest from expected", "name": "name"}
_TEXT_MOST = 128  # characters of a search


class Choice(NamedTuple):
    """What a view shows of a fleet.

    Attributes:
        rows: of the fleet, from top to bottom.
        n: series that match, on this page and others.
        counts: series that match the text, by state.
        page: from 1.
        n_page: at least 1.
    """

    rows: tuple[int, ...]
    n: int
    counts: dict[str, int]
    page: int
    n_page: int


class View(NamedTuple):
    """What is asked for.

    Attributes:
        text: that device and metric have in them, without regard to case.
        state: a key of `STATES`, or "" for all.
        sort: a key of `SORTS`.
        page: from 1.
    """

    text: str = ""
    state: str = ""
    sort: str = "deviation"
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """What an address asks for."""
        state, sort, page = query.get("state", ""), query.get("sort", ""), query.get("page", "")
        return cls(
            text=query.get("q", "").strip()[:_TEXT_MOST],
            state=state if state in STATES else "",
            sort=sort if sort in SORTS else "deviation",
            page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
        )

    def address(self) -> str:
        """The address that asks for this."""
        asked = {"q": self.text, "state": self.state, "sort": self.sort, "page": str(self.page)}
        usual = {"q": "", "state": "", "sort": "deviation", "page": "1"}
        differing = {name: value for name, value in asked.items() if value != usual[name]}
        return f"/?{urlencode(differing)}" if differing else "/"

    def choose(self, fleet: Fleet, away: Floats) -> Choice:
        """The rows of this page; `away` is `(n,)`, what `deviation` says or said of the fleet."""
        matching = np.arange(len(fleet.keys)) if not self.text else self._found(fleet)
        states = fleet.state[matching]
        counts = {name: int(np.count_nonzero(states == state)) for name, state in STATES.items()}
        if self.state:
            matching = matching[states == STATES[self.state]]
        n_page = max(1, -(-len(matching) // ROWS))
        page = min(max(self.page, 1), n_page)
        ordered = self._ordered(fleet, matching, away)[(page - 1) * ROWS : page * ROWS]
        return Choice(tuple(ordered), len(matching), counts, page, n_page)

    def _found(self, fleet: Fleet) -> Slots:
        text = self.text.casefold()
        return np.array([i for i, key in enumerate(fleet.keys) if text in f"{key[0]} {key[1]}".casefold()], np.int64)

    def _ordered(self, fleet: Fleet, rows: Slots, away: Floats) -> list[int]:
        if self.sort == "name":
            return sorted(rows.tolist(), key=fleet.keys.__getitem__)
        calm = fleet.state[rows] != SeriesState.ALERT
        order: list[int] = rows[np.lexsort((rows, -away[rows], calm))].tolist()
        return order


def deviation(fleet: Fleet) -> Floats:
    """`(n,)`: |residual| in half-widths of the band, -1 where it is not known."""
    half = (fleet.upper - fleet.lower) / 2
    known = np.isfinite(fleet.residual) & (half > 0)
    return np.where(known, np.abs(fleet.residual) / np.where(known, half, 1.0), -1.0)
