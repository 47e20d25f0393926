import math

import numpy as np
import pytest

from forewarn.core import bands
from forewarn.core.card import Calibration
from forewarn.core.slots import Column, Table
from tests.core.scalar_bands import ScalarBands

EVERYONE = np.arange(3)


def table(horizon: int, calibration: Calibration | None = None) -> Table:
    own = {
        "forecast": Column(np.float32, (horizon,), np.nan),
        "mean_abs": Column(np.float64, (), 2.0),
    }
    return Table(bands.columns(horizon, calibration or Calibration()), own, rows=3)


NONE = np.zeros(3, np.int64)


def step(
    columns: Table,
    value: np.ndarray,
    path: np.ndarray,
    full: np.ndarray,
    ended: np.ndarray,
    missing: np.ndarray = NONE,
) -> None:
    state = columns.take(EVERYONE)
    bands.restart(state, ended)
    bands.learn(state, value, missing)
    state["forecast"] = path
    bands.follow(state, full)
    columns.put(EVERYONE, state)


@pytest.mark.parametrize("horizon", [1, 2, 24, 60, 200])
def test_vectorised_and_scalar_bands_agree_to_the_bit(horizon: int) -> None:
    rng = np.random.default_rng(horizon)
    columns, scalars = table(horizon), [ScalarBands(horizon) for _ in EVERYONE]
    for _ in range(max(1500, 50 * horizon)):
        value = rng.normal(0, 1, 3) * np.where(rng.random(3) < 0.02, 50.0, 1.0)
        path = rng.normal(0, 1, (3, horizon)).astype(np.float32)
        path[rng.random((3, horizon)) < 0.01] = np.nan
        full, ended = rng.random(3) < 0.9, rng.random(3) < 0.1 / horizon
        missing = np.where(rng.random(3) < 0.05, rng.integers(1, 9, 3), 0)
        step(columns, value, path, full, ended, missing)
        for i, scalar in enumerate(scalars):
            if ended[i]:
                scalar.forget()
            scalar.take(float(value[i]), int(missing[i]))
            scalar.follow(path[i].tolist() if full[i] else None)
    assert all(min(scalar.n) > bands.WARM_UP / 5 for scalar in scalars)
    for i, scalar in enumerate(scalars):
        assert columns["n_lead"][i].tolist() == scalar.n
        assert columns["lead_error"][i].tolist() == scalar.error
        assert columns["half_width"][i].tolist() == scalar.width


def walk_coverage(calibration: Calibration | None, n: int = 8000, drift: float = 0.0) -> np.ndarray:
    """Shares `(2, 24)` of readings within the bands around "as now", over the second half of a random walk."""
    rng = np.random.default_rng(4)
    value = np.cumsum(rng.normal(0, 1, (n, 3)) * (1.0 + drift * np.arange(n)[:, None] / n), axis=0)
    columns, within, asked = table(24, calibration), np.zeros((2, 24)), 0
    for t in range(n - 24):
        path = np.repeat(value[t][:, None], 24, axis=1).astype(np.float32)
        step(columns, value[t], path, np.ones(3, bool), np.zeros(3, bool))
        if t > n // 2:
            widths = bands.half_widths(columns, EVERYONE)
            away = np.abs(value[t + 1 : t + 25].T - value[t][:, None])
            within += (away[:, None] <= widths).mean(axis=0)
            asked += 1
    covered: np.ndarray = within / asked
    return covered


@pytest.mark.parametrize("drift", [0.0, 2.0])
def test_the_bands_hold_what_they_say_at_every_lead(drift: float) -> None:
    covered = walk_coverage(None, drift=drift)
    assert np.abs(covered - np.array(bands.COVERAGE)[:, None]).max() < 0.03


def test_before_anything_was_learnt_a_band_grows_with_the_root_of_the_lead() -> None:
    widths = bands.half_widths(table(24), EVERYONE)
    assert widths[0, :, 0] == pytest.approx([1.606 * 2.0, 2.456 * 2.0])
    assert widths[:, :, 15] == pytest.approx(4 * widths[:, :, 0])


def test_a_calibrated_model_brings_its_bands() -> None:
    own = Calibration(1.0, tuple(float(i) for i in range(1, 25)), tuple(2.0 * i for i in range(1, 25)))
    columns = table(24, own)
    widths = bands.half_widths(columns, EVERYONE)
    assert widths[2, 0].tolist() == list(own.band_80 or ())
    assert widths[2, 1].tolist() == list(own.band_95 or ())
    assert bands.expected_error(columns.take(EVERYONE), np.full(3, math.nan))[0, 9] == pytest.approx(10 / 1.606)
