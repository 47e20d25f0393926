"""Exports of InfluxDB as CSV, of Flux and of InfluxQL, as samples.

Flux: annotated CSV (https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/), many tables in one file,
each with a header and, unless the dialect left them out, the annotations #group, #datatype and #default before it.

InfluxQL: what `influx -execute QUERY -format csv` and `/query` with `Accept: application/csv` write: columns `name` (of
the measurement), `tags` (`key=value,…`), `time`, then what was selected, with a new header for each series. A file that
begins with `name,time` is taken for one only where its times are nanoseconds, the default there: else `name` may as
well be a column of somebody's own.

Rules that hold here:

- A number is a reading; of a table without `_value` each column of numbers is one. Text is a tag. So is a column that
  is named like a device, whatever it holds. `true` and `false` are neither.
- A reading is of its field, of its measurement where the field is called `value`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from forewarn.errors import DataError
from forewarn.history.columns import DEVICE_NAMES
from forewarn.history.history import parse_number
from forewarn.history.samples import MEASUREMENT, Labels, Sample

_FLUX, _ERROR = ["result", "table"], ["error", "reference"]  # a header has them, after the column of annotations if any
_QL, _QL_WITH_TAGS = ["name", "time"], ["name", "tags", "time"]  # a header begins so
_ANNOTATIONS = frozenset({"#group", "#datatype", "#default"})
_FLUX_SKIPPED = frozenset({"", "table", "_start", "_stop"})
_VALUE = "value"
_NANOSECONDS = 19  # digits, from 2001 to 2286
_NO_TEXT = frozenset({"", "true", "false"})


def is_influx(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether the first two lines of a file are those of such an export."""
    if not first:
        return False
    if first[0] in _ANNOTATIONS or _begins(first, _FLUX) or _begins(first, _ERROR) or list(first[:3]) == _QL_WITH_TAGS:
        return True
    return list(first[:2]) == _QL and len(second) > 1 and _is_ns(second[1])


def samples(path: object, rows: Iterable[list[str]]) -> Iterator[Sample]:
    """Every number of a file, given its rows.

    Raises:
        DataError: in InfluxDB's words where the file holds an error of it, or where a table has no time.
    """
    series: dict[tuple[tuple[str, str], ...], Labels] = {}
    annotations: dict[str, list[str]] = {}
    table: _Table | None = None
    for row in rows:
        if row[0].startswith("#"):
            annotations[row[0]] = row
        elif _begins(row, _FLUX) or row[:2] == _QL or row[:3] == _QL_WITH_TAGS:
            table = _Table(path, row, annotations.get("#default", []))
            annotations = {}
        elif _begins(row, _ERROR):
            table = None
        elif table is None:
            raise DataError(f"{path}: InfluxDB says: {', '.join(filter(None, row))}")
        else:
            found = table.labels(row)
            labels = series.setdefault(tuple(sorted(found.items())), found)
            for metric, value in table.numbers(row):
                yield Sample(table.time(row), labels, metric, value)


class _Table:
    """Rows under one header."""

    def __init__(self, path: object, header: list[str], default: list[str]) -> None:
        """Of a header, and of what an empty field stands for."""
        self._header = header
        self._default = [*default, *[""] * (len(header) - len(default))]
        self._ql = header[0] == "name"
        time = "time" if self._ql else "_time"
        if time not in header:
            raise DataError(f"{path}: a table has no column {time!r}: export readings, not an aggregate without time")
        self._time = header.index(time)
        self._long = "_value" in header
        skipped = {"name", "tags"} if self._ql else _FLUX_SKIPPED
        self._columns = [
            (i, name.strip('"')) for i, name in enumerate(header) if i != self._time and name not in skipped
        ]

    def time(self, row: list[str]) -> str:
        return self._field(row, self._time)

    def labels(self, row: list[str]) -> dict[str, str]:
        """What tells the row's series apart."""
        found = {}
        if self._ql:
            found[MEASUREMENT] = self._field(row, 0)
            if self._header[1] == "tags":
                found |= _tags(self._field(row, 1))
        for i, name in self._columns:
            text = self._field(row, i)
            if name not in {"_value", "_field"} and text not in _NO_TEXT and not self._is_number(name, text):
                found[name] = text
        return found

    def numbers(self, row: list[str]) -> Iterator[tuple[str, str]]:
        """What the row's numbers are of, and they."""
        named = {name: self._field(row, i) for i, name in self._columns}
        measurement = self._field(row, 0) if self._ql else named.get(MEASUREMENT, "")
        if self._long:
            field = named.get("_field", _VALUE)
            yield (measurement if field == _VALUE and measurement else field), named["_value"]
            return
        for name, text in named.items():
            if self._is_number(name, text):
                yield (measurement if name == _VALUE and measurement else name), text

    def _is_number(self, name: str, text: str) -> bool:
        if self._long or name == MEASUREMENT or name.lower() in DEVICE_NAMES:
            return False
        return not math.isnan(parse_number(text))

    def _field(self, row: list[str], i: int) -> str:
        return (row[i] if i < len(row) else "") or self._default[i]


def _begins(row: Sequence[str], names: list[str]) -> bool:
    return names in (list(row[:2]), list(row[1:3]))


def _tags(text: str) -> dict[str, str]:
    """Of `key=value,…`, where a backslash takes its meaning from a comma, an equals sign or a space."""
    found, key, part, escaped = {}, "", "", False
    for letter in f"{text},":
        if escaped or letter not in "\\,=":
            part, escaped = part + letter, False
        elif letter == "\\":
            escaped = True
        elif letter == "=" and not key:
            key, part = part, ""
        elif letter == "=":
            part += letter
        else:
            found[key] = part
            key = part = ""
    return {key: value for key, value in found.items() if key and value}


def _is_ns(text: str) -> bool:
    return len(text) == _NANOSECONDS and text.isdecimal()
