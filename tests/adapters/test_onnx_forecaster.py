"""Loading a model: what is proven first, what is refused, and that a batch does not change a forecast."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from forewarn.adapters.onnx_forecaster import STARTER, OnnxForecaster, load_model, resolve_model
from forewarn.core.card import BLOCKS, CARD_KEY, GOLDEN_KEY, GoldenSample
from forewarn.core.ports import Forecast
from forewarn.errors import ModelError

MODELS = Path(__file__).parent.parent / "models"
TINY, PAIR, TIMED = (MODELS / f"{name}.onnx" for name in ("tiny", "pair", "timed"))
REACH = 0.05  # of the tiny models: see tests/models/generate.py


def rewritten(source: Path, target: Path, change: Callable[[str, str], str | None]) -> Path:
    """A copy whose metadata entries went through `change(key, value)`; None drops one."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(source)
    entries = {e.key: change(e.key, e.value) for e in model.metadata_props}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: value for key, value in entries.items() if value is not None})
    onnx.save(model, target)
    return target


def spread_of(windows: np.ndarray) -> np.ndarray:
    """A spread for each window, all different."""
    return np.linspace(0.5, 3, len(windows), dtype=np.float32)


def forecast_of(model: OnnxForecaster, windows: np.ndarray) -> np.ndarray:
    return model.forecast(windows, spread_of(windows)).path


def bits(*parts: Forecast) -> list[bytes]:
    """The outputs of consecutive batches, as one."""
    return [np.concatenate(output).tobytes() for output in zip(*parts, strict=True)]


def slices(n: int, size: int) -> list[slice]:
    """Consecutive batches."""
    return [slice(i, i + size) for i in range(0, n, size)]


def with_json(key: str, **changes: object) -> Callable[[str, str], str]:
    """A change of some fields of one metadata entry that is JSON."""
    return lambda k, text: json.dumps({**json.loads(text), **changes}) if k == key else text


@pytest.mark.parametrize(("path", "n_step", "n_feature"), [(TINY, 6, 1), (PAIR, 5, 2), (TIMED, 6, 1), (STARTER, 16, 1)])
def test_a_model_forecasts_from_engineering_units(path: Path, n_step: int, n_feature: int) -> None:
    model = load_model(path)
    windows = np.random.default_rng(0).normal(-20, 1, (7, n_step, n_feature)).astype(np.float32)
    forecast = model.forecast(windows, spread_of(windows), np.zeros(7))
    blocks = (7, len(BLOCKS))
    assert [output.shape for output in forecast] == [(7, model.card.horizon), blocks, blocks, (0, 0)]
    assert {output.dtype for output in forecast} == {np.dtype(np.float32)}
    for output in forecast[:2]:
        assert np.abs(output - windows[:, -1, :1]).max() < 5
    assert np.exp(forecast.block_log_scale).max() < 10


def test_the_tiny_models_stay_near_the_last_temperature_and_see_every_reading() -> None:
    for path in (TINY, PAIR):
        model = load_model(path)
        window = (
            np.random.default_rng(1).normal(20, 1, (1, model.card.n_step, len(model.card.features))).astype(np.float32)
        )
        plain = model.forecast(window, spread_of(window))
        for output in plain[:2]:
            assert np.abs(output - window[:, -1, :1]).max() <= REACH * 1.001
        for step in range(model.card.n_step):
            moved = window.copy()
            moved[:, step] += 1
            for ours, before in zip(model.forecast(moved, spread_of(window))[:3], plain[:3], strict=True):
                assert not np.array_equal(ours, before)


@pytest.mark.parametrize("path", [TINY, PAIR, TIMED, STARTER])
def test_a_forecast_is_the_same_bits_in_a_batch_of_any_size(path: Path) -> None:
    model = load_model(path)
    random = np.random.default_rng(2)
    windows = random.normal(20, 3, (1024, model.card.n_step, len(model.card.features))).astype(np.float32)
    spread = spread_of(windows)
    at = np.linspace(-1e6, 1e7, 1024)
    whole = model.forecast(windows, spread, at)
    for size in (1, 2, 3, 7, 16, 33, 100, 255, 256, 257, 1000):
        parts = [model.forecast(windows[rows], spread[rows], at[rows]) for rows in slices(1024, size)]
        assert bits(*parts) == bits(whole)


def test_no_windows_give_no_forecasts() -> None:
    none = load_model(TINY).forecast(np.empty((0, 6, 1), np.float32), np.empty(0, np.float32))
    assert [output.shape for output in none] == [(0, 3), (0, len(BLOCKS)), (0, len(BLOCKS)), (0, 0)]


@pytest.mark.parametrize(("windows", "spread"), [((1, 7, 1), (1,)), ((2, 6, 1), (1,)), ((1, 6, 1), (1, 1))])
def test_windows_or_spreads_of_another_shape_are_refused(windows: tuple[int, ...], spread: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="6 steps"):
        load_model(TINY).forecast(np.zeros(windows, np.float32), np.zeros(spread, np.float32))


def test_a_model_with_a_clock_says_something_else_at_another_time_of_day_or_week() -> None:
    model = load_model(TIMED)
    windows, spread = np.full((1, 6, 1), 20, np.float32), np.ones(1, np.float32)

    def at(time: float) -> bytes:
        return model.forecast(windows, spread, np.array([time])).path.tobytes()

    assert at(0.0) != at(21600.0) != at(21600.0 + 2 * 86400.0)
    assert at(0.0) == at(7 * 86400.0) == at(math.nan)
    assert at(1e300) == at(1e300 % (7 * 86400.0))


@pytest.mark.parametrize("at", [None, np.zeros(2), np.zeros((3, 1))])
def test_a_model_with_a_clock_needs_a_time_for_each_window(at: np.ndarray | None) -> None:
    with pytest.raises(ValueError, match="3 windows and not as many times"):
        load_model(TIMED).forecast(np.zeros((3, 6, 1), np.float32), np.ones(3, np.float32), at)


def test_a_clock_of_another_shape_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(TIMED)
    model.graph.input[2].type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"its inputs are .*, the card says .*clock tensor\(float\) \['batch', 4\]"):
        load_model(tmp_path / "a.onnx")


def test_a_golden_sample_without_times_proves_no_model_with_a_clock(tmp_path: Path) -> None:
    path = rewritten(TIMED, tmp_path / "a.onnx", with_json(GOLDEN_KEY, at=None))
    with pytest.raises(ModelError, match=r"golden sample cannot be run .*not as many times"):
        load_model(path)
    at = load_golden(TIMED).at
    assert at is not None
    path = rewritten(TIMED, tmp_path / "a.onnx", with_json(GOLDEN_KEY, at=(at + 43200).tolist()))
    with pytest.raises(ModelError, match="golden sample comes out"):
        load_model(path)


def test_observe_is_told_of_each_inference_call() -> None:
    calls: list[tuple[int, float]] = []
    model = load_model(TINY, observe=lambda n, seconds: calls.append((n, seconds)))
    calls.clear()
    model.forecast(np.zeros((600, 6, 1), np.float32), np.ones(600, np.float32))
    assert [n for n, _ in calls] == [256, 256, 88]
    assert all(seconds > 0 for _, seconds in calls)


def test_starter_is_the_model_that_ships() -> None:
    assert resolve_model("starter") == STARTER
    assert resolve_model("a/b.onnx") == Path("a/b.onnx")
    assert load_model(STARTER).card.name == "starter"


@pytest.mark.parametrize("level", [-20.0, 0.0, 70.0, 400.0, 1e6, -3e9, 1e37])
@pytest.mark.parametrize("amplitude", [0.0, 1e-12, 1e-3, 1.0, 1e5, 1e37])
@pytest.mark.parametrize("share", [0.0, 1.0, 1e3])
def test_the_starter_gives_a_number_for_any_level_amplitude_and_spread(
    level: float, amplitude: float, share: float
) -> None:
    shape = np.random.default_rng(3).normal(size=(50, 16, 1))
    window = (level + amplitude * shape).astype(np.float32)
    spread = np.full(50, min(share * amplitude, 3e38), np.float32)
    forecast = load_model(STARTER).forecast(window, spread)
    assert all(np.isfinite(output).all() for output in forecast)
    reach = np.abs(window - window[:, -1:]).max(axis=(1, 2)) + 0.1 * spread + 1e-5 * abs(level) + 1e-20
    assert (np.abs(forecast.path - window[:, -1]).max(axis=1) <= 3 * reach).all()


def test_the_starter_says_that_a_constant_goes_on() -> None:
    for level in (0.0, 4.2, -18.0, 1e6):
        window = np.full((1, 16, 1), level, np.float32)
        forecast = load_model(STARTER).forecast(window, np.zeros(1, np.float32))
        for output in forecast[:2]:
            assert output == pytest.approx(level, rel=1e-5, abs=1e-20)


def test_the_starter_does_not_care_for_the_scale() -> None:
    model = load_model(STARTER)
    shape = np.cumsum(np.random.default_rng(4).normal(size=(20, 16, 1)), axis=1).astype(np.float32)
    spread = spread_of(shape)
    small, large = model.forecast(shape, spread), model.forecast(shape * 1024, spread * 1024)
    assert large.path == pytest.approx(small.path * 1024, rel=1e-4, abs=1.0)
    assert large.block_mean == pytest.approx(small.block_mean * 1024, rel=1e-4, abs=1.0)
    assert large.block_log_scale == pytest.approx(small.block_log_scale + np.log(1024), abs=1e-3)


def test_the_spread_of_the_series_matters_to_the_starter() -> None:
    model = load_model(STARTER)
    window = np.random.default_rng(5).normal(size=(1, 16, 1)).astype(np.float32)
    calm, wild = (model.forecast(window, np.array([spread], np.float32)) for spread in (1.0, 100.0))
    for a, b in zip(calm[:3], wild[:3], strict=True):
        assert np.abs(a - b).max() > 1e-3


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no\.onnx: does not exist: give the path"):
        load_model(tmp_path / "no.onnx")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no file"):
        load_model(tmp_path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as stream:
        stream.truncate(2**33)
    with pytest.raises(ModelError, match="train a smaller model"):
        load_model(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    content = TINY.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"cut\.onnx: ") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_no_flipped_byte_can_crash_the_load_change_a_forecast_or_print(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(TINY.read_bytes())
    window = np.random.default_rng(5).normal(20, 1, (1, 6, 1)).astype(np.float32)
    good = forecast_of(load_model(TINY), window)
    path = tmp_path / "flipped.onnx"
    for at in range(0, len(content), 7):
        damaged = content.copy()
        damaged[at] ^= (0x55, 0x80)[at % 2]
        path.write_bytes(damaged)
        try:
            forecast = forecast_of(load_model(path), window)
        except ModelError:
            continue
        assert np.abs(forecast - good).max() < 0.01
    assert capfd.readouterr() == ("", "")


def test_a_text_file_is_refused_with_nothing_else_on_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("not a model at all\n" * 50)
    program = "import sys; from pathlib import Path; from forewarn.adapters.onnx_forecaster import load_model\n"
    program += "try: load_model(Path(sys.argv[1]))\nexcept Exception as e: print(type(e).__name__)"
    ran = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("ModelError\n", "")


@pytest.mark.parametrize("key", [CARD_KEY, GOLDEN_KEY])
def test_a_model_without_card_or_golden_sample_is_refused(tmp_path: Path, key: str) -> None:
    path = rewritten(TINY, tmp_path / "a.onnx", lambda k, text: None if k == key else text)
    with pytest.raises(ModelError, match=f"has no {key} in its metadata.*forewarn-train"):
        load_model(path)


def test_a_card_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = rewritten(TINY, tmp_path / "a.onnx", lambda k, text: "{" if k == CARD_KEY else text)
    with pytest.raises(ModelError, match=r"a\.onnx: the model's card cannot be read"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"n_step": 7},
        {"horizon": 2, "calibration": {}},
        {"features": [{"name": "temperature"}, {"name": "b"}]},
    ],
)
def test_shapes_that_differ_from_the_card_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = rewritten(TINY, tmp_path / "a.onnx", with_json(CARD_KEY, **change))
    with pytest.raises(ModelError, match=r"its (inputs|outputs) are .*, the card says"):
        load_model(path)


def test_a_model_that_disagrees_with_its_golden_sample_is_refused(tmp_path: Path) -> None:
    golden = load_golden(TINY)
    forecast = golden.forecast.copy()
    forecast[0, 0] += 2 * golden.TOLERANCE * golden.scale
    path = rewritten(TINY, tmp_path / "a.onnx", with_json(GOLDEN_KEY, forecast=forecast.tolist()))
    with pytest.raises(ModelError, match=r"golden sample comes out 0\.0002 of the scale away"):
        load_model(path)


@pytest.mark.parametrize(("name", "of_scale"), [("block_mean", True), ("block_log_scale", False)])
def test_a_model_whose_blocks_disagree_with_the_golden_sample_is_refused(
    tmp_path: Path, name: str, of_scale: bool
) -> None:
    golden = load_golden(TINY)
    wrong = getattr(golden, name).copy()
    wrong[1, 1] += 2 * golden.TOLERANCE * (golden.scale if of_scale else 1)
    path = rewritten(TINY, tmp_path / "a.onnx", with_json(GOLDEN_KEY, **{name: wrong.tolist()}))
    with pytest.raises(ModelError, match=r"golden sample comes out 0\.0002 of the scale away"):
        load_model(path)


def test_a_model_of_schema_1_is_refused_with_what_to_do(tmp_path: Path) -> None:
    old = {"schema_version": 1, "calibration": {"mean_abs_residual": 0.1, "band_95": 0.25, "threshold_errors": 6.0}}
    path = rewritten(TINY, tmp_path / "a.onnx", with_json(CARD_KEY, **old))
    with pytest.raises(ModelError, match="schema version 1, this forewarn reads 2: export the model again"):
        load_model(path)


def test_a_golden_sample_of_another_shape_is_refused(tmp_path: Path) -> None:
    window = load_golden(TINY).window[:, 1:].tolist()
    path = rewritten(TINY, tmp_path / "a.onnx", with_json(GOLDEN_KEY, window=window))
    with pytest.raises(ModelError, match="golden sample cannot be run"):
        load_model(path)


def test_a_graph_with_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(TINY)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 16
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="its inputs are window"):
        load_model(tmp_path / "a.onnx")


def test_a_graph_without_one_of_the_outputs_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(TINY)
    del model.graph.output[1]
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(
        ModelError, match=r"its outputs are forecast .*, block_log_scale .*, the card says .*block_mean"
    ):
        load_model(tmp_path / "a.onnx")


def test_the_hash_is_of_the_file(tmp_path: Path) -> None:
    shutil.copy(TINY, tmp_path / "b.onnx")
    assert load_model(tmp_path / "b.onnx").sha256 == load_model(TINY).sha256 != load_model(PAIR).sha256


def load_golden(path: Path) -> GoldenSample:
    """The golden sample in a file."""
    onnx = pytest.importorskip("onnx")
    return GoldenSample.from_json(next(e.value for e in onnx.load(path).metadata_props if e.key == GOLDEN_KEY))
