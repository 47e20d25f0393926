"""T² of a vector autoregression: against a plain loop, and on features that stop going together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forewarn_training import multivariate
from forewarn_training.data import Cut, Dataset, Part, prepare
from forewarn_training.multivariate import LAGS, LIMIT, WEIGHT, fit_multivariate, over_limit
from tests.training.sensors import history

NAMES = ("temperature", "pressure", "flow")


def three(n: int, seed: int, *, apart_from: int | None = None) -> np.ndarray:
    """Pressure follows temperature and flow goes against it; from a reading on pressure is that of another time."""
    random = np.random.default_rng(seed)
    slow = [0.0]
    for step in random.normal(size=n - 1):
        slow.append(0.95 * slow[-1] + step)
    common = np.array(slow)
    readings = np.stack([20 + common, 3 + 0.5 * common, 80 - 2 * common], axis=1) + random.normal(0, 0.2, (n, 3))
    if apart_from is not None:
        readings[apart_from:, 1] = readings[: n - apart_from, 1]  # of another time: within its range
    return readings


def data_of(readings: np.ndarray, n_step: int = 12, horizon: int = 1) -> Dataset:
    return prepare(replace(history(Path("a.csv"), readings), features=NAMES), Cut(n_step, horizon))


def windows_of(readings: np.ndarray, n_step: int = 12) -> np.ndarray:
    rows = np.lib.stride_tricks.sliding_window_view(readings.astype(np.float32), n_step, axis=0)
    return np.ascontiguousarray(rows.transpose(0, 2, 1))


def by_hand(windows: np.ndarray, readings: np.ndarray, fitted: list[int]) -> np.ndarray:
    """T² of each window as the textbooks write it: one reading, one window at a time; errors at `fitted` rows."""
    mean, deviation = readings[fitted].mean(axis=0), readings[fitted].std(axis=0)
    z = (readings - mean) / deviation
    x = np.array([z[i - LAGS : i].ravel() for i in fitted])
    y = z[fitted]
    centred = x - x.mean(axis=0)
    slope = np.linalg.solve(centred.T @ centred + np.eye(x.shape[1]), centred.T @ (y - y.mean(axis=0)))
    own = np.cov((y - y.mean(axis=0) - centred @ slope).T)
    covariance = 0.9 * own + 0.1 * np.diag(np.diag(own)) + 0.01 * np.eye(3)
    out = []
    for window in windows:
        scaled = (window - mean) / deviation
        smooth = np.zeros(3)
        for i in range(LAGS, len(scaled)):
            error = scaled[i] - y.mean(axis=0) - (scaled[i - LAGS : i].ravel() - x.mean(axis=0)) @ slope
            smooth = (1 - WEIGHT) * smooth + WEIGHT * error
        out.append(smooth @ np.linalg.inv(covariance * WEIGHT / (2 - WEIGHT)) @ smooth)
    return np.array(out)


def test_t_squared_is_that_of_the_textbooks_over_a_multiple_of_its_largest() -> None:
    readings = three(600, 0)
    data = data_of(readings)
    together = fit_multivariate(data.training, data.validation)
    assert together is not None
    ours = together.parts(windows_of(readings)).sum(axis=1)
    fitted = [*range(LAGS, 360), *range(360 + LAGS, 480)]
    expected = by_hand(windows_of(readings), readings, fitted)
    seen = [*range(360 - 12), *range(360, 480 - 12)]  # windows of the two parts that are followed by a reading
    assert ours == pytest.approx(expected / (LIMIT * expected[seen].max()), rel=1e-3, abs=1e-6)


def test_features_that_part_are_over_the_limit_though_each_is_within_its_range() -> None:
    readings = three(3000, 1, apart_from=2500)
    data = data_of(readings[:2000])
    together = fit_multivariate(data.training, data.validation)
    assert together is not None
    parts = together.parts(windows_of(readings))
    score = parts.sum(axis=1)
    assert score[:2488].max() <= 1.0
    assert (score[2500:] > 1.0).mean() > 0.5
    over = parts[2500:][score[2500:] > 1.0]
    assert np.bincount(over.argmax(axis=1), minlength=3)[1] > 0.6 * len(over)


def test_a_sensor_that_never_changed_in_the_training_is_told_once_it_does() -> None:
    readings = three(1500, 2)
    readings[:, 2] = 80.0
    readings[1400:, 2] = 80.5
    data = data_of(readings[:1200])
    together = fit_multivariate(data.training, data.validation)
    assert together is not None
    score = together.parts(windows_of(readings)).sum(axis=1)
    assert np.isfinite(score).all()
    assert score[: 1400 - 11].max() <= 1.0
    assert score[1400 - 11] > 1.0


def test_a_window_or_history_with_nothing_to_go_together_has_none() -> None:
    alone = prepare(history(Path("a.csv"), three(300, 3)[:, 0]), Cut(12, 1))
    assert fit_multivariate(alone.training, alone.validation) is None
    short = data_of(three(300, 3), n_step=1)
    assert fit_multivariate(short.training, short.validation) is None


def test_gaps_and_other_devices_are_no_part_of_a_stretch() -> None:
    values = np.arange(40, dtype=np.float32).reshape(20, 2)
    values[7] = np.nan
    device = np.repeat([0, 1], [12, 8])
    part = Part(np.arange(20.0), device, values, np.arange(3), 4, 1, 0, np.ones(20, np.float32))
    found = multivariate._stretches(part, 3)
    firsts = (found[:, 0, 0] / 2).astype(int).tolist()
    assert firsts == [0, 1, 2, 3, 4, 8, 9, 12, 13, 14, 15, 16, 17]


def test_the_sentence_counts_windows_and_stretches() -> None:
    readings = three(1500, 4)
    readings[1300:1310, 1] += 5.0
    readings[1400:1410, 1] += 5.0
    data = data_of(readings)
    together = fit_multivariate(data.training, data.validation)
    assert together is not None
    said = over_limit(together, data.test)
    over = together.parts(data.test.inputs()).sum(axis=1) > 1.0
    assert over.sum() > 10
    assert said == (
        f"Of the {len(data.test)} windows of the test part {100 * over.mean():.2f} % are over the limit of T² over the "
        "3 features, in 2 stretches."
    )
