"""Readings kept as files, to train on later: the only writer of them.

Rules that hold here:

- A file has the readings of one metric, `timestamp,device,` and the model's features (the metric itself for a model of
  one), as `forewarn-train fit --data FOLDER` reads them. Its name is the metric and the time of its first reading.
- What came is on its way to the disk when `write` returns, as CSV: the end of the process loses none of it, whatever
  the format. Where that is another one, a file is converted when it ends, as a whole.
- All files together stay below `most_bytes`: a file ends at a small part of that, as much is set aside for each that is
  written, and the oldest file goes.
- At most `MOST_FILES` metrics are kept; others are left out, so that made-up names cost nothing.
- What the disk refuses is lost here and nowhere else: it is told once, and tried again after `RETRY_S`.
"""

import csv
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import quote

import numpy as np

from forewarn.core.readings import Batch, Outcome
from forewarn.core.verdicts import Verdicts
from forewarn.errors import DataError

log = logging.getLogger(__name__)

MOST_FILES = 32
RETRY_S = 60.0
_PARTS = 48  # more than files that are written at once
_NAME_MOST = 100  # characters of a metric in a file's name


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a file becomes when it ends.

    Attributes:
        suffix: of the files that are made, such as ".parquet".
        convert: puts such a file in the place of a CSV file, under a name that begins with a dot until it is whole;
            raises OSError or DataError, and leaves the CSV file then.
        most_bytes: of CSV that are converted at once, so that the daemon is not held up for long.
        most_s: seconds after which a file ends at its next reading.
    """

    suffix: str
    convert: Callable[[Path], None]
    most_bytes: int = 4_000_000
    most_s: float = 86_400.0


class _Open(NamedTuple):
    """A file that is written."""

    path: Path
    file: TextIO
    opened: float  # monotonic seconds


class Recorder:
    """Writes the readings of one daemon."""

    def __init__(
        self, folder: Path | None, most_bytes: int, features: tuple[str, ...], conversion: Conversion | None = None
    ) -> None:
        """Write into a folder, which is made where it is not there.

        Args:
            folder: of the files; None where nothing is to be kept.
            most_bytes: of all of them.
            features: of the model, in the order of the values; one stands for the metric itself.
            conversion: of a file that ends; None leaves it as it is, CSV.
        """
        self._folder, self._most, self._features, self._conversion = folder, most_bytes, features, conversion
        self._files: dict[str, _Open] = {}
        self._ends_at = most_bytes // _PARTS
        if conversion is not None:
            self._ends_at = min(self._ends_at, conversion.most_bytes)
        self._silent_until = 0.0
        self._told_of_metrics = False

    def write(self, batch: Batch, verdicts: Verdicts) -> None:
        """Add what was accepted of a batch."""
        if self._folder is None or time.monotonic() < self._silent_until:
            return
        rows: dict[str, list[list[object]]] = {}
        for i in np.flatnonzero(verdicts.outcome <= Outcome.WARMING_UP).tolist():
            device, metric = batch.keys[i]
            rows.setdefault(metric, []).append([_moment(batch.at[i]), device, *batch.values[i].tolist()])
        try:
            for metric, lines in rows.items():
                self._append(self._folder, metric, lines)
        except OSError as error:
            log.error("%s: readings are not kept (%s); trying again in %.0f s", self._folder, error.strerror, RETRY_S)  # noqa: TRY400 - for the operator
            self._silent_until = time.monotonic() + RETRY_S
            self.close()

    def close(self) -> None:
        """End the files."""
        for metric in list(self._files):
            self._end(metric)

    def _append(self, folder: Path, metric: str, lines: list[list[object]]) -> None:
        one = self._files.get(metric) or self._open(folder, metric, str(lines[0][0]))
        if one is None:
            return
        csv.writer(one.file, lineterminator="\n").writerows(lines)
        one.file.flush()
        old = self._conversion is not None and time.monotonic() - one.opened >= self._conversion.most_s
        if old or one.file.tell() >= self._ends_at:
            self._end(metric)
            self._make_room(folder)

    def _open(self, folder: Path, metric: str, first_at: str) -> _Open | None:
        if len(self._files) >= MOST_FILES:
            if not self._told_of_metrics:
                self._told_of_metrics = True
                log.warning("%s: has files of %d metrics, no more are kept", folder, MOST_FILES)
            return None
        folder.mkdir(parents=True, exist_ok=True)
        self._make_room(folder)
        path = folder / f"{quote(metric, safe='')[:_NAME_MOST]}-{first_at.replace(':', '')}.csv"
        while self._conversion is not None and path.with_suffix(self._conversion.suffix).exists():
            path = path.with_stem(f"{path.stem}~")
        names = self._features if len(self._features) > 1 else (metric,)
        one = _Open(path, path.open("a", encoding="utf-8", newline=""), time.monotonic())
        self._files[metric] = one
        if not one.file.tell():
            csv.writer(one.file, lineterminator="\n").writerow(["timestamp", "device", *names])
        return one

    def _end(self, metric: str) -> None:
        one = self._files.pop(metric)
        with suppress(OSError):
            one.file.close()
        try:
            if self._conversion is not None:
                self._conversion.convert(one.path)
        except (OSError, DataError) as error:
            log.error("%s: stays CSV (%s)", one.path, error)  # noqa: TRY400 - for the operator

    def _make_room(self, folder: Path) -> None:
        """Let the oldest files go, and what a conversion left, so that there is room for what is being written."""
        suffixes = {".csv"} if self._conversion is None else {".csv", self._conversion.suffix}
        self._tidy(folder)
        in_use = {one.path for one in self._files.values()}
        found = [file for file in folder.iterdir() if file.suffix in suffixes and file not in in_use]
        files = [(file.stat().st_mtime, file.stat().st_size, file) for file in found]
        room = self._most - self._ends_at * (len(self._files) + 1)
        for _, size, file in sorted(files, reverse=True):
            room -= size
            if room < 0:
                file.unlink(missing_ok=True)

    def _tidy(self, folder: Path) -> None:
        """Remove parts of files, and CSV files that have been converted: what the end of a process leaves behind."""
        if self._conversion is None:
            return
        in_use = {one.path for one in self._files.values()}
        for part in folder.glob(".*.part"):
            part.unlink(missing_ok=True)
        for whole in folder.glob(f"*{self._conversion.suffix}"):
            if (left := whole.with_suffix(".csv")) not in in_use:
                left.unlink(missing_ok=True)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
