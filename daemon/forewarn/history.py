"""A CSV file of past readings, as columns.

Rules that hold here:

- Every row of the file is kept, in the file's order: a field that is no number becomes NaN, a time that cannot be read
  becomes NaN in `at`, and the text of the timestamp stays as it was. Blank lines are no rows.
- A column is chosen without being asked for only where there is one choice; otherwise the error lists the choices.
"""

import csv
import hashlib
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forewarn.core.card import ModelCard
from forewarn.errors import DataError

_DELIMITERS = ",;\t"
_TIME_NAMES = frozenset({"timestamp", "datetime", "time", "date", "ts", "at"})
_DEVICE_NAMES = frozenset({"device", "device_id", "deviceid", "sensor_id", "sensorid"})
_DEVICE_NAMES_OF_TEXT = frozenset({"sensor", "id", "name", "node"})
_SAMPLE_ROWS = 500  # what the choice of columns looks at
_MILLISECONDS_FROM = 1e11  # as seconds this is the year 5138, as milliseconds March 1973
_EARLIEST_AT, _LATEST_AT = -62135596800.0, 253402300799.0  # the years 1 and 9999, what ISO 8601 spells in four digits


@dataclass(frozen=True, slots=True)
class History:
    """Rows of a file as columns of one length n.

    Attributes:
        path: of the file.
        sha256: of the file's bytes, hexadecimal; of several files, that of their hashes.
        timestamp_text: the timestamp of each row as it was written.
        device: of each row; the file's stem where there is no device column.
        at: `(n,)` UTC epoch seconds, NaN where the timestamp cannot be read.
        values: `(n, n_feature)` engineering units, NaN where a field is no number.
        features: names of the columns of `values`.
        target: the feature that is forecast.
    """

    path: Path
    sha256: str
    timestamp_text: list[str]
    device: list[str]
    at: NDArray[np.float64]
    values: NDArray[np.float64]
    features: tuple[str, ...]
    target: str

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.device)

    @property
    def target_index(self) -> int:
        """The column of `values` that is forecast."""
        return self.features.index(self.target)


def parse_number(text: str) -> float:
    """The number that a field holds, NaN where it holds none. `inf` is a number."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def parse_time(text: str) -> float:
    """UTC epoch seconds of ISO 8601 (no zone: UTC), epoch seconds or epoch milliseconds; NaN for anything else."""
    number = parse_number(text)
    if math.isnan(number):
        try:
            moment = datetime.fromisoformat(text.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return math.nan
    at = number / 1000 if abs(number) >= _MILLISECONDS_FROM else number
    return at if _EARLIEST_AT <= at <= _LATEST_AT else math.nan


def read_history(
    path: Path,
    *,
    time_column: str | None = None,
    device_column: str | None = None,
    features: Sequence[str] | None = None,
    target: str | None = None,
    prefer: str | None = None,
) -> History:
    """Read a CSV file with a header line; the delimiter is a comma, a semicolon or a tab.

    Args:
        path: of the file, or of a folder whose `.csv` files are read as one, in the order of their names. Of a folder,
            files without the columns that are asked for are left out; the others have one header.
        time_column: its name; None chooses a column that is named like a time, or the only one that holds times.
        device_column: its name; None chooses a column that is named like a device, else all rows are one device.
        features: names of the columns to read; None is the target alone, or the only column of numbers left.
        target: the feature that is forecast; None is the only feature.
        prefer: the column of numbers to take where neither features nor target say which and there are several.

    Raises:
        DataError: naming the file, the line or column, and what to do.
    """
    try:
        named = {*(features or ()), *filter(None, (target, time_column, device_column))}
        files = _files(path, named) if path.is_dir() else [path]
        sha256 = _digest(files)
        with closing(_rows_of(files)) as rows:
            header = _header(files[0], next(rows, []))
            sample = list(islice(rows, _SAMPLE_ROWS))
            if not sample:
                raise DataError(f"{path}: has a header line and no rows: at least one row is needed")
            columns = _Columns(path, header, sample)
            asked = {*(features or ()), *((target,) if target else ())}
            time = columns.time(time_column, asked | {device_column or ""})
            device = columns.device(device_column, asked | {time})
            chosen, target = columns.features(features, target, {time, device}, prefer)
            read = _read_rows(chain(sample, rows), header, time, device, chosen)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): give the path of a CSV file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}): save it as a CSV file in UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV file ({error}): save it with commas, semicolons or tabs") from error
    texts, devices, at, values = read
    history = History(path, sha256, texts, devices or [path.stem] * len(at), at, values, chosen, target)
    _check_values(history, time)
    return history


def read_for(
    path: Path, card: ModelCard, *, time_column: str | None, device_column: str | None, target: str | None
) -> History:
    """Read the columns of a file that a model needs.

    A model with several features takes the columns of their names. A model with one takes `target`, else the only
    column of numbers, else the one of its feature's name.

    Raises:
        DataError: saying which option to give.
    """
    if len(card.features) > 1:
        if target not in (None, card.target):
            raise DataError(f"{path}: the model forecasts {card.target}, which cannot be replaced by {target}")
        names = [feature.name for feature in card.features]
        return read_history(
            path, time_column=time_column, device_column=device_column, features=names, target=card.target
        )
    return read_history(path, time_column=time_column, device_column=device_column, target=target, prefer=card.target)


def _files(folder: Path, named: set[str]) -> list[Path]:
    """The files of a folder that have these columns."""
    headers: dict[tuple[str, ...], list[Path]] = {}
    for file in sorted(folder.glob("*.csv")):
        header = tuple(name.strip() for name in next(_rows_of([file]), []))
        if header and named <= {*header}:
            headers.setdefault(header, []).append(file)
    if len(headers) == 1:
        return next(iter(headers.values()))
    if not headers:
        columns = f" with the columns {', '.join(sorted(named))}" if named else ""
        raise DataError(f"{folder}: no .csv file in it{columns}: give a file, or another folder")
    told = "; ".join(", ".join(header) for header in sorted(headers))
    raise DataError(f"{folder}: its files have different columns ({told}): say which to read with --target")


def _rows_of(files: Sequence[Path]) -> Generator[list[str], None, None]:
    """The header of the first file, then the rows of all."""
    for i, file in enumerate(files):
        with file.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = _delimiter(stream.readline())
            stream.seek(0)
            rows = (row for row in csv.reader(stream, delimiter=delimiter) if any(row))
            yield from islice(rows, 1 if i else 0, None)


def _digest(files: Sequence[Path]) -> str:
    """SHA-256 of one file, or of the hashes of several."""
    hashes = []
    for file in files:
        with file.open("rb") as raw:
            hashes.append(hashlib.file_digest(raw, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _header(path: Path, row: list[str]) -> list[str]:
    names = [name.strip() for name in row]
    if not names:
        raise DataError(f"{path}: is empty: a header line and at least one row are needed")
    if 2 * sum(not math.isnan(parse_time(name)) for name in names) >= len(names):
        raise DataError(f"{path}: line 1 holds values, not names: add a header line such as 'timestamp,value'")
    return names


def _read_rows(
    rows: Iterable[list[str]], header: list[str], time: str, device: str, features: Sequence[str]
) -> tuple[list[str], list[str], NDArray[np.float64], NDArray[np.float64]]:
    """Timestamps as text, devices (none where `device` is ""), times and values of all rows."""
    columns = [header.index(name) for name in (time, *features)]
    device_index = header.index(device) if device else None
    texts: list[str] = []
    devices: list[str] = []
    values: list[float] = []
    for row in rows:
        fields = [row[i] if i < len(row) else "" for i in columns]
        texts.append(fields[0])
        values.extend(parse_number(field) for field in fields[1:])
        if device_index is not None:
            devices.append(row[device_index].strip() if device_index < len(row) else "")
    at = np.array([parse_time(text) for text in texts])
    return texts, devices, at, np.array(values).reshape(len(at), len(features))


def _check_values(history: History, time: str) -> None:
    path = history.path
    if np.isnan(history.at).all():
        raise DataError(
            f"{path}: line 2, column {time!r}: {history.timestamp_text[0]!r} is no time: "
            "write ISO 8601, epoch seconds or epoch milliseconds"
        )
    for name, column in zip(history.features, history.values.T, strict=True):
        if not np.isfinite(column).any():
            raise DataError(f"{path}: column {name!r} holds no number: name another one with --target or --features")


class _Columns:
    """The choice of columns, from the header and the first rows."""

    def __init__(self, path: Path, header: list[str], sample: list[list[str]]) -> None:
        self.path = path
        self.header = header
        self.sample = sample

    def _share(self, name: str, parse: Callable[[str], float]) -> float:
        """Share of the column's fields that are not empty and parse, among those that are not empty."""
        index = self.header.index(name)
        texts = [row[index] for row in self.sample if index < len(row) and row[index].strip()]
        return sum(not math.isnan(parse(text)) for text in texts) / max(1, len(texts))

    def named(self, name: str, option: str) -> str:
        """The column of that name, or an error that suggests the nearest one."""
        if name in self.header:
            return name
        near = get_close_matches(name.lower(), [n.lower() for n in self.header], n=1)
        guess = next((n for n in self.header if near and n.lower() == near[0]), None)
        hint = f"did you mean {guess!r}? " if guess else ""
        raise DataError(f"{self.path}: has no column {name!r} ({option}): {hint}It has {', '.join(self.header)}")

    def time(self, name: str | None, taken: set[str]) -> str:
        if name is not None:
            return self.named(name, "--time-column")
        timed = [n for n in self.header if n not in taken and self._share(n, parse_time) > 0.5]
        found = [n for n in timed if n.lower() in _TIME_NAMES]
        found = found or [n for n in timed if self._share(n, parse_number) == 0]
        if len(found) == 1:
            return found[0]
        raise DataError(
            f"{self.path}: which column is the time? Give --time-column, one of {', '.join(found or self.header)} "
            "(ISO 8601, epoch seconds or epoch milliseconds)"
        )

    def device(self, name: str | None, taken: set[str]) -> str:
        """The device column, "" where there is none."""
        if name is not None:
            return self.named(name, "--device-column")
        found = [
            n
            for n in self.header
            if n not in taken
            and (
                n.lower() in _DEVICE_NAMES
                or (n.lower() in _DEVICE_NAMES_OF_TEXT and self._share(n, parse_number) < 0.5)
            )
        ]
        if len(found) > 1:
            raise DataError(f"{self.path}: which column is the device? Give --device-column, one of {', '.join(found)}")
        return found[0] if found else ""

    def features(
        self, names: Sequence[str] | None, target: str | None, taken: set[str], prefer: str | None
    ) -> tuple[tuple[str, ...], str]:
        if names is None:
            names = [target] if target is not None else [self._only_numbers(taken, prefer)]
        for name in names:
            self.named(name, "--features" if name != target else "--target")
            if name in taken:
                raise DataError(f"{self.path}: column {name!r} is the time or the device and cannot be a feature")
        if len(set(names)) != len(names) or not names:
            raise DataError(
                f"{self.path}: --features names {', '.join(names) or 'nothing'}: each column once is needed"
            )
        if target is None and len(names) > 1:
            raise DataError(f"{self.path}: which feature is forecast? Give --target, one of {', '.join(names)}")
        target = names[0] if target is None else target
        if target not in names:
            raise DataError(
                f"{self.path}: --target {target!r} is not among --features {', '.join(names)}: name it there as well"
            )
        return tuple(names), target

    def _only_numbers(self, taken: set[str], prefer: str | None) -> str:
        found = [n for n in self.header if n not in taken and self._share(n, parse_number) > 0.5]
        if len(found) == 1:
            return found[0]
        if prefer in found:
            return str(prefer)
        if not found:
            raise DataError(f"{self.path}: no column holds numbers beside {', '.join(sorted(taken - {''}))}")
        raise DataError(
            f"{self.path}: which column is forecast? Give --target, one of {', '.join(found)} "
            "(and --features to use several as inputs)"
        )
