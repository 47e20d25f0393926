"""Charts: well-formed, escaped, and no spike lost by thinning."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forewarn.charts import SMALL, WIDE, Band, Line, Shades, histogram, line_chart, page, table

numbers = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50)


def parsed(html: str) -> ET.Element:
    """The figure as XML: that it parses is most of the check."""
    return ET.fromstring(html)  # noqa: S314 - our own text


def path_points(figure: ET.Element) -> list[tuple[float, float]]:
    found = [path.get("d", "") for path in figure.iter("path") if path.get("class") == "line"]
    return [(float(x), float(y)) for d in found for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", d)]


def test_text_is_escaped_everywhere() -> None:
    evil = '<script>"&'
    figure = line_chart(evil, [Line(evil, [0, 1], [1, 2])], x_label=evil, y_label=evil)
    for html in (figure, histogram(evil, [1, 2, 3], x_label=evil), table([evil], [[evil]]), page(evil, "")):
        assert "<script" not in html
    parsed(figure)


@pytest.mark.parametrize("spike", [1.0, -1.0])
def test_a_single_spike_survives_thinning(spike: float) -> None:
    y = np.zeros(100_000)
    y[54_321] = spike
    points = path_points(parsed(line_chart("spike", [Line("y", np.arange(100_000), y)])))
    assert len(points) < 2_500
    heights = [spike * p[1] for p in points]
    assert heights.count(min(heights)) == 1
    assert points[int(np.argmin(heights))][0] == pytest.approx(64 + 0.54321 * 884, abs=2)


def test_a_line_may_have_a_colour_of_its_own_and_no_name() -> None:
    lines = [Line("a", [0, 1], [0, 1], 1), Line("", [0, 1], [1, 0]), Line("c", [0, 1], [2, 2])]
    figure = parsed(line_chart("three", lines))
    assert ["".join(key.itertext()) for key in figure.iter("span")] == ["a", "c"]
    colours = [path.get("style", "") for path in figure.iter("path")]
    assert colours == ["stroke:var(--c1)", "stroke:var(--c1)", "stroke:var(--c2)"]


def test_nan_breaks_a_line() -> None:
    figure = line_chart("gap", [Line("y", [0, 1, 2, 3, 4], [1, 1, np.nan, 2, 2])])
    path = next(p for p in parsed(figure).iter("path"))
    assert path.get("d", "").count("M") == 2


def test_a_gap_in_a_long_line_is_still_one() -> None:
    x, y = np.arange(50_000.0), np.zeros(50_000)
    y[[12_345, 30_001]] = np.nan
    y[30_002] = 5.0
    figure = parsed(line_chart("gap", [Line("y", x, y)]))
    path = next(p for p in figure.iter("path"))
    assert path.get("d", "").count("M") == 3
    assert len({height for _, height in path_points(figure)}) == 2


def test_a_line_of_nothing_but_gaps_is_thinned_all_the_same() -> None:
    x = np.arange(50_000.0)
    figure = parsed(line_chart("gaps", [Line("y", x, np.where(x % 2, np.nan, x))]))
    assert len(path_points(figure)) < 2_500


@pytest.mark.parametrize(
    "figure", [line_chart("a", []), line_chart("a", [Line("y", [], [])]), histogram("a", [np.nan])]
)
def test_a_chart_of_nothing_says_so(figure: str) -> None:
    assert "no data" in figure


def test_marks_and_bands_are_drawn() -> None:
    x = np.arange(10.0)
    band = Band("band", x, x - 1, np.where(x == 5, np.nan, x + 1))
    figure = parsed(line_chart("all", [Line("y", x, x)], band=band, marks=Line("alert", [3.0], [3.0])))
    assert len([p for p in figure.iter("path") if p.get("class") == "band"]) == 2
    assert len(list(figure.iter("circle"))) == 1


def test_on_logarithmic_axes_equal_factors_are_equally_far_and_what_is_not_above_0_is_left_out() -> None:
    figure = parsed(line_chart("log", [Line("y", [0.1, 1, 10, 50, 100], [1, 10, 100, 0, -3])], log=True, size=SMALL))
    (x0, y0), (x1, y1), (x2, y2) = path_points(figure)
    assert (x1 - x0, y1 - y0) == pytest.approx((x2 - x1, y2 - y1), abs=0.11)
    texts = [text.text for text in figure.iter("text")]
    assert {"0.1", "1", "10", "100"} <= set(texts)
    assert figure.find("svg") is not None
    assert "NaN" not in ET.tostring(figure, "unicode")


@pytest.mark.parametrize(("high", "labels"), [(3, {"1", "1.5", "2", "3"}), (100, {"1", "2", "5", "100"})])
def test_a_short_logarithmic_axis_has_labels_between_the_powers(high: float, labels: set[str]) -> None:
    figure = parsed(line_chart("log", [Line("y", [1, high], [1, 1])], log=True))
    assert labels <= {text.text for text in figure.iter("text")}


def test_a_very_long_logarithmic_axis_has_few_labels() -> None:
    figure = parsed(line_chart("log", [Line("y", [1e-250, 1e250], [1, 2])], log=True))
    assert 4 <= len(list(figure.iter("text"))) < 30


def test_shades_are_cut_off_at_the_ends_of_the_axis() -> None:
    shades = Shades("window", [(-5.0, 2.0), (4.0, 4.0), (20.0, 30.0)])
    figure = parsed(line_chart("shades", [Line("y", [0, 10], [1, 2])], shades=shades))
    rects = [(float(r.get("x", "")), float(r.get("width", ""))) for r in figure.iter("rect")]
    assert rects == [(64.0, pytest.approx(884 / 5, abs=0.1)), (pytest.approx(64 + 884 * 0.4, abs=0.1), 1.0)]
    assert "window" in "".join(figure.itertext())


def test_a_small_chart_has_fewer_times_along_its_axis() -> None:
    x = 1.7e9 + np.linspace(0, 86400, 50)
    figures = [line_chart("t", [Line("y", x, x)], x_is_time=True, size=size) for size in (WIDE, SMALL)]
    wide, small = (len(list(parsed(figure).iter("text"))) for figure in figures)
    assert small < wide


def test_the_chosen_row_of_a_table_stands_out() -> None:
    rows = list(ET.fromstring(table(["a"], [["1"], ["2"]], chosen=1)).iter("tr"))  # noqa: S314 - our own text
    assert [row.get("class") for row in rows] == [None, None, "chosen"]


@pytest.mark.parametrize(("span", "label"), [(10, "22:13:"), (3600, "14 Nov"), (86400 * 3, "Nov"), (1e9, "20")])
def test_times_are_labelled_in_utc(span: float, label: str) -> None:
    x = 1.7e9 + np.linspace(0, span, 50)
    figure = parsed(line_chart("t", [Line("y", x, x)], x_is_time=True))
    texts = [t.text or "" for t in figure.iter("text")]
    assert any(label in text for text in texts)
    assert len(texts) < 30


def test_a_histogram_counts_everything_it_shows() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=5000), [1e9]])
    figure = histogram("h", values)
    left_out = int(next(iter(re.findall(r"(\d+) of 5001 lie beyond", figure))))
    heights = [float(bar.get("height", "0")) for bar in parsed(figure.replace("&", "")).iter("rect")]
    assert left_out == 10
    assert len(heights) > 40


@example(x=[1.7e308, -1e291], y=[0.0, 0.0], as_time=False)
@example(x=[2.53e11], y=[0.0], as_time=True)
@given(x=numbers, y=numbers, as_time=st.booleans())
def test_no_numbers_break_a_chart(x: list[float], y: list[float], as_time: bool) -> None:
    n = min(len(x), len(y))
    ordered = np.sort(np.array(x[:n]))
    if as_time:
        ordered = np.clip(ordered, -6.2e10, 2.53e11)
    line = Line("y", ordered, y[:n])
    for figure in (
        line_chart("a", [line], band=Band("b", ordered, y[:n], y[:n]), marks=line, x_is_time=as_time),
        histogram("a", y),
    ):
        assert "nan" not in "".join(ET.tostring(e, "unicode") for e in ET.fromstring(f"<a>{figure}</a>").iter("path"))  # noqa: S314
