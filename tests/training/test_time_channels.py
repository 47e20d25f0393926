"""Time of day and of week as inputs: when they are tried, and which of the two ways is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forewarn_training.data import Cut, Dataset, clock_scale, prepare
from forewarn_training.linear import fit_ridge
from forewarn_training.time_channels import choose, choose_ridge, learnable
from tests.training.sensors import STARTED_AT, history

HOUR_S, DAY_S = 3600.0, 86400.0


def data_of(values: np.ndarray, interval_s: float = HOUR_S, n_step: int = 3, horizon: int = 4) -> Dataset:
    at = STARTED_AT + interval_s * np.arange(len(values))
    return prepare(history(Path("a.csv"), values, at), Cut(n_step, horizon))


def daily(days: int = 20, noise: float = 1.0) -> np.ndarray:
    """Hourly readings of a day's rhythm under so much noise that three of them hardly tell the hour."""
    hours = np.arange(24 * days)
    return 20 + 2 * np.sin(2 * np.pi * hours / 24) + np.random.default_rng(0).normal(0, noise, len(hours))


def walk(days: int = 20, seed: int = 0) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(size=24 * days))


@pytest.mark.parametrize(
    ("days", "interval_s", "expected"),
    [
        (60, HOUR_S, [1, 1, 1, 1]),
        (60, HOUR_S / 2, [1, 1, 1, 1]),
        (30, HOUR_S, [1, 1, 0, 0]),
        (6, HOUR_S, [0, 0, 0, 0]),
        (60, DAY_S, [1, 1, 1, 1]),
    ],
)
def test_a_period_counts_where_the_training_part_has_four_of_it(
    days: int, interval_s: float, expected: list[float]
) -> None:
    data = data_of(np.arange(days * DAY_S / interval_s), interval_s)
    assert clock_scale(data.training).tolist() == expected
    assert learnable(data) == (interval_s < DAY_S / 2 and any(expected))


def test_of_several_devices_the_longest_counts() -> None:
    part = data_of(walk(days=60)).training
    half = replace(part, device=np.arange(len(part.at)) // (len(part.at) // 2 + 1))
    assert [int(clock_scale(each)[2]) for each in (part, half)] == [1, 0]
    assert clock_scale(half)[0] == 1


@pytest.mark.parametrize(("wanted", "made"), [("no", [False]), ("yes", [True]), ("auto", [False, True])])
def test_only_auto_trains_twice(wanted: str, made: list[bool]) -> None:
    tried: list[bool] = []

    def make(told_time: bool) -> bool:
        tried.append(told_time)
        return told_time

    kept, told = choose(wanted, data_of(walk()), make, float)  # type: ignore[arg-type] # of the parameters
    assert tried == made
    assert kept == made[0]
    assert bool(told) == (wanted == "auto")


def test_where_it_cannot_be_learnt_auto_does_not_try() -> None:
    kept, told = choose("auto", data_of(walk(days=6)), lambda told_time: told_time, float)
    assert (kept, told) == (False, "")


@pytest.mark.parametrize(
    ("told_time", "without", "kept"),
    [(0.5, 0.625, "kept."), (0.625, 0.5, "left out."), (0.5, 0.5, "left out."), (0.498, 0.5, "left out, for less")],
)
def test_the_time_is_kept_where_it_gains_more_than_chance_does(told_time: float, without: float, kept: str) -> None:
    chosen, told = choose("auto", data_of(walk()), bool, lambda made: told_time if made else without)
    assert chosen == kept.startswith("kept")
    assert f"is {told_time:.3f} of persistence's with" in told
    assert f"{without:.3f} without: they were {kept}" in told


def test_the_ridge_learns_a_days_rhythm_that_its_window_is_too_short_for() -> None:
    data = data_of(daily())
    ridge, told = choose_ridge(data)
    assert told.endswith("they were kept.")
    assert ridge.clock_scale is not None
    assert ridge.clock_scale.tolist() == [1, 1, 0, 0]
    wanted, inputs, at = data.test.targets(), data.test.inputs(), data.test.ends_at()
    plain = fit_ridge(data.training, data.validation)
    with_time, without = (np.abs(one.forecast(inputs, at) - wanted).mean() for one in (ridge, plain))
    assert with_time < 0.9 * without
    assert np.abs(ridge.forecast(inputs, at + DAY_S / 2) - wanted).mean() > 1.3 * with_time


def test_of_a_random_walk_the_ridge_leaves_the_time_out() -> None:
    for seed in range(6):
        ridge, told = choose_ridge(data_of(walk(days=40, seed=seed)))
        assert "they were left out" in told
        assert ridge.clock_scale is None


def test_the_test_part_chooses_nothing() -> None:
    values = daily()
    changed = values.copy()
    changed[-len(values) // 5 + 1 :] = 1000 * walk()[: len(values) // 5 - 1]
    (first, one), (second, other) = choose_ridge(data_of(values)), choose_ridge(data_of(changed))
    assert one == other
    assert first.path.weights.tobytes() == second.path.weights.tobytes()


def test_a_network_keeps_the_time_on_a_days_rhythm_and_leaves_it_out_of_a_random_walk(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from forewarn.adapters.onnx_forecaster import load_model  # noqa: PLC0415 - only where torch is
    from forewarn_training.fit import Plan, fit  # noqa: PLC0415 - needs torch
    from forewarn_training.trainer import Recipe  # noqa: PLC0415 - needs torch

    def fitted(values: np.ndarray) -> tuple[str, bool]:
        at = STARTED_AT + HOUR_S * np.arange(len(values))
        plan = Plan(
            tmp_path / "m.onnx",
            tmp_path / "m.html",
            Cut(3, 4),
            "m",
            "1",
            units=8,
            recipe=Recipe(epochs=6, batch_size=32, learning_rate=1e-2),
            time_channels="auto",
            progress=False,
        )
        (told,) = fit(history(Path("a.csv"), values, at), plan).choices
        assert told in plan.report.read_text(encoding="utf-8").replace("&#x27;", "'")
        try:
            load_model(plan.out).forecast(np.zeros((1, 3, 1), np.float32), np.ones(1, np.float32))
        except ValueError:
            return told, True
        return told, False

    told, has_clock = fitted(daily())
    assert told.endswith("they were kept.")
    assert has_clock
    told, has_clock = fitted(walk(days=40))
    assert "they were left out" in told
    assert not has_clock
