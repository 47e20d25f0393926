"""Which series a choice of the operator is for: shell-style patterns, of which the first that matches counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Generic, TypeVar

from forewarn.core.readings import SeriesKey

_T = TypeVar("_T")
_REMEMBERED = 20_000  # series


@dataclass(frozen=True, slots=True)
class SeriesPattern:
    """The series whose device and metric match these shell-style patterns, in their case."""

    device: str
    metric: str

    def matches(self, series: SeriesKey) -> bool:
        """Whether that series is among them."""
        return fnmatchcase(series.device, self.device) and fnmatchcase(series.metric, self.metric)


class Choice(Generic[_T]):
    """One of several things for each series.

    Attributes:
        every: of these things, in the order of their patterns; the one for all other series is the last.
    """

    def __init__(self, rest: _T, chosen: Sequence[tuple[SeriesPattern, _T]] = ()) -> None:
        """Choose for each series.

        Args:
            rest: for every series that no pattern matches.
            chosen: the first whose pattern matches a series is for it.
        """
        self._rest, self._chosen = rest, tuple(chosen)
        self.every: tuple[_T, ...] = (*(one for _, one in self._chosen), rest)
        self._found = lru_cache(_REMEMBERED)(self._find)

    def of(self, series: SeriesKey) -> _T:
        """What is for that series."""
        return self._found(series) if self._chosen else self._rest

    def _find(self, series: SeriesKey) -> _T:
        return next((one for pattern, one in self._chosen if pattern.matches(series)), self._rest)
