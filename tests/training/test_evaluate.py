"""The table of errors, and the calibration of the threshold."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from forewarn.core.card import Calibration
from forewarn.core.ports import Forecast
from forewarn.history import History
from forewarn_training.bands import coverage, half_widths
from forewarn_training.calibrate import LEAST_THRESHOLD, calibrate, scores, threshold_of
from forewarn_training.data import Cut, prepare
from forewarn_training.evaluate import MODEL, PERSISTENCE, SEASONAL, Errors, about_blocks, evaluate
from tests.training.sensors import STARTED_AT, history, saying

HERE = Path("a.csv")
HOUR_S = 3600.0


def hourly(values: np.ndarray) -> History:
    return history(HERE, values, STARTED_AT + HOUR_S * np.arange(len(values)))


def persistence(windows: np.ndarray, _: np.ndarray, __: np.ndarray) -> Forecast:
    return saying(np.repeat(windows[:, -1], 3, axis=1))


def line(errors: Errors | None) -> tuple[float, float, float]:
    assert errors is not None
    return errors.mae, errors.rmse, errors.mase


def test_a_ramp_has_the_errors_that_one_can_count() -> None:
    data = prepare(history(HERE, np.arange(200.0) * 2), Cut(5, 3))
    table = evaluate(persistence, data, data.test)
    assert line(table.of(MODEL, 1)) == pytest.approx((2, 2, 1))
    assert line(table.of(PERSISTENCE, 3)) == pytest.approx((6, 6, 3))
    assert table.of(SEASONAL, 1) is None
    assert "left out" in table.note
    assert "LARGER" in table.verdict()


def test_a_model_that_knows_the_ramp_is_said_to_be_better() -> None:
    data = prepare(history(HERE, np.arange(200.0)), Cut(5, 3))
    table = evaluate(lambda w, *_: saying(w[:, -1] + np.array([0.5, 2, 3], np.float32)), data, data.test)
    assert line(table.of(MODEL, 3)) == pytest.approx((0, 0, 0), abs=1e-6)
    assert "50.0% smaller" in table.verdict()


def test_mase_counts_in_steps_of_the_training_part() -> None:
    values = np.concatenate([np.arange(120.0) * 2, np.arange(80.0) * 10])
    data = prepare(history(HERE, values), Cut(5, 3))
    assert line(evaluate(persistence, data, data.test).of(PERSISTENCE, 1)) == pytest.approx((10, 10, 5))


def test_seasonal_naive_knows_a_day_exactly_and_looks_back_into_earlier_parts() -> None:
    day = np.random.default_rng(0).normal(size=24)
    data = prepare(hourly(np.tile(day, 12)), Cut(5, 3))
    table = evaluate(persistence, data, data.test)
    assert table.n_window == len(data.test)
    assert line(table.of(SEASONAL, 1))[:2] == pytest.approx((0, 0), abs=1e-6)
    assert table.note == ""


def test_seasonal_naive_never_looks_past_the_end_of_the_window() -> None:
    values = np.arange(24 * 20.0)
    data = prepare(hourly(values), Cut(5, 30))
    table = evaluate(lambda w, *_: saying(np.repeat(w[:, -1], 30, axis=1)), data, data.test)
    assert line(table.of(SEASONAL, 24))[0] == pytest.approx(24)
    assert line(table.of(SEASONAL, 30))[0] == pytest.approx(48)


def test_readings_that_never_change_have_no_verdict_and_no_mase() -> None:
    data = prepare(history(HERE, np.full(200, 4.0)), Cut(5, 3))
    table = evaluate(persistence, data, data.test)
    assert math.isnan(line(table.of(MODEL, 1))[2])
    assert "never change" in table.verdict()


def test_the_threshold_is_what_one_reading_in_five_thousand_exceeds() -> None:
    score = np.random.default_rng(0).exponential(1.0, 400_000)
    assert threshold_of(score) == pytest.approx(np.log(5000), rel=0.02)


def test_a_few_anomalies_hardly_move_the_threshold() -> None:
    score = np.random.default_rng(0).exponential(1.0, 2000)
    clean = threshold_of(score)
    score[:5] = 1000
    assert threshold_of(score) < 1.3 * clean


@pytest.mark.parametrize("score", [np.array([]), np.zeros(100), np.full(10, np.nan), np.full(100, 1.0)])
def test_the_threshold_has_a_floor(score: np.ndarray) -> None:
    assert threshold_of(score) == LEAST_THRESHOLD


def test_calibration_tells_the_size_of_the_residuals() -> None:
    wanted = np.random.default_rng(1).normal(0, 2, (4000, 2)) * [1, 3]
    path = np.zeros((4000, 2), np.float32)
    found = calibrate(wanted.astype(np.float32), path, np.zeros(4000, np.int64))
    assert found.mean_abs_residual == pytest.approx(2 * math.sqrt(2 / math.pi), rel=0.05)
    assert found.band_80 == pytest.approx((2 * 1.2816, 6 * 1.2816), rel=0.05)
    assert found.band_95 == pytest.approx((2 * 1.96, 6 * 1.96), rel=0.05)
    assert found.threshold_errors is not None
    assert 4 <= found.threshold_errors < 6


@pytest.mark.parametrize(("n", "share", "rank"), [(9, 0.8, 8), (10, 0.8, 9), (99, 0.95, 95), (5, 0.95, 5), (1, 0.8, 1)])
def test_a_half_width_is_the_residual_of_the_conformal_rank(n: int, share: float, rank: int) -> None:
    residual = np.random.default_rng(n).permutation(np.arange(1.0, n + 1)).astype(np.float32)
    sign = np.resize([1, -1], n).astype(np.float32)
    wanted = np.stack([residual * sign, 2 * residual], axis=1)
    assert half_widths(wanted, np.zeros_like(wanted), share) == (rank, 2 * rank)


def test_the_bands_of_one_half_cover_their_share_of_the_other() -> None:
    drawn = np.random.default_rng(4).standard_t(3, (40_000, 3)).astype(np.float32)
    path = np.zeros_like(drawn[:20_000])
    known = Calibration(1.0, half_widths(drawn[:20_000], path, 0.8), half_widths(drawn[:20_000], path, 0.95))
    told = coverage(drawn[20_000:], path, known)
    shares = [float(word) for word in re.findall(r"([0-9.]+)%", told)]
    assert shares == pytest.approx([80, 95, 80, 95], abs=1)
    assert "lead 1" in told
    assert "lead 3" in told
    assert coverage(drawn[20_000:], path, Calibration()) == ""


def test_the_error_of_blocks_is_told_over_persistences() -> None:
    data = prepare(history(HERE, np.arange(600.0)), Cut(5, 3))
    last = data.test.inputs()[:, -1]
    half = last + np.array([5.25, 15.25], np.float32)
    assert about_blocks(half, data.test).endswith("0.500 for the next 20, 0.500 for the next 60.")
    assert about_blocks(half[:1], prepare(history(HERE, np.ones(100)), Cut(5, 3)).test, np.array([0])) == ""


def test_scores_of_a_device_do_not_depend_on_the_others() -> None:
    random = np.random.default_rng(2)
    value, expected = random.normal(size=300), random.normal(size=300)
    start = Calibration(0.5, band_95=(1.0,))
    alone = scores(value, expected, np.zeros(300, np.int64), start)
    mixed = scores(
        np.concatenate([value, value * 7]),
        np.concatenate([expected, expected]),
        np.repeat([3, 9], 300),
        start,
    )
    assert mixed[:300].tobytes() == alone.tobytes()


def test_an_uncalibrated_device_has_no_score_while_it_warms_up() -> None:
    score = scores(np.ones(100), np.zeros(100), np.zeros(100, np.int64), Calibration())
    assert np.isnan(score[:30]).all()
    assert score[30:] == pytest.approx(1.0)
