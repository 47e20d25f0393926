"""Settings and threshold chosen on every second file of the benchmark and scored on the others, both ways.

The search is small: settings drawn at random around the defaults, which were themselves chosen on all files.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from tqdm import tqdm

from forewarn.adapters.onnx_forecaster import STARTER, load_model
from forewarn.core import anomalies, deviations, tails
from forewarn.core.readings import Floats
from forewarn.core.rules import Rules
from tests.bench.quality import pages
from tests.bench.quality.lockstep import judge
from tests.bench.quality.nab import STARTERS, Corpus
from tests.bench.quality.scoring import Practice

N_SETTING = 40
SPREAD = 0.3
SEED = 2026
HEADER = (
    *("Chosen on", "Settings", "Standard there", "Low FP there", "Standard on the others", "Low FP on the others"),
    *("Windows found", "False alerts per 1000"),
)
PLACES: tuple[tuple[ModuleType, str], ...] = (
    *((anomalies, name) for name in ("_WEIGHTS", "_POWER", "_HABIT", "_CADENCE", "_HOLD", "_FADE", "_HOLD_RATIO")),
    *((tails, name) for name in ("QUANTILE", "_HABIT", "_PRIOR_N", "_PRIOR_MEAN", "_MEMORY", "_STEP")),
    (deviations, "HALF_LIVES"),
)
"""The judge's constants that are varied."""
Factors = dict[tuple[str, str], Floats]


def drawn(rng: np.random.Generator) -> Factors:
    """A factor for each number of each constant, within `SPREAD` of 1."""
    sizes = {(m.__name__, name): np.size(getattr(m, name)) for m, name in PLACES}
    return {place: rng.uniform(1.0 - SPREAD, 1.0 + SPREAD, size) for place, size in sizes.items()}


@contextmanager
def varied(factors: Factors) -> Iterator[None]:
    """The judge with other constants; those without a factor stay."""
    with ExitStack() as stack:
        for module, name in PLACES:
            factor = factors.get((module.__name__, name))
            if factor is None:
                continue
            for place, value in _replaced(name, getattr(module, name), factor):
                stack.enter_context(patch.object(module, place, value))
        yield


def _replaced(name: str, usual: Any, factor: Floats) -> list[tuple[str, Any]]:  # noqa: ANN401 - a number or several
    """What to put where for one constant."""
    if name == "QUANTILE":
        return [(name, 1.0 - (1.0 - usual) * float(factor[0]))]
    if name == "HALF_LIVES":
        return [("_LEVEL_SHARE", 1.0 - 0.5 ** (1.0 / (np.array(usual) * factor)))]
    if name == "_POWER":
        return [("_fused", _fused(usual * float(factor[0])))]  # the judge has the cube written out
    return [(name, usual * (factor if np.ndim(usual) else float(factor[0])))]


def _fused(power: float) -> Any:  # noqa: ANN401 - stands for a private function
    def fused(shares: Floats) -> Floats:
        total: Floats = (shares**power).sum(axis=1) ** (1.0 / power)
        return total

    return fused


class Outcome(NamedTuple):
    """One setting, chosen on some files and scored on others."""

    own: dict[str, float]
    thresholds: dict[str, float]
    scores: list[Floats]  # of all files


def measure(nab: Corpus) -> str:
    """The table."""
    rng = np.random.default_rng(SEED)
    forecaster = load_model(STARTER)
    usual = nab.said(STARTERS[0]).scores
    runs = []
    for _ in tqdm(range(N_SETTING), desc="settings", disable=None):
        with varied(drawn(rng)):
            runs.append([one.score for one in judge(forecaster, Rules(), nab.tracks)])
    halves = {"even": range(0, len(usual), 2), "odd": range(1, len(usual), 2)}
    rows = []
    for label, candidates in (("default", [usual]), (f"best of {N_SETTING + 1}", [usual, *runs])):
        chosen = {half: chosen_on(nab, files, candidates) for half, files in halves.items()}
        for half, other in (("even", "odd"), ("odd", "even")):
            rows.append([half, label, *_row(nab, chosen[half], halves[other])])
        rows.append(["each", label, "", "", *_both(nab, chosen, halves)])
    spread = [nab.scorer.best(nab.layouts, scores, "standard")[0] for scores in runs]
    note = pages.measured(
        "the shipped starter",
        f"{N_SETTING} settings drawn within {100 * SPREAD:.0f} % of the defaults, seed {SEED}",
        f"standard of these on all files {np.mean(spread):.1f} (sd {np.std(spread):.1f}, {min(spread):.1f} to"
        f" {max(spread):.1f})",
        "`make quality ARGS=heldout`",
    )
    return note + pages.table(HEADER, rows, left=2)


def chosen_on(nab: Corpus, files: Sequence[int], candidates: Sequence[list[Floats]]) -> Outcome:
    """The setting with the highest standard score on these files, and its thresholds there."""
    layouts = [nab.layouts[i] for i in files]
    found = []
    for scores in candidates:
        part = [scores[i] for i in files]
        best = {p: nab.scorer.best(layouts, part, p) for p in ("standard", "reward_low_FP_rate")}
        found.append(Outcome({p: b[0] for p, b in best.items()}, {p: b[1] for p, b in best.items()}, scores))
    return max(found, key=lambda outcome: outcome.own["standard"])


def _row(nab: Corpus, chosen: Outcome, others: Sequence[int]) -> list[str]:
    layouts, scores = [nab.layouts[i] for i in others], [chosen.scores[i] for i in others]
    away = [nab.scorer.at(layouts, scores, profile, at) for profile, at in chosen.thresholds.items()]
    seen = nab.scorer.practice(layouts, scores, chosen.thresholds["standard"])
    return [f"{value:.1f}" for value in (*chosen.own.values(), *away)] + _seen(seen)


def _both(nab: Corpus, chosen: dict[str, Outcome], halves: dict[str, range]) -> list[str]:
    """All files, each scored with what was chosen on the others."""
    firsts = {"even": chosen["odd"], "odd": chosen["even"]}
    cells = []
    for profile in ("standard", "reward_low_FP_rate"):
        over = {i: firsts[h].scores[i] >= firsts[h].thresholds[profile] for h, files in halves.items() for i in files}
        scores = [over[i].astype(np.float64) for i in sorted(over)]
        cells.append(f"{nab.scorer.best(nab.layouts, scores, profile)[0]:.1f}")
        if profile == "standard":
            seen = nab.scorer.practice(nab.layouts, scores, 0.5)
    return [*cells, *_seen(seen)]


def _seen(seen: Practice) -> list[str]:
    return [f"{seen.found} of {seen.windows}", f"{seen.false_per_1000:.2f}"]
