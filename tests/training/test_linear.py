"""The ridge autoregression: what it learns, what it sees, and the model file it becomes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forewarn_training.data import Cut, Dataset, prepare
from forewarn_training.linear import PENALTIES, fit_ridge
from tests.training.sensors import history, wave


def data_of(values: np.ndarray, n_step: int = 10, horizon: int = 3) -> Dataset:
    return prepare(history(Path("a.csv"), values), Cut(n_step, horizon))


def error(forecast: np.ndarray, data: Dataset, lead: int) -> float:
    return float(np.abs(forecast[:, lead - 1] - data.test.targets()[:, lead - 1]).mean())


def test_a_linear_recurrence_is_forecast_almost_exactly() -> None:
    data = data_of(20 + 3 * np.sin(np.arange(600) / 5))
    ridge = fit_ridge(data.training, data.validation)
    assert error(ridge.forecast(data.test.inputs(), data.test.ends_at()), data, 3) < 1e-3
    assert (ridge.path.penalties == PENALTIES[0]).all()


def test_an_autoregression_comes_out_with_its_own_weight() -> None:
    random = np.random.default_rng(0).normal(size=20_000)
    change = np.zeros(20_000)
    for i in range(1, 20_000):
        change[i] = 0.6 * change[i - 1] + random[i]
    data = data_of(np.cumsum(change), n_step=4, horizon=1)
    ridge = fit_ridge(data.training, data.validation)
    in_readings = ridge.path.weights[0] * ridge.path.scale[0] / ridge.input_scale[0]
    assert in_readings == pytest.approx([0, 0, -0.6, 0], abs=0.03)


def test_of_pure_noise_a_strong_penalty_is_chosen() -> None:
    data = data_of(np.cumsum(np.random.default_rng(1).normal(size=260)), n_step=40, horizon=1)
    assert fit_ridge(data.training, data.validation).path.penalties[0] >= 0.1


def test_a_feature_beside_the_target_is_used() -> None:
    helper = np.random.default_rng(2).normal(size=1200)
    target = np.concatenate([[0.0], helper[:-1]])
    readings = np.stack([target, helper], axis=1)
    both = history(Path("a.csv"), readings)
    data = prepare(replace(both, features=("temperature", "helper")), Cut(5, 1))
    ridge = fit_ridge(data.training, data.validation)
    assert error(ridge.forecast(data.test.inputs(), data.test.ends_at()), data, 1) < 0.01


def test_a_constant_stays_what_it_is() -> None:
    data = data_of(np.full(300, 7.5))
    ridge = fit_ridge(data.training, data.validation)
    assert (ridge.forecast(data.test.inputs(), data.test.ends_at()) == 7.5).all()


def test_readings_of_the_test_part_change_nothing() -> None:
    values = wave(400)
    changed = values.copy()
    changed[321:] = 1e6
    first, second = (fit_ridge(data.training, data.validation) for data in map(data_of, (values, changed)))
    assert first.input_scale.tobytes() == second.input_scale.tobytes()
    assert first.block_error.tobytes() == second.block_error.tobytes()
    for a, b in ((first.path, second.path), (first.blocks, second.blocks)):
        for name in ("weights", "bias", "scale", "penalties"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes()


def test_the_mean_of_a_block_is_forecast_with_the_error_that_validation_found() -> None:
    torch = pytest.importorskip("torch")
    from forewarn_training.model import NetworkSpec, linear_network  # noqa: PLC0415 - needs torch

    data = data_of(wave(2000))
    ridge = fit_ridge(data.training, data.validation)
    part = data.validation
    network = linear_network(NetworkSpec(10, 1, 0, 3, cell="linear"), ridge)
    with torch.no_grad():
        said = network(torch.from_numpy(part.inputs()), torch.from_numpy(part.spreads()))
    wanted = part.block_targets()
    whole = np.isfinite(wanted).all(axis=1)
    error = np.abs(said.block_mean.numpy() - wanted)[whole].mean(axis=0)
    naive = np.abs(part.inputs()[:, -1] - wanted)[whole].mean(axis=0)
    assert (error < 0.5 * naive).all()
    assert np.exp(said.block_log_scale.numpy()) == pytest.approx(np.broadcast_to(error, wanted.shape), rel=1e-3)


def test_parts_too_short_for_a_block_say_that_the_last_reading_goes_on() -> None:
    data = data_of(wave(80))
    ridge = fit_ridge(data.training, data.validation)
    assert np.isfinite(data.validation.block_targets()).all(axis=1).sum() == 0
    assert ridge.block_error == pytest.approx(1)
    assert np.abs(ridge.blocks.weights).max() == 0


def test_the_network_made_of_it_says_the_same() -> None:
    pytest.importorskip("torch")
    from forewarn_training.export import forecast_with_torch  # noqa: PLC0415 - needs torch
    from forewarn_training.model import NetworkSpec, linear_network  # noqa: PLC0415

    data = data_of(wave(400))
    ridge = fit_ridge(data.training, data.validation)
    network = linear_network(NetworkSpec(10, 1, 0, 3, cell="linear"), ridge)
    windows = data.test.inputs()
    said = forecast_with_torch(network, windows, data.test.spreads())
    assert said.path == pytest.approx(ridge.forecast(windows, data.test.ends_at()), abs=1e-5)
