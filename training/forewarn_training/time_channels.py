"""Whether a model is told the time of day and of week: tried both ways, and chosen on the validation part."""

from collections.abc import Callable
from typing import Literal, TypeVar

from forewarn.core.clock import DAY_S
from forewarn_training.data import Dataset, clock_scale
from forewarn_training.evaluate import over_persistence
from forewarn_training.linear import Ridge, fit_ridge

TimeChannels = Literal["auto", "yes", "no"]
# Of 24 random walks of 20 to 300 days, hourly, on which the time says nothing, no ridge gained more by chance.
LEAST_GAIN = 0.01
_Made = TypeVar("_Made")


def learnable(data: Dataset) -> bool:
    """Whether the training part has days enough, and readings often enough, to learn what the time of day says."""
    return data.interval_s < DAY_S / 2 and bool(clock_scale(data.training).any())


def choose(
    wanted: TimeChannels, data: Dataset, make: Callable[[bool], _Made], error: Callable[[_Made], float]
) -> tuple[_Made, str]:
    """Train with the time, without, or both ways ("auto", where it is learnable).

    Args:
        wanted: which.
        data: what is trained on.
        make: trains, with the time or without.
        error: on the validation part, as `evaluate.over_persistence`.

    Returns:
        What was kept, and a sentence that says why; "" where there was no choice.
    """
    if wanted != "auto" or not learnable(data):
        return make(wanted == "yes"), ""
    without, told_time = (make(told_time) for told_time in (False, True))
    errors = error(told_time), error(without)
    better = errors[0] < (1 - LEAST_GAIN) * errors[1]
    verdict = "kept" if better else "left out"
    if not better and errors[0] < errors[1]:
        verdict += f", for less than {LEAST_GAIN:.0%} may be chance"
    told = (
        f"On the validation part the mean |error| over all leads is {errors[0]:.3f} of persistence's with the time of "
        f"day and of week as inputs and {errors[1]:.3f} without: they were {verdict}."
    )
    return (told_time if better else without), told


def choose_ridge(data: Dataset, wanted: TimeChannels = "auto") -> tuple[Ridge, str]:
    """The ridge autoregression, with the time or without: see `choose`."""
    part = data.validation
    return choose(
        wanted,
        data,
        lambda told_time: fit_ridge(data.training, part, told_time=told_time),
        lambda ridge: over_persistence(ridge.forecast(part.inputs(), part.ends_at()), part),
    )
