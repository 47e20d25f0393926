"""Training on from the model that ships."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch

from forewarn.adapters.onnx_forecaster import STARTER, load_model
from forewarn_training.data import Cut, prepare
from forewarn_training.export import forecast_with_torch
from forewarn_training.learner import learn
from forewarn_training.model import Network, NetworkSpec
from forewarn_training.start import obstacles, starter_network, validation_error
from forewarn_training.trainer import Recipe
from tests.training.sensors import history, wave


@pytest.mark.parametrize("horizon", [1, 5, 24])
def test_the_network_that_is_read_back_says_what_the_shipped_model_says(horizon: int) -> None:
    windows = np.cumsum(np.random.default_rng(0).normal(size=(50, 16, 1)), axis=1).astype(np.float32)
    spread = np.geomspace(0.1, 30, 50, dtype=np.float32)
    shipped = load_model(STARTER).forecast(windows, spread)
    read = forecast_with_torch(starter_network(horizon), windows, spread)
    assert read.path == pytest.approx(shipped.path[:, :horizon], abs=1e-4)
    assert read.block_mean == pytest.approx(shipped.block_mean, abs=1e-4)
    assert read.block_log_scale == pytest.approx(shipped.block_log_scale, abs=1e-4)


def test_training_on_from_the_shipped_model_gains_on_it() -> None:
    data = prepare(history(Path("a.csv"), wave(1500)), Cut(16, 6))
    start = starter_network(6)
    before = validation_error(start, data)
    network, course = learn(data, start.spec, Recipe(epochs=3, learning_rate=1e-3), network=start, progress=False)
    assert network is start
    assert len(course.training_loss) == 3
    assert validation_error(network, data) < 0.95 * before


def test_the_error_that_decides_is_the_mean_over_the_leads_of_that_over_persistences() -> None:
    data = prepare(history(Path("a.csv"), wave(400)), Cut(20, 3))
    network = Network(NetworkSpec(8, 1, 0, 3, units=3))
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.zero_()
    assert validation_error(network, data) == pytest.approx(1.0)
    with torch.no_grad():
        network.head.bias[1] = 1000.0
    naive = np.abs(data.validation.inputs()[:, -1] - data.validation.targets()).mean(axis=0)[1]
    assert validation_error(network, data) == pytest.approx((2 + 1000 / naive) / 3, rel=0.01)


def test_where_nothing_ever_changes_there_is_no_error_to_decide_by() -> None:
    data = prepare(history(Path("a.csv"), np.full(300, 4.0)), Cut(16, 3))
    assert validation_error(starter_network(3), data) == np.inf


def test_obstacles_say_what_stands_against_it() -> None:
    assert obstacles(1, 24, []) == []
    assert len(obstacles(2, 25, ["--units 4", "--cell gru"])) == 4
