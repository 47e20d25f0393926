"""Whether the features of a reading still go together as they did in the training: Hotelling's T² of a model.

Rules that hold here:

- A model of several features may say, of each window, how much each feature contributes to T² over the model's own
  limit; their sum is the score and 1 the threshold. The baseline is that of the training: it does not follow the
  series, so a new way of running is told until a model is trained that knows it.
- It is said of the reading that ends the window, so after a restart of the window there is silence until it is full.
"""

import numpy as np

from forewarn.core.ports import Forecast
from forewarn.core.readings import Floats, Mask
from forewarn.core.rules import Rules
from forewarn.core.rulings import Ruling, held
from forewarn.core.slots import Column, State


def columns(n_feature: int) -> dict[str, Column]:
    """`t_squared` of the latest reading by feature, NaN where nothing is said of it."""
    return {
        "t_squared": Column(np.float32, (n_feature,), np.nan),
        "multivariate_calm": Column(np.int64),
    }


def see(state: State, forecast: Forecast | None, full: Mask) -> None:
    """Take what the model says of the readings that ended these windows."""
    state["t_squared"] = np.nan
    if forecast is not None:
        state["t_squared"][full] = forecast.t_squared


def rule(state: State, active: Mask, rules: Rules) -> Ruling:
    """Raised where T² is over the model's limit; it ends after `clear_after` readings below."""
    parts = np.nan_to_num(state["t_squared"]).astype(np.float64)  # finite in float32, so that their sum is
    score: Floats = np.maximum(parts.sum(axis=1), 0.0)
    feature = parts.argmax(axis=1)
    return Ruling(
        active=held(state, "multivariate_calm", score > 1.0, active, rules.clear_after),
        score=score,
        threshold=np.ones(len(score)),
        critical=score > rules.critical_ratio,
        feature=feature,
        observed=state["window"][np.arange(len(score)), -1, feature].astype(np.float64),
    )
