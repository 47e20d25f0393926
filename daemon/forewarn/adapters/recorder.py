"""Readings kept as CSV files, to train on later: the only writer of them.

Rules that hold here:

- A file has the readings of one metric, `timestamp,device,` and the model's features (the metric itself for a model of
  one), as `forewarn-train fit --data FOLDER` reads them. Its name is the metric and the time of its first reading.
- All files together stay below `most_bytes`: a file ends at a sixteenth of that, and the oldest file goes.
- At most `MOST_FILES` metrics are kept; others are left out, so that made-up names cost nothing.
- What the disk refuses is lost here and nowhere else: it is told once, and tried again after `RETRY_S`.
"""

import csv
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import numpy as np

from forewarn.core.readings import Batch, Outcome
from forewarn.core.verdicts import Verdicts

log = logging.getLogger(__name__)

MOST_FILES = 32
RETRY_S = 60.0
_PARTS = 16
_NAME_MOST = 100  # characters of a metric in a file's name


class Recorder:
    """Writes the readings of one daemon."""

    def __init__(self, folder: Path | None, most_bytes: int, features: tuple[str, ...]) -> None:
        """Write into a folder, which is made where it is not there.

        Args:
            folder: of the files; None where nothing is to be kept.
            most_bytes: of all of them.
            features: of the model, in the order of the values; one stands for the metric itself.
        """
        self._folder, self._most, self._features = folder, most_bytes, features
        self._files: dict[str, TextIO] = {}
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
        for file in self._files.values():
            with suppress(OSError):
                file.close()
        self._files.clear()

    def _append(self, folder: Path, metric: str, lines: list[list[object]]) -> None:
        file = self._files.get(metric) or self._open(folder, metric, str(lines[0][0]))
        if file is None:
            return
        csv.writer(file, lineterminator="\n").writerows(lines)
        file.flush()
        if file.tell() >= self._most // _PARTS:
            self._files.pop(metric).close()
            self._make_room(folder)

    def _open(self, folder: Path, metric: str, first_at: str) -> TextIO | None:
        if len(self._files) >= MOST_FILES:
            if not self._told_of_metrics:
                self._told_of_metrics = True
                log.warning("%s: has files of %d metrics, no more are kept", folder, MOST_FILES)
            return None
        folder.mkdir(parents=True, exist_ok=True)
        self._make_room(folder)
        name = f"{quote(metric, safe='')[:_NAME_MOST]}-{first_at.replace(':', '')}"
        path = folder / f"{name}.csv"
        names = self._features if len(self._features) > 1 else (metric,)
        file = path.open("a", encoding="utf-8", newline="")
        self._files[metric] = file
        if not file.tell():
            csv.writer(file, lineterminator="\n").writerow(["timestamp", "device", *names])
        return file

    def _make_room(self, folder: Path) -> None:
        """Let the oldest files go, so that there is room for what is being written."""
        in_use = {file.name for file in self._files.values()}
        files = [(f.stat().st_mtime, f.stat().st_size, f) for f in folder.glob("*.csv") if str(f) not in in_use]
        room = self._most * (_PARTS - 1) // _PARTS - sum(file.tell() for file in self._files.values())
        for _, size, file in sorted(files, reverse=True):
            room -= size
            if room < 0:
                file.unlink(missing_ok=True)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
