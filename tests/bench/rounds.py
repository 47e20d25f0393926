"""What the engine costs without a model: microseconds a reading, by batch size. `python -m tests.bench.rounds`."""

import sys
import time

import numpy as np
from numpy.typing import NDArray

from forewarn.core.card import BLOCKS
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecast
from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.rules import Rules
from tests.forecasters import card

N_DEVICE = 1000
N_STEP = 30
N_TURN = 60  # readings of each device in the measured part
SIZES = (5, 256)


class LastValue:
    """Persistence: the cheapest forecaster there is."""

    def __init__(self) -> None:
        self.card = card(n_step=N_STEP)

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:  # noqa: ARG002 - the face of a forecaster
        blocks = np.repeat(windows[:, -1:, 0], len(BLOCKS), axis=1)
        return Forecast(np.repeat(windows[:, -1:, 0], self.card.horizon, axis=1), blocks, np.zeros_like(blocks))


def batches(size: int, n_turn: int, rng: np.random.Generator, start: float) -> list[Batch]:
    """Noise of all devices in turn, cut into batches of one size."""
    keys = [SeriesKey(f"device-{i}", "temperature") for i in range(N_DEVICE)]
    values = rng.normal(20.0, 0.3, (n_turn * N_DEVICE, 1)).round(2)
    at = start + 10.0 * np.repeat(np.arange(n_turn, dtype=np.float64), N_DEVICE)
    keys = keys * n_turn
    return [
        Batch(keys[i : i + size], at[i : i + size], at[i : i + size], values[i : i + size])
        for i in range(0, len(keys), size)
    ]


def measured(size: int, rules: Rules, n_round: int = 3) -> float:
    """Microseconds of CPU a reading, the fastest of some rounds, after every window is full."""
    rng = np.random.default_rng(1)
    engine = Engine(LastValue(), rules)
    for batch in batches(256, 80, rng, 1.7e9):
        engine.ingest(batch)
    took = []
    for i in range(n_round):
        parts = batches(size, N_TURN, rng, 1.7e9 + 10.0 * (80 + i * N_TURN))
        began = time.process_time()
        for batch in parts:
            engine.ingest(batch)
        took.append(time.process_time() - began)
    return 1e6 * min(took) / (N_TURN * N_DEVICE)


def newcomers(size: int, n_free: int, n: int = 4_000) -> float:
    """Microseconds of CPU a reading of a name that nobody knows, where known devices fill all but `n_free` slots."""
    engine = Engine(LastValue(), Rules(max_series=N_DEVICE))
    known = batches(N_DEVICE, 80, np.random.default_rng(1), 1.7e9)
    for batch in known:
        some = slice(0, N_DEVICE - n_free)
        engine.ingest(Batch(batch.keys[some], batch.at[some], batch.received_at[some], batch.values[some]))
    keys = [SeriesKey(f"made-up-{i}", "temperature") for i in range(n)]
    at, values = 1.7e9 + 1000.0 + np.linspace(0.0, 1e-3 * n, n), np.full((n, 1), 20.0)
    parts = [slice(i, i + size) for i in range(0, n, size)]
    began = time.process_time()
    for part in parts:
        engine.ingest(Batch(keys[part], at[part], at[part], values[part]))
    return 1e6 * (time.process_time() - began) / n


def main() -> None:
    """Print a row for each batch size."""
    for size in SIZES:
        cost = measured(size, Rules())
        sys.stdout.write(f"batches of {size:3}: {cost:6.2f} µs a reading, {cost * size:7.1f} µs a batch\n")
        for n_free in (N_DEVICE // 2, 0):
            cost = newcomers(size, n_free)
            sys.stdout.write(f"batches of {size:3}: {cost:6.2f} µs a new name, {n_free} slots without a device\n")


if __name__ == "__main__":
    main()
