from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from forewarn.core.alerts import Alert, AlertRaised, Kind
from forewarn.core.crossings import _line
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecast
from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.rules import Limits, Rules
from tests.forecasters import HalfTrend, card

KEY = SeriesKey("freezer", "temperature")
RULES = Rules(limits=(Limits(limit_above=-15.0),))
HORIZON = 24
CALM = 400  # readings before anything happens


class Returning(HalfTrend):
    """It will soon be where it was at the window's begin."""

    def __init__(self, n_step: int = 16) -> None:
        super().__init__(replace(card(n_step=n_step), horizon=HORIZON))

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:  # noqa: ARG002 - a port
        path = np.repeat(windows[:, 0, :1], HORIZON, axis=1)
        return Forecast(path, path[:, :2], np.log(np.stack([spread, spread], axis=1) + np.float32(1e-3)))


def ahead(value: NDArray[np.float64], n_step: int = 16) -> list[Alert]:
    """The alerts before a limit is passed."""
    at = 1.7e9 + 60.0 * np.arange(float(len(value)))
    events = Engine(Returning(n_step), RULES).ingest(Batch([KEY] * len(at), at, at, value[:, None])).events
    return [e.alert for e in events if isinstance(e, AlertRaised) and e.alert.kind is Kind.FORECAST_LIMIT]


def noise(n: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0.0, 0.1, n)


@pytest.mark.parametrize("seed", range(4))
def test_a_steady_rise_such_as_never_was_is_told_well_before_the_limit(seed: int) -> None:
    rise = np.clip(0.1 * (np.arange(CALM + 60.0) - CALM), 0.0, None)
    value = -20.0 + noise(CALM + 60, seed) + rise
    (alert,) = ahead(value)
    passed = CALM + 50
    told = (alert.at - 1.7e9) / 60.0
    assert CALM + 5 <= told <= passed - 10
    assert alert.limit == -15.0
    assert alert.lead_s is not None
    assert told + alert.lead_s / 60.0 == pytest.approx(passed, abs=6)


@pytest.mark.parametrize("seed", range(4))
def test_rises_and_falls_that_the_series_always_had_are_left_to_the_model(seed: int) -> None:
    wave = 4.0 * np.sin(2 * np.pi * np.arange(2000) / 48)
    assert ahead(-20.0 + wave + noise(2000, seed)) == []


def test_noise_makes_no_line() -> None:
    assert ahead(-15.5 + noise(3000, 7)) == []


def test_a_window_of_few_readings_has_no_line() -> None:
    rise = np.clip(0.1 * (np.arange(CALM + 60.0) - CALM), 0.0, None)
    assert ahead(-20.0 + noise(CALM + 60, 0) + rise, n_step=6) == []


def test_a_line_is_that_of_least_squares_and_errs_by_what_textbooks_say() -> None:
    rng = np.random.default_rng(3)
    step = np.arange(16.0)
    window = 5.0 + 0.3 * step + rng.normal(0, 0.2, (5, 16))
    line = _line(window, 4)
    for row in range(5):
        (slope, level), cov = np.polyfit(step, window[row], 1, cov=True)
        assert line.slope[row] == pytest.approx(slope)
        assert line.path[row] == pytest.approx(level + slope * np.arange(16, 20))
        left = window[row] - level - slope * step
        assert line.explained[row] == pytest.approx(1 - (left @ left) / (16 * window[row].var()))
        at = np.array([19.0, 1.0])
        scatter = np.sqrt(left @ left / 14 + at @ cov @ at)
        assert line.error[row, 3] == pytest.approx(np.sqrt(2 / np.pi) * scatter)
    assert _line(np.full((1, 16), 4.1), 4).explained.tolist() == [0.0]


@pytest.mark.parametrize("seed", range(4))
def test_a_step_that_stays_below_the_limit_is_no_rise(seed: int) -> None:
    assert ahead(-20.0 + noise(CALM + 60, seed) + 4.0 * (np.arange(CALM + 60) >= CALM)) == []
