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

from forewarn.adapters.onnx_forecaster import load_model
from forewarn.core.card import CARD_KEY, Feature, GoldenSample, ModelCard
from forewarn.errors import ModelError
from forewarn_training import export as exporting
from forewarn_training.export import export, forecast_with_torch
from forewarn_training.graph import build
from forewarn_training.model import Network, NetworkSpec
from forewarn_training.operations import Weights

SPECS = [
    NetworkSpec(30, 1, 0, 12),
    NetworkSpec(1, 1, 0, 1, units=3),
    NetworkSpec(24, 3, 1, 4, units=17, layers=2, dropout=0.3),
    NetworkSpec(24, 2, 1, 4, cell="gru", units=17),
    NetworkSpec(10, 2, 0, 3, cell="gru", units=5, layers=3),
    NetworkSpec(30, 2, 1, 8, units=9, per_window=True),
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
]


def network_of(spec: NetworkSpec, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    network = Network(spec)
    network.input_scale.copy_(torch.linspace(0.5, 2, spec.n_feature))
    if spec.level:
        network.input_low.copy_(torch.linspace(-25, -20, spec.n_feature))
    else:
        network.output_scale.copy_(torch.linspace(0.3, 3, spec.horizon))
    return network


def card_of(spec: NetworkSpec) -> ModelCard:
    features = tuple(Feature(f"f{i}") for i in range(spec.n_feature))
    target = features[spec.target_index].name
    return ModelCard("m", "1", features, target, spec.n_step, spec.horizon, "2025-01-01T00:00:00Z")


def windows_of(spec: NetworkSpec, n: int = 300) -> np.ndarray:
    return np.random.default_rng(0).normal(-20, 2, (n, spec.n_step, spec.n_feature)).astype(np.float32)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_onnxruntime_says_what_torch_says_in_batches_of_any_size(spec: NetworkSpec, tmp_path: Path) -> None:
    n = 300 if spec.n_step < 512 else 70
    windows = windows_of(spec, n)
    network = network_of(spec)
    model, away = export(tmp_path / "m.onnx", network, card_of(spec), windows, 2.0)
    assert away <= 1e-5
    whole = model.forecast(windows)
    assert whole == pytest.approx(forecast_with_torch(network, windows), abs=1e-4)
    for size in (1, 2, 5, 64):
        parts = [model.forecast(windows[i : i + size]) for i in range(0, n, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec(8, 3, 2, 2, units=6, layers=2),
        NetworkSpec(8, 3, 2, 2, cell="transformer", units=8, layers=2),
        NetworkSpec(8, 3, 2, 2, cell="linear"),
        NetworkSpec(8, 3, 2, 2, units=6, level=True),
    ],
    ids=str,
)
def test_every_weight_and_feature_reaches_the_graph(spec: NetworkSpec, tmp_path: Path) -> None:
    windows = windows_of(spec, 20)
    plain = export(tmp_path / "a.onnx", network_of(spec), card_of(spec), windows, 2.0)[0].forecast(windows)
    for name in network_of(spec).state_dict():
        network = network_of(spec)
        with torch.no_grad():
            weight = network.state_dict()[name]
            weight.add_(torch.linspace(0.25, 0.5, weight.numel()).reshape(weight.shape))
        changed = export(tmp_path / "b.onnx", network, card_of(spec), windows, 2.0)[0].forecast(windows)
        assert np.abs(changed - plain).max() > 1e-5, name


def test_the_level_of_the_readings_only_moves_the_forecast(tmp_path: Path) -> None:
    spec = NetworkSpec(12, 1, 0, 3)
    windows = windows_of(spec, 20)
    model, _ = export(tmp_path / "a.onnx", network_of(spec), card_of(spec), windows, 2.0)
    assert model.forecast(windows + 96) == pytest.approx(model.forecast(windows) + 96, abs=1e-3)


@pytest.mark.parametrize("per_window", [False, True])
def test_absurd_readings_give_no_nan(tmp_path: Path, per_window: bool) -> None:
    spec = NetworkSpec(12, 1, 0, 3, per_window=per_window)
    model, _ = export(tmp_path / "a.onnx", network_of(spec), card_of(spec), windows_of(spec), 2.0)
    windows = np.stack([np.full(12, 3.4e38), np.zeros(12), np.resize([3.4e38, -3.4e38], 12), np.resize([1e-40, 0], 12)])
    assert np.isfinite(model.forecast(windows[:, :, None].astype(np.float32))).all()


def test_one_file_with_card_golden_sample_and_nothing_beside_it(tmp_path: Path) -> None:
    spec = NetworkSpec(12, 2, 1, 3)
    model, _ = export(tmp_path / "m.onnx", network_of(spec), card_of(spec), windows_of(spec), 2.0)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert model.card == card_of(spec)
    entries = {e.key: e.value for e in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(entries[CARD_KEY])["target"] == "f1"
    assert "lstm" in entries["forewarn.network"]


def test_a_golden_sample_at_a_high_level_allows_for_float32(tmp_path: Path) -> None:
    spec = NetworkSpec(12, 1, 0, 3)
    windows = windows_of(spec) * 0.001 + 1e5
    _, away = export(tmp_path / "m.onnx", network_of(spec), card_of(spec), windows.astype(np.float32), 0.002)
    assert away <= GoldenSample.TOLERANCE


def test_a_graph_that_disagrees_with_torch_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = NetworkSpec(12, 1, 0, 3)
    path = tmp_path / "m.onnx"
    path.write_bytes(b"the old model")

    def wrong(spec: NetworkSpec, weights: Weights, metadata: dict[str, str]) -> onnx.ModelProto:
        return build(spec, {**weights, "head.bias": weights["head.bias"] + np.float32(0.01)}, metadata)

    monkeypatch.setattr(exporting, "build", wrong)
    with pytest.raises(ModelError, match="golden sample"):
        export(path, network_of(spec), card_of(spec), windows_of(spec), 2.0)
    assert path.read_bytes() == b"the old model"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_graph_that_disagrees_outside_the_golden_sample_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = NetworkSpec(12, 1, 0, 3)
    network = network_of(spec)
    calls = []

    def drifting(network: Network, windows: np.ndarray) -> np.ndarray:
        calls.append(len(windows))
        return forecast_with_torch(network, windows) + (0.01 if len(windows) > 4 else 0)

    monkeypatch.setattr(exporting, "forecast_with_torch", drifting)
    with pytest.raises(ModelError, match="differs from torch"):
        export(tmp_path / "m.onnx", network, card_of(spec), windows_of(spec), 2.0)
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
    for name in ("tiny.onnx", "pair.onnx"):
        ours, theirs = load_model(tmp_path / name), load_model(committed / name)
        assert ours.card == theirs.card
        windows = windows_of(NetworkSpec(ours.card.n_step, len(ours.card.features), 0, 1), 50)
        assert ours.forecast(windows) == pytest.approx(theirs.forecast(windows), abs=1e-4)


def test_a_card_that_does_not_fit_the_network_is_not_written(tmp_path: Path) -> None:
    spec = NetworkSpec(12, 1, 0, 3)
    with pytest.raises(ModelError, match="the card says"):
        export(tmp_path / "m.onnx", network_of(spec), replace(card_of(spec), n_step=11), windows_of(spec), 2.0)
