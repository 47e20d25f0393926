"""What the scorer of the benchmark says: as a program on result files, and its own functions on columns.

The scorer is a file beside the data and no part of this repository; its word counts, so nothing of it is repeated here.
"""

import csv
import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.core.readings import Floats, Mask

PROFILES = ("standard", "reward_low_FP_rate", "reward_low_FN_rate")
OUTSIDE = -1  # the scorer's mark of a reading in no window that counts
_SHOWN = re.compile(r"(\d+) alerts, (\d+) false \(([\d.]+) per.*?(\d+)/(\d+) windows.*delay (\S+) .*?([\d.]+) % of")


class Practice(NamedTuple):
    """What an operator sees at one threshold."""

    alerts: int
    false: int
    false_per_1000: float
    found: int
    windows: int
    delay: float  # readings, median
    in_alarm: float  # % of normal readings


class Layout(NamedTuple):
    """Of one file: the window that each row lies in (or a mark), and what a detection there would earn."""

    where: NDArray[np.int64]
    unit: Floats


class Scorer:
    """The scorer at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        spec = importlib.util.spec_from_file_location("nab_score", path)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(path)
        self._module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._module)

    def layout(self, timestamps: Sequence[str], windows: Sequence[Sequence[str]]) -> Layout:
        """The labels of one file as rows."""
        return Layout(*self._module.layout([self._module.stamp(text) for text in timestamps], windows))

    def best(self, layouts: Sequence[Layout], scores: Sequence[Floats], profile: str) -> tuple[float, float]:
        """The best score over all thresholds, and that threshold."""
        score, threshold = self._module.sweep(_files(layouts, scores), profile)
        return float(score), float(threshold)

    def at(self, layouts: Sequence[Layout], scores: Sequence[Floats], profile: str, threshold: float) -> float:
        """The score at a threshold that was chosen before; 0 where it is below 0."""
        return self.best(layouts, [(score >= threshold).astype(np.float64) for score in scores], profile)[0]

    def practice(self, layouts: Sequence[Layout], scores: Sequence[Floats], threshold: float) -> Practice:
        """What an operator sees."""
        return parsed(self._module.practice(_files(layouts, scores), threshold))

    def life(self, layouts: Sequence[Layout], alerts: Sequence[Mask]) -> Practice:
        """The same of alerts that last from a reading to another."""
        return self.practice(layouts, [alert.astype(np.float64) for alert in alerts], 0.5)

    def run(self, results: Path, data: Path) -> dict[str, float]:
        """The scores by profile, of the program itself on a folder of result files."""
        command = [sys.executable, str(self.path), str(results), "--data", str(data)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines = [line.split() for line in said.splitlines()]
        return {words[0]: float(words[1]) for words in lines if words and words[0] in PROFILES}


def parsed(text: str) -> Practice:
    """The numbers of the scorer's line."""
    found = _SHOWN.fullmatch(text[: text.index(" normal readings")])
    if found is None:
        raise ValueError(f"the scorer said {text!r}")
    alerts, false, rate, hits, windows, delay, in_alarm = found.groups()
    return Practice(int(alerts), int(false), float(rate), int(hits), int(windows), float(delay), float(in_alarm))


def write_results(folder: Path, scores: Mapping[str, Floats]) -> None:
    """One CSV for each file, with its name."""
    for name, score in scores.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["anomaly_score"])
            writer.writerows([repr(value)] for value in score.tolist())


def _files(layouts: Sequence[Layout], scores: Sequence[Floats]) -> list[tuple[NDArray[np.int64], Floats, Floats]]:
    return [(layout.where, layout.unit, score) for layout, score in zip(layouts, scores, strict=True)]
