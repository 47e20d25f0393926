"""The model card and the golden sample: what survives a file, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.core.card import MAX_STEPS, Calibration, Feature, GoldenSample, ModelCard
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
    calibration=Calibration(0.1, 0.25, 6.5),
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
        ({"schema_version": 2}, "schema version 2"),
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
        ({"calibration": Calibration(band_95=-1.0)}, "band_95 -1"),
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


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=6, max_size=6))
def test_a_golden_sample_survives_json_to_the_bit(numbers: list[float]) -> None:
    window = np.array(numbers, np.float32).reshape(1, 3, 2)
    sample = GoldenSample.from_json(GoldenSample(window, window[:, 0], 0.5).to_json())
    assert sample.window.tobytes() == window.tobytes()
    assert sample.forecast.tobytes() == window[:, 0].tobytes()
    assert sample.scale == 0.5


def test_disagreement_counts_in_units_of_the_scale() -> None:
    sample = GoldenSample(np.zeros((1, 3, 1), np.float32), np.ones((1, 2), np.float32), 4.0)
    assert sample.disagreement(np.array([[1.0, 3.0]], np.float32)) == 0.5
    assert sample.disagreement(np.array([[1.0, np.nan]], np.float32)) == float("inf")
    assert sample.disagreement(np.ones((2, 2), np.float32)) == float("inf")


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_golden_sample_without_a_scale_is_refused(scale: float) -> None:
    with pytest.raises(ModelError, match="scale"):
        GoldenSample(np.zeros((1, 3, 1), np.float32), np.ones((1, 2), np.float32), scale)


def test_an_empty_golden_sample_would_prove_nothing_and_is_refused() -> None:
    with pytest.raises(ModelError, match="golden sample"):
        GoldenSample(np.zeros((0, 3, 1), np.float32), np.ones((0, 2), np.float32), 1.0)


def test_a_golden_sample_out_of_float32_is_refused() -> None:
    with pytest.raises(ModelError, match="not finite"):
        GoldenSample.from_json('{"window": [[[1e300]]], "forecast": [[1.0]], "scale": 1.0}')


@given(json_values)
def test_any_json_is_a_golden_sample_or_refused(value: object) -> None:
    for raw in (value, {"window": value, "forecast": [[1.0]], "scale": 1.0}, {"window": [[[1]]], "forecast": value}):
        try:
            GoldenSample.from_json(json.dumps(raw))
        except ModelError:
            continue


@pytest.mark.parametrize("text", ["[" * 100_000, '{"calibration": {"band_95": 1' + "0" * 400 + "}}"])
def test_json_that_is_too_deep_or_too_large_is_refused(text: str) -> None:
    deep = text if text.startswith("[") else json.dumps({**json.loads(CARD.to_json()), **json.loads(text)})
    with pytest.raises(ModelError):
        ModelCard.from_json(deep)
    with pytest.raises(ModelError):
        GoldenSample.from_json(deep)
