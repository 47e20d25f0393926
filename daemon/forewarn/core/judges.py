"""All judges of one reading: what each says, and what is learnt from it.

Rules that hold here:

- Score first, learn after: a reading is judged against the forecast that was made before it came.
- Sensor faults never teach: a reading inside one enters neither the recent errors, the judge's history nor the window,
  until `accept_after` of them in a row say that this is how the series is now.
- Where readings are missing before a reading, it is held against the lead that is as far ahead, or the last one. A
  model that was trained at one cadence, with short gaps bridged, has them bridged in its windows; one for all cadences
  has not.
- One of two judges says whether a reading is as it should be, `anomalies` or `residuals`; the errors at one reading
  ahead are followed in any case, for the band around the forecast.
"""

from typing import NamedTuple

import numpy as np

from forewarn.core import (
    anomalies,
    bands,
    cadences,
    conversions,
    crossings,
    deviations,
    faults,
    limits,
    multivariate,
    residuals,
    windows,
)
from forewarn.core.alerts import Kind
from forewarn.core.anomalies import Anomaly
from forewarn.core.card import Calibration
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Floats, Mask, Slots
from forewarn.core.rules import Rules
from forewarn.core.rulings import Ruling
from forewarn.core.slots import Column, State, Table, put_rows, rows_of

BIT = {kind: 1 << i for i, kind in enumerate(Kind)}  # of the column `active`
LEAD_COLUMNS = ("forecast", *bands.columns(1, Calibration()))
"""Columns that have a place for each lead of the model."""
_FAULTS = (Kind.STUCK, Kind.RANGE, Kind.RATE, Kind.UNIT_CHANGE)  # at readings; a silent series has none


class Arrivals(NamedTuple):
    """Readings of distinct series, `(n,)` and `(n, n_feature)`.

    Attributes:
        at: UTC epoch seconds.
        values: engineering units.
        change: of the target since the reading before, NaN for the first.
        interval_s: of the readings' own time since then.
        missing: `(n,)` readings that should have come since then.
    """

    at: Floats
    values: Floats
    change: Floats
    interval_s: Floats
    missing: cadences.Counts

    def some(self, chosen: Mask) -> "Arrivals":
        """Those of these rows."""
        return Arrivals(
            self.at[chosen], self.values[chosen], self.change[chosen], self.interval_s[chosen], self.missing[chosen]
        )


class Findings(NamedTuple):
    """What was said of the readings of a round.

    Attributes:
        expectation: the reading beside its forecast.
        score: of the judge that was chosen.
        anomaly_score: the same, but 0 where the reading alone would raise no alert, however low the threshold.
        threshold: what they are compared with.
        warm: whether that judge could judge.
        rulings: by kind of alert; a kind that is not judged has none.
    """

    expectation: residuals.Judgement
    score: Floats
    anomaly_score: Floats
    threshold: Floats
    warm: Mask
    rulings: dict[Kind, Ruling]

    def silence(self, rows: Mask) -> None:
        """Let no alert be active at these readings."""
        for ruling in self.rulings.values():
            ruling.active[rows] = False


class Judges:
    """The judges that the rules ask for, with one model."""

    def __init__(self, forecaster: Forecaster, rules: Rules) -> None:
        self._forecast = forecaster.forecast
        self._target = forecaster.card.target_index
        self._bridges = forecaster.card.interval_s is not None
        self._rules = rules
        self._tail = rules.detector == "tail"
        card = forecaster.card
        self._multivariate = card.multivariate and rules.multivariate
        self.columns = (
            windows.columns(card.n_step, len(card.features)),
            residuals.columns(card.calibration),
            cadences.COLUMNS,
            faults.COLUMNS,
            limits.COLUMNS,
            conversions.COLUMNS,
            bands.columns(card.horizon, card.calibration),
            crossings.COLUMNS,
            anomalies.COLUMNS if self._tail else {},
            multivariate.columns(len(card.features)) if self._multivariate else {},
            {
                "forecast": Column(np.float32, (card.horizon,), np.nan),
                "active": Column(np.int64),  # a bit for each kind of alert that is active
                "n_faulty": Column(np.int64),  # readings in a row inside sensor faults
            },
        )

    def restart(self, state: State, gap: Mask) -> None:
        """Begin new windows for these series."""
        if gap.any():
            windows.restart(state, gap)
            bands.restart(state, gap)
            if self._tail:
                deviations.restart(state, gap)

    def judge(self, state: State, readings: Arrivals) -> Findings:
        """Judge readings of these series, learn from them, and forecast the next ones."""
        value = readings.values[:, self._target]
        expectation = residuals.judge(state, value, _forecast_of(state, readings.missing))
        rulings = self._fault_rulings(state, expectation, value, readings)
        teaches = self._teaches(state, rulings)
        residuals.learn(state, expectation, teaches & np.isfinite(expectation.residual))
        residuals.see_change(state, readings.change)
        bands.restart(state, ~teaches)
        anomaly = self._take_some(state, readings, teaches)
        if self._rules.limits:
            before = was(state, Kind.FORECAST_LIMIT)
            rulings[Kind.FORECAST_LIMIT] = crossings.rule(state, value, self._target, before, self._rules)
        if self._multivariate:
            rulings[Kind.MULTIVARIATE] = multivariate.rule(state, was(state, Kind.MULTIVARIATE), self._rules)
        if anomaly is None:
            ruling = residuals.rule(state, expectation, was(state, Kind.RESIDUAL), self._rules)
            rulings[Kind.RESIDUAL] = ruling
            score = expectation.score
            return Findings(expectation, score, score, ruling.threshold, expectation.warm, rulings)
        ruling = anomalies.rule(state, anomaly, was(state, Kind.ANOMALY), self._rules)
        rulings[Kind.ANOMALY] = ruling
        return Findings(expectation, anomaly.z, anomaly.score, ruling.threshold, anomaly.warm, rulings)

    def warm(self, table: Table, slots: Slots) -> Mask:
        """Which series are judged and forecast."""
        counted, enough = ("n_taken", anomalies.WARM_UP) if self._tail else ("n_residual", residuals.WARM_UP)
        warm: Mask = (table[counted][slots] >= enough) & np.isfinite(table["forecast"][slots, 0])
        return warm

    def threshold(self, table: Table, slots: Slots) -> Floats:
        """What the scores of these series are compared with."""
        if self._tail:
            return np.full(len(slots), anomalies.threshold_of(self._rules.sensitivity))
        own: Floats = table["threshold"][slots]
        return own

    def _fault_rulings(
        self, state: State, expectation: residuals.Judgement, value: Floats, readings: Arrivals
    ) -> dict[Kind, Ruling]:
        rules = self._rules
        faults.see_value(state, readings.change, was(state, Kind.STUCK), rules)
        rulings = {}
        if rules.stuck:
            rulings[Kind.STUCK] = faults.stuck(state, was(state, Kind.STUCK), rules)
        if rules.unit_change:
            rulings[Kind.UNIT_CHANGE] = conversions.rule(state, expectation, value, self._target, rules.accept_after)
        if rules.limits:
            fast = limits.too_fast(state, readings.change, readings.interval_s, was(state, Kind.RATE), rules)
            rulings[Kind.RATE] = fast
            rulings[Kind.RANGE] = limits.out_of_range(state, value, was(state, Kind.RANGE), rules)
            rulings[Kind.LIMIT] = limits.past_limit(state, value, was(state, Kind.LIMIT), rules)
        return rulings

    def _teaches(self, state: State, rulings: dict[Kind, Ruling]) -> Mask:
        faulty = conversions.open_cases(state)
        for kind in _FAULTS:
            if kind in rulings:
                faulty = faulty | rulings[kind].active
        n_faulty = np.where(faulty, state["n_faulty"] + 1, 0)
        state["n_faulty"] = n_faulty
        teaches: Mask = ~faulty | (n_faulty > self._rules.accept_after)
        return teaches

    def _take_some(self, state: State, readings: Arrivals, teaches: Mask) -> Anomaly | None:
        """Take those readings that teach; of the others nothing is said."""
        if teaches.all():
            return self._take(state, readings)
        if self._multivariate:
            multivariate.see(state, None, teaches)
        part = rows_of(state, teaches)
        said = self._take(part, readings.some(teaches))
        put_rows(state, teaches, part)
        if said is None:
            return None
        everyone = anomalies.silence(state)
        for whole, some in zip(everyone, said, strict=True):
            whole[teaches] = some
        return everyone

    def _take(self, state: State, readings: Arrivals) -> Anomaly | None:
        """The judge's history, the windows, and the forecasts from them."""
        at, values, _, interval_s, missing = readings
        anomaly = anomalies.judge(state, at, values[:, self._target], interval_s) if self._tail else None
        bands.learn(state, values[:, self._target], missing)
        if self._bridges:
            windows.bridge(state, at, values, missing)
        full = windows.push(state, at, values, self._target)
        forecast = None
        if full.any():
            window = np.ascontiguousarray(state["window"][full])
            forecast = self._forecast(window, windows.spread(state)[full], at[full])
            path = forecast.path
            state["forecast"][full] = np.where(np.isfinite(path), path, np.nan)  # it may overflow on absurd levels
        if self._multivariate:
            multivariate.see(state, forecast, full)
        bands.follow(state, full)
        if self._rules.limits:
            crossings.learn(state, self._target)
        if self._tail:
            deviations.expect(state, forecast, full)
        return anomaly


def _forecast_of(state: State, missing: cadences.Counts) -> Floats:
    """What was forecast for readings that so many are missing before, beyond the horizon its last lead."""
    path = state["forecast"]
    expected: Floats = path[np.arange(len(path)), np.minimum(missing, path.shape[1] - 1)].astype(np.float64)
    return expected


def was(state: State, kind: Kind) -> Mask:
    """Whether such an alert was active before the reading."""
    active: Mask = (state["active"] & BIT[kind]) != 0
    return active
