"""AutoARIMA, AutoETS and Theta beside a model: same windows, no look-ahead, bounded, and told where they are missing.

What needs statsforecast (the extra `baselines`) is skipped where that is absent; the rest runs with a stand-in for it.
"""

import ast
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import numpy as np
import pytest

from forewarn.adapters.onnx_forecaster import load_model
from forewarn.core.ports import Forecast
from forewarn.errors import SettingsError
from forewarn_training import classical
from forewarn_training.classical import ARIMA, ETS, METHODS, READINGS, THETA, Classical, season
from forewarn_training.cli import UNUSABLE, main
from forewarn_training.data import Cut, Dataset, prepare
from forewarn_training.evaluate import MODEL, PERSISTENCE, evaluate
from forewarn_training.intervals import block_length
from tests.training.sensors import STARTED_AT, history, read, saying, wave, write_csv

HERE = Path("a.csv")
HOUR_S = 3600.0
CUT = Cut(5, 3)
TRAINING = Path(classical.__file__).parent
needs_library = pytest.mark.skipif(find_spec("statsforecast") is None, reason="pip install 'forewarn[baselines]'")


class StandIn:
    """In statsforecast's place: forecasts the last reading it was given, and keeps what it was given."""

    given: list[np.ndarray]
    fitted: list[np.ndarray]

    def __init__(self, season_length: int = 1, **_: object) -> None:
        self.season_length = season_length

    def fit(self, y: np.ndarray) -> Self:
        StandIn.fitted.append(y)
        return self

    def forward(self, y: np.ndarray, h: int) -> dict[str, np.ndarray]:
        StandIn.given.append(y)
        return {"mean": np.full(h, y[-1])}


class Broken(StandIn):
    def fit(self, _: np.ndarray) -> Self:
        raise ZeroDivisionError("no season")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    StandIn.given, StandIn.fitted = [], []
    models = SimpleNamespace(AutoARIMA=StandIn, AutoETS=Broken, Theta=StandIn)
    monkeypatch.setitem(sys.modules, "statsforecast.models", models)
    return StandIn


def hourly(values: np.ndarray, cut: Cut = CUT) -> Dataset:
    return prepare(history(HERE, values, STARTED_AT + HOUR_S * np.arange(len(values))), cut)


def last(windows: np.ndarray, _: np.ndarray, __: np.ndarray) -> Forecast:
    return saying(np.repeat(windows[:, -1], 3, axis=1))


def test_one_module_imports_the_library() -> None:
    found = []
    for path in TRAINING.rglob("*.py"):
        texts = {node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)}
        if "statsforecast.models" in texts or "import statsforecast" in path.read_text("utf-8"):
            found.append(path.stem)
    assert found == ["classical"]


@pytest.mark.parametrize(
    ("interval_s", "readings"),
    [(3600, 24), (1800, 48), (432, 200), (431, 1), (300, 1), (61, 1), (86_400, 1), (43_200, 2), (3500, 1), (3601, 24)],
)
def test_a_season_is_a_day_of_a_whole_number_of_readings(interval_s: float, readings: int) -> None:
    assert season(interval_s) == readings


def test_without_the_extra_one_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    with pytest.raises(SettingsError, match=r"pip install 'forewarn\[baselines\]'"):
        Classical(hourly(wave(200)))
    file = write_csv(tmp_path / "a.csv", {"a": wave(300)})
    command = ["evaluate", "--model", "starter", "--data", str(file), "--target", "temperature", "--baselines"]
    assert main(command) == UNUSABLE
    assert "forewarn[baselines]" in capsys.readouterr().err


def test_every_row_is_of_the_same_windows_and_a_method_that_fails_is_named(stand_in: type[StandIn]) -> None:
    values = wave(4000)
    data = hourly(values)
    table = evaluate(last, data, data.test, baselines=Classical(data, progress=False))
    assert table.n_window == classical.MOST_WINDOWS < len(data.test)
    for lead in (1, 3):
        naive, arima = table.of(PERSISTENCE, lead), table.of(ARIMA, lead)
        assert naive is not None
        assert arima is not None
        assert arima.mae == pytest.approx(naive.mae, rel=1e-6), "the stand-in repeats the window's last reading"
    assert table.of(ETS, 1) is None
    assert "the same 500 of " in table.note
    assert "AutoETS is left out: it cannot be fitted to these readings (ZeroDivisionError: no season)" in table.note
    assert len(stand_in.fitted) == 2, "once for each method"
    assert max(map(len, stand_in.given + stand_in.fitted)) <= READINGS


def test_blocks_of_the_bootstrap_are_as_long_in_time_where_windows_are_left_out(stand_in: type[StandIn]) -> None:
    assert stand_in
    data = hourly(wave(12_000), Cut(5, 24))
    table = evaluate(
        lambda w, *_: saying(np.repeat(w[:, -1], 24, axis=1)),
        data,
        data.test,
        baselines=Classical(data, progress=False),
    )
    assert len(data.test) > 4 * classical.MOST_WINDOWS
    assert table.block == block_length(500, 6) < block_length(500, 24)


def test_a_method_is_given_every_reading_up_to_the_windows_end_and_a_line_over_gaps(stand_in: type[StandIn]) -> None:
    at = np.delete(np.arange(400.0), [300, 301, 302, 303, 304, 305])
    data = prepare(history(HERE, 10 + at, STARTED_AT + HOUR_S * at), Cut(5, 3))
    baselines = Classical(data, (THETA,), progress=False)
    chosen = np.array([len(data.test) - 1])
    said = baselines.forecast(data.test, chosen)[THETA]
    assert said[0] == pytest.approx([406.0] * 3)
    steps = np.diff(stand_in.given[0])
    assert steps == pytest.approx(np.full(len(steps), steps[0])), "a ramp has no step over a gap"
    assert len(stand_in.given[0]) > 350


def test_a_method_begins_at_the_same_phase_of_the_season_each_time(
    stand_in: type[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classical, "READINGS", 100)
    hour = np.arange(1000) % 24
    data = hourly(hour.astype(float))
    Classical(data, (THETA,), progress=False).forecast(data.test, np.arange(30))
    shapes = [y[:24] - y[0] for y in (*stand_in.fitted, *stand_in.given)]
    assert len(shapes) == 31
    assert all(shape == pytest.approx(shapes[0]) for shape in shapes[1:])


def test_windows_are_of_at_most_eight_devices(tmp_path: Path, stand_in: type[StandIn]) -> None:
    assert stand_in
    file = write_csv(tmp_path / "a.csv", {f"d{i:02}": wave(60, i) for i in range(20)})
    data = prepare(read(file), Cut(4, 2))
    chosen = Classical(data, (THETA,), progress=False).windows(data.test)
    owner = data.test.device[data.test.starts[chosen]]
    assert len(np.unique(owner)) == classical.MOST_DEVICES
    assert {0, 19} <= set(owner.tolist())


def test_the_card_of_a_model_is_the_same_with_and_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: type[StandIn], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(classical, "MOST_WINDOWS", 10)
    file = write_csv(tmp_path / "a.csv", {"a": wave(200)})
    out = tmp_path / "m.onnx"
    command = ["fit", "--data", str(file), "--target", "temperature", "--out", str(out), "--cell", "linear"]
    metrics = []
    for more in ([], ["--baselines"]):
        assert main([*command, "--n-step", "5", "--horizon", "2", *more]) == 0
        metrics.append(load_model(out).card.metrics)
    assert stand_in.given
    assert metrics[0] == metrics[1]
    assert "the same 10 of 34 windows" in capsys.readouterr().out


@needs_library
@pytest.mark.parametrize("method", METHODS)
def test_readings_after_the_window_change_no_forecast(method: str) -> None:
    values = wave(360)
    changed = values.copy()
    changed[320:] = 1e4
    said = []
    for each in (values, changed):
        data = hourly(each)
        chosen = np.flatnonzero(data.test.at[data.test.starts] <= STARTED_AT + HOUR_S * 312)[-10:]
        said.append(Classical(data, (method,), progress=False).forecast(data.test, chosen)[method])
    assert said[0].shape == (10, 3)
    assert said[0].tobytes() == said[1].tobytes()


@needs_library
def test_a_daily_profile_in_noise_is_known_to_methods_with_a_season() -> None:
    profile = np.tile(np.random.default_rng(0).normal(0, 3, 24), 25)
    data = hourly(100 + profile + np.random.default_rng(1).normal(0, 0.1, len(profile)))
    table = evaluate(last, data, data.test, baselines=Classical(data, progress=False))
    for method in METHODS:
        line = table.of(method, 3)
        assert line is not None
        assert line.skill.low > 0.8, method
    assert table.best_at(1) in METHODS
    assert MODEL not in {table.best_at(lead) for lead in table.leads()}


@needs_library
def test_the_level_of_the_readings_moves_the_forecasts_with_it() -> None:
    values = wave(300, level=0.0)
    chosen = np.arange(5)
    for method in METHODS:
        said = []
        for level in (0.0, 1000.0):
            data = hourly(values + level)
            said.append(Classical(data, (method,), progress=False).forecast(data.test, chosen)[method] - level)
        assert said[0] == pytest.approx(said[1], abs=0.02), method


@needs_library
def test_readings_that_never_change_are_survived() -> None:
    data = hourly(np.full(200, 4.0))
    baselines = Classical(data, progress=False)
    table = evaluate(last, data, data.test, baselines=baselines)
    for method in METHODS:
        line = table.of(method, 1)
        assert (line is None and f"{method} is left out" in table.note) or (line is not None and line.mae < 1e-6)


@needs_library
def test_fit_and_evaluate_add_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    file = write_csv(tmp_path / "a.csv", {"a": wave(300)}, HOUR_S)
    out = tmp_path / "m.onnx"
    data = ["--data", str(file), "--target", "temperature"]
    quick = ["--epochs", "1", "--units", "2", "--n-step", "6", "--horizon", "2"]
    assert main(["fit", *data, "--out", str(out), *quick, "--baselines"]) == 0
    fitted = capsys.readouterr().out
    assert main(["evaluate", *data, "--model", str(out), "--baselines"]) == 0
    evaluated = capsys.readouterr().out
    report = (tmp_path / "m.html").read_text("utf-8")
    for method in METHODS:
        lines = [line for line in fitted.splitlines() if line.startswith(f"{method} ")]
        assert len(lines) == 2
        assert all(line in evaluated for line in lines)
        assert method in report
