"""The ONNX graph against torch, and the file that is written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnx
import torch

from forewarn.adapters.onnx_forecaster import OnnxForecaster, load_model
from forewarn.core.card import BLOCKS, CARD_KEY, Feature, GoldenSample, ModelCard
from forewarn.core.ports import Forecast
from forewarn.errors import ModelError
from forewarn_training import export as exporting
from forewarn_training.export import export, forecast_with_torch
from forewarn_training.graph import build
from forewarn_training.model import Cell, Network, NetworkSpec
from forewarn_training.multivariate import Multivariate
from forewarn_training.operations import Weights

SPECS = [
    NetworkSpec(30, 1, 0, 12),
    NetworkSpec(1, 1, 0, 1, units=3),
    NetworkSpec(24, 3, 1, 4, units=17, layers=2, dropout=0.3),
    NetworkSpec(24, 2, 1, 4, cell="gru", units=17),
    NetworkSpec(10, 2, 0, 3, cell="gru", units=5, layers=3),
    NetworkSpec(16, 1, 0, 24, units=48, per_window=True),
    NetworkSpec(30, 1, 0, 8, "gru", units=9, layers=2, per_window=True),
    NetworkSpec(1, 1, 0, 1, units=3, per_window=True),
    NetworkSpec(512, 1, 0, 2, units=16, per_window=True),
    NetworkSpec(512, 2, 0, 512, units=16),
    NetworkSpec(30, 1, 0, 24, cell="linear"),
    NetworkSpec(1, 1, 0, 1, cell="linear"),
    NetworkSpec(96, 3, 1, 24, cell="linear"),
    NetworkSpec(512, 2, 1, 7, cell="linear"),
    NetworkSpec(30, 1, 0, 24, cell="transformer"),
    NetworkSpec(24, 3, 1, 4, cell="transformer", layers=2, units=16, dropout=0.2),
    NetworkSpec(1, 1, 0, 1, cell="transformer", units=4),
    NetworkSpec(10, 1, 0, 24, units=50, dropout=0.2, level=True),
    NetworkSpec(12, 3, 1, 4, cell="gru", units=7, layers=2, level=True),
    NetworkSpec(30, 1, 0, 24, clock=True),
    NetworkSpec(24, 3, 1, 4, cell="gru", units=9, layers=2, clock=True),
    NetworkSpec(30, 2, 0, 24, cell="linear", clock=True),
    NetworkSpec(24, 1, 0, 4, cell="transformer", units=16, clock=True),
]


def network_of(spec: NetworkSpec, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    network = Network(spec)
    if spec.per_window:
        return network
    network.input_scale.copy_(torch.linspace(0.5, 2, spec.n_feature))
    if spec.level:
        network.input_low.copy_(torch.linspace(-25, -20, spec.n_feature))
    else:
        network.output_scale.copy_(torch.linspace(0.3, 3, spec.horizon))
        network.block_scale.copy_(torch.linspace(0.5, 1.5, len(BLOCKS)))
    if spec.clock:
        network.clock_scale.copy_(torch.tensor([1.0, 1.0, 0.5, 0.5]))
    return network


def card_of(spec: NetworkSpec) -> ModelCard:
    features = tuple(Feature(f"f{i}") for i in range(spec.n_feature))
    target = features[spec.target_index].name
    return ModelCard("m", "1", features, target, spec.n_step, spec.horizon, "2025-01-01T00:00:00Z")


def spread_of(windows: np.ndarray) -> np.ndarray:
    """A spread for each window, all different, some next to nothing."""
    return np.geomspace(1e-3, 30, len(windows), dtype=np.float32)


def times_of(windows: np.ndarray) -> np.ndarray:
    """Times over several weeks, some before the epoch."""
    return np.linspace(-9e5, 3e6, len(windows))


def exported(path: Path, network: Network, windows: np.ndarray, scale: float = 2.0) -> tuple[OnnxForecaster, float]:
    return export(path, network, card_of(network.spec), windows, spread_of(windows), scale, times_of(windows))


def bits(*parts: Forecast) -> list[bytes]:
    """The outputs of consecutive batches, as one."""
    return [np.concatenate(output).tobytes() for output in zip(*parts, strict=True)]


def windows_of(spec: NetworkSpec, n: int = 300) -> np.ndarray:
    return np.random.default_rng(0).normal(-20, 2, (n, spec.n_step, spec.n_feature)).astype(np.float32)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_onnxruntime_says_what_torch_says_in_batches_of_any_size(spec: NetworkSpec, tmp_path: Path) -> None:
    n = 300 if spec.n_step < 512 else 70
    windows = windows_of(spec, n)
    network = network_of(spec)
    model, away = exported(tmp_path / "m.onnx", network, windows)
    assert away <= 1e-5
    spread = spread_of(windows)
    at = times_of(windows)
    whole = model.forecast(windows, spread, at)
    for ours, theirs in zip(whole, forecast_with_torch(network, windows, spread, at), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    for size in (1, 2, 5, 64):
        parts = [model.forecast(*(given[i : i + size] for given in (windows, spread, at))) for i in range(0, n, size)]
        assert bits(*parts) == bits(whole)


@pytest.mark.parametrize("spec", [NetworkSpec(16, 3, 1, 4, units=7), NetworkSpec(512, 2, 0, 1, cell="linear")], ids=str)
def test_t_squared_is_written_beside_any_network_and_is_the_same_bits_in_any_batch(
    spec: NetworkSpec, tmp_path: Path
) -> None:
    random, n = np.random.default_rng(1), 70
    width = spec.n_step * spec.n_feature
    root = random.normal(size=(spec.n_feature, spec.n_feature)) / 10
    together = Multivariate(
        mean=np.linspace(-21, -19, spec.n_feature, dtype=np.float32),
        deviation=np.linspace(1, 3, spec.n_feature, dtype=np.float32),
        weights=random.normal(0, 1 / width, (width, spec.n_feature)).astype(np.float32),
        bias=random.normal(size=spec.n_feature).astype(np.float32),
        precision=(root @ root.T).astype(np.float32),
    )
    windows = windows_of(spec, n)
    windows[5, 2] = 1e30
    network, spread = network_of(spec), spread_of(windows)
    card = replace(card_of(spec), multivariate=True)
    model, away = export(tmp_path / "m.onnx", network, card, windows[6:], spread[6:], 2.0, together=together)
    assert away <= 1e-5
    whole = model.forecast(windows, spread)
    assert whole.t_squared == pytest.approx(together.parts(windows), rel=1e-4, abs=1e-6)
    assert np.isfinite(whole.t_squared).all()
    for size in (1, 5, 64):
        parts = [model.forecast(windows[i : i + size], spread[i : i + size]) for i in range(0, n, size)]
        assert bits(*parts) == bits(whole)
    with pytest.raises(ModelError, match="outputs are"):
        export(tmp_path / "m.onnx", network, card_of(spec), windows[6:], spread[6:], 2.0, together=together)


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec(8, 3, 2, 2, units=6, layers=2),
        NetworkSpec(8, 3, 2, 2, cell="transformer", units=8, layers=2),
        NetworkSpec(8, 3, 2, 2, cell="linear"),
        NetworkSpec(8, 3, 2, 2, units=6, level=True),
        NetworkSpec(8, 1, 0, 2, units=6, per_window=True),
        NetworkSpec(8, 2, 0, 2, units=6, clock=True),
        NetworkSpec(8, 2, 0, 2, cell="linear", clock=True),
    ],
    ids=str,
)
def test_every_weight_and_feature_reaches_the_graph(spec: NetworkSpec, tmp_path: Path) -> None:
    windows = windows_of(spec, 20)
    given = windows, spread_of(windows), times_of(windows)
    plain = exported(tmp_path / "a.onnx", network_of(spec), windows)[0].forecast(*given)
    for name in network_of(spec).state_dict():
        network = network_of(spec)
        with torch.no_grad():
            weight = network.state_dict()[name]
            weight.add_(torch.linspace(0.25, 0.5, weight.numel()).reshape(weight.shape))
        changed = exported(tmp_path / "b.onnx", network, windows)[0].forecast(*given)
        away = [np.abs(ours - theirs).max() for ours, theirs in zip(changed[:3], plain[:3], strict=True)]
        only = {"output_scale": away[:1], "block_scale": away[1:]}
        assert min(only.get(name, away)) > 1e-5, name


def test_the_level_of_the_readings_only_moves_the_forecast(tmp_path: Path) -> None:
    spec = NetworkSpec(12, 1, 0, 3)
    windows = windows_of(spec, 20)
    model, _ = exported(tmp_path / "a.onnx", network_of(spec), windows)
    low, high = (model.forecast(windows + level, spread_of(windows)) for level in (0, 96))
    assert high.path == pytest.approx(low.path + 96, abs=1e-3)
    assert high.block_mean == pytest.approx(low.block_mean + 96, abs=1e-3)
    assert high.block_log_scale == pytest.approx(low.block_log_scale, abs=1e-3)


@pytest.mark.parametrize("per_window", [False, True])
def test_absurd_readings_give_no_nan(tmp_path: Path, per_window: bool) -> None:
    spec = NetworkSpec(12, 1, 0, 3, per_window=per_window)
    model, _ = exported(tmp_path / "a.onnx", network_of(spec), windows_of(spec))
    windows = np.stack([np.full(12, 3.4e38), np.zeros(12), np.resize([3.4e38, -3.4e38], 12), np.resize([1e-40, 0], 12)])
    for spread in (0, 1e-40, 1, 3.4e38):
        forecast = model.forecast(windows[:, :, None].astype(np.float32), np.full(4, spread, np.float32))
        assert all(np.isfinite(output).all() for output in forecast)


def test_one_file_with_card_golden_sample_and_nothing_beside_it(tmp_path: Path) -> None:
    spec = NetworkSpec(12, 2, 1, 3)
    model, _ = exported(tmp_path / "m.onnx", network_of(spec), windows_of(spec))
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert model.card == card_of(spec)
    entries = {e.key: e.value for e in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(entries[CARD_KEY])["target"] == "f1"
    assert "lstm" in entries["forewarn.network"]


def test_a_golden_sample_at_a_high_level_allows_for_float32(tmp_path: Path) -> None:
    spec = NetworkSpec(12, 1, 0, 3)
    windows = windows_of(spec) * 0.001 + 1e5
    _, away = exported(tmp_path / "m.onnx", network_of(spec), windows.astype(np.float32), 0.002)
    assert away <= GoldenSample.TOLERANCE


def test_a_graph_that_disagrees_with_torch_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = NetworkSpec(12, 1, 0, 3)
    path = tmp_path / "m.onnx"
    path.write_bytes(b"the old model")

    def wrong(spec: NetworkSpec, weights: Weights, metadata: dict[str, str], together: None) -> onnx.ModelProto:
        return build(spec, {**weights, "head.bias": weights["head.bias"] + np.float32(0.01)}, metadata, together)

    monkeypatch.setattr(exporting, "build", wrong)
    with pytest.raises(ModelError, match="golden sample"):
        exported(path, network_of(spec), windows_of(spec))
    assert path.read_bytes() == b"the old model"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_graph_that_disagrees_outside_the_golden_sample_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = NetworkSpec(12, 1, 0, 3)
    network = network_of(spec)
    calls = []

    def drifting(network: Network, windows: np.ndarray, spread: np.ndarray, at: np.ndarray, _: None) -> Forecast:
        calls.append(len(windows))
        said = forecast_with_torch(network, windows, spread, at)
        return said._replace(block_mean=said.block_mean + 0.01) if len(windows) > 4 else said

    monkeypatch.setattr(exporting, "forecast_with_torch", drifting)
    with pytest.raises(ModelError, match="differs from torch"):
        exported(tmp_path / "m.onnx", network, windows_of(spec))
    assert calls == [4, 300]
    assert not list(tmp_path.iterdir())


def test_the_committed_fixtures_are_what_their_generator_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.models import generate  # noqa: PLC0415 - needs torch

    committed = generate.HERE
    monkeypatch.setattr(generate, "HERE", tmp_path)
    generate.write("tiny", (generate.TEMPERATURE,), 6, 3)
    generate.write("pair", (generate.TEMPERATURE, generate.HUMIDITY), 5, 2)
    generate.write("timed", (generate.TEMPERATURE,), 6, 3, clock=True)
    for name in ("tiny.onnx", "pair.onnx", "timed.onnx"):
        ours, theirs = load_model(tmp_path / name), load_model(committed / name)
        assert ours.card == theirs.card
        windows = windows_of(NetworkSpec(ours.card.n_step, len(ours.card.features), 0, 1), 50)
        given = windows, spread_of(windows), times_of(windows)
        for a, b in zip(*(model.forecast(*given) for model in (ours, theirs)), strict=True):
            assert a == pytest.approx(b, abs=1e-4)


def test_a_card_that_does_not_fit_the_network_is_not_written(tmp_path: Path) -> None:
    spec = NetworkSpec(12, 1, 0, 3)
    windows, card = windows_of(spec), replace(card_of(spec), n_step=11)
    with pytest.raises(ModelError, match="the card says"):
        export(tmp_path / "m.onnx", network_of(spec), card, windows, spread_of(windows), 2.0)


@pytest.mark.parametrize(("n_feature", "cell"), [(2, "lstm"), (1, "linear"), (1, "transformer")])
def test_a_network_that_scales_each_window_by_itself_is_of_one_feature_and_recurrent(
    n_feature: int, cell: Cell
) -> None:
    with pytest.raises(ValueError, match="one feature"):
        NetworkSpec(8, n_feature, 0, 2, cell, per_window=True)


@pytest.mark.parametrize(("cell", "changes"), [("lstm", {"per_window": True}), ("lstm", {"level": True})])
def test_only_a_network_of_scaled_differences_has_a_clock(cell: Cell, changes: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="has a clock"):
        NetworkSpec(8, 1, 0, 2, cell, clock=True, **changes)


def test_a_network_with_a_clock_needs_times() -> None:
    spec = NetworkSpec(8, 1, 0, 2, clock=True)
    windows = windows_of(spec, 3)
    with pytest.raises(ValueError, match="needs the times"):
        forecast_with_torch(network_of(spec), windows, spread_of(windows))


def test_the_golden_sample_has_the_times_of_its_windows() -> None:
    spec = NetworkSpec(8, 1, 0, 2, clock=True)
    windows = windows_of(spec, 9)
    sample = exporting.golden_sample(network_of(spec), windows, spread_of(windows), 2.0, np.arange(9.0))
    assert sample.at is not None
    assert sample.window.tobytes() == windows[sample.at.astype(int)].tobytes()
