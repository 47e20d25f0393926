"""The 31 files of the Numenta Anomaly Benchmark: each detector once, scored by the benchmark's rules.

The judge runs with its default settings, the same for every file; all files are devices of one engine.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from forewarn.adapters.onnx_forecaster import STARTER, load_model
from forewarn.backtest import counted_rows
from forewarn.core.anomalies import threshold_of
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Floats, Mask
from forewarn.core.rules import DEFAULT_THRESHOLD_ERRORS, Rules
from tests.bench.quality import corpus, detectors, pages
from tests.bench.quality.lockstep import judge
from tests.bench.quality.scoring import PROFILES, Layout, Practice, Scorer, write_results

SEEDS = (0, 1, 2)
SHARE = 0.15
"""The benchmark's probation; see `backtest.PROBATION_MOST`."""
PUBLISHED = {  # standard and reward-low-FP on these 31 files, as the benchmark's own result files give them
    "ARTime": ("78.9", "70.0"),
    "CAD OSE": ("74.1", "71.0"),
    "Numenta HTM": ("70.4", "63.7"),
    "random cut forest": ("49.7", "33.8"),
}
HEADER = (
    *("Detector", "Standard", "Low FP", "Low FN", "False alerts per 1000", "Windows found of 55"),
    *("Normal readings in alarm, %: by score", "by the life of alerts", "Median delay, readings"),
)
_CACHE = corpus.ROOT / ".benchmarks" / "quality"


class Judged(NamedTuple):
    """What a detector said of the corpus, by file.

    Attributes:
        scores: higher for more unusual readings.
        alerts: whether an alert was active, of a detector that has alerts.
        threshold: from which score on a reading counts at the detector's default; None where it has none.
    """

    scores: list[Floats]
    alerts: list[Mask] | None
    threshold: float | None


class Corpus:
    """The files, their labels, and what each detector says of them."""

    def __init__(self, shared: Path = corpus.SHARED) -> None:
        self.folder = shared / "data" / "nab"
        self.scorer = Scorer(shared / "eval" / "nab_score.py")
        self.histories = corpus.nab(self.folder)
        self.tracks = corpus.tracks_of(self.histories)
        self._known: dict[str, Judged] = {}

    @cached_property
    def layouts(self) -> list[Layout]:
        """The labels as rows, by file."""
        labels = json.loads((self.folder / "labels.json").read_text())
        return [self.scorer.layout(history.timestamp_text, labels[name]) for name, history in self.histories.items()]

    def said(self, name: str) -> Judged:
        """What a detector of `DETECTORS` says, judged once."""
        if name not in self._known:
            sys.stdout.write(f"judging: {name}\n")
            sys.stdout.flush()
            self._known[name] = DETECTORS[name](self)
        return self._known[name]

    def scored(self, scores: Sequence[Floats]) -> dict[str, float]:
        """By profile, by the scorer as a program."""
        with tempfile.TemporaryDirectory(prefix="forewarn-nab-") as folder:
            write_results(Path(folder), dict(zip(self.histories, in_probation(scores), strict=True)))
            return self.scorer.run(Path(folder), self.folder)


def in_probation(scores: Sequence[Floats | Mask]) -> list[Floats]:
    """The same with 0 in the probation of each file."""
    return [np.where(counted_rows([""] * len(score), SHARE), score, 0.0) for score in scores]


def starter(seed: int) -> Path:
    """The shipped model is that of seed 0; others are trained once and kept until the trainer changes."""
    if seed == 0:
        return STARTER
    sources = sorted((corpus.ROOT / "training" / "forewarn_training").glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    path = _CACHE / f"starter-{seed}-{digest}.onnx"
    if not path.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "forewarn_training.cli", "starter", "--seed", str(seed)]
        made = path.with_suffix(".part")
        subprocess.run([*command, "--out", str(made)], check=True)
        made.rename(path)
    return path


def _tail(corpus: Corpus, forecaster: Forecaster) -> Judged:
    said = judge(forecaster, Rules(), corpus.tracks)
    threshold = float(np.nextafter(threshold_of(Rules().sensitivity), np.inf))  # alerts need more than it
    return Judged([one.score for one in said], [one.alert for one in said], threshold)


def _residual(corpus: Corpus) -> Judged:
    forecaster = load_model(STARTER)
    said = judge(forecaster, Rules(detector="residual"), corpus.tracks)
    threshold = forecaster.card.calibration.threshold_errors or DEFAULT_THRESHOLD_ERRORS
    return Judged([one.score for one in said], [one.alert for one in said], float(np.nextafter(threshold, np.inf)))


def _by_value(score: Callable[[Floats], Floats], threshold: float | None) -> Callable[[Corpus], Judged]:
    return lambda corpus: Judged([score(track.value) for track in corpus.tracks], None, threshold)


def _starter_row(seed: int) -> Callable[[Corpus], Judged]:
    return lambda corpus: _tail(corpus, load_model(starter(seed)))


STARTERS = tuple(f"tail, starter, seed {seed}" for seed in SEEDS)
DETECTORS: dict[str, Callable[[Corpus], Judged]] = {
    **{name: _starter_row(seed) for name, seed in zip(STARTERS, SEEDS, strict=True)},
    "tail, persistence": lambda corpus: _tail(corpus, detectors.Persistence()),
    f"tail, moving average of {detectors.AVERAGED}": lambda corpus: _tail(corpus, detectors.MovingAverage()),
    "tail, no forecaster": lambda corpus: _tail(corpus, detectors.Nothing()),
    "residual, starter, seed 0": _residual,
    "river HalfSpaceTrees": _by_value(detectors.half_space_trees, None),
    f"rolling z-score of {detectors.ROLLING}": _by_value(detectors.rolling_z, detectors.Z_LIMIT),
}


def measure(corpus: Corpus) -> str:
    """The table."""
    numbers = {name: _numbers(corpus, corpus.said(name)) for name in DETECTORS}
    rows = [[name, *_shown(numbers[name])] for name in STARTERS]
    rows.append(["**mean of the three**", *_shown(_mean([numbers[name] for name in STARTERS]))])
    rows += [[name, *_shown(numbers[name])] for name in DETECTORS if name not in STARTERS]
    rows += [[f"{name} (published)", *scores, *["-"] * 7][: len(HEADER)] for name, scores in PUBLISHED.items()]
    note = pages.measured(f"starters of seeds {SEEDS}", f"river {version('river')}", "`make quality ARGS=nab`")
    return note + pages.table(HEADER, rows)


def _numbers(corpus: Corpus, judged: Judged) -> list[float]:
    """The columns of the table; NaN where one does not apply."""
    scored = corpus.scored(judged.scores)
    numbers = [scored[profile] for profile in PROFILES]
    if judged.threshold is None:
        return [*numbers, *[np.nan] * 5]
    seen = corpus.scorer.practice(corpus.layouts, judged.scores, judged.threshold)
    life = np.nan if judged.alerts is None else corpus.scorer.life(corpus.layouts, judged.alerts).in_alarm
    return [*numbers, seen.false_per_1000, seen.found, seen.in_alarm, life, seen.delay]


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [float(column) for column in np.mean(rows, axis=0)]


def _shown(numbers: Sequence[float]) -> list[str]:
    formats = (".1f", ".1f", ".1f", ".2f", ".3g", ".2f", ".2f", ".0f")
    return [format(number, form) if np.isfinite(number) else "-" for number, form in zip(numbers, formats, strict=True)]


def quietest(corpus: Corpus, judged: Judged, most_false: float) -> tuple[float, Practice] | None:
    """The threshold that finds the most windows at no more than so many false alerts in 1000 readings; None if none.

    Only thresholds at which a window is just found can be the best, so those are tried.
    """
    best: tuple[float, Practice] | None = None
    for threshold in sorted(_window_peaks(corpus, judged), reverse=True):
        seen = corpus.scorer.practice(corpus.layouts, judged.scores, threshold)
        if seen.false_per_1000 <= most_false and (best is None or seen.found > best[1].found):
            best = threshold, seen
    return best


def _window_peaks(corpus: Corpus, judged: Judged) -> set[float]:
    peaks = set()
    for layout, score in zip(corpus.layouts, judged.scores, strict=True):
        peaks |= {float(score[layout.where == window].max()) for window in set(layout.where.tolist()) if window >= 0}
    return peaks - {0.0}
