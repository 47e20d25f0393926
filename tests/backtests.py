"""Backtests for tests: of made-up readings with a forecaster that needs no model file, or of made-up verdicts."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from forewarn.backtest import Backtest, backtest
from forewarn.core.alerts import Alert, AlertRaised, Kind, Severity, alert_id
from forewarn.core.anomalies import threshold_of
from forewarn.core.readings import Outcome, SeriesKey
from forewarn.core.rules import Rules
from forewarn.core.verdicts import Verdicts
from forewarn.history import History, read_history
from tests.forecasters import HalfTrend

BEGIN_AT = 1_767_225_600.0  # 2026-01-01
STEP_S = 600.0


def moment(i: int) -> str:
    """The time of the i-th reading of a device, as a file has it."""
    return datetime.fromtimestamp(BEGIN_AT + STEP_S * i, UTC).isoformat()


def history_file(
    folder: Path, n: int = 400, devices: str = "ab", spikes: tuple[int, ...] = (), spiking: str = "a"
) -> Path:
    """Devices in turn, noise around a level; at each i of `spikes` the `spiking` devices read 30 more."""
    rng = np.random.default_rng(7)
    lines = ["timestamp,device,temperature"]
    for i in range(n):
        for device in devices:
            value = 4.0 + float(rng.normal(0, 0.3)) + (30.0 if i in spikes and device in spiking else 0.0)
            lines.append(f"{moment(i)},{device},{value:.2f}")
    path = folder / "h.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def judged(path: Path, rules: Rules | None = None, probation: float = 0.0) -> Backtest:
    """The file judged by the residual judge."""
    return backtest(HalfTrend(), rules or Rules(detector="residual"), read_history(path), probation=probation)


def of_scores(score: ArrayLike, *, sensitivity: float = 1.0, device: str = "a") -> Backtest:
    """What a tail judge would have said with these scores: one device, a reading each ten minutes."""
    scores = np.asarray(score, np.float64)
    n = len(scores)
    at = BEGIN_AT + STEP_S * np.arange(n, dtype=np.float64)
    threshold = threshold_of(sensitivity)
    texts = [moment(i) for i in range(n)]
    history = History(Path("h.csv"), "0" * 64, texts, [device] * n, at, np.full((n, 1), 4.0), ("value",), "value")
    verdicts = replace(
        Verdicts.blank(n),
        outcome=np.full(n, Outcome.SCORED, np.uint8),
        slot=np.zeros(n, np.int64),
        score=scores,
        anomaly_score=scores,
        threshold=np.full(n, threshold),
        told=[
            (i, AlertRaised(_alert(device, at[i], scores[i], threshold)))
            for i in np.flatnonzero(scores > threshold).tolist()
        ],
    )
    rules = Rules(detector="tail", sensitivity=sensitivity)
    return Backtest(history, verdicts, "°C", rules, np.ones(n, np.bool_), 1.0)


def _alert(device: str, at: float, score: float, threshold: float) -> Alert:
    series = SeriesKey(device, "value")
    return Alert(
        id=alert_id(series, Kind.ANOMALY, at),
        kind=Kind.ANOMALY,
        severity=Severity.WARNING,
        series=series,
        slot=0,
        value=4.0,
        expected=3.0,
        lower=2.0,
        upper=4.0,
        residual=1.0,
        score=score,
        threshold=threshold,
        at=at,
        received_at=at,
        raised_at=at,
        window_started_at=None,
        stream="level_1_50",
        observed=4.0,
        usual=3.0,
        since_at=at,
        once_in_months=2.0,
    )
