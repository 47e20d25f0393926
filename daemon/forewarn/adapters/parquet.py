"""Parquet files, the only importer of pyarrow, which is imported where a file asks for it and nowhere else.

Rules that hold here:

- A file is read as rows of text, so that every format is told apart and chosen from in one way.
- A file is written under a name of its own and renamed once it is whole: no reader ever sees a part of one.
"""

import csv
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from forewarn.errors import DataError, SettingsError

_MAGIC = b"PAR1"
SUFFIX = ".parquet"
_BATCH_ROWS = 65_536
MISSING = "needs pyarrow, which is not installed: pip install 'forewarn[parquet]'"


def is_parquet(path: Path) -> bool:
    """Whether a file is one, by its first bytes or its name."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC or path.suffix == SUFFIX


def rows(path: Path) -> Generator[list[str], None, None]:
    """The names of the columns, then a row of texts for each row; nothing where there is none.

    Times are ISO 8601. Columns of lists, maps and records are left out.

    Raises:
        DataError: where pyarrow is missing, or the file is damaged.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - see the module's first lines
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise DataError(f"{path}: {MISSING}") from error
    try:
        with pq.ParquetFile(path) as file:
            chosen = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
            yield chosen
            for batch in file.iter_batches(_BATCH_ROWS, columns=chosen):
                columns = [_texts(column) for column in batch.columns]
                yield from (list(row) for row in zip(*columns, strict=True))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{path}: is no Parquet file that can be read ({error}): write it anew") from error


def _texts(column: Any) -> list[str]:  # noqa: ANN401 - a pyarrow.Array, which may not be there to name
    import pyarrow as pa  # noqa: PLC0415 - see the module's first lines

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return ["" if one is None else one.decode("utf-8", "replace") for one in column.to_pylist()]
    return ["" if text is None else text for text in column.cast(pa.string()).to_pylist()]


def check_installed(setting: str) -> None:
    """Refuse a setting that needs pyarrow where it is not installed.

    Raises:
        SettingsError: naming the extra.
    """
    try:
        import pyarrow  # noqa: F401, ICN001, PLC0415 - see the module's first lines
    except ModuleNotFoundError as error:
        raise SettingsError(f"{setting} {MISSING}") from error


def from_csv(path: Path) -> None:
    """Put a Parquet file in the place of a CSV file of times, devices and numbers, which is left where that fails.

    Times become timestamps of a millisecond in UTC, kept as differences: that makes a file smaller by half and more.

    Raises:
        OSError: what the disk refuses.
        DataError: where the file holds something else.
    """
    import pyarrow as pa  # noqa: PLC0415 - see the module's first lines
    import pyarrow.csv as pa_csv  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    with path.open(encoding="utf-8", newline="") as file:
        names = next(csv.reader(file))
    types = [pa.timestamp("ms", "UTC"), pa.string(), *[pa.float64()] * (len(names) - 2)]
    places = [str(i) for i in range(len(names))]  # a metric may be called `device`
    draft = path.with_name(f".{path.name}.part")
    try:
        table = pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(column_names=places, skip_rows_after_names=1, use_threads=False),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=dict(zip(places, types, strict=True))),
        )
        pq.write_table(
            table.rename_columns(names),
            draft,
            compression="zstd",
            use_dictionary=names[1:],
            column_encoding={names[0]: "DELTA_BINARY_PACKED"},
        )
        draft.replace(path.with_suffix(SUFFIX))
    except pa.ArrowException as error:
        raise DataError(f"{path}: cannot become a Parquet file ({error})") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    path.unlink()
