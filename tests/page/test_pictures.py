"""The pages that commands write, in Chromium: whole without a network, in light and dark, on a desk and on a phone."""

from pathlib import Path

import numpy as np
import pytest

from forewarn.core.anomalies import threshold_of
from forewarn.report.page import render
from forewarn.report.plot import plot
from forewarn.report.used import Used
from forewarn_training.cli import main
from tests.backtests import of_scores
from tests.page.browsers import Browser, chromium, tab
from tests.training.sensors import wave, write_csv

__all__ = ["chromium"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One page of each kind."""
    pytest.importorskip("torch")
    made = tmp_path_factory.mktemp("pictures")
    scores = np.zeros(3_000)
    scores[[100, 2_900]] = threshold_of(0.1)
    result = of_scores(scores)
    (made / "plot.html").write_text(plot(result), "utf-8")
    (made / "backtest.html").write_text(render(result, Used([("history", "h" * 80)], [])), "utf-8")
    data = write_csv(made / "hall.csv", {"a-device-with-a-long-name": wave(400)})
    quick = ["--epochs", "2", "--units", "4", "--n-step", "8", "--horizon", "3", "--start", "scratch", "--unit", "°C"]
    assert main(["fit", "--data", str(data), "--target", "temperature", "--out", str(made / "fit.onnx"), *quick]) == 0
    return made


@pytest.mark.parametrize("page", ["plot", "backtest", "fit"])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_a_page_is_whole_by_itself(chromium: Browser, folder: Path, page: str, width: int, dark: bool) -> None:
    with tab(chromium, f"file://{folder}", width=width, dark=dark) as one:
        shown = one.open(f"/{page}.html")
        shown.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert one.overflow() == 0
        ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")
        boxes = [chart.bounding_box() for chart in shown.locator("svg").all()]
        assert len(boxes) > 3
        widths = {round(box["width"]) if box else 0 for box in boxes}
        assert min(widths) >= min(width - 32, 400)
        assert page != "plot" or len(widths) == 1, "a score stands below its reading"
        assert len(one.asked) == 1
        one.check()
