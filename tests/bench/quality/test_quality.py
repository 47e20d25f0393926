"""The harness on small made-up series; what it measures is no test's business."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from forewarn.adapters.onnx_forecaster import STARTER, load_model
from forewarn.backtest import backtest
from forewarn.cli import main
from forewarn.core.anomalies import threshold_of
from forewarn.core.readings import Floats
from forewarn.core.rules import Rules
from forewarn.history import read_history
from forewarn.simulate import Fault
from forewarn_training.compare import compare
from tests.bench import faults
from tests.bench.quality import corpus, detectors, forecasts, nab, pages, quiet
from tests.bench.quality.heldout import PLACES, chosen_on, drawn, varied
from tests.bench.quality.lockstep import Said, Track, in_turn, judge
from tests.bench.quality.scoring import Scorer, parsed, write_results

SCORER = corpus.SHARED / "eval" / "nab_score.py"
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
needs_scorer = pytest.mark.skipif(not SCORER.exists(), reason="the scorer is not beside the repository")


def made_up(n: int, seed: int, shift_at: int | None = None) -> Floats:
    """A daily rhythm of 5-minute readings with noise, and a step where one is asked for."""
    t = np.arange(n, dtype=np.float64)
    value: Floats = 20.0 + np.sin(2 * np.pi * t / 288) + 0.2 * np.random.default_rng(seed).normal(size=n)
    return value if shift_at is None else value + np.where((t >= shift_at) & (t < shift_at + 60), 6.0, 0.0)


def series(n: int, seed: int, shift_at: int, interval_s: float = 300.0) -> Track:
    at: Floats = BEGUN.timestamp() + interval_s * np.arange(n, dtype=np.float64)
    return Track(at, made_up(n, seed, shift_at))


def write_corpus(folder: Path, shifts: Sequence[int | None], n: int = 900) -> None:
    """Files as the benchmark has them, with a window around each step."""
    labels = {}
    for i, shift_at in enumerate(shifts):
        times = [(BEGUN + timedelta(minutes=5 * k)).replace(tzinfo=None).isoformat(" ") for k in range(n)]
        values = made_up(n + 10 * i, i, shift_at)[:n]
        with (folder / f"file-{i}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["timestamp", "value"])
            writer.writerows(zip(times, map(repr, values.tolist()), strict=True))
        labels[f"file-{i}.csv"] = [] if shift_at is None else [[times[shift_at - 10], times[shift_at + 70]]]
    (folder / "labels.json").write_text(json.dumps(labels))


def test_the_rows_of_many_series_come_in_turn() -> None:
    owner, order = in_turn([1, 3, 2])
    assert owner[order].tolist() == [0, 1, 2, 1, 2, 1]
    assert order.tolist() == [0, 1, 4, 2, 5, 3]


def test_series_side_by_side_get_the_scores_of_a_backtest_on_each(tmp_path: Path) -> None:
    write_corpus(tmp_path, [500, None, 700])
    histories = corpus.nab(tmp_path)
    said = judge(load_model(STARTER), Rules(), corpus.tracks_of(histories))
    assert max(float(one.score.max()) for one in said) > 2.0
    for one, history in zip(said, histories.values(), strict=True):
        alone = backtest(load_model(STARTER), Rules(), history).verdicts
        assert np.array_equal(one.score, alone.anomaly_score)
        assert np.array_equal(one.alert, alone.alert)


@pytest.mark.parametrize("name", ["realTraffic/TravelTime_387.csv", "realAdExchange/exchange-2_cpc_results.csv"])
def test_the_command_writes_the_scores_that_are_measured(tmp_path: Path, name: str) -> None:
    folder = corpus.SHARED / "data" / "nab"
    if not folder.exists():
        pytest.skip("the data is not beside the repository")
    histories = corpus.nab(folder)
    chosen = {key: histories[key] for key in (name, "realKnownCause/rogue_agent_key_hold.csv")}
    said = judge(load_model(STARTER), Rules(), corpus.tracks_of(chosen))[0]
    out = tmp_path / "scores.csv"
    command = ["backtest", "--model", "starter", "--data", str(folder / name), "--out", str(out)]
    assert main([*command, "--probation", "0.15"]) == 0
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    (expected,) = nab.in_probation([said.score])
    assert expected.max() > 0
    assert [float(row["anomaly_score"]) for row in rows] == expected.tolist()
    assert [row["alert"] == "1" for row in rows[len(rows) // 2 :]] == said.alert[len(rows) // 2 :].tolist()


@needs_scorer
def test_the_scorer_as_a_program_says_what_its_functions_say(tmp_path: Path) -> None:
    write_corpus(tmp_path, [500, None, 700])
    shared = tmp_path / "shared"
    (shared / "data").mkdir(parents=True)
    (shared / "eval").mkdir()
    (shared / "data" / "nab").symlink_to(tmp_path, target_is_directory=True)
    (shared / "eval" / "nab_score.py").symlink_to(SCORER)
    small = nab.Corpus(shared)
    judged = nab._tail(small, load_model(STARTER))
    scored = small.scored(judged.scores)
    assert scored == {
        profile: pytest.approx(small.scorer.best(small.layouts, judged.scores, profile)[0], abs=0.01)
        for profile in scored
    }
    assert scored["standard"] > 40.0
    wrong = [np.roll(score, 200) for score in judged.scores]
    assert small.scored(wrong)["standard"] < scored["standard"] - 20.0
    threshold = small.scorer.best(small.layouts, judged.scores, "standard")[1]
    assert small.scorer.at(small.layouts, judged.scores, "standard", threshold) == pytest.approx(
        scored["standard"], abs=0.01
    )
    found = nab.quietest(small, judged, most_false=1000.0)
    assert found is not None
    assert found[1].found == 2
    best = chosen_on(small, [0, 2], [wrong, judged.scores])
    assert best.scores is judged.scores


@needs_scorer
def test_a_missing_or_short_result_is_no_score(tmp_path: Path) -> None:
    write_corpus(tmp_path, [500])
    write_results(tmp_path / "results", {"file-0.csv": np.zeros(10)})
    with pytest.raises(Exception, match="exit status 2"):
        Scorer(SCORER).run(tmp_path / "results", tmp_path)


def test_the_scorers_line_is_read_number_by_number() -> None:
    line = (
        "98 alerts, 42 false (0.26 per 1000 readings), 44/55 windows found, median delay 116 readings, "
        "0.03 % of normal readings in alarm"
    )
    assert parsed(line) == (98, 42, 0.26, 44, 55, 116.0, 0.03)
    assert np.isnan(parsed(line.replace("116", "nan")).delay)


def test_probation_is_a_share_of_a_file_and_bounded() -> None:
    short, long = nab.in_probation([np.ones(100), np.ones(10_000)])
    assert (short.sum(), long.sum()) == (85, 9250)


@pytest.fixture(scope="module")
def disturbed() -> list[Track]:
    """Hourly series with many steps and falls, some of which the judge tells."""
    tracks = [series(1300, seed, 400 + 50 * seed, interval_s=3600.0) for seed in range(8)]
    for seed, track in enumerate(tracks):
        for start in range(520, 1250, 55 + seed):
            track.value[start : start + 9] -= 2.0 + start % 7
    return tracks


@pytest.fixture(scope="module")
def usual(disturbed: list[Track]) -> list[Said]:
    """What the judge says of them as it is."""
    return judge(detectors.Persistence(), Rules(), disturbed)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0].__name__.rpartition('.')[2]}{place[1]}")
def test_each_constant_that_is_varied_changes_scores(
    disturbed: list[Track], usual: list[Said], place: tuple[ModuleType, str]
) -> None:
    key = (place[0].__name__, place[1])
    with varied({key: drawn(np.random.default_rng(3))[key]}):
        assert not _same(usual, judge(detectors.Persistence(), Rules(), disturbed))


def test_constants_come_back(disturbed: list[Track], usual: list[Said]) -> None:
    with varied(drawn(np.random.default_rng(4))):
        pass
    assert _same(usual, judge(detectors.Persistence(), Rules(), disturbed))


def _same(one: list[Said], other: list[Said]) -> bool:
    return all(np.array_equal(a.score, b.score) for a, b in zip(one, other, strict=True))


def test_no_forecast_of_blocks_leaves_the_other_streams() -> None:
    tracks = [series(1200, 5, 900)]
    with_persistence, without = (judge(f, Rules(), tracks) for f in (detectors.Persistence(), detectors.Nothing()))
    assert without[0].score.max() > threshold_of(1.0)
    assert not _same(with_persistence, without)


def test_the_rolling_z_score_looks_back_only() -> None:
    value = made_up(400, 1)
    value[300] += 5.0
    score = detectors.rolling_z(value)
    assert score.argmax() == 300
    before = value[300 - detectors.ROLLING : 300]
    assert score[300] == pytest.approx(abs(value[300] - before.mean()) / before.std())
    assert not score[: detectors.ROLLING].any()
    longer = np.append(value, 1e6)
    assert np.array_equal(detectors.rolling_z(longer)[:-1], score)
    assert np.isfinite(detectors.rolling_z(np.ones(300))).all()


def test_half_space_trees_score_every_reading() -> None:
    pytest.importorskip("river")
    score = detectors.half_space_trees(made_up(600, 1, 550))
    assert np.isfinite(score).all()
    assert score.max() > 0


def test_readings_in_a_row_over_the_threshold_are_one_alert() -> None:
    high = threshold_of(1.0) + 0.1
    score = np.array([high, high, 0.0, high, 0.0, 0.0])
    assert quiet.alerts([score, score[::-1]], 1.0) == 4
    assert quiet.alerts([score], 0.1) == 0


def test_calm_fleets_have_the_cadence_and_length_that_are_said() -> None:
    tracks = corpus.calm(3600.0)
    assert len(tracks) == corpus.CALM[3600.0][0]
    assert {len(track.at) for track in tracks} == {365 * 24}
    assert all((np.diff(track.at) > 0).all() for track in tracks)
    assert corpus.months(tracks[0]) == pytest.approx(12.0, abs=0.1)


def test_a_table_goes_between_its_markers_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "before\n<!-- table: a -->\nold\n<!-- end -->\nmiddle\n<!-- table: b -->\n<!-- end -->\nafter\n"
    page.write_text(text)
    pages.put(page, "a", pages.table(["x", "y"], [["1", "2"]]))
    new = "| x | y |\n| --- | ---: |\n| 1 | 2 |"
    assert page.read_text() == text.replace("old", new)
    pages.put(page, "b", "B")
    assert page.read_text() == text.replace("old", new).replace("b -->\n", "b -->\nB\n")
    with pytest.raises(pages.NoMarkerError, match="table: c"):
        pages.put(page, "c", "C")


@pytest.mark.parametrize(
    ("page", "names"),
    [("quality.md", ["nab", "heldout", "quiet", "sensitivity", "cost"]), ("quality-faults.md", ["faults"])],
)
def test_the_documents_have_a_place_for_each_table(tmp_path: Path, page: str, names: list[str]) -> None:
    copy = tmp_path / page
    copy.write_text((corpus.ROOT / "docs" / page).read_text("utf-8"), "utf-8")
    for name in names:
        pages.put(copy, name, f"here is {name}")
    assert all(f"here is {name}\n<!-- end -->" in copy.read_text("utf-8") for name in names)


def test_where_the_data_is_absent_a_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.bench.quality.__main__ import tables  # noqa: PLC0415 - a program, not a module of others

    assert list(tables("nab", tmp_path)) == []
    assert "left out: " in capsys.readouterr().out


@pytest.fixture
def _short_week(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small fleet and a day with a fault on every second device."""
    monkeypatch.setattr(faults, "N_DEVICE", 6)
    monkeypatch.setattr(faults, "DAYS", 1.0)
    monkeypatch.setattr(faults, "WARM_UP_DAYS", 0.5)
    monkeypatch.setattr(faults, "FAULT_EVERY_DAYS", 1.0)


@pytest.mark.usefixtures("_short_week")
@pytest.mark.parametrize("detector", ["tail", "residual"])
def test_a_fault_counts_as_found_by_the_judge_that_is_asked_for(detector: faults.Detector) -> None:
    found = faults.account(Fault.LEVEL_SHIFT, 2.0, detector)
    assert found.n_fault == 3
    assert len(found.delays) >= 2


@pytest.mark.usefixtures("_short_week")
def test_a_limit_that_is_told_after_it_was_passed_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FAULT_EVERY_DAYS", 0.25)
    found = faults.account(Fault.APPROACH, 2.0, "tail")
    assert len(found.delays) < found.n_fault
    assert min(found.leads, default=1.0) > 0


# -- forecasts -------------------------------------------------------------------------------------------------------


def sizes(*ratios: float, n: int = 8) -> forecasts.Size:
    """Errors that are so many times persistence's, which are 1 to n at its windows."""
    return forecasts.Size(np.arange(n), np.outer(np.arange(1, n + 1), ratios))


def found_of(lstm: float) -> forecasts.Measured:
    of_all = {forecasts.LSTM: sizes(lstm, 0.5, 1.0, 1.0), forecasts.RIDGE: sizes(0.9, 0.6, 1.0, 2.0)}
    some = np.array([1, 5])
    others = {"Theta": forecasts.Size(some, sizes(1.2, 1.2, 1.2, 0.25).error[some])}
    return forecasts.Measured(some, of_all | others, sizes(1.0, 1.0, 1.0, 1.0), 2)


def test_the_rows_of_a_series_are_ratios_to_persistence_at_the_same_windows() -> None:
    assert list(forecasts.rows("A", found_of(0.8))) == [
        ("A; 2 of 8 windows", "ridge", "0.900 (0.900 to 0.900)", "0.600", "**1.000**", "2.000"),
        (
            "",
            "**LSTM**, time kept 2 of 3",
            "**0.800** (0.800 to 0.800)",
            "**0.500**",
            "**1.000**",
            "1.000",
        ),
        ("", "Theta", "1.200 (1.200 to 1.200)", "1.200", "1.200", "**0.250**"),
    ]


def test_the_means_are_geometric_and_of_the_methods_that_every_series_has() -> None:
    one, other = found_of(0.2), found_of(0.8)
    del other.sizes["Theta"]  # type: ignore[attr-defined]  # it is a dictionary here
    rows = list(forecasts.means({"A": one, "B": other}, everything=False))
    assert rows == [
        ("ridge", "0.900", "0.600", "1.000", "2.000", "0.900"),
        ("**LSTM**", "0.400", "0.500", "1.000", "1.000", "0.800"),
    ]


def test_a_series_is_measured_as_compare_measures_it(tmp_path: Path) -> None:
    write_corpus(tmp_path, [None], n=1500)
    history = read_history(tmp_path / "file-0.csv")
    cut = replace(forecasts.CUT, n_step=12)
    found = forecasts.measure_series(history, cut, epochs=1, seeds=1, classical=False)
    everything = np.arange(len(found.naive.error))
    ratios = {name: found.ratios(name, everything) for name in ("ridge, no time", "LSTM, no time", "tutorial LSTM")}
    rows = compare(history, cut, ("linear", "lstm", "tutorial"), epochs=1, seeds=1, progress=False).rows
    for row, mine in zip(rows, ratios.values(), strict=True):
        assert mine == pytest.approx(row.ratio, rel=1e-4)
