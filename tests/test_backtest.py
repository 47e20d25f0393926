"""What a backtest says of a file: which readings count, how long the devices were watched, where an alert stands."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.backtest import MONTH_S, counted_rows
from forewarn.core.alerts import AlertRaised
from tests.backtests import STEP_S, history_file, judged, moment


def scores_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    st.one_of(st.integers(0, 12).map(float), st.floats(0, 0.99)),
)
def test_probation_takes_the_first_readings_of_each_device(devices: list[str], probation: float) -> None:
    counted = counted_rows(devices, probation)
    for device in set(devices):
        rows = [i for i, name in enumerate(devices) if name == device]
        n = int(probation * len(rows)) if probation < 1 else min(int(probation), len(rows))
        assert counted[rows].tolist() == [False] * n + [True] * (len(rows) - n)


def test_a_share_counts_for_at_most_750_readings_and_a_number_for_what_it_says() -> None:
    assert np.count_nonzero(~counted_rows(["a"] * 10_000, 0.15)) == 750
    assert np.count_nonzero(~counted_rows(["a"] * 10_000, 1500.0)) == 1500


def test_an_alert_in_probation_is_learnt_from_but_neither_counted_nor_told(tmp_path: Path) -> None:
    path = history_file(tmp_path, spikes=(100, 300))
    everything, later = judged(path), judged(path, probation=0.5)
    assert [a.at for a in later.of_judge()] == [a.at for a in everything.of_judge() if a.at > later.history.at[400]]
    assert len(later.alerts) < len(everything.alerts)
    assert later.verdicts.score.tolist() == everything.verdicts.score.tolist()
    assert moment(100) not in later.summary()
    assert "the first 400 readings are in probation" in later.summary()
    out = tmp_path / "o.csv"
    later.write_csv(out)
    written = scores_of(out)
    assert {row["anomaly_score"] for row in written[:400]} == {"0.0"}
    assert {row["alert"] for row in written[:400]} == {"0"}
    assert [float(row["anomaly_score"]) for row in written[400:]] == later.verdicts.score[400:].tolist()
    assert later.device_months == pytest.approx(everything.device_months / 2, rel=0.02)


def test_every_alert_is_found_at_its_own_row(tmp_path: Path) -> None:
    result = judged(history_file(tmp_path, spikes=(100, 200, 300)))
    assert len(result.alerts) >= 3
    for event in result.alerts:
        row = result.row_of(event.alert)
        assert result.history.device[row] == event.alert.series.device
        assert result.history.at[row] == event.alert.at
        assert result.when(event.alert) == result.history.timestamp_text[row]


def test_rejected_rows_do_not_move_an_alert(tmp_path: Path) -> None:
    path = history_file(tmp_path, spikes=(100,))
    lines = path.read_text("utf-8").splitlines()
    lines[50:50] = [lines[49], f"not a time,{lines[3].partition(',')[2]}", lines[10]]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    result = judged(path)
    assert dict(result.outcomes()).keys() >= {"duplicate", "not_finite", "out_of_order"}
    spike = next(e.alert for e in result.verdicts.events if isinstance(e, AlertRaised))
    assert result.when(spike) == moment(100)


def test_a_device_month_is_the_time_a_device_was_watched_without_its_gaps(tmp_path: Path) -> None:
    path = history_file(tmp_path, n=300)
    assert judged(path).device_months == pytest.approx(2 * 299 * STEP_S / MONTH_S)
    lines = path.read_text("utf-8").splitlines()
    far = [line.replace(line[:10], "2027-06-01", 1) for line in lines[1:11]]
    path.write_text("\n".join([*lines, *far]) + "\n", "utf-8")
    gap = 12.0 * STEP_S  # what `max_gap` lets one be
    assert judged(path).device_months == pytest.approx(2 * (303 * STEP_S + gap) / MONTH_S)


def test_a_file_without_a_usable_reading_has_no_device_months(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text("timestamp,value\n2026-01-01,1\nnever,2\n2025-01-01,3\n", "utf-8")
    result = judged(path)
    assert result.device_months == 0.0
    assert result.alerts == []
    assert np.isfinite(result.readings_per_s)
