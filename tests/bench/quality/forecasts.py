"""Forecasts: what `forewarn-train fit` makes of five public series, beside simpler methods on the same windows.

Rules that hold here:

- 60 % of a series train, the next 20 % choose, the rest is measured. Nothing was chosen on what is measured here.
- Every method of the first table forecasts the same windows, at most 500 of the measured part, spread evenly: the
  classical ones take up to seconds for each. The trained ones are measured on all windows as well.
- A network's error at a window is the mean over its seeds.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from forewarn.core.readings import Floats
from forewarn.errors import SettingsError
from forewarn.history import History, read_history
from forewarn_training.classical import METHODS, Classical
from forewarn_training.compare import trained
from forewarn_training.data import Cut, Dataset, prepare
from forewarn_training.evaluate import day_before
from forewarn_training.export import forecast_with_torch
from forewarn_training.intervals import block_length, skill
from forewarn_training.linear import Ridge, fit_ridge
from forewarn_training.model import Network
from forewarn_training.recipes import RECIPES
from forewarn_training.start import validation_error
from forewarn_training.time_channels import choose, choose_ridge
from forewarn_training.trainer import Recipe
from tests.bench.quality import pages

SERIES = {
    "NAB office temperature, hourly": ("nab/realKnownCause/ambient_temperature_system_failure.csv", None),
    "NAB taxi passengers, half-hourly": ("nab/realKnownCause/nyc_taxi.csv", None),
    "NAB CPU (rds, e47b3b), 5 min": ("nab/realAWSCloudwatch/rds_cpu_utilization_e47b3b.csv", None),
    "NAB CPU (asg misconfiguration), 5 min": ("nab/realKnownCause/cpu_utilization_asg_misconfiguration.csv", None),
    "ETTh1, oil temperature, hourly": ("ett/ETTh1.csv", "OT"),
}
LEADS = (1, 3, 12, 24)
CUT = Cut(n_step=RECIPES["differences"].n_step, horizon=max(LEADS))
EPOCHS, SEEDS = 30, 3
RIDGE, LSTM = "ridge", "**LSTM**"
WITHOUT_TIME, TUTORIAL, SEASONAL = "LSTM, no time", "tutorial LSTM", "seasonal naive"
TRAINED = (RIDGE, LSTM, "ridge, no time", WITHOUT_TIME, TUTORIAL)
ORDER = (*TRAINED, *METHODS, SEASONAL)
HEADER = ("Series", "Method", *(f"Lead {lead}" for lead in LEADS))


class Size(NamedTuple):
    """|Error| of one method, `(n_window, n_lead)` for `LEADS`, at all windows that it was asked for."""

    chosen: NDArray[np.int64]
    error: Floats

    def at(self, windows: NDArray[np.int64]) -> Floats:
        """Of these windows alone."""
        return self.error[np.searchsorted(self.chosen, windows)]


class Measured(NamedTuple):
    """One series.

    Attributes:
        windows: that every method was asked for.
        sizes: by method.
        naive: persistence's, at all windows.
        kept_time: in how many LSTMs the validation part kept the time.
    """

    windows: NDArray[np.int64]
    sizes: Mapping[str, Size]
    naive: Size
    kept_time: int

    def ratios(self, method: str, windows: NDArray[np.int64]) -> Floats:
        """MAE over persistence's at each of `LEADS`."""
        out: Floats = self.sizes[method].at(windows).sum(axis=0) / self.naive.at(windows).sum(axis=0)
        return out


def measure_series(
    history: History, cut: Cut = CUT, *, epochs: int = EPOCHS, seeds: int = SEEDS, classical: bool = True
) -> Measured:
    """Train and measure every method on one history."""
    data, short = prepare(history, cut), prepare(history, replace(cut, n_step=RECIPES["tutorial"].n_step))
    part = data.test
    everything = np.arange(len(part))
    wanted = part.targets().astype(np.float64)
    baselines = _classical(data) if classical else None
    windows = everything if baselines is None else baselines.windows(part)
    seasonal = day_before(data, part, everything)
    if np.isfinite(seasonal[windows]).all(axis=1).mean() >= 0.5:
        windows = windows[np.isfinite(seasonal[windows]).all(axis=1)]

    def size(said: NDArray[np.floating], chosen: NDArray[np.int64] = everything) -> Size:
        leads = np.asarray(LEADS) - 1
        return Size(chosen, np.abs(said.astype(np.float64)[:, leads] - wanted[np.ix_(chosen, leads)]))

    last = part.inputs()[:, -1, part.target_index]
    naive = size(np.repeat(last[:, None], part.horizon, axis=1))
    told = {"ridge, no time": _ridge(fit_ridge(data.training, data.validation, told_time=False), data)}
    told[RIDGE] = _ridge(choose_ridge(data)[0], data)
    sizes = {method: size(said) for method, said in told.items()}
    networks = [_networks(data, short, Recipe(epochs=epochs, seed=seed)) for seed in range(seeds)]
    for method in (LSTM, WITHOUT_TIME, TUTORIAL):
        each = [size(_network(one[method], data)).error for one in networks]
        sizes[method] = Size(everything, np.mean(each, axis=0))
    if np.isfinite(seasonal[windows]).all():
        sizes[SEASONAL] = size(seasonal[windows], windows)
    if baselines is not None:
        sizes |= {method: size(said, windows) for method, said in baselines.forecast(part, windows).items()}
    return Measured(windows, sizes, naive, sum(one[LSTM].spec.clock for one in networks))


def _classical(data: Dataset) -> Classical | None:
    try:
        return Classical(data, progress=False)
    except SettingsError as error:
        sys.stdout.write(f"left out: {error}\n")
        return None


def _networks(data: Dataset, short: Dataset, recipe: Recipe) -> dict[str, Network]:
    """One seed: as `fit` ships it, that without the time, and the tutorial's."""
    made: dict[bool, Network] = {}

    def make(told_time: bool) -> Network:
        made[told_time] = trained("lstm-time" if told_time else "lstm", data, recipe, progress=False)
        return made[told_time]

    kept, _ = choose("auto", data, make, partial(validation_error, data=data))
    return {LSTM: kept, WITHOUT_TIME: made[False], TUTORIAL: trained("tutorial", short, recipe, progress=False)}


def _network(network: Network, data: Dataset) -> NDArray[np.float32]:
    part = data.test
    windows = part.inputs()[:, -network.spec.n_step :]
    return forecast_with_torch(network, windows, part.spreads(), part.ends_at()).path


def _ridge(ridge: Ridge, data: Dataset) -> NDArray[np.float32]:
    return ridge.forecast(data.test.inputs(), data.test.ends_at())


def rows(name: str, found: Measured) -> Iterator[tuple[str, ...]]:
    """The lines of one series; at lead 1 with the 95 % interval of the block bootstrap, the least of a lead in bold."""
    methods = [method for method in ORDER if method in found.sizes]
    ratios = {method: found.ratios(method, found.windows) for method in methods}
    best = np.min(list(ratios.values()), axis=0)
    block = block_length(len(found.windows), int(np.ceil(max(LEADS) * len(found.windows) / len(found.naive.error))))
    for i, method in enumerate(methods):
        sure = skill(found.sizes[method].at(found.windows)[:, 0], found.naive.at(found.windows)[:, 0], block)
        cells = [f"**{r:.3f}**" if r == b else f"{r:.3f}" for r, b in zip(ratios[method], best, strict=True)]
        cells[0] += f" ({1 - sure.high:.3f} to {1 - sure.low:.3f})"
        shown = f"{name}; {len(found.windows)} of {len(found.naive.error):,} windows" if i == 0 else ""
        kept = f", time kept {found.kept_time} of {SEEDS}" if method == LSTM else ""
        yield (shown, f"{method}{kept}", *cells)


def means(found: Mapping[str, Measured], *, everything: bool) -> Iterator[tuple[str, ...]]:
    """Geometric means over the series, for the methods that all of them have, and the worst ratio at lead 1."""
    of = [(one, np.arange(len(one.naive.error)) if everything else one.windows) for one in found.values()]
    for method in TRAINED if everything else ORDER:
        if all(method in one.sizes for one in found.values()):
            each = np.array([one.ratios(method, windows) for one, windows in of])
            geometric = np.exp(np.log(each).mean(axis=0))
            yield (method, *(f"{mean:.3f}" for mean in geometric), f"{each[:, 0].max():.3f}")


def measure(folder: Path, series: Mapping[str, tuple[str, str | None]] = SERIES) -> Iterator[tuple[str, str]]:
    """Two tables by the names of their places: every series, and the means over them.

    Args:
        folder: with `nab/` and `ett/`.
        series: file and column by name.
    """
    torch.set_num_threads(1)
    found = {}
    for name, (file, target) in series.items():
        found[name] = measure_series(read_history(folder / file, target=target))
        sys.stdout.write(f"{name}: {found[name].ratios(LSTM, found[name].windows)}\n")
        sys.stdout.flush()
    note = pages.measured(
        "|error| over persistence's, in brackets the 95 % interval",
        f"seeds 0 to {SEEDS - 1} of each network",
        "`make quality ARGS=forecasts`",
    )
    yield (
        "forecasts",
        note + pages.table(HEADER, [row for name, one in found.items() for row in rows(name, one)], left=2),
    )
    yield "forecast-means", note + _means_table(found)


def _means_table(found: Mapping[str, Measured]) -> str:
    header = ("Windows", "Method", *(f"Lead {lead}" for lead in LEADS), "Worst at lead 1")
    lines: list[Sequence[str]] = []
    for everything, which in ((False, "the same as above"), (True, "all")):
        lines += [(which if i == 0 else "", *row) for i, row in enumerate(means(found, everything=everything))]
    return pages.table(header, lines, left=2)
