"""What a reading costs and what a device keeps, with each judge. Needs Mosquitto."""

import statistics
from typing import Literal

from forewarn.core.engine import Engine
from forewarn.core.rules import Rules
from tests.bench import rounds, throughput
from tests.bench.quality import detectors, pages

N_STEP = 48
BATCH = 256
HEADER = (
    *("Judge", "Readings/s on one core", "CPU µs a reading", "Engine without model, µs a reading"),
    f"Bytes a device, {N_STEP} steps",
)
Detector = Literal["residual", "tail"]
JUDGES: tuple[Detector, ...] = ("residual", "tail")


def measure(repeat: int = 3) -> str:
    """The table: both judges in turns, each with the shipped model."""
    found: dict[Detector, list[throughput.Round]] = {judge: [] for judge in JUDGES}
    for _ in range(repeat):
        for judge in JUDGES:
            asked = ["--only", "forewarn", "--model", "starter", "--detector", judge, "--repeat", "1"]
            found[judge] += throughput.run(throughput.options(asked))["forewarn"]
    numbers = {judge: [*_medians(results), engine_us(judge), device_bytes(judge)] for judge, results in found.items()}
    formats = (",.0f", ".1f", ".1f", ",")
    rows = [[f"`{judge}`", *map(format, row, formats)] for judge, row in numbers.items()]
    ratios = [f"{tail / plain:.2f}" for plain, tail in zip(*numbers.values(), strict=True)]
    note = pages.measured(f"medians of {repeat} rounds in turns", "1,000 devices", "`make quality ARGS=cost`")
    return note + pages.table(HEADER, [*rows, ["`tail` / `residual`", *ratios]])


def _medians(results: list[throughput.Round]) -> list[float]:
    return [statistics.median(getattr(r, name) for r in results) for name in ("readings_per_s", "cpu_us_per_reading")]


def engine_us(judge: Detector) -> float:
    """Microseconds of CPU a reading with persistence in the place of the model, in batches of `BATCH`."""
    return rounds.measured(BATCH, Rules(detector=judge))


def device_bytes(judge: Detector) -> int:
    """All that the engine keeps of one series of one feature, with windows of `N_STEP` readings."""
    n: int = Engine(detectors.Persistence(N_STEP), Rules(detector=judge))._groups[0].table._dtype.itemsize
    return n
