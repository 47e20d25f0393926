"""The page of a backtest: self-contained, escaped, and with the numbers that the backtest has."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from forewarn.adapters.onnx_forecaster import load_model
from forewarn.backtest import Backtest, backtest
from forewarn.core.anomalies import threshold_of
from forewarn.core.rules import Limits, Rules
from forewarn.findings import hold_against
from forewarn.history import read_history
from forewarn.labels import Window
from forewarn.report.page import render
from forewarn.report.used import Used, used
from forewarn.settings import load
from tests.backtests import BEGIN_AT, STEP_S, history_file, judged, moment, of_scores
from tests.daemons import TINY

USED = Used([("model", "test")], [("alerts.threshold", "8", "settings.toml")])


def parsed(page: str) -> ET.Element:
    """The page as XML: that it parses is part of the check."""
    body = page.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', "")
    return ET.fromstring(re.sub(r"<meta [^>]*>", "", body))  # noqa: S314 - our own text


def text_of(page: str) -> str:
    return " ".join("".join(parsed(page).itertext()).split())


def tables(page: str) -> list[list[list[str]]]:
    rows = [list(table.iter("tr")) for table in parsed(page).iter("table")]
    return [[["".join(cell.itertext()) for cell in row] for row in table] for table in rows]


def cards(page: str) -> list[ET.Element]:
    """The figures of the strongest alerts: their titles begin with a number."""
    return [f for f in parsed(page).iter("figure") if re.match(r"\d+\. ", f.findtext("figcaption") or "")]


def test_the_page_needs_nothing_from_elsewhere_and_escapes_names(tmp_path: Path) -> None:
    path = history_file(tmp_path, spikes=(200,))
    evil = tmp_path / "h&amp;.csv"
    evil.write_text(path.read_text("utf-8").replace(",a,", ',<script>"&,'), "utf-8")
    result = judged(evil)
    page = render(result, USED, hold_against(result, [Window(None, BEGIN_AT, BEGIN_AT + STEP_S)]))
    assert "<script" not in page
    assert "src=" not in page
    assert "href=" not in page
    assert "url(" not in page
    assert "http" not in page
    assert '<script>"&' in text_of(page)


def test_the_tiles_and_the_outcomes_are_those_of_the_backtest(tmp_path: Path) -> None:
    result = judged(history_file(tmp_path, spikes=(200, 300)), probation=0.1)
    page = render(result, USED)
    tiles = {"".join(one.itertext()) for one in parsed(page).iter("div")}
    assert {"800readings", "2devices", f"{len(result.of_judge())}residual alerts"} <= tiles
    outcomes = tables(page)[-3]
    assert outcomes[0] == ["outcome", "readings", "share"]
    assert outcomes[1:-1] == [
        [name.replace("_", " "), str(n), f"{100 * n / 800:.2f} %"] for name, n in result.outcomes()
    ]
    assert outcomes[-1] == ["in probation", "80", "10.00 %"]


def test_of_the_tail_judge_expected_and_measured_stand_beside_each_other() -> None:
    scores = np.zeros(4 * 4378)  # about four months
    scores[[500, 5000, 9000]] = 2.4, threshold_of(0.15), 9.0
    page = render(of_scores(scores, sensitivity=2.0), USED)
    table = tables(page)[0]
    assert table[0] == ["sensitivity", "expected", "by chance", "alerts", "per device-month"]
    rows = {row[0]: row[1:] for row in table[1:]}
    assert list(rows) == ["0.1", "0.2", "0.5", "1", "2", "5"]
    assert rows["0.1"] == ["0.4", "0 to 2", "1", "0.25"]
    assert rows["0.2"] == ["0.8", "0 to 2", "2", "0.5"]
    assert rows["1"] == ["4", "1 to 8", "3", "0.75"]
    chosen = next(row for row in parsed(page).iter("tr") if row.get("class") == "chosen")
    assert chosen[0].text == "2"
    legend = [span.text or "".join(span.itertext()) for span in next(parsed(page).iter("figure")).iter("span")]
    assert legend == ["by chance, 9 of 10", "measured", "expected", "in use"]


def test_of_the_residual_judge_thresholds_take_the_place_of_the_sensitivity(tmp_path: Path) -> None:
    page = render(judged(history_file(tmp_path, spikes=(200, 300))), USED)
    table = tables(page)[0]
    assert table[0] == ["threshold, errors", "alerts", "per device-month"]
    assert [row[0] for row in table[1:]] == ["4", "5.6", "6.8", "8", "9.6", "12", "16", "24"]
    counts = [int(row[1]) for row in table[1:]]
    assert counts[0] > counts[-1] >= 1


def test_labels_add_what_each_setting_would_have_found() -> None:
    scores = np.zeros(1000)
    scores[[100, 300, 500]] = threshold_of(0.15), threshold_of(1.5), threshold_of(0.3)
    result = of_scores(scores)
    windows = [Window(None, *(BEGIN_AT + STEP_S * np.array([i - 5, i + 5])).tolist()) for i in (100, 300, 700)]
    page = render(result, USED, hold_against(result, windows))
    table = tables(page)[0]
    assert table[0][-2:] == ["found of 3", "false"]
    assert {row[0]: row[-2:] for row in table[1:]} == {
        "0.1": ["0", "0"],
        "0.2": ["1", "0"],
        "0.5": ["1", "1"],
        "1": ["1", "1"],
        "2": ["2", "1"],
        "5": ["2", "1"],
    }
    assert [row[3] for row in tables(page)[1][1:]] == ["found", "missed", "missed"]
    assert "1 of 3labelled windows found" in text_of(page)
    assert [f.findall("p")[1].text for f in cards(page)] == [
        f"score {threshold_of(0.15):.3g}, threshold 2.3, in a labelled window",
        f"score {threshold_of(0.3):.3g}, threshold 2.3, false",
    ]


def test_the_ten_strongest_alerts_are_shown_with_what_was_around_them() -> None:
    scores = np.zeros(3000)
    rows = np.arange(200, 2900, 200)
    scores[rows] = 3.0 + np.random.default_rng(4).permutation(len(rows))
    page = render(of_scores(scores), USED)
    strongest = rows[np.argsort(-scores[rows])][:10]
    shown = cards(page)
    assert [f.findtext("figcaption") for f in shown] == [f"{n}. a, {moment(i)}" for n, i in enumerate(strongest, 1)]
    for figure in shown:
        assert figure.findtext("p") == (
            "a: it reads 4.0 °C; it has been about 3.0 °C of late (about once in 2 months on a sensor)"
        )
        assert len(list(figure.iter("circle"))) == 1
        points = next(p.get("d", "") for p in figure.iter("path") if p.get("class") == "line")
        across = re.findall(r"[ML]([\d.]+) ", points)
        assert len(across) == 181
        assert next(figure.iter("circle")).get("cx") == across[120]
    assert "The ten strongest alerts" in text_of(page)


def test_a_card_at_the_end_of_a_file_shows_what_there_is() -> None:
    scores = np.zeros(10)
    scores[[0, 9]] = 5.0
    assert len(cards(render(of_scores(scores), USED))) == 2


def test_sensor_faults_are_a_table_by_kind(tmp_path: Path) -> None:
    rules = Rules(detector="residual", limits=(Limits("a", high=20.0),))
    result = judged(history_file(tmp_path, spikes=(200, 300)), rules)
    faults = next(t for t in tables(render(result, USED)) if t[0][0] == "kind")
    assert faults[1][:3] == ["range", "2", "1"]
    assert faults[1][4] == f"{moment(200)}, a"


def test_no_line_is_drawn_over_a_gap(tmp_path: Path) -> None:
    path = history_file(tmp_path, devices="a")
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines[:200], *lines[250:]]) + "\n", "utf-8")
    figure = list(parsed(render(judged(path), USED)).iter("figure"))[-1]
    assert figure.findtext("figcaption") == "a"
    assert next(p.get("d", "") for p in figure.iter("path") if p.get("class") == "line").count("M") == 2


@pytest.mark.parametrize("n", [1, 3])
def test_a_file_of_few_readings_has_a_page(tmp_path: Path, n: int) -> None:
    text = text_of(render(judged(history_file(tmp_path, n=n, devices="a")), USED))
    assert "There are none." in text
    assert ("-of them" in text) == (n == 1)


def test_only_some_of_many_devices_are_drawn(tmp_path: Path) -> None:
    result = judged(history_file(tmp_path, devices="abcdefghij", spikes=(200,)))
    page = render(result, USED)
    titles = [f.findtext("figcaption") or "" for f in parsed(page).iter("figure")]
    assert len([title for title in titles if title in "abcdefghij"]) == 6
    assert "4 more devices are not drawn" in text_of(page)


def test_what_was_used_is_told_with_where_it_came_from(tmp_path: Path) -> None:
    config = tmp_path / "s.toml"
    config.write_text("[alerts]\nclear_after = 7\n")
    loaded, forecaster = load(config), load_model(TINY)
    history = read_history(history_file(tmp_path))
    rules = replace(loaded.settings.rules(), detector="residual")
    result: Backtest = backtest(forecaster, rules, history)
    facts, settings = tables(render(result, used(result, forecaster, loaded, {"--probation": "0.15"})))[-2:]
    assert ["--probation", "0.15"] in facts
    assert ["its SHA-256", forecaster.sha256] in facts
    assert ["alerts.clear_after", "7", str(config)] in settings
    assert ["faults.stuck", "True", "default"] in settings
    assert not any(row[0].startswith("mqtt") for row in settings)
