"""The comparison of the kinds: same readings for all, and the same errors as elsewhere."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from forewarn.core.ports import Forecast
from forewarn_training import compare as comparing
from forewarn_training.compare import KINDS, compare
from forewarn_training.data import Cut, Dataset, prepare
from forewarn_training.evaluate import MODEL, PERSISTENCE, evaluate
from forewarn_training.linear import fit_ridge
from forewarn_training.trainer import Recipe
from tests.training.sensors import history, wave

READINGS = history(Path("a.csv"), wave(600))
CUT = Cut(14, 4)


def test_the_ratio_is_the_one_of_the_table_of_fit() -> None:
    found = compare(READINGS, CUT, ["linear"], epochs=1, progress=False)
    data = prepare(READINGS, CUT)
    ridge = fit_ridge(data.training, data.validation)
    no_blocks = np.zeros((0, 2), np.float32)
    table = evaluate(
        lambda windows, _, at: Forecast(ridge.forecast(windows, at), no_blocks, no_blocks), data, data.test
    )
    for lead, ratio, naive in zip(found.leads, found.rows[0].ratio, found.persistence, strict=True):
        model, persistence = table.of(MODEL, lead), table.of(PERSISTENCE, lead)
        assert model is not None
        assert persistence is not None
        assert ratio == pytest.approx(model.mae / persistence.mae, rel=1e-4)
        assert naive == pytest.approx(persistence.mae, rel=1e-5)
    assert found.leads == [1, 3]


def test_every_kind_forecasts_the_same_readings_from_the_last_ones_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def measure(
        name: str,
        data: Dataset,
        asked: comparing._Asked,
        wanted: np.ndarray,
        leads: list[int],
        recipe: Recipe,
        *,
        progress: bool,
    ) -> comparing._Measured:
        windows, spread, at = asked
        assert windows.shape[1] == data.training.n_step
        assert recipe.epochs == 1
        assert not progress
        assert spread.shape == at.shape == (len(windows),)
        given[name] = windows, wanted
        return comparing._Measured(np.ones(len(leads)), 1, np.ones(2), 0.0)

    monkeypatch.setattr(comparing, "_measure", measure)
    compare(READINGS, CUT, list(KINDS), epochs=1, progress=False)
    windows, wanted = given["lstm"]
    shorter, same = given["tutorial"]
    assert shorter.shape[1] == 10
    assert shorter.tobytes() == np.ascontiguousarray(windows[:, -10:]).tobytes()
    assert same.tobytes() == wanted.tobytes()


def test_readings_that_never_change_have_no_ratio() -> None:
    found = compare(history(Path("a.csv"), np.full(300, 4.0)), CUT, ["linear"], epochs=1, progress=False)
    assert np.isnan(found.rows[0].ratio).all()
