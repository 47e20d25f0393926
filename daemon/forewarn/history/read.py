"""From a file, a folder or a query to a `History`.

Rules that hold here:

- Every row of a file is kept, in the file's order: a field that is no number becomes NaN, a time that cannot be read
  becomes NaN in `at`, and the text of the timestamp stays as it was. Blank lines are no rows.
- Where a column says what each number is of (a long table), the rules of `samples.py` hold as well.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from forewarn.adapters.prometheus import RangeQuery
from forewarn.core.card import ModelCard
from forewarn.errors import DataError
from forewarn.history import influx, samples
from forewarn.history.columns import Asked, Choice, Columns
from forewarn.history.files import digest, files_of, rows_of, told
from forewarn.history.history import History, parse_number, parse_time
from forewarn.history.samples import METRIC_NAME, Sample

_SAMPLE_ROWS = 500  # what the choice of columns looks at


def read_history(source: Path | RangeQuery, **asked: Unpack[Asked]) -> History:
    """Read past readings.

    Args:
        source: a CSV file with a header line, whose delimiter is a comma, a semicolon or a tab; a Parquet file; an
            export of InfluxDB (`influx.py`); a folder whose `.csv` and `.parquet` files are read as one, in the order
            of their names; or a query of Prometheus. Of a folder, files without the columns that are asked for are left
            out; the others have one header.
        asked: see `Choice`.

    Raises:
        DataError: naming the file, the line or column, and what to do.
    """
    choice = Choice(**asked)
    if isinstance(source, RangeQuery):
        answer = source.ask()
        return samples.history_of(Path(source.place), answer.sha256, _of_prometheus(answer.series), choice)
    with told(source):
        files = files_of(source, choice.asked() | {*filter(None, (choice.time_column, choice.device_column))})
        sha256 = digest(files)
        with closing(rows_of(files)) as rows:
            first, second = next(rows, []), next(rows, [])
            if influx.is_influx(first, second):
                whole = rows_of(files, headers=True)
                return samples.history_of(source, sha256, influx.samples(source, whole), choice)
            return _of_table(source, sha256, chain([first], [second] if second else [], rows), choice)


def read_for(source: Path | RangeQuery, card: ModelCard, **asked: Unpack[Asked]) -> History:
    """Read the columns that a model needs.

    A model with several features takes the columns of their names. A model with one takes the target that is asked for,
    else the only column of numbers, else the one of its feature's name.

    Raises:
        DataError: saying which option to give.
    """
    if len(card.features) > 1:
        target = asked.get("target")
        if target not in (None, card.target):
            name = source.place if isinstance(source, RangeQuery) else source
            raise DataError(f"{name}: the model forecasts {card.target}, which cannot be replaced by {target}")
        asked = {**asked, "features": [feature.name for feature in card.features], "target": card.target}
    else:
        asked = {**asked, "prefer": card.target}
    return read_history(source, **asked)


def _of_table(path: Path, sha256: str, rows: Iterator[list[str]], choice: Choice) -> History:
    """Of rows of which the first is the header."""
    header = _header(path, next(rows, []))
    sample = list(islice(rows, _SAMPLE_ROWS))
    if not sample:
        raise DataError(f"{path}: has a header line and no rows: at least one row is needed")
    columns = Columns(path, header, sample, choice)
    time = columns.time()
    device = columns.device({time})
    metric = columns.metric({time, device})
    every = chain(sample, rows)
    if metric:
        value = columns.value({time, device, metric})
        long = _of_long(every, [header.index(name) if name else None for name in (time, device, metric, value)])
        plain = replace(choice, device_column="device" if device else None, metric_column=None)
        return samples.history_of(path, sha256, long, plain, ordered=True)
    features, target = columns.features({time, device})
    texts, devices, at, values = _read_rows(every, header, time, device, features)
    devices = devices or [path.stem] * len(at)
    return History(path, sha256, texts, devices, at, values, features, target).checked(time)


def _header(path: Path, row: list[str]) -> list[str]:
    names = [name.strip() for name in row]
    if not names:
        raise DataError(f"{path}: is empty: a header line and at least one row are needed")
    if 2 * sum(not math.isnan(parse_time(name)) for name in names) >= len(names):
        raise DataError(f"{path}: line 1 holds values, not names: add a header line such as 'timestamp,value'")
    return names


def _read_rows(
    rows: Iterable[list[str]], header: list[str], time: str, device: str, features: tuple[str, ...]
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


def _of_long(rows: Iterable[list[str]], places: list[int | None]) -> Iterator[Sample]:
    """Samples of a table with a column of times, of devices (or none), of metrics and of values."""
    labels: dict[str, dict[str, str]] = {}
    for row in rows:
        time, device, metric, value = (row[i] if i is not None and i < len(row) else "" for i in places)
        named = labels.setdefault(device.strip(), {} if places[1] is None else {"device": device.strip()})
        yield Sample(time, named, metric.strip(), value)


def _of_prometheus(series: Iterable[tuple[dict[str, str], list[tuple[float, str]]]]) -> Iterator[Sample]:
    for labels, points in series:
        metric = labels.get("metric") or labels.get(METRIC_NAME, "value")
        for at, value in points:
            yield Sample(_moment(at), labels, metric, value)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
