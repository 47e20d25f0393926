"""What the judge is measured beside: other forecasters, and detectors that are no part of forewarn.

They satisfy `core.ports.Forecaster` or turn a column of readings into a column of scores, looking only back.
"""

import numpy as np
from numpy.typing import NDArray

from forewarn.core.card import BLOCKS, Feature, ModelCard
from forewarn.core.ports import Forecast
from forewarn.core.readings import Floats

Float32 = NDArray[np.float32]
HORIZON = 24
AVERAGED = 60
ROLLING = 100
Z_LIMIT = 3.0
"""The usual limit of a z-score."""


def _card(name: str, n_step: int) -> ModelCard:
    return ModelCard(name, "1", (Feature("value"),), "value", n_step, HORIZON, "2026-01-01T00:00:00Z")


class Persistence:
    """The last reading again, whatever the lead."""

    def __init__(self, n_step: int = 2) -> None:
        self.card = _card("persistence", n_step)

    def forecast(self, windows: Float32, spread: Float32, at: Floats) -> Forecast:  # noqa: ARG002 - the face of a forecaster
        return _level(windows[:, -1, 0])


class MovingAverage:
    """The mean of the last `AVERAGED` readings."""

    def __init__(self) -> None:
        self.card = _card("moving average", AVERAGED)

    def forecast(self, windows: Float32, spread: Float32, at: Floats) -> Forecast:  # noqa: ARG002 - the face of a forecaster
        return _level(windows[:, :, 0].mean(axis=1, dtype=np.float64).astype(np.float32))


class Nothing:
    """No forecast of blocks, so that the judge has only levels, days and volatility."""

    def __init__(self) -> None:
        self.card = _card("nothing", 2)

    def forecast(self, windows: Float32, spread: Float32, at: Floats) -> Forecast:  # noqa: ARG002 - the face of a forecaster
        said = _level(windows[:, -1, 0])
        return said._replace(block_mean=np.full_like(said.block_mean, np.nan))


def _level(level: Float32) -> Forecast:
    blocks = np.repeat(level[:, None], len(BLOCKS), axis=1)
    return Forecast(np.repeat(level[:, None], HORIZON, axis=1), blocks, np.zeros_like(blocks))


def rolling_z(value: Floats) -> Floats:
    """|reading - mean| over the standard deviation, both of the `ROLLING` readings before; at first 0."""
    score = np.zeros(len(value))
    before = np.lib.stride_tricks.sliding_window_view(value, ROLLING)[:-1]
    spread = before.std(axis=1)
    away = np.abs(value[ROLLING:] - before.mean(axis=1))
    score[ROLLING:] = away / np.maximum(spread, 1e-9 * np.abs(value[ROLLING:]) + 1e-12)
    return score


def half_space_trees(value: Floats) -> Floats:
    """HalfSpaceTrees of river (10 trees, height 8, window 250: its defaults) behind its MinMaxScaler, seed 0."""
    from river import anomaly, compose, preprocessing  # noqa: PLC0415 - the extra `quality`

    model = compose.Pipeline(preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=0))
    score = np.zeros(len(value))
    for i, reading in enumerate(value.tolist()):
        score[i] = model.score_one({"value": reading})
        model.learn_one({"value": reading})
    return score
