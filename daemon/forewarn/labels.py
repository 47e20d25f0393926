"""Labels: windows of time that somebody knows something happened in, read from JSON or CSV.

A name is that of a device, or the path of the history's file as far as both are given; other names are of other files
and left alone, so that one file of labels serves a whole corpus.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forewarn.errors import DataError
from forewarn.history import History, parse_time

_CSV_HEADER = (("device",), ("begin", "started_at"), ("end", "ended_at"))  # the latter as `forewarn simulate` has them
_FORMS = 'JSON {"device or file": [["begin", "end"], …]} or CSV with the columns device, begin and end'
_Ends = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, both ends included, in UTC epoch seconds; `device` None stands for every one of the file."""

    device: str | None
    begin_at: float
    end_at: float


def read_labels(path: Path, history: History) -> list[Window]:
    """The windows of the file's devices, each once.

    Raises:
        DataError: saying what is wrong and where.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): give the path of a JSON or CSV file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}): {_FORMS} is needed") from error
    try:
        read = list(_of_json(path, text) if text.lstrip().startswith(("{", "[")) else _of_csv(path, text))
    except (csv.Error, RecursionError) as error:
        raise DataError(f"{path}: cannot be understood ({error}): {_FORMS} is needed") from None
    devices = set(history.device)
    file = _file_name(path, {name for name, _ in read}, history.path)
    known = [(name, windows) for name, windows in read if name in devices or name == file]
    if not known:
        raise DataError(
            f"{path}: has no labels for {history.path}: name the file or its devices ({_some(sorted(devices))}); "
            f"it names {_some(sorted({name for name, _ in read})) or 'nothing'}"
        )
    found = [Window(name if name in devices else None, *ends) for name, windows in known for ends in windows]
    return list(dict.fromkeys(found))


def _of_json(path: Path, text: str) -> Iterator[tuple[str, list[_Ends]]]:
    try:
        names = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: line {error.lineno}: is no JSON ({error.msg}): {_FORMS} is needed") from None
    if not isinstance(names, dict) or not all(isinstance(pairs, list) for pairs in names.values()):
        raise DataError(f"{path}: holds no windows by name: {_FORMS} is needed")
    for name, pairs in names.items():
        yield name, [_ends(f"{path}: {name!r}, window {i}", pair) for i, pair in enumerate(pairs, 1)]


def _of_csv(path: Path, text: str) -> Iterator[tuple[str, list[_Ends]]]:
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip().lower() for name in next(reader, [])]
    columns = [next((header.index(name) for name in names if name in header), -1) for names in _CSV_HEADER]
    if -1 in columns:
        raise DataError(f"{path}: line 1 has no column {_CSV_HEADER[columns.index(-1)][0]!r}: {_FORMS} is needed")
    for row in reader:
        if any(row):
            device, *ends = (row[i].strip() if i < len(row) else "" for i in columns)
            yield device, [_ends(f"{path}: line {reader.line_num}", ends)]


def _ends(where: str, pair: Any) -> _Ends:  # noqa: ANN401 - whatever JSON may hold
    if not isinstance(pair, list) or len(pair) != 2:
        raise DataError(f"{where}: {pair!r} is no pair of times: begin and end are needed")
    begin_at, end_at = (parse_time(str(end)) for end in pair)
    for end, at in zip(pair, (begin_at, end_at), strict=True):
        if math.isnan(at):
            raise DataError(f"{where}: {end!r} is no time: write ISO 8601, epoch seconds or epoch milliseconds")
    if begin_at > end_at:
        raise DataError(f"{where}: begins at {pair[0]}, after its end {pair[1]}: exchange them")
    return begin_at, end_at


def _file_name(path: Path, names: set[str], file: Path) -> str | None:
    """The name that has the longest end in common with the file's path, at least the file's own name."""
    own = file.resolve().parts[::-1]
    common = {}
    for name in names:
        parts = Path(name).parts[::-1]
        n_same = next(
            (i for i, (a, b) in enumerate(zip(parts, own, strict=False)) if a != b), min(len(parts), len(own))
        )
        if n_same:
            common[name] = n_same
    best = [name for name in sorted(common) if common[name] == max(common.values())]
    if len(best) > 1:
        raise DataError(f"{path}: which of {_some(best)} is {file}? Give its path from a folder that tells them apart")
    return best[0] if best else None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
