"""A telemetry with everything in it that a daemon can report."""

import time
from collections.abc import Sequence

import numpy as np

from forewarn.adapters.http import HttpServer
from forewarn.adapters.http_request import Answer, Query
from forewarn.adapters.telemetry import Telemetry
from forewarn.core.alerts import Alert, AlertCleared, AlertRaised, AlertUpdated, Kind, SeriesEvicted, Severity
from forewarn.core.card import Feature, ModelCard
from forewarn.core.readings import Fleet, Floats, Outcome, Rejection, SeriesKey, SeriesState
from forewarn.core.verdicts import Verdicts

KEYS = tuple(SeriesKey(f"freezer-{i}", metric) for i in range(3) for metric in ("temperature", "humidity"))
CARD = ModelCard(
    "starter", "1", (Feature("value", "°C"),), target="value", n_step=30, horizon=1, created_at="2026-01-01T00:00:00Z"
)


def fleet_of(keys: Sequence[SeriesKey]) -> Fleet:
    """A row for each key, the states in turn; a series that warms up has a value and nothing more."""
    n = len(keys)
    state = (np.arange(n) % len(SeriesState)).astype(np.uint8)
    value: Floats = 4.0 + np.arange(n, dtype=np.float64)
    expected = np.where(state == SeriesState.WARMING_UP, np.nan, value - 0.5)
    return Fleet(
        keys=tuple(keys),
        slot=np.arange(n),
        state=state,
        at=np.full(n, time.time()),
        received_at=np.full(n, time.time()),
        value=value,
        expected=expected,
        lower=expected - 1.0,
        upper=expected + 1.0,
        residual=value - expected,
        score=np.abs(value - expected),
        threshold=np.full(n, 8.0),
        horizon=np.ones(n, np.int64),
        forecast=np.zeros((n, 1), np.float32),
        half_width=np.zeros((n, 2, 1)),
    )


def alert(series: SeriesKey = KEYS[0], kind: Kind = Kind.RESIDUAL, severity: Severity = Severity.WARNING) -> Alert:
    """An alert of which only what telemetry looks at matters."""
    return Alert(
        id="0" * 16,
        kind=kind,
        severity=severity,
        series=series,
        slot=0,
        value=9.8,
        expected=4.1,
        lower=3.5,
        upper=4.7,
        residual=5.7,
        score=12.0,
        threshold=8.0,
        at=2.0,
        received_at=2.0,
        raised_at=1.0,
        window_started_at=0.0,
    )


def verdicts_of(outcomes: Sequence[Outcome]) -> Verdicts:
    """Verdicts of which only the outcomes matter."""
    verdicts = Verdicts.blank(len(outcomes))
    verdicts.outcome[:] = outcomes
    return verdicts


def work(telemetry: Telemetry) -> None:
    """Report one of everything."""
    outcomes = [Outcome.SCORED] * 5 + list(Outcome)
    telemetry.ingested(verdicts_of(outcomes), np.linspace(0.001, 0.02, len(outcomes)))
    telemetry.rejected(Rejection.NOT_JSON)
    telemetry.inferred(len(outcomes), 0.002)
    telemetry.published(3)
    for kind in Kind:
        telemetry.event(AlertRaised(alert(kind=kind)))
        telemetry.event(AlertUpdated(alert(kind=kind, severity=Severity.CRITICAL)))
    telemetry.event(AlertCleared(alert(kind=Kind.STUCK)))
    telemetry.event(SeriesEvicted(KEYS[0], 0))


def filled(keys: Sequence[SeriesKey] = KEYS) -> Telemetry:
    """A telemetry of a daemon that has worked for a moment, and lost its broker once."""
    telemetry = Telemetry(version="0.1.0", fleet=lambda: fleet_of(keys), max_devices=len(keys) - 1)
    telemetry.models_loaded([(CARD, "ab" * 32)])
    for is_connected in (True, False, True):
        telemetry.connected(is_connected)
    telemetry.queue("outbox", 2, 0)
    work(telemetry)
    return telemetry


def served(telemetry: Telemetry) -> HttpServer:
    """A server with the telemetry's `/metrics`, on a free loopback port."""

    def metrics(_: Query) -> Answer:
        body, content_type = telemetry.exposition()
        return Answer(200, content_type, body)

    return HttpServer("127.0.0.1", 0, {"/metrics": metrics})
