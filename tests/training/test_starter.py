"""The starter model and the made-up series it is trained on."""

from pathlib import Path

import numpy as np
import pytest

from forewarn.adapters.onnx_forecaster import STARTER, load_model
from forewarn.core.card import Calibration
from forewarn.history import read_history
from forewarn_training.data import running_spread
from forewarn_training.synthetic import pool

SHARED = Path(__file__).parents[3] / "shared" / "data"


def test_series_follow_from_the_seed_alone() -> None:
    first = pool(20, 300, 5)
    assert pool(20, 300, 5).tobytes() == first.tobytes()
    assert pool(10, 300, 5).tobytes() == first[:10].tobytes()
    assert pool(20, 300, 6).tobytes() != first.tobytes()


@pytest.mark.parametrize("events", [True, False])
def test_series_are_numbers_of_many_levels_and_sizes(events: bool) -> None:
    series = pool(300, 400, 1, events=events)
    assert series.dtype == np.float32
    assert series.shape == (300, 400)
    assert np.isfinite(series).all()
    spreads = series.std(axis=1)
    assert spreads.max() / np.quantile(spreads, 0.1) > 1000
    flat = (np.diff(series, axis=1) == 0).mean(axis=1)
    assert 0.05 < (flat > 0.2).mean() < 0.6, "some are quantised, most are not"


def test_a_small_starter_trains_and_knows_no_sensor(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from forewarn_training.starter import train_starter  # noqa: PLC0415 - needs torch

    card = train_starter(tmp_path / "s.onnx", n_series=20, n_window=4000, progress=False)
    model = load_model(tmp_path / "s.onnx")
    assert model.card == card
    assert (card.interval_s, card.training_data_sha256, card.unit) == (None, None, "")
    assert card.calibration.mean_abs_residual is None
    assert card.calibration.band_95 is None
    assert card.calibration.band_80 is None
    assert (card.calibration.threshold_errors or 0) >= 4


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from forewarn_training.starter import train_starter  # noqa: PLC0415 - needs torch

    files = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train_starter(tmp_path / name, seed=seed, n_series=4, n_window=1000, progress=False)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1] != files[2]


def test_the_shipped_starter_knows_no_sensor_and_is_small() -> None:
    card = load_model(STARTER).card
    assert (card.name, [f.name for f in card.features], card.unit) == ("starter", ["value"], "")
    assert card.calibration == Calibration(threshold_errors=card.calibration.threshold_errors)
    assert card.calibration.threshold_errors is not None
    assert 4 <= card.calibration.threshold_errors <= 12
    assert (card.n_step, card.horizon) == (16, 24)
    assert card.metrics["synthetic_mae_over_persistence"] < 0.92
    assert card.metrics["synthetic_mae_over_persistence_mean_60"] < 0.8
    assert STARTER.stat().st_size < 70_000


def test_the_shipped_starter_beats_persistence_on_series_it_was_not_trained_on() -> None:
    assert one_step_gain(pool(100, 400, 12_345)) < 0.97


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
def test_the_shipped_starter_beats_persistence_on_most_real_series() -> None:
    gains = []
    for path in sorted((SHARED / "nab").glob("real*/*.csv")):
        values = read_history(path).values[:, 0].astype(np.float32)
        gains.append(one_step_gain(values[None]))
    assert len(gains) > 20
    assert np.median(gains) < 0.9
    assert np.mean(np.array(gains) < 1) > 0.8


def one_step_gain(series: np.ndarray) -> float:
    """Median over series of the mean absolute error one step ahead over persistence's."""
    model = load_model(STARTER)
    ratios = []
    for one in series:
        windows = np.lib.stride_tricks.sliding_window_view(one, model.card.n_step)[:-1, :, None]
        spread = running_spread(one, np.zeros(len(one), np.int64))[model.card.n_step - 1 : -1]
        error = np.abs(model.forecast(windows, spread).path[:, 0] - one[model.card.n_step :]).mean()
        naive = np.abs(np.diff(one)[model.card.n_step - 1 :]).mean()
        if naive > 0:
            ratios.append(float(error / naive))
    return float(np.median(ratios))
