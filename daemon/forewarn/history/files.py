"""Rows of text out of files: CSV with a comma, a semicolon or a tab, and Parquet.

The format is told by content: a Parquet file begins with its magic number. Blank lines are no rows.
"""

import csv
import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from forewarn.adapters import parquet
from forewarn.errors import DataError
from forewarn.history.columns import METRIC
from forewarn.history.influx import is_influx

_DELIMITERS = ",;\t"
_SUFFIXES = frozenset({".csv", ".parquet"})


def files_of(path: Path, named: set[str]) -> list[Path]:
    """The file, or those of a folder in the order of their names that have the columns named; all with one header.

    Raises:
        DataError: where a folder has none, or files of several kinds.
    """
    if not path.is_dir():
        return [path]
    headers: dict[tuple[str, ...], list[Path]] = {}
    for file in sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES):
        with closing(_rows_of(file)) as rows:
            first, second = next(rows, []), next(rows, [])
        if is_influx(first, second):
            headers.setdefault(("an export of InfluxDB",), []).append(file)
            continue
        header = tuple(name.strip() for name in first)
        if header and (named <= {*header} or any(name.lower() == METRIC for name in header)):
            headers.setdefault(header, []).append(file)
    if len(headers) == 1:
        return next(iter(headers.values()))
    if not headers:
        columns = f" with the columns {', '.join(sorted(named))}" if named else ""
        raise DataError(f"{path}: no .csv or .parquet file in it{columns}: give a file, or another folder")
    told = "; ".join(", ".join(header) for header in sorted(headers))
    raise DataError(f"{path}: its files have different columns ({told}): say which to read with --target")


def rows_of(files: Sequence[Path], *, headers: bool = False) -> Generator[list[str], None, None]:
    """The first row of the first file, then the rows of all that are no first ones; with `headers`, all rows of all."""
    for i, file in enumerate(files):
        with closing(_rows_of(file)) as rows:
            yield from islice(rows, 1 if i and not headers else 0, None)


def digest(files: Sequence[Path]) -> str:
    """SHA-256 of one file, or of the hashes of several."""
    hashes = []
    for file in files:
        with file.open("rb") as raw:
            hashes.append(hashlib.file_digest(raw, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What goes wrong with a file, as an error that says what to do.

    Raises:
        DataError: naming the path.
    """
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): give the path of a CSV or Parquet file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}): save it as a CSV file in UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV file ({error}): save it with commas, semicolons or tabs") from error


def _rows_of(file: Path) -> Generator[list[str], None, None]:
    if parquet.is_parquet(file):
        yield from parquet.rows(file)
        return
    with file.open(encoding="utf-8-sig", newline="") as stream:
        delimiter = max(_DELIMITERS, key=stream.readline().count)
        stream.seek(0)
        yield from (row for row in csv.reader(stream, delimiter=delimiter) if any(row))
