"""Intervals of the skill, and the sentence that rests on them."""

from pathlib import Path

import numpy as np
import pytest

from forewarn.core.card import BLOCKS
from forewarn.core.ports import Forecast
from forewarn_training.data import Cut, Dataset, prepare
from forewarn_training.evaluate import RIDGE, Model, Rival, evaluate
from forewarn_training.intervals import block_length, skill
from forewarn_training.verdict import place
from tests.training.sensors import history

DATA = prepare(history(Path("a.csv"), np.arange(2000.0)), Cut(5, 3))


def off_by(size: float) -> Rival:
    """Right about a ramp of one a reading but for a constant error."""
    return lambda windows, _: np.asarray(windows[:, -1] + np.array([1, 2, 3]) + size, np.float32)


def test_the_interval_of_independent_errors_is_the_one_that_theory_gives() -> None:
    random = np.random.default_rng(0)
    error, reference = np.abs(random.normal(size=4000)), np.ones(4000)
    found = skill(error, reference, 1)
    half = 1.96 * error.std() / np.sqrt(4000)
    assert found.value == pytest.approx(1 - error.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_errors_that_come_in_runs_have_a_wider_interval_in_blocks() -> None:
    runs = np.repeat(np.abs(np.random.default_rng(0).normal(size=100)), 40)
    single, blocks = (skill(runs, np.ones(4000), block) for block in (1, 120))
    assert 4 < (blocks.high - blocks.low) / (single.high - single.low) < 8, "theory: the root of a run's length, 6.3"
    assert skill(runs, np.ones(4000), 120) == blocks


@pytest.mark.parametrize(("n", "horizon", "block"), [(1000, 1, 10), (1000, 24, 48), (20, 24, 5), (1, 1, 1)])
def test_a_block_is_as_long_as_stated(n: int, horizon: int, block: int) -> None:
    assert block_length(n, horizon) == block


def test_without_an_error_of_the_reference_there_is_no_skill() -> None:
    assert np.isnan(skill(np.ones(10), np.zeros(10), 2).value)


def path_only(path: Rival) -> Model:
    blocks = np.zeros((0, len(BLOCKS)), np.float32)
    return lambda windows, _, at: Forecast(path(windows, at), blocks, blocks)


def sentence(model: Rival, ridge: Rival, data: Dataset = DATA) -> str:
    return place(evaluate(path_only(model), data, data.test, {RIDGE: ridge}), "lstm")


def test_a_network_better_than_both_earns_its_place() -> None:
    told = sentence(off_by(0.3), off_by(0.6))
    assert told.startswith("The LSTM earns its place: skill at lead 1 against persistence +70.0% (+70.0% to +70.0%)")
    assert "against the ridge +50.0%" in told
    assert "smallest mean error: model at lead 1/3." in told


def test_where_the_ridge_is_better_it_is_offered() -> None:
    told = sentence(off_by(0.6), off_by(0.3))
    assert told.startswith("The LSTM does not earn its place")
    assert "ridge at lead 1/3" in told
    assert "--cell linear" in told


def test_a_difference_within_noise_earns_no_place() -> None:
    assert "does not earn its place" in sentence(off_by(0.4), off_by(0.4))


def test_where_persistence_is_best_nothing_is_offered() -> None:
    told = sentence(off_by(1.5), off_by(1.2))
    assert "persistence at lead 1" in told
    assert "--cell linear" not in told


def test_the_linear_model_is_measured_against_persistence_alone() -> None:
    assert "is better than persistence at lead 1" in place(evaluate(path_only(off_by(0.5)), DATA, DATA.test), "linear")
    assert "is not better" in place(evaluate(path_only(off_by(1.5)), DATA, DATA.test), "linear")


def test_readings_that_never_change_have_no_sentence() -> None:
    data = prepare(history(Path("a.csv"), np.full(200, 4.0)), Cut(5, 3))
    assert sentence(off_by(0.5), off_by(1), data) == ""
