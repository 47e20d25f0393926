"""The course of a backtest as a page: every series, nothing lost by thinning, and small however long the history is."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from forewarn.core.anomalies import threshold_of
from forewarn.core.rules import Rules
from forewarn.findings import hold_against
from forewarn.labels import Window
from forewarn.report.plot import MOST_CHARTS, plot
from tests.backtests import BEGIN_AT, STEP_S, history_file, judged, of_scores
from tests.test_report import parsed, text_of

YEAR = 525_600


def figures(page: str) -> list[ET.Element]:
    return list(parsed(page).iter("figure"))


def names(figure: ET.Element) -> list[str]:
    return ["".join(span.itertext()) for span in figure.iter("span")]


def across(figure: ET.Element) -> list[list[float]]:
    """The places along the x axis of each line of a figure."""
    lines = [path.get("d", "") for path in figure.iter("path") if path.get("class") == "line"]
    return [[float(x) for x in re.findall(r"[ML]([\d.]+) ", line)] for line in lines]


def test_each_series_has_readings_forecast_band_and_alerts_above_its_score(tmp_path: Path) -> None:
    result = judged(history_file(tmp_path, spikes=(200, 300)))
    page = plot(result)
    assert [h.text for h in parsed(page).iter("h2")] == ["a", "b"], "the one with alerts first"
    above, below, quiet, _ = figures(page)
    assert names(above) == ["expected", "forecast", "reading", "alert"]
    assert names(below) == ["score", "threshold"]
    n_alert = sum(event.alert.series.device == "a" for event in result.alerts)
    assert above.findtext("figcaption") == f"400 readings, {n_alert} alerts"
    assert len(list(above.iter("circle"))) == n_alert > 0
    assert list(quiet.iter("circle")) == []
    assert any(path.get("class") == "band" for path in above.iter("path"))
    forecast, reading = across(above)
    score, threshold = across(below)
    assert (reading, len(reading), len(forecast)) == (score, 400, 396)
    assert threshold == score
    score_at, threshold_at = (dict(re.findall(r"([\d.]+) ([\d.]+)", path.get("d", ""))) for path in below.iter("path"))
    for circle in above.iter("circle"):
        place = circle.get("cx", "")
        assert float(score_at[place]) < float(threshold_at[place]), "higher up"


def test_a_score_of_the_threshold_reaches_its_line() -> None:
    scores = np.zeros(300)
    scores[50] = threshold_of(1.0)
    below = figures(plot(of_scores(scores, sensitivity=1.0)))[1]
    score, threshold = (
        [float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", path.get("d", ""))] for path in below.iter("path")
    )
    assert {min(score)} == set(threshold)


def test_labelled_windows_are_shaded(tmp_path: Path) -> None:
    result = judged(history_file(tmp_path, spikes=(200,)))
    page = plot(result, hold_against(result, [Window("a", BEGIN_AT, BEGIN_AT + 9 * STEP_S)]))
    above, _, other, _ = figures(page)
    assert "labelled window" in names(above)
    assert "labelled window" not in names(other)


def test_scores_in_probation_are_nothing(tmp_path: Path) -> None:
    path = history_file(tmp_path, spikes=(20,))
    flat = figures(plot(judged(path, Rules(detector="residual"), probation=100.0)))[1]
    early = across(flat)[0]
    heights = re.findall(r"[ML][\d.]+ ([\d.]+)", next(p.get("d", "") for p in flat.iter("path")))
    assert len(set(heights[:100])) == 1
    assert len(early) == 400
    assert len(set(heights[100:])) > 10


def test_the_page_needs_nothing_from_elsewhere_and_escapes_names(tmp_path: Path) -> None:
    path = history_file(tmp_path, spikes=(200,))
    evil = tmp_path / "h&amp;.csv"
    evil.write_text(path.read_text("utf-8").replace(",a,", ',<script>"&,'), "utf-8")
    page = plot(judged(evil))
    for word in ("<script", "src=", "href=", "url(", "http"):
        assert word not in page
    assert '<script>"&' in text_of(page)


def test_a_year_of_minutes_is_small_and_keeps_its_spike() -> None:
    scores = np.zeros(YEAR)
    scores[123_456] = 9.0
    page = plot(of_scores(scores, sensitivity=1.0))
    assert len(page) < 3_000_000
    whole, below = figures(page)[:2]
    assert whole.findtext("figcaption") == "525,600 readings, 1 alert"
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", next(p.get("d", "") for p in below.iter("path")))]
    assert max(heights) - min(heights) > 80, "the one score of 9 is drawn"
    assert len(heights) < 2000


def test_the_parts_of_a_long_series_hold_each_reading_once() -> None:
    n = 5_000
    scores = np.zeros(n)
    scores[[100, 4_900]] = threshold_of(0.1)
    page = plot(of_scores(scores))
    assert "a in 5 parts" in text_of(page)
    folded = next(parsed(page).iter("details"))
    parts = list(folded.iter("figure"))[::2]
    assert [len(list(part.iter("circle"))) for part in parts] == [1, 0, 0, 0, 1]
    assert sum(len(across(part)[-1]) for part in parts) == n
    assert parts[0].findtext("figcaption", "").startswith("2026-01-01 00:00 to ")


@pytest.mark.parametrize(("n", "folded"), [(1999, 0), (2000, 1)])
def test_a_short_series_has_no_parts(n: int, folded: int) -> None:
    assert len(list(parsed(plot(of_scores(np.zeros(n)))).iter("details"))) == folded


def test_of_many_series_those_with_most_alerts_are_drawn(tmp_path: Path) -> None:
    devices = "".join(chr(0x4E00 + i) for i in range(MOST_CHARTS + 3))
    path = history_file(tmp_path, n=120, devices=devices, spikes=(60, 90), spiking=devices[-1])
    page = plot(judged(path))
    drawn = [h.text for h in parsed(page).iter("h2")]
    assert (len(drawn), drawn[0]) == (MOST_CHARTS, devices[-1])
    assert "3 more series, which have fewer alerts, are not drawn." in text_of(page)


def test_a_history_without_an_accepted_reading_has_a_page() -> None:
    result = of_scores(np.zeros(5))
    result = replace(result, verdicts=replace(result.verdicts, outcome=result.verdicts.outcome + 100))
    assert "5 readings of value, 0 alerts." in text_of(plot(result))
