from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from forewarn.core.alerts import Alert, AlertCleared, AlertRaised, Kind, SeriesEvicted
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecast
from forewarn.core.readings import Outcome, SeriesKey
from forewarn.core.rules import Limits, Rules
from tests.core.streams import Row, batch
from tests.forecasters import HalfTrend, card

KEY = SeriesKey("freezer-1", "temperature")
LIMITED = Rules(limits=(Limits("freezer-*", low=-40.0, high=30.0, max_rate_per_s=0.2, limit_above=-15.0),))


def rows(values: list[float], at: float = 1.7e9, key: SeriesKey = KEY) -> list[Row]:
    return [Row(key, at + 60.0 * i, at + 60.0 * i, round(value, 2)) for i, value in enumerate(values)]


def calm(n: int = 100, level: float = -20.0, seed: int = 0) -> list[float]:
    found: list[float] = np.random.default_rng(seed).normal(level, 0.1, n).tolist()
    return found


def raised(engine: Engine, of: list[Row], kind: Kind) -> list[Alert]:
    return [e.alert for e in engine.ingest(batch(of)).events if isinstance(e, AlertRaised) and e.alert.kind is kind]


class Line:
    """The line through the first and the last reading of the window goes on; 20 leads."""

    def __init__(self) -> None:
        self.card = replace(card(n_step=8), horizon=20)

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:  # noqa: ARG002 - a port
        last = windows[:, -1:, 0]
        path = (last + (last - windows[:, :1, 0]) / 7 * np.arange(1, 21)).astype(np.float32)
        return Forecast(path, path[:, :2], np.log(np.stack([spread, spread], axis=1) + np.float32(1e-3)))


def about_limits(of: list[Row]) -> list[tuple[type, Alert]]:
    engine = Engine(Line(), replace(LIMITED, update_every_s=1e9))
    events = [e for e in engine.ingest(batch(of)).events if not isinstance(e, SeriesEvicted)]
    return [(type(e), e.alert) for e in events if e.alert.kind in (Kind.FORECAST_LIMIT, Kind.LIMIT)]


def test_a_limit_is_forecast_before_it_is_passed_and_told_once_it_is() -> None:
    rise = [-20.0 + 0.2 * i for i in range(1, 30)]
    told = about_limits(rows(calm(300) + rise))
    assert [(change, alert.kind) for change, alert in told] == [
        (AlertRaised, Kind.FORECAST_LIMIT),
        (AlertRaised, Kind.LIMIT),
        (AlertCleared, Kind.FORECAST_LIMIT),
    ]
    ahead, passed, ended = (alert for _, alert in told)
    assert ahead.limit == passed.limit == ended.limit == -15.0
    assert ahead.probability is not None
    assert ahead.probability > 0.8
    assert ahead.lead_s is not None
    assert ahead.lead_s == pytest.approx(passed.at - ahead.at, rel=0.25)
    assert ahead.lead_s >= 300.0
    assert (ended.probability, ended.lead_s is None or ended.lead_s > 0, ended.at) == (1.0, True, passed.at)


def test_a_limit_that_is_no_longer_forecast_to_be_passed_is_taken_back() -> None:
    turns = [-20.0 + 0.2 * i for i in range(1, 20)] + [-16.2 - 0.1 * i for i in range(20)]
    told = [change for change, _ in about_limits(rows(calm(300) + turns))]
    assert told == [AlertRaised, AlertCleared]


@pytest.mark.parametrize(("device", "n"), [("freezer-1", 1), ("room-1", 0)])
def test_a_range_is_only_for_the_series_that_it_is_given_for(device: str, n: int) -> None:
    of = rows([*calm(), 45.0, -20.0], key=SeriesKey(device, "temperature"))
    assert len(raised(Engine(HalfTrend(), LIMITED), of, Kind.RANGE)) == n


def test_a_change_of_unit_is_told_with_the_fifth_reading_and_what_it_is_not_is_not() -> None:
    for level, other, n in ((21.0, 69.8, 1), (21.0, 294.15, 1), (21.0, 60.0, 0), (-40.0, -40.0, 0)):
        alerts = raised(Engine(HalfTrend(), Rules()), rows(calm(100, level) + calm(10, other, 1)), Kind.UNIT_CHANGE)
        assert len(alerts) == n, other
        assert all(alert.at == 1.7e9 + 60.0 * 104 for alert in alerts)


def test_a_metric_that_is_no_temperature_has_no_change_of_unit() -> None:
    engine = Engine(HalfTrend(), Rules(other_units=frozenset({"temperature"})))
    assert raised(engine, rows(calm(100, 21.0) + calm(10, 69.8, 1)), Kind.UNIT_CHANGE) == []


@pytest.mark.parametrize(("gap_s", "n_unjudged"), [(90.0, 0), (700.0, 0), (800.0, 4)])  # 700 s: beyond the horizon
def test_a_window_restarts_after_a_gap_of_more_than_twelve_cadences(gap_s: float, n_unjudged: int) -> None:
    engine = Engine(HalfTrend(), Rules(detector="residual"))
    before = rows(calm())
    engine.ingest(batch(before))
    after = engine.ingest(batch(rows(calm(5), at=before[-1].at + gap_s))).outcome.tolist()
    assert after == [Outcome.WARMING_UP] * n_unjudged + [Outcome.SCORED] * (5 - n_unjudged)


def test_readings_inside_a_fault_do_not_teach_until_they_are_accepted() -> None:
    engine = Engine(HalfTrend(), Rules(limits=(Limits(high=30.0),), accept_after=20))
    before = rows(calm())
    engine.ingest(batch(before))
    known = float(engine._groups[0].table["mean_abs"][0])
    out = rows(calm(30, 50.0, 1), at=before[-1].at + 60.0)
    engine.ingest(batch(out[:20]))
    assert engine._groups[0].table["mean_abs"][0] == known
    engine.ingest(batch(out[20:]))
    assert engine._groups[0].table["mean_abs"][0] != known
