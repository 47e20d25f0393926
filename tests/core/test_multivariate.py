"""Alerts on features that do not go together, with a model that says so."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from forewarn.core.alerts import Alert, AlertCleared, AlertRaised, AlertUpdated, Event, Kind, SeriesEvicted, Severity
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecast
from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.rules import Limits, Rules
from forewarn.core.snapshot import Snapshot
from tests.forecasters import HalfTrend, card

KEY = SeriesKey("pump", "temperature")
RULES = Rules(detector="residual", clear_after=2, unit_change=False)


class Apart(HalfTrend):
    """Says that the features of a reading are as far apart as they are; two of three go alike."""

    def __init__(self) -> None:
        super().__init__(replace(card(features=("temperature", "pressure", "flow")), multivariate=True))

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:
        last = windows[:, -1]
        return super().forecast(windows, spread, at)._replace(t_squared=last - last[:, :1] + np.float32(0.1))


def readings(apart: list[float], *, feature: int = 1, level: float = 4.0, devices: int = 1) -> Batch:
    noise = np.random.default_rng(0).normal(0, 0.01, len(apart))
    values = np.repeat((level + noise)[:, None], 3, axis=1)
    values[:, feature] += apart
    at = np.repeat(1e9 + 10.0 * np.arange(len(apart)), devices)
    keys = [SeriesKey(f"pump-{i}", "temperature") if devices > 1 else KEY for _ in apart for i in range(devices)]
    return Batch(keys, at, at, np.repeat(values, devices, axis=0))


def part(batch: Batch, start: int, end: int) -> Batch:
    return Batch(batch.keys[start:end], batch.at[start:end], batch.received_at[start:end], batch.values[start:end])


def told(events: list[Event]) -> list[tuple[type, Alert]]:
    return [
        (type(e), e.alert) for e in events if not isinstance(e, SeriesEvicted) and e.alert.kind is Kind.MULTIVARIATE
    ]


def test_the_life_of_an_alert_and_what_it_says() -> None:
    batch = readings([0.0] * 20 + [1.5, 3.0, 0.0, 0.8, 0.0, 0.0, 0.0])
    verdicts = Engine(Apart(), replace(RULES, update_every_s=1e6)).ingest(batch)
    (raise_, raised), (worse_, worse), (clear_, cleared) = told(verdicts.events)
    assert (raise_, worse_, clear_) == (AlertRaised, AlertUpdated, AlertCleared)
    assert (raised.at, worse.at, cleared.at) == (1e9 + 200, 1e9 + 210, 1e9 + 250)
    assert raised.id == worse.id == cleared.id
    assert (raised.severity, worse.severity) == (Severity.WARNING, Severity.CRITICAL)
    assert raised.score == pytest.approx(1.8, abs=0.01)
    assert (raised.threshold, raised.feature) == (1.0, "pressure")
    assert raised.observed == pytest.approx(5.5, abs=0.1)
    assert (raised.stream, raised.usual, raised.since_at) == (None, None, None)
    assert cleared.feature == "pressure"
    assert verdicts.alert.tolist() == [False] * 20 + [True] * 5 + [False] * 2


def test_the_feature_is_the_one_that_contributes_most() -> None:
    for feature, name in ((1, "pressure"), (2, "flow")):
        verdicts = Engine(Apart(), RULES).ingest(readings([0.0] * 9 + [2.0], feature=feature))
        assert [alert.feature for _, alert in told(verdicts.events)] == [name]


def test_nothing_is_said_before_the_window_is_full_nor_of_a_reading_inside_a_fault() -> None:
    assert not told(Engine(Apart(), RULES).ingest(readings([5.0, 5.0, 5.0])).events)
    limited = replace(RULES, limits=(Limits(high=50.0),))
    batch = readings([0.0] * 9 + [5.0])
    batch.values[-1, 0] = 60.0
    batch.values[-1, 1] = 99.0
    engine = Engine(Apart(), limited)
    assert not told(engine.ingest(batch).events)
    assert np.isnan(engine._groups[0].table["t_squared"][0]).all()


def test_it_can_be_switched_off_and_is_off_with_a_model_that_does_not_say_it() -> None:
    batch = readings([0.0] * 9 + [5.0])
    assert told(Engine(Apart(), RULES).ingest(batch).events)
    off = Engine(Apart(), replace(RULES, multivariate=False))
    assert not told(off.ingest(batch).events)
    silent = Apart()
    silent.card = replace(silent.card, multivariate=False)
    plain = Engine(silent, RULES)
    assert not told(plain.ingest(batch).events)
    assert "t_squared" not in plain._groups[0].table.dump(np.array([0]))


@pytest.mark.parametrize("detector", ["tail", "residual"])
def test_cuts_restarts_and_other_series_change_nothing(detector: str) -> None:
    rules = replace(RULES, detector=detector)  # type: ignore[arg-type]  # one of the two
    apart = (np.random.default_rng(3).random(80) > 0.6) * 2.0
    whole = told(Engine(Apart(), rules).ingest(readings(apart.tolist())).events)
    assert len(whole) > 10
    engine = Engine(Apart(), rules)
    cut = []
    for i in range(80):
        cut += told(engine.ingest(part(readings(apart.tolist()), i, i + 1)).events)
        restored = Engine(Apart(), rules)
        restored.restore(Snapshot.from_bytes(engine.snapshot().to_bytes()))
        engine = restored
    assert cut == whole
    many = told(Engine(Apart(), rules).ingest(readings(apart.tolist(), devices=3)).events)
    of_one = [(kind, alert.at, alert.score) for kind, alert in many if alert.series.device == "pump-1"]
    assert of_one == [(kind, alert.at, alert.score) for kind, alert in whole]
