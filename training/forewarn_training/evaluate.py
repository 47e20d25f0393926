"""Errors on held-out readings, beside those of simpler forecasts.

Persistence says that the next reading is the last one. Seasonal naive says that it is what it was a day before. The
ridge autoregression is fitted to the training part. All methods are measured on the same windows. Skill is
1 - MAE / MAE of persistence, with a block-bootstrap interval. MASE divides a mean absolute error by that of persistence
at one step on the training part, for each device (Hyndman and Koehler 2006, doi:10.1016/j.ijforecast.2006.03.001).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forewarn.core.card import BLOCKS
from forewarn.core.clock import DAY_S
from forewarn.core.ports import Forecast
from forewarn_training.data import Dataset, Floats, Part, Windows32, naive_error
from forewarn_training.intervals import Skill, block_length, skill

MODEL, PERSISTENCE, SEASONAL, RIDGE = "model", "persistence", "seasonal naive", "ridge"
_MOST_WINDOWS = 50_000
_LEADS = (1, 3, 6, 12, 24, 48, 96, 192, 384)

Model = Callable[[Windows32, Windows32, Floats], Forecast]
Rival = Callable[[Windows32, Floats], Windows32]


class Baselines(Protocol):
    """Forecasts that need more than the window; `classical.Classical` is one."""

    @property
    def note(self) -> str:
        """What a reader has to know of them, after they were made."""

    def windows(self, part: Part) -> NDArray[np.int64]:
        """The windows that they can be asked for; every row of the table is then measured at these."""

    def forecast(self, part: Part, chosen: NDArray[np.int64]) -> Mapping[str, Floats]:
        """`(n, horizon)` by method."""


@dataclass(frozen=True, slots=True)
class Errors:
    """One line of the table: errors at exactly one lead, in the target's unit."""

    method: str
    lead: int
    mae: float
    rmse: float
    mase: float
    skill: Skill


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The table and what it was measured on.

    Attributes:
        errors: a line for each method and lead.
        n_window: windows that were measured.
        note: what a reader has to know beside the numbers; "" where there is nothing.
        block: windows in a block of the bootstrap.
        over_ridge: 1 - MAE / MAE of the ridge at lead 1; None where no ridge was measured.
    """

    errors: tuple[Errors, ...]
    n_window: int
    note: str
    block: int
    over_ridge: Skill | None = None

    def of(self, method: str, lead: int) -> Errors | None:
        """One line, where it exists."""
        return next((e for e in self.errors if e.method == method and e.lead == lead), None)

    def best_at(self, lead: int) -> str:
        """The method with the smallest mean error at one lead."""
        return min((e for e in self.errors if e.lead == lead), key=lambda e: e.mae).method

    def leads(self) -> list[int]:
        """The leads that were measured, ascending."""
        return sorted({e.lead for e in self.errors})

    def verdict(self) -> str:
        """One sentence about lead 1 of the model and persistence."""
        model, naive = self.of(MODEL, 1), self.of(PERSISTENCE, 1)
        if model is None or naive is None or naive.mae == 0:
            return "The readings of this part never change, so no model can do better than the last reading."
        gain = 1 - model.mae / naive.mae
        if gain > 0:
            return f"One reading ahead the model's mean error is {gain:.1%} smaller than persistence's."
        return (
            f"One reading ahead the model's mean error is {-gain:.1%} LARGER than persistence's: on these readings "
            "repeating the last one is the better forecast."
        )


def evaluate(
    model: Model,
    data: Dataset,
    part: Part,
    rivals: Mapping[str, Rival] | None = None,
    baselines: Baselines | None = None,
) -> Evaluation:
    """Measure a model on one part of a dataset.

    Args:
        model: from windows `(n, n_step, n_feature)`, spreads and times `(n,)` to a forecast.
        data: what the part belongs to; its training part gives MASE its unit, and seasonal naive may look back into it.
        part: of `data`, held out.
        rivals: other forecasts `(n, horizon)` to measure on the same windows and times, by name.
        baselines: still others, which choose the windows.
    """
    chosen = part.some(_MOST_WINDOWS) if baselines is None else baselines.windows(part)
    n_chosen = len(chosen)
    seasonal = day_before(data, part, chosen)
    whole = np.isfinite(seasonal).all(axis=1)
    with_season = bool(whole.mean() >= 0.5)
    if with_season:
        chosen, seasonal = chosen[whole], seasonal[whole]
    wanted = part.targets(chosen).astype(np.float64)
    inputs, at = part.inputs(chosen), part.ends_at(chosen)
    said = {
        MODEL: model(inputs, part.spreads(chosen), at).path.astype(np.float64),
        PERSISTENCE: np.repeat(inputs[:, -1:, part.target_index].astype(np.float64), part.horizon, axis=1),
    }
    if with_season:
        said[SEASONAL] = seasonal
    said |= {name: rival(inputs, at).astype(np.float64) for name, rival in (rivals or {}).items()}
    if baselines is not None:
        said |= baselines.forecast(part, chosen)
    unit = naive_error(data.training, len(data.devices))[part.device[part.starts[chosen]]]
    leads = sorted({lead for lead in _LEADS if lead <= part.horizon} | {part.horizon})
    block = block_length(len(chosen), math.ceil(part.horizon * n_chosen / len(part)))
    errors = []
    for lead in leads:
        away = {method: values[:, lead - 1] - wanted[:, lead - 1] for method, values in said.items()}
        errors += [_errors(method, lead, error, unit, away[PERSISTENCE], block) for method, error in away.items()]
    over_ridge = None
    if RIDGE in said:
        mine, theirs = (np.abs(said[method][:, 0] - wanted[:, 0]) for method in (MODEL, RIDGE))
        over_ridge = skill(mine, theirs, block)
    notes = (
        [] if with_season else ["Seasonal naive is left out: most of these readings have none exactly a day before."]
    )
    if baselines is not None:
        notes.append(
            f"Every row is of the same {len(chosen):,} of {len(part):,} windows, spread evenly. {baselines.note}"
        )
    return Evaluation(tuple(errors), len(chosen), " ".join(notes), block, over_ridge)


def over_persistence(said: Windows32, part: Part) -> float:
    """Mean over the leads of mean |error| over persistence's; infinite where nothing changes.

    Args:
        said: `(n_window, horizon)` for all windows of the part.
        part: of them.
    """
    wanted = part.targets()
    naive = np.abs(part.inputs()[:, -1:, part.target_index] - wanted).mean(axis=0)
    error = np.abs(said - wanted).mean(axis=0)
    return float(np.mean(error[naive > 0] / naive[naive > 0])) if (naive > 0).any() else np.inf


def about_blocks(said: NDArray[np.float32], part: Part, chosen: NDArray[np.int64] | slice = slice(None)) -> str:
    """One sentence about the means of blocks that a model forecasts; "" where no window is followed by a block.

    Args:
        said: `(n, n_block)` the model's means.
        part: of the windows.
        chosen: the windows.
    """
    wanted = part.block_targets(chosen).astype(np.float64)
    last = part.inputs(chosen)[:, -1, part.target_index]
    told = []
    for i, n in enumerate(BLOCKS):
        there = np.isfinite(wanted[:, i])
        naive = np.abs(wanted[there, i] - last[there]).sum()
        if naive > 0:
            told.append(f"{np.abs(wanted[there, i] - said[there, i]).sum() / naive:.3f} for the next {n}")
    return f"Mean |error| of the mean of coming readings over persistence's: {', '.join(told)}." if told else ""


def _errors(method: str, lead: int, error: Floats, unit: Floats, of_persistence: Floats, block: int) -> Errors:
    usable = unit > 0
    size = np.abs(error)
    mase = float(np.mean(size[usable] / unit[usable])) if usable.any() else math.nan
    rmse = float(np.sqrt(np.mean(error**2)))
    return Errors(method, lead, float(np.mean(size)), rmse, mase, skill(size, np.abs(of_persistence), block))


def day_before(data: Dataset, part: Part, chosen: NDArray[np.int64]) -> Floats:
    """`(n, horizon)` the reading a whole number of days before each target, at or before the window's end; or NaN."""
    leads = np.arange(1, part.horizon + 1) * data.interval_s
    wanted_at = part.target_at()[chosen] - np.ceil(leads / DAY_S) * DAY_S
    owner = part.device[part.starts[chosen]]
    out = np.full(wanted_at.shape, np.nan)
    if data.interval_s > DAY_S / 2:
        return out
    for device in np.unique(owner):
        mine = owner == device
        at, y = known(data, int(device))
        nearest = np.clip(np.searchsorted(at, wanted_at[mine] - data.interval_s / 2), 0, len(at) - 1)
        found = np.abs(at[nearest] - wanted_at[mine]) <= data.interval_s / 2
        out[mine] = np.where(found, y[nearest], np.nan)
    return out


def known(data: Dataset, device: int) -> tuple[Floats, Floats]:
    """Times and targets of one device, all parts in order."""
    parts = (data.training, data.validation, data.test)
    at = np.concatenate([part.at[part.device == device] for part in parts])
    y = np.concatenate([part.values[part.device == device, part.target_index] for part in parts])
    known = np.isfinite(y)
    return at[known], y[known].astype(np.float64)
