"""Made-up histories as CSV files, for the tests of the training package."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forewarn.core.card import BLOCKS
from forewarn.core.ports import Forecast
from forewarn.history import History, read_history

STARTED_AT = 1_700_000_000.0
MINUTE_S = 60.0


def wave(n: int, seed: int = 0, level: float = 20.0) -> NDArray[np.float64]:
    """A noisy daily-like cycle of 48 readings."""
    random = np.random.default_rng(seed)
    return level + 3 * np.sin(2 * np.pi * np.arange(n) / 48) + random.normal(0, 0.2, n)


def write_csv(path: Path, devices: dict[str, NDArray[np.float64]], interval_s: float = MINUTE_S) -> Path:
    """Columns `timestamp,device,temperature,humidity`; NaN becomes an empty field."""
    lines = ["timestamp,device,temperature,humidity"]
    for name, values in devices.items():
        for i, value in enumerate(values):
            at = datetime.fromtimestamp(STARTED_AT + i * interval_s, UTC).isoformat()
            field = "" if np.isnan(value) else f"{value:.6f}"
            lines.append(f"{at},{name},{field},{50 + i % 7}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def history(path: Path, values: NDArray[np.float64], at: ArrayLike | None = None) -> History:
    """A history of one device, without a file; a reading a minute where no times are given."""
    return History(
        path=path,
        sha256="0" * 64,
        timestamp_text=["" for _ in values],
        device=["a" for _ in values],
        at=np.asarray(STARTED_AT + MINUTE_S * np.arange(len(values)) if at is None else at, np.float64),
        values=values.reshape(len(values), -1).astype(np.float64),
        features=("temperature",),
        target="temperature",
    )


def read(path: Path) -> History:
    """The temperature of all devices of a file of `write_csv`."""
    return read_history(path, target="temperature")


def saying(path: np.ndarray, mean: np.ndarray | None = None) -> Forecast:
    """A forecast whose path alone matters."""
    blocks = np.zeros((len(path), len(BLOCKS)), np.float32) if mean is None else mean
    return Forecast(path, blocks, np.zeros_like(blocks))
