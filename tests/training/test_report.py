"""The pictures of the training report say what the training and the test part say."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from forewarn.charts import Line, line_chart
from forewarn_training import pictures
from forewarn_training import report as reporting
from forewarn_training.bands import coverage
from forewarn_training.data import Cut
from forewarn_training.fit import Fitted, Plan, fit
from forewarn_training.story import Story
from forewarn_training.trainer import Recipe
from tests.test_report import parsed
from tests.training.sensors import read, wave, write_csv


@dataclass
class Drawn:
    """Charts as they were asked for, by their titles."""

    story: Story
    page: str
    fitted: Fitted
    charts: dict[str, tuple[list[Line], dict[str, Any]]] = field(default_factory=dict)

    def lines(self, begin: str) -> dict[str, Line]:
        (found,) = (lines for title, (lines, _) in self.charts.items() if title.startswith(begin))
        return {line.name: line for line in found}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    folder = tmp_path_factory.mktemp("report")
    path = write_csv(folder / "hall.csv", {"north": wave(400), "south": wave(600, 1, level=5.0)})
    charts: dict[str, tuple[list[Line], dict[str, Any]]] = {}
    stories: list[Story] = []
    with pytest.MonkeyPatch.context() as patched:
        draw, render = line_chart, reporting.render

        def noted(title: str, lines: list[Line], **options: Any) -> str:  # noqa: ANN401 - as they are
            charts[title] = lines, options
            return draw(title, lines, **options)

        def rendered(story: Story) -> str:
            stories.append(story)
            return render(story)

        patched.setattr(pictures, "line_chart", noted)
        patched.setattr("forewarn_training.fit.render", rendered)
        plan = Plan(
            out=folder / "m.onnx",
            report=folder / "m.html",
            cut=Cut(8, 4),
            name="hall",
            version="1",
            units=4,
            cell="auto",
            recipe=Recipe(epochs=2),
            feature_units={"temperature": "°C"},
            progress=False,
        )
        fitted = fit(read(path), plan)
    return Drawn(stories[0], (folder / "m.html").read_text("utf-8"), fitted, charts)


def test_the_sections_are_there_and_nothing_is_fetched(drawn: Drawn) -> None:
    titles = [h.text for h in parsed(drawn.page).iter("h2")]
    assert (
        titles
        == [
            "Which model, and why",
            "Errors on the test part",
            "Some forecasts of the test part",
            "One reading ahead",
            "Training",
            "Data",
            "Calibration",
            "Settings",
        ][: len(titles)]
        or "Training" not in titles
    )
    for word in ("<script", "src=", "href=", "url(", "http"):
        assert word not in drawn.page
    text = "".join(parsed(drawn.page).itertext())
    assert drawn.fitted.cell == "linear"
    assert drawn.fitted.sentence in text
    told = reporting.render(replace(drawn.story, choices=["The first was kept.", "<It> was chosen."]))
    assert {"The first was kept.", "<It> was chosen."} <= {p.text for p in parsed(told).iter("p")}
    assert "linear: a ridge autoregression; 8 readings in, 4 out" in text


def test_errors_by_lead_are_those_of_the_table(drawn: Drawn) -> None:
    evaluation = drawn.story.evaluation
    lines = drawn.lines("Mean |error| at each lead, °C")
    assert {"model", "persistence"} <= set(lines)
    for name, line in lines.items():
        assert line.x == evaluation.leads()
        assert line.y == [error.mae for error in evaluation.errors if error.method == name]


def test_the_coverage_is_that_of_the_sentence(drawn: Drawn) -> None:
    (lines,) = (lines for title, (lines, _) in drawn.charts.items() if title.startswith("Readings within the bands"))
    held = [np.asarray(line.y) for line in lines]
    assert [line.name for line in lines] == ["80 % band", "", "95 % band", ""]
    assert (set(held[1]), set(held[3])) == ({80.0}, {95.0})
    part = drawn.story.data.test
    said = coverage(part.targets(), drawn.story.forecast, drawn.story.card.calibration)
    assert f"lead 1 {held[0][0]:.1f}% and {held[2][0]:.1f}%, lead 4 {held[0][-1]:.1f}% and {held[2][-1]:.1f}%" in said


def test_forecasts_are_drawn_by_the_rank_of_their_error(drawn: Drawn) -> None:
    part, story = drawn.story.data.test, drawn.story
    error = np.sort(np.abs(part.targets().astype(np.float64) - story.forecast).mean(axis=1))
    shown = {}
    for name in ("a good one", "a usual one", "a bad one", "the worst"):
        ((title, (lines, options)),) = ((t, c) for t, c in drawn.charts.items() if t.startswith(name))
        actual, forecast = lines
        assert (len(np.asarray(actual.x)), len(np.asarray(forecast.x))) == (8 + 4, 4)
        assert np.array_equal(np.asarray(actual.x)[-4:], forecast.x)
        mine = np.abs(np.asarray(actual.y)[-4:] - np.asarray(forecast.y)).mean()
        assert f"mean |error| {mine:.3g} °C" in title
        half = story.card.calibration.band_95
        assert half is not None
        assert np.allclose(options["band"].upper - np.asarray(forecast.y), half)
        shown[name] = mine
    assert shown["the worst"] == pytest.approx(error[-1])
    assert np.mean(error < shown["a good one"]) == pytest.approx(0.1, abs=0.02)
    assert np.mean(error < shown["a usual one"]) == pytest.approx(0.5, abs=0.02)
    assert np.mean(error < shown["a bad one"]) == pytest.approx(0.9, abs=0.02)


def test_the_data_is_drawn_by_its_parts(drawn: Drawn) -> None:
    lines = drawn.lines("south: what each reading was for")
    assert list(lines) == ["training", "validation", "test"]
    assert [len(np.asarray(line.x)) for line in lines.values()] == [360, 120, 120]
    ends = [(float(np.asarray(line.x).min()), float(np.asarray(line.x).max())) for line in lines.values()]
    assert ends == sorted(ends)
    assert all(a[1] < b[0] for a, b in pairwise(ends))


def test_a_network_is_described_by_its_layers(drawn: Drawn) -> None:
    settings = [
        (name, {"cell": "gru", "layers": "2", "units": "16"}.get(name, value)) for name, value in drawn.story.settings
    ]
    assert reporting._what(replace(drawn.story, settings=settings)).startswith("gru, 2 layer(s) of 16 units; ")
