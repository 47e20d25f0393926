"""Forecasters for tests that need no model file."""

import numpy as np
from numpy.typing import NDArray

from forewarn.core.card import Calibration, Feature, ModelCard
from forewarn.core.ports import Forecast


def card(
    n_step: int = 4,
    features: tuple[str, ...] = ("temperature",),
    calibration: Calibration | None = None,
    horizon: int = 2,
) -> ModelCard:
    return ModelCard(
        name="test",
        version="1",
        features=tuple(Feature(name, "°C") for name in features),
        target=features[0],
        n_step=n_step,
        horizon=horizon,
        created_at="2025-01-01T00:00:00Z",
        calibration=calibration or Calibration(),
    )


class HalfTrend:
    """Half of the last difference goes on; satisfies `core.ports.Forecaster`. Counts its calls."""

    def __init__(self, of: ModelCard | None = None) -> None:
        self.card = of or card()
        self.calls = 0

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:  # noqa: ARG002 - a port
        self.calls += 1
        last, before = windows[:, -1, 0], windows[:, -2, 0]
        step = (last - before) * np.float32(0.5)
        lead = np.arange(1, self.card.horizon + 1, dtype=np.float32)
        path: NDArray[np.float32] = last[:, None] + step[:, None] * lead
        scale = np.log(np.abs(step) + np.float32(0.1) * spread + np.float32(1e-3))
        return Forecast(path, path[:, :2], np.stack([scale, scale + 1], axis=1))
