"""Alerts at other thresholds: the same as if the file were judged anew with each of them."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.backtest import backtest
from forewarn.core.alerts import AlertRaised, Kind
from forewarn.core.anomalies import rate_of, threshold_of
from forewarn.core.card import Calibration
from forewarn.core.rules import Override, Rules, Threshold
from forewarn.history import read_history
from forewarn.sensitivity import FACTORS, SENSITIVITIES, curve, in_use, likely_counts, step, steps
from tests.backtests import history_file, judged, of_scores
from tests.core.streams import stream
from tests.forecasters import HalfTrend, card


def raised_rows(path: Path, rules: Rules) -> list[int]:
    result = judged(path, rules)
    residual = [e.alert for e in result.verdicts.events if isinstance(e, AlertRaised) and e.alert.kind == Kind.RESIDUAL]
    return sorted(result.row_of(alert) for alert in residual)


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that goes wrong, three devices."""
    path = tmp_path_factory.mktemp("messy") / "h.csv"
    rows = [f"{row.at},{row.key.device},{row.value}" for row in stream(5, n=1500)]
    path.write_text("timestamp,device,temperature\n" + "\n".join(rows) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    "rules",
    [
        Rules(detector="residual"),
        Rules(detector="residual", raise_after=2, raise_within=5, clear_after=10),
        Rules(detector="residual", threshold=Threshold(3.0, absolute=True), clear_ratio=1.0, clear_after=1),
    ],
    ids=["as it comes", "2 of 5", "absolute"],
)
@pytest.mark.parametrize("factor", [0.3, 1.0, 1.7])
def test_the_residual_judge_told_again_is_a_backtest_with_that_threshold(
    messy: Path, rules: Rules, factor: float
) -> None:
    own = rules.threshold.value or 8.0
    other = replace(rules, threshold=Threshold(factor * own, absolute=rules.threshold.absolute))
    again = step(judged(messy, rules), factor)
    assert np.flatnonzero(again.raised).tolist() == raised_rows(messy, other)
    assert again.threshold == pytest.approx(factor * own)
    assert again.n_alert > 3
    assert (again.telling | ~again.raised).all()


@pytest.mark.parametrize("clear_after", [2, 10])
@pytest.mark.parametrize("raise_after", [1, 2, 3])
def test_what_one_series_did_last_is_nothing_to_the_next_one(
    tmp_path: Path, raise_after: int, clear_after: int
) -> None:
    known = Calibration(mean_abs_residual=0.2, threshold_errors=8.0)  # so that the first residual is scored
    ends = {"a": [29], "b": [4, 29], "c": [5, 20]}  # where each device reads 30 more
    lines = [f"{1.7e9 + i},{d},{4 + 30 * (i in ends[d]) + i % 2 / 10}" for i in range(30) for d in "abc"]
    path = tmp_path / "h.csv"
    path.write_text("timestamp,device,temperature\n" + "\n".join(lines) + "\n", "utf-8")
    rules = Rules(detector="residual", raise_after=raise_after, raise_within=32, clear_after=clear_after, stuck=False)
    result = backtest(HalfTrend(card(calibration=known)), rules, read_history(path))
    told = [result.row_of(alert) for alert in result.of_judge()]
    assert np.flatnonzero(step(result, 1.0).raised).tolist() == sorted(told)
    assert told


def test_series_with_thresholds_of_their_own_keep_them_by_the_factor(messy: Path) -> None:
    device = read_history(messy).device[0]
    rules = Rules(detector="residual", overrides=(Override(device, "*", Threshold(20.0)),))
    again = step(judged(messy, rules), 0.5)
    halved = replace(rules, threshold=Threshold(4.0), overrides=(Override(device, "*", Threshold(10.0)),))
    assert np.flatnonzero(again.raised).tolist() == raised_rows(messy, halved)
    assert math.isnan(again.threshold)


@pytest.mark.parametrize("rules", [Rules(detector="residual"), Rules(detector="residual", stuck=False)])
def test_the_settings_around_the_one_in_use_hold_that_one(messy: Path, rules: Rules) -> None:
    result = judged(messy, rules)
    table = steps(result)
    assert [one.setting for one in table] == sorted(FACTORS)
    counts = [one.n_alert for one in table]
    assert counts[0] > counts[-1]
    assert next(one.n_alert for one in table if one.setting == in_use(result)) == len(result.of_judge())


def test_a_tail_score_says_up_to_which_sensitivity_it_alerts() -> None:
    scores = np.zeros(200)
    scores[[20, 60, 90]] = threshold_of(0.3), threshold_of(1.5), threshold_of(4.0)
    result = of_scores(scores, sensitivity=3.0)
    table = {one.setting: one for one in steps(result)}
    assert sorted(table) == sorted({*SENSITIVITIES, 3.0})
    assert [table[s].n_alert for s in (0.1, 0.5, 1.0, 2.0, 3.0, 5.0)] == [0, 1, 1, 2, 2, 3]
    assert len(result.alerts) == table[3.0].n_alert
    assert table[5.0].expected == pytest.approx(5.0)
    assert [n for _, _, n in curve(result, 0.1, 10.0)] == sorted(n for _, _, n in curve(result, 0.1, 10.0))


def test_probation_is_in_no_count() -> None:
    scores = np.zeros(100)
    scores[[10, 80]] = 5.0
    result = of_scores(scores)
    later = replace(result, counted=np.arange(100) >= 50)
    assert step(result, 1.0).n_alert == 2
    assert np.flatnonzero(step(later, 1.0).raised).tolist() == [80]


def test_nor_in_that_of_the_residual_judge(tmp_path: Path) -> None:
    later = judged(history_file(tmp_path, spikes=(100, 300)), probation=0.5)
    assert step(later, 1.0).n_alert == len(later.of_judge()) == 1


@given(st.floats(0.01, 100))
def test_threshold_and_rate_undo_each_other(sensitivity: float) -> None:
    assert rate_of(threshold_of(sensitivity)) == pytest.approx(sensitivity)


@pytest.mark.parametrize("mean", [0.02, 0.5, 1.0, 2.54, 30.0, 99.0, 400.0])
def test_nine_of_ten_counts_lie_in_the_likely_range(mean: float) -> None:
    low, high = likely_counts(mean)
    counts = np.random.default_rng(1).poisson(mean, 20_000)
    inside = np.mean((counts >= low) & (counts <= high))
    assert inside >= 0.89
    assert np.mean(counts < low) <= 0.055
    assert np.mean(counts > high) <= 0.055


def test_a_quiet_file_has_no_alerts_at_any_setting(tmp_path: Path) -> None:
    result = judged(history_file(tmp_path, n=10))
    assert {one.n_alert for one in steps(result)} == {0}
