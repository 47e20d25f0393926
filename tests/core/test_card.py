"""The model card and the golden sample: what survives a file, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.core.card import BLOCKS, MAX_STEPS, Calibration, Feature, GoldenSample, ModelCard
from forewarn.errors import ModelError

CARD = ModelCard(
    name="freezer",
    version="3",
    features=(Feature("humidity", "%"), Feature("temperature", "°C")),
    target="temperature",
    n_step=30,
    horizon=12,
    created_at="2025-01-01T00:00:00Z",
    interval_s=60.0,
    training_data_sha256="ab" * 32,
    calibration=Calibration(0.1, (0.2,) * 12, (0.25,) * 12, 6.5),
    metrics={"test_mae": 0.1},
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def test_a_card_survives_json() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD


def test_a_card_without_what_is_optional_survives_json() -> None:
    bare = ModelCard("a", "1", (Feature("x"),), "x", 1, 1, "2025-01-01T00:00:00Z")
    assert ModelCard.from_json(bare.to_json()) == bare
    assert bare.unit == ""


def test_the_target_has_its_column_and_unit() -> None:
    assert (CARD.target_index, CARD.unit) == (1, "°C")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 1}, "schema version 1"),
        ({"schema_version": 3}, "schema version 3"),
        ({"features": ()}, "at least one"),
        ({"features": (Feature("temperature"), Feature("temperature"))}, "each once"),
        ({"target": "pressure"}, "pressure"),
        ({"n_step": 0}, "n_step 0"),
        ({"n_step": MAX_STEPS + 1}, "n_step 513"),
        ({"horizon": 0}, "horizon 0"),
        ({"n_step": 30.5}, "type"),
        ({"n_step": True}, "type"),
        ({"name": 3}, "type"),
        ({"interval_s": "often"}, "type"),
        ({"metrics": {"mae": "small"}}, "type"),
        ({"calibration": Calibration(threshold_errors=float("nan"))}, "threshold_errors nan"),
        ({"calibration": Calibration(band_80=(0.1,) * 11)}, r"band_80 .* each of the 12 leads"),
        ({"calibration": Calibration(band_95=(0.1,) * 13)}, r"band_95 .* each of the 12 leads"),
        ({"calibration": Calibration(band_95=(0.1,) * 11 + (-1.0,))}, r"band_95 .*-1"),
        ({"calibration": Calibration(band_95=(0.1,) * 11 + (float("inf"),))}, r"band_95 .*inf"),
        ({"calibration": Calibration(band_95=0.25)}, r"band_95 0\.25"),  # type: ignore[arg-type] # as a file may have it
        ({"calibration": Calibration(mean_abs_residual="x")}, "mean_abs_residual x"),  # type: ignore[arg-type] # likewise
    ],
)
def test_a_card_that_contradicts_itself_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        replace(CARD, **change)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "{}", '{"features": 3}', '{"features": [{"nam": "x"}]}'])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="export the model again"):
        ModelCard.from_json(text)


def test_a_card_of_a_newer_forewarn_is_refused_by_its_unknown_fields() -> None:
    with pytest.raises(ModelError, match="newer forewarn"):
        ModelCard.from_json(json.dumps({**json.loads(CARD.to_json()), "season_s": 3600}))


@given(name=st.sampled_from(sorted(json.loads(CARD.to_json()))), value=json_values)
def test_a_card_with_any_value_in_any_field_is_a_card_or_refused(name: str, value: object) -> None:
    text = json.dumps({**json.loads(CARD.to_json()), name: value})
    try:
        card = ModelCard.from_json(text)
    except ModelError:
        return
    assert isinstance(card.target_index, int)
    assert isinstance(card.unit, str)


def golden_of(n: int = 1, horizon: int = 2, scale: float = 1.0, **changes: Any) -> GoldenSample:  # noqa: ANN401 - fields
    blocks = (n, len(BLOCKS))
    shapes = {"window": (n, 3, 1), "spread": (n,), "forecast": (n, horizon), "block_mean": blocks}
    arrays: dict[str, Any] = {
        name: np.ones(shape, np.float32) for name, shape in (shapes | {"block_log_scale": blocks}).items()
    }
    return GoldenSample(**(arrays | changes), scale=scale)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=6, max_size=6))
def test_a_golden_sample_survives_json_to_the_bit(numbers: list[float]) -> None:
    six = np.array(numbers, np.float32)
    blocks = six[:4].reshape(2, 2)
    arrays: dict[str, Any] = {
        "window": six.reshape(2, 3, 1),
        "spread": six[:2],
        "forecast": six.reshape(2, 3),
        "block_mean": blocks,
    }
    given = golden_of(2, 3, 0.5, **arrays, block_log_scale=blocks[::-1])
    assert GoldenSample.from_json(given.to_json()).at is None
    given = replace(given, at=np.array([1.7e9 + 0.1, -3.3]))
    read = GoldenSample.from_json(given.to_json())
    assert read.at is not None
    assert read.at.tolist() == [1.7e9 + 0.1, -3.3]
    for name in (*arrays, "block_log_scale"):
        assert getattr(read, name).tobytes() == getattr(given, name).tobytes()
    assert read.scale == 0.5


def test_disagreement_counts_in_units_of_the_scale_and_of_the_logarithm_in_1() -> None:
    sample = golden_of(scale=4.0)
    path, mean, log_scale = sample.forecast, sample.block_mean, sample.block_log_scale
    away = np.array([[0.0, 2.0]], np.float32)
    assert sample.disagreement(path, mean, log_scale) == 0
    assert sample.disagreement(path + away, mean, log_scale) == 0.5
    assert sample.disagreement(path, mean + away, log_scale) == 0.5
    assert sample.disagreement(path, mean, log_scale + away) == 2.0
    assert sample.disagreement(path, mean * np.float32(np.nan), log_scale) == float("inf")
    assert sample.disagreement(path, mean, log_scale[:, :1]) == float("inf")


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_golden_sample_without_a_scale_is_refused(scale: float) -> None:
    with pytest.raises(ModelError, match="scale"):
        golden_of(scale=scale)


@pytest.mark.parametrize(
    "wrong",
    [
        {"spread": np.ones((1, 1), np.float32)},
        {"spread": np.full(1, np.nan, np.float32)},
        {"forecast": np.ones(2, np.float32)},
        {"forecast": np.ones((2, 2), np.float32)},
        {"block_mean": np.ones((1, 3), np.float32)},
        {"block_log_scale": np.ones((2, 2), np.float32)},
        {"block_log_scale": np.full((1, 2), np.inf, np.float32)},
        {"window": np.ones((1, 3), np.float32)},
        {"at": np.zeros(2)},
        {"at": np.full(1, np.nan)},
    ],
)
def test_a_golden_sample_of_other_shapes_or_not_finite_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="golden sample has a window of shape"):
        golden_of(**wrong)


def test_an_empty_golden_sample_would_prove_nothing_and_is_refused() -> None:
    with pytest.raises(ModelError, match="golden sample"):
        golden_of(0)


def test_a_golden_sample_out_of_float32_is_refused() -> None:
    with pytest.raises(ModelError, match="not finite"):
        GoldenSample.from_json(json.dumps({**json.loads(golden_of().to_json()), "spread": [1e300]}))


@given(json_values, st.sampled_from(sorted(json.loads(golden_of().to_json()))))
def test_any_json_is_a_golden_sample_or_refused(value: object, name: str) -> None:
    for raw in (value, {**json.loads(golden_of().to_json()), name: value}):
        try:
            GoldenSample.from_json(json.dumps(raw))
        except ModelError:
            continue


@given(json_values)
def test_any_calibration_is_a_card_or_refused(value: object) -> None:
    for raw in (value, {"band_80": value}, {"mean_abs_residual": value}):
        try:
            card = ModelCard.from_json(json.dumps({**json.loads(CARD.to_json()), "calibration": raw}))
        except ModelError:
            continue
        assert card.calibration.band_80 is None or len(card.calibration.band_80) == CARD.horizon


@pytest.mark.parametrize("text", ["[" * 100_000, '{"calibration": {"band_95": 1' + "0" * 400 + "}}"])
def test_json_that_is_too_deep_or_too_large_is_refused(text: str) -> None:
    deep = text if text.startswith("[") else json.dumps({**json.loads(CARD.to_json()), **json.loads(text)})
    with pytest.raises(ModelError):
        ModelCard.from_json(deep)
    with pytest.raises(ModelError):
        GoldenSample.from_json(deep)
