"""History as training data: the split comes first, gaps are bridged within bounds, windows hold together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.errors import DataError
from forewarn_training.data import SPREAD_MEMORY, Cut, Part, naive_error, prepare, running_spread, scales
from tests.training.sensors import MINUTE_S, STARTED_AT, history, read, wave, write_csv

HERE = Path("history.csv")


def parts_of(values: np.ndarray, cut: Cut) -> tuple[Part, Part, Part]:
    data = prepare(history(HERE, values), cut)
    return data.training, data.validation, data.test


def test_parts_follow_each_other_in_time_and_no_window_reaches_into_another() -> None:
    training, validation, test = parts_of(np.arange(100.0), Cut(5, 2))
    assert [len(part.at) for part in (training, validation, test)] == [60, 20, 20]
    assert [len(part) for part in (training, validation, test)] == [54, 14, 14]
    assert training.targets().max() == 59
    assert (validation.inputs().min(), validation.targets().max()) == (60, 79)
    assert test.inputs().min() == 80


def test_a_window_is_followed_by_its_targets() -> None:
    training, _, _ = parts_of(np.arange(100.0), Cut(5, 2))
    assert training.inputs()[3, :, 0].tolist() == [3, 4, 5, 6, 7]
    assert training.targets()[3].tolist() == [8, 9]
    assert training.target_at()[3].tolist() == [STARTED_AT + 8 * MINUTE_S, STARTED_AT + 9 * MINUTE_S]


def test_each_device_is_split_by_its_own_time(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", {"x": np.arange(100.0), "y": 1000 + np.arange(50.0)})
    data = prepare(read(path), Cut(5, 1))
    assert data.devices == ("x", "y")
    assert sorted(set(data.test.values[:, 0].astype(int))) == [*range(80, 100), *range(1040, 1050)]
    assert set(np.unique(data.training.device)) == {0, 1}
    spread = np.ptp(data.training.inputs(), axis=1)
    assert spread.max() == 4, "a window holds readings of one device"


def test_readings_out_of_order_are_sorted_and_the_first_of_equal_times_is_kept() -> None:
    at = STARTED_AT + MINUTE_S * np.array([3, 0, 1, 2, 2, *range(4, 40)], np.float64)
    values = np.array([3, 0, 1, 2, 99, *range(4, 40)], float)
    data = prepare(history(HERE, values, at), Cut(3, 1))
    assert data.training.values[:, 0].tolist() == list(range(24))


def test_short_gaps_are_bridged_by_a_straight_line_and_long_ones_end_a_window() -> None:
    values = np.arange(100.0)
    values[10:13] = np.nan
    values[30:34] = np.nan
    training, _, _ = parts_of(values, Cut(5, 1, max_gap=3))
    assert training.values[10:13, 0].tolist() == [10, 11, 12]
    assert np.isnan(training.values[30:34]).all()
    covered = training.starts[:, None] + np.arange(6)
    assert not np.isin(covered, range(30, 34)).any()
    assert np.isfinite(training.inputs()).all()


def test_missing_rows_are_gaps_as_missing_values_are() -> None:
    keep = np.ones(100, bool)
    keep[10:13] = keep[30:34] = False
    at = STARTED_AT + MINUTE_S * np.arange(100)
    data = prepare(history(HERE, np.arange(100.0)[keep], at[keep]), Cut(5, 1, max_gap=3))
    inputs = data.training.inputs()[:, :, 0]
    assert {10, 11, 12} <= set(inputs.ravel().tolist())
    assert (np.diff(inputs, axis=1) == 1).all(), "no window reaches over the long gap"


def test_a_gap_at_the_end_of_a_part_is_not_bridged_from_the_next_part() -> None:
    values = np.arange(100.0)
    values[58:62] = np.nan
    training, validation, _ = parts_of(values, Cut(5, 1, max_gap=10))
    assert np.isnan(training.values[58:, 0]).all()
    assert np.isnan(validation.values[:2, 0]).all()


@given(
    missing=st.sets(st.integers(0, 199), max_size=60),
    max_gap=st.integers(0, 6),
    n_step=st.integers(1, 8),
)
def test_windows_are_always_whole_and_never_reach_over_a_long_gap(missing: set[int], max_gap: int, n_step: int) -> None:
    values = np.arange(200.0)
    values[sorted(missing)] = np.nan
    try:
        parts = parts_of(values, Cut(n_step, 2, max_gap=max_gap))
    except DataError:
        return
    for part in parts:
        inputs = part.inputs()[:, :, 0]
        assert np.isfinite(inputs).all()
        assert np.allclose(np.diff(np.concatenate([inputs, part.targets()], axis=1)), 1, atol=1e-4)


def test_scales_come_from_the_part_they_are_asked_of() -> None:
    values = wave(300)
    first = prepare(history(HERE, values), Cut(10, 3))
    values[240:] *= 1000
    second = prepare(history(HERE, values), Cut(10, 3))
    assert first.training.spread.tobytes() == second.training.spread.tobytes()
    for a, b in zip(scales(first.training), scales(second.training), strict=True):
        assert a.tobytes() == b.tobytes()


def test_scales_are_root_mean_squares_of_differences_from_the_last_reading() -> None:
    training, _, _ = parts_of(np.arange(100.0), Cut(3, 2))
    of_inputs, of_outputs, of_blocks = scales(training)
    assert of_inputs == pytest.approx(np.sqrt((4 + 1 + 0) / 3))
    assert of_outputs == pytest.approx([1, 2])
    assert of_blocks == pytest.approx([10.5, 2]), "60 readings have no window before a block of 60"


def test_a_constant_has_a_scale_of_one() -> None:
    assert [scale.tolist() for scale in scales(parts_of(np.full(100, 7.0), Cut(3, 2))[0])] == [[1], [1, 1], [1, 1]]


def test_the_targets_of_blocks_are_means_of_what_comes_after_the_window() -> None:
    training, _, _ = parts_of(np.arange(200.0), Cut(5, 2))
    blocks = training.block_targets()
    assert blocks[3].tolist() == [8 + 9.5, 8 + 29.5]
    there = np.isfinite(blocks)
    assert there.sum(axis=0).tolist() == [120 - 5 - 20 + 1, 120 - 5 - 60 + 1], "nothing of a later part"
    assert not there[-1].any()
    assert len(training) == 120 - 7 + 1, "windows need only the horizon"
    assert training.block_targets(np.array([3])).tolist() == [blocks[3].tolist()]


def test_a_block_reaches_neither_over_a_gap_nor_into_another_device(tmp_path: Path) -> None:
    values = np.arange(200.0)
    values[50:60] = np.nan
    training, _, _ = parts_of(values, Cut(5, 1))
    ends = training.starts + 4
    there = np.isfinite(training.block_targets()[:, 0])
    assert there[ends == 29].all()
    assert not there[(ends >= 30) & (ends < 60)].any()
    path = write_csv(tmp_path / "a.csv", {"x": np.arange(100.0), "y": 1000 + np.arange(100.0)})
    part = prepare(read(path), Cut(5, 1)).training
    blocks = part.block_targets()[:, 0]
    assert np.isfinite(blocks).sum() == 2 * (60 - 5 - 20 + 1)
    assert not ((blocks > 60) & (blocks < 1000)).any()


def test_the_spread_is_that_of_the_devices_readings_up_to_the_windows_last(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(20, 3, 100), random.normal(-5, 0.1, 100)
    part = prepare(read(write_csv(tmp_path / "a.csv", {"x": first, "y": second})), Cut(5, 1)).training
    spread = part.spreads()
    assert spread[0] == pytest.approx(np.std(first[:5]), rel=1e-4)
    assert spread[7] == pytest.approx(np.std(first[:12]), rel=1e-4)
    mine = part.device[part.starts] == 1
    assert spread[mine][-1] == pytest.approx(np.std(second[:59]), rel=1e-4)
    assert part.spreads(np.array([7])).tolist() == [spread[7]]


def test_the_spread_passes_over_gaps_and_forgets_in_the_long_run() -> None:
    y = np.array([1.0, np.nan, 3.0, 1e38, -1e38], np.float32)
    device = np.zeros(5, np.int64)
    assert running_spread(y, device)[:3].tolist() == [0, 0, 1]
    assert np.isfinite(running_spread(y, device)).all()
    step = np.concatenate([np.zeros(SPREAD_MEMORY), np.ones(3 * SPREAD_MEMORY)]).astype(np.float32)
    found = running_spread(step, np.zeros(len(step), np.int64))[-1]
    left = np.exp(-3)  # of the weight, on the readings before the step
    assert found == pytest.approx(np.sqrt(left * (1 - left)), rel=1e-3)


def test_the_unit_of_mase_leaves_gaps_and_other_devices_out() -> None:
    values = np.arange(100.0) * 2
    values[20:30] = np.nan
    training, _, _ = parts_of(values, Cut(3, 1))
    assert naive_error(training, 2) == pytest.approx([2.0, np.nan], nan_ok=True)


@pytest.mark.parametrize("n", [10, 30, 100])
def test_too_short_a_history_is_refused_with_what_to_do(n: int) -> None:
    with pytest.raises(DataError, match=r"(training|validation) part .*give more history"):
        prepare(history(HERE, np.arange(float(n))), Cut(30, 12))


def test_one_reading_is_refused() -> None:
    with pytest.raises(DataError, match="two readings"):
        prepare(history(HERE, np.arange(1.0)), Cut(3, 1))


def test_the_shares_can_be_chosen() -> None:
    training, validation, test = parts_of(np.arange(100.0), replace(Cut(3, 1), shares=(0.5, 0.4)))
    assert [len(part.at) for part in (training, validation, test)] == [50, 40, 10]


def test_some_windows_are_spread_evenly() -> None:
    training, _, _ = parts_of(np.arange(100.0), Cut(5, 2))
    assert training.some(3).tolist() == [0, 26, 53]
    assert training.some(1000).tolist() == list(range(54))


def test_a_device_with_hardly_any_readings_is_no_obstacle(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", {"x": np.arange(100.0), "y": np.arange(1.0), "z": np.full(3, np.nan)})
    with path.open("a", encoding="utf-8") as stream:
        stream.write("no time,w,1,1\n")
    data = prepare(read(path), Cut(5, 1))
    assert data.devices == ("w", "x", "y", "z")
    assert set(data.training.device[data.training.starts]) == {1}
