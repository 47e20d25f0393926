"""How quiet the judge is: windows found where false alerts are few, and how well `sensitivity` is what it says."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version

import numpy as np

from forewarn.adapters.onnx_forecaster import STARTER, load_model
from forewarn.core.anomalies import rate_of, threshold_of
from forewarn.core.readings import Floats
from forewarn.core.rules import Rules
from tests.bench.quality import corpus, pages
from tests.bench.quality.lockstep import Track, judge
from tests.bench.quality.nab import DETECTORS, STARTERS, Corpus, quietest
from tests.bench.quality.scoring import OUTSIDE

FALSE_PER_1000 = 0.20
SENSITIVITIES = (0.1, 0.3, 1.0, 3.0, 7.0)
PUBLISHED = {"CAD OSE (published)": 46, "Numenta HTM (published)": 39, "random cut forest (published)": 19}
_CADENCES = {10.0: "10 s", 60.0: "1 min", 300.0: "5 min", 3600.0: "1 h"}


def measure_windows(nab: Corpus) -> str:
    """Windows found as the threshold moves to where false alerts are few."""
    rows = []
    for name in DETECTORS:
        found = quietest(nab, nab.said(name), FALSE_PER_1000)
        if found is None:
            rows.append([name, "0", "-", "-", "-", "-"])
            continue
        threshold, seen = found
        sensitivity = f"{rate_of(threshold):.2g}" if name.startswith("tail") else "-"
        numbers = (f"{threshold:.4g}", sensitivity, f"{seen.false_per_1000:.2f}", f"{seen.in_alarm:.2f}")
        rows.append([name, str(seen.found), *numbers])
    rows += [[name, str(found), *["-"] * 4] for name, found in PUBLISHED.items()]
    header = ("Detector", "Windows of 55", "Threshold", "That is `sensitivity`", "False per 1000", "Normal in alarm, %")
    return pages.measured(f"river {version('river')}", "`make quality ARGS=quiet`") + pages.table(header, rows)


def measure_sensitivity(nab: Corpus) -> str:
    """Expected and measured alerts per device and month."""
    columns: dict[str, Callable[[], tuple[list[Floats], float]]] = {
        "NAB, normal readings": partial(_normal, nab),
        "ETTh1": partial(_all_of, corpus.ett(nab.folder.parent / "ett" / "ETTh1.csv")),
        **{f"calm, {name}": partial(_all_of, cadence_s=cadence) for cadence, name in _CADENCES.items()},
    }
    measured = {name: column() for name, column in columns.items()}
    rows = [["device-months", *(f"{months:,.0f}" for _, months in measured.values())]]
    for sensitivity in SENSITIVITIES:
        cells = [f"{alerts(scores, sensitivity) / months:.2g}" for scores, months in measured.values()]
        rows.append([f"`sensitivity = {sensitivity:g}`", *cells])
    note = pages.measured(
        "the shipped starter", f"seed {corpus.CALM_SEED} of the calm fleets", "`make quality ARGS=quiet`"
    )
    return note + pages.table(["", *measured], rows)


def alerts(scores: Sequence[Floats], sensitivity: float) -> int:
    """Readings over the threshold; several in a row count once."""
    threshold = threshold_of(sensitivity)
    return sum(int(np.count_nonzero((s > threshold) & ~np.append(False, s[:-1] > threshold))) for s in scores)


def _normal(nab: Corpus) -> tuple[list[Floats], float]:
    said = nab.said(STARTERS[0])
    normal = [layout.where == OUTSIDE for layout in nab.layouts]
    months = sum(corpus.months(track) * rows.mean() for track, rows in zip(nab.tracks, normal, strict=True))
    return [np.where(rows, score, 0.0) for rows, score in zip(normal, said.scores, strict=True)], float(months)


def _all_of(tracks: Sequence[Track] | None = None, cadence_s: float = 0.0) -> tuple[list[Floats], float]:
    chosen = corpus.calm(cadence_s) if tracks is None else tracks
    said = judge(load_model(STARTER), Rules(), chosen)
    return [one.score for one in said], sum(map(corpus.months, chosen))
