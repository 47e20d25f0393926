"""The Skoltech Anomaly Benchmark: eight sensors of a water loop, one model for each run, of its first 400 rows.

What is scored is the column `alert` of a backtest: rows during which an alert of a judge is active. The settings are
the same for every run. The linear model is trained, since it takes a second where a network takes a minute and the
alerts of this benchmark come from T², which does not depend on it.
"""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from forewarn.adapters.onnx_forecaster import OnnxForecaster, load_model
from forewarn.backtest import backtest
from forewarn.core.readings import Floats, Mask
from forewarn.core.rules import Rules
from forewarn.history import History, read_history
from forewarn_training.data import Cut
from forewarn_training.fit import Plan, fit
from tests.bench.quality import pages

TRAINED = 400
"""Rows that a model is fitted to; they do not count."""
TARGET = "Pressure"
MOST_FALSE = 24.0
"""The false-alarm rate, in %, that a choice must keep."""
MULTIPLES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0)
"""Of the model's limit, to choose from on every second run."""
_CUT = Cut(n_step=16, horizon=1, shares=(0.8, 0.14))
_CLEAR_AFTER = Rules().clear_after
HEADER = ("Detector", "F1", "False-alarm rate, %", "Missed-alarm rate, %")


class Rates(NamedTuple):
    """Of rows, of all runs together."""

    f1: float
    false: float  # %
    missed: float  # %

    def cells(self) -> tuple[str, str, str]:
        """As a row of a table."""
        return f"{self.f1:.3f}", f"{self.false:.1f}", f"{self.missed:.1f}"


class Run(NamedTuple):
    """One run.

    Attributes:
        truth: `(n,)` whether a row is labelled as anomalous.
        alert: `(n,)` whether an alert was active.
        t_squared: `(n,)` over the model's limit; 0 before the first window is full.
    """

    truth: Mask
    alert: Mask
    t_squared: Floats


def rates(runs: Sequence[tuple[Mask, Mask]]) -> Rates:
    """Of pairs of truth and alert; the first `TRAINED` rows of each do not count."""
    truth = np.concatenate([truth[TRAINED:] for truth, _ in runs])
    alert = np.concatenate([alert[TRAINED:] for _, alert in runs])
    hits, false = (truth & alert).sum(), (~truth & alert).sum()
    missed, quiet = (truth & ~alert).sum(), (~truth & ~alert).sum()
    f1 = hits / max(hits + (false + missed) / 2, 1e-9)
    return Rates(float(f1), float(100 * false / max(false + quiet, 1)), float(100 * missed / max(hits + missed, 1)))


def judged(path: Path, folder: Path) -> Run:
    """Fit a model to the beginning of a run and judge the run with it."""
    history, truth = _read(path)
    model = folder / "model.onnx"
    plan = Plan(model, folder / "report.html", _CUT, "run", "1", cell="linear", progress=False)
    fit(_first(history, TRAINED), plan)
    forecaster = load_model(model)
    alert = backtest(forecaster, Rules(), history).verdicts.alert
    return Run(truth, alert, t_squared(forecaster, history))


def t_squared(forecaster: OnnxForecaster, history: History) -> Floats:
    """What the model says of each row, `(n,)`."""
    n_step = forecaster.card.n_step
    values = history.values.astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(values, n_step, axis=0).transpose(0, 2, 1)
    said = forecaster.forecast(
        np.ascontiguousarray(windows), np.ones(len(windows), np.float32), history.at[n_step - 1 :]
    ).t_squared
    out: Floats = np.concatenate([np.zeros(n_step - 1), said.astype(np.float64).sum(axis=1)])
    return out


def lasting(over: Mask) -> Mask:
    """An alert is active until so many rows in a row are not over."""
    out = over.copy()
    for i in range(1, _CLEAR_AFTER):
        out[i:] |= over[:-i]
    return out


def chosen_on(runs: Sequence[Run]) -> float:
    """The multiple of the limit with the best F1 of those with at most `MOST_FALSE` false alarms."""
    found = {k: rates([(run.truth, lasting(run.t_squared > k)) for run in runs]) for k in MULTIPLES}
    kept = [k for k, rate in found.items() if rate.false <= MOST_FALSE] or [max(MULTIPLES)]
    return max(kept, key=lambda k: found[k].f1)


def measure(folder: Path, scorer: Path) -> str:
    """The table."""
    runs: dict[str, Run] = {}
    for path in sorted(folder.glob("*.csv")):
        with tempfile.TemporaryDirectory() as scratch:
            runs[path.name] = judged(path, Path(scratch))
    truths = [run.truth for run in runs.values()]
    everything = rates([(run.truth, run.alert) for run in runs.values()])
    _check(everything, {name: run.alert for name, run in runs.items()}, folder, scorer)
    halves = [list(runs.values())[start::2] for start in (0, 1)]
    held_out = []
    multiples = []
    for chosen, other in (halves, halves[::-1]):
        multiples.append(chosen_on(chosen))
        held_out += [(run.truth, lasting(run.t_squared > multiples[-1])) for run in other]
    rows = [
        ("forewarn, default settings", *everything.cells()),
        ("T² alone, the limit as it is", *rates([(r.truth, lasting(r.t_squared > 1)) for r in runs.values()]).cells()),
        (
            f"T² alone, the limit chosen on every second run ({multiples[0]:g} and {multiples[1]:g} times)",
            *rates(held_out).cells(),
        ),
        ("always firing", *rates([(truth, np.ones_like(truth)) for truth in truths]).cells()),
    ]
    note = pages.measured(f"{len(runs)} runs, models of their first {TRAINED} rows", "`make quality ARGS=skab`")
    return note + pages.table(HEADER, rows)


def _read(path: Path) -> tuple[History, Mask]:
    """A run, and which rows are labelled."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    names = [name for name in rows[0] if name not in ("datetime", "anomaly", "changepoint")]
    history = read_history(path, features=names, target=TARGET)
    return history, np.array([float(row["anomaly"]) >= 0.5 for row in rows])


def _first(history: History, n: int) -> History:
    return replace(
        history,
        timestamp_text=history.timestamp_text[:n],
        device=history.device[:n],
        at=history.at[:n],
        values=history.values[:n],
    )


def _check(ours: Rates, alerts: Mapping[str, Mask], data: Path, scorer: Path) -> None:
    """The scorer itself must say the same.

    Raises:
        AssertionError: where it does not.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for name, alert in alerts.items():
            Path(scratch, name).write_text("\n".join(["alert", *map(str, alert.astype(int).tolist())]) + "\n")
        command = [sys.executable, str(scorer), scratch, "--data", str(data)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = said.splitlines()[-1]
    if f"F1 {ours.f1:.3f}  FAR {ours.false:5.1f} %" not in line:
        raise AssertionError(f"the scorer says {line!r}, {ours} was counted here")
