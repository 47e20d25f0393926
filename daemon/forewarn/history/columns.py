"""The choice of columns: which one is the time, the device, the metric, and which ones are read.

A column is chosen without being asked for only where there is one choice; otherwise the error lists the choices.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypedDict

from forewarn.errors import DataError
from forewarn.history.history import TIMES, parse_number, parse_time

_TIME_NAMES = frozenset({"timestamp", "datetime", "time", "date", "ts", "at"})
DEVICE_NAMES = ("device", "device_id", "deviceid", "sensor_id", "sensorid")
DEVICE_NAMES_OF_TEXT = ("sensor", "id", "name", "node")
METRIC = "metric"  # what a column is called that says what each number is of
_VALUE = "value"  # of the readings of several metrics, where there are several columns of numbers


class Asked(TypedDict, total=False):
    """The attributes of `Choice`, as keywords."""

    time_column: str | None
    device_column: str | None
    metric_column: str | None
    features: Sequence[str] | None
    target: str | None
    prefer: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line says of columns; None leaves it to what is there.

    Attributes:
        time_column: its name.
        device_column: name of the column, tag or label of devices.
        metric_column: name of the column, tag or label that says what each number is of.
        features: names of the columns, or of the metrics, to read; None is the target alone, or the only one.
        target: the feature that is forecast; None is the only feature.
        prefer: what to take where neither features nor target say which and there are several.
    """

    time_column: str | None = None
    device_column: str | None = None
    metric_column: str | None = None
    features: Sequence[str] | None = None
    target: str | None = None
    prefer: str | None = None

    def asked(self) -> set[str]:
        """The features that were asked for by name."""
        return {*(self.features or ()), *((self.target,) if self.target else ())}

    def features_of(self, name: object, there: Sequence[str], thing: str) -> tuple[tuple[str, ...], str]:
        """The features and the one that is forecast, of what is there; `thing` is what a feature is in the source.

        Raises:
            DataError: where that leaves a question open, or something asked for is not there.
        """
        names = self.features
        if names is None:
            names = [self.target] if self.target is not None else [only(name, there, thing, self.prefer)]
        for one in names:
            known(name, one, there, thing, "--features" if one != self.target else "--target")
        if len(set(names)) != len(names) or not names:
            raise DataError(f"{name}: --features names {', '.join(names) or 'nothing'}: each {thing} once is needed")
        if self.target is None and len(names) > 1:
            raise DataError(f"{name}: which feature is forecast? Give --target, one of {', '.join(names)}")
        target = names[0] if self.target is None else self.target
        if target not in names:
            raise DataError(
                f"{name}: --target {target!r} is not among --features {', '.join(names)}: name it there as well"
            )
        return tuple(names), target


def only(source: object, there: Sequence[str], thing: str, prefer: str | None) -> str:
    """The only one there is, or the preferred one of several; else an error that lists them."""
    if len(there) == 1:
        return there[0]
    if prefer in there:
        return str(prefer)
    raise DataError(
        f"{source}: which {thing} is forecast? Give --target, one of {', '.join(there)} "
        "(and --features to use several as inputs)"
    )


def known(source: object, name: str, there: Iterable[str], thing: str, option: str) -> str:
    """The name, where it is there; else an error that suggests the nearest one."""
    names = list(there)
    if name in names:
        return name
    near = get_close_matches(name.lower(), [n.lower() for n in names], n=1)
    guess = next((n for n in names if near and n.lower() == near[0]), None)
    hint = f"did you mean {guess!r}? " if guess else ""
    raise DataError(f"{source}: has no {thing} {name!r} ({option}): {hint}It has {', '.join(names)}")


class Columns:
    """The choice of columns, from the header and the first rows."""

    def __init__(self, name: object, header: list[str], sample: list[list[str]], choice: Choice) -> None:
        """Of a table of text; `name` is what errors call it."""
        self._name = name
        self._header = header
        self._sample = sample
        self._choice = choice

    def _share(self, name: str, parse: Callable[[str], float]) -> float:
        """Share of the column's fields that are not empty and parse, among those that are not empty."""
        index = self._header.index(name)
        texts = [row[index] for row in self._sample if index < len(row) and row[index].strip()]
        return sum(not math.isnan(parse(text)) for text in texts) / max(1, len(texts))

    def _named(self, name: str, option: str) -> str:
        return known(self._name, name, self._header, "column", option)

    def time(self) -> str:
        """The column of times."""
        if self._choice.time_column is not None:
            return self._named(self._choice.time_column, "--time-column")
        taken = self._choice.asked() | {self._choice.device_column or ""}
        timed = [n for n in self._header if n not in taken and self._share(n, parse_time) > 0.5]
        found = [n for n in timed if n.lower() in _TIME_NAMES]
        found = found or [n for n in timed if self._share(n, parse_number) == 0]
        if len(found) == 1:
            return found[0]
        raise DataError(
            f"{self._name}: which column is the time? Give --time-column, one of {', '.join(found or self._header)} "
            f"({TIMES})"
        )

    def device(self, taken: set[str]) -> str:
        """The device column, "" where there is none; none of `taken` or of what was asked for as a feature."""
        if self._choice.device_column is not None:
            return self._named(self._choice.device_column, "--device-column")
        taken = taken | self._choice.asked()
        found = [
            n
            for n in self._header
            if n not in taken
            and (
                n.lower() in DEVICE_NAMES or (n.lower() in DEVICE_NAMES_OF_TEXT and self._share(n, parse_number) < 0.5)
            )
        ]
        if len(found) > 1:
            raise DataError(
                f"{self._name}: which column is the device? Give --device-column, one of {', '.join(found)}"
            )
        return found[0] if found else ""

    def metric(self, taken: set[str]) -> str:
        """The column that says what each number is of, "" where a column is a metric."""
        if self._choice.metric_column is not None:
            return self._named(self._choice.metric_column, "--metric-column")
        usual = [n for n in self._header if n.lower() == METRIC and n not in taken | self._choice.asked()]
        return usual[0] if usual and self._share(usual[0], parse_number) < 0.5 else ""

    def value(self, taken: set[str]) -> str:
        """The column of numbers beside a column of metrics."""
        found = self._numbers(taken)
        return only(self._name, found, "column", next((n for n in found if n.lower() == _VALUE), None))

    def features(self, taken: set[str]) -> tuple[tuple[str, ...], str]:
        """The columns to read, and the one that is forecast."""
        asked = self._choice.asked()
        if asked & taken:
            name = min(asked & taken)
            raise DataError(f"{self._name}: column {name!r} is the time or the device and cannot be a feature")
        return self._choice.features_of(self._name, self._header if asked else self._numbers(taken), "column")

    def _numbers(self, taken: set[str]) -> list[str]:
        found = [n for n in self._header if n not in taken and self._share(n, parse_number) > 0.5]
        if not found:
            raise DataError(f"{self._name}: no column holds numbers beside {', '.join(sorted(taken - {''}))}")
        return found
