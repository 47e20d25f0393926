"""Whether a network earns its place beside persistence and the ridge autoregression, in one sentence."""

import math

from forewarn_training.evaluate import MODEL, RIDGE, Evaluation
from forewarn_training.intervals import Skill

_NAMES = {"lstm": "The LSTM", "gru": "The GRU", "transformer": "The transformer", "linear": "The linear model"}


def place(evaluation: Evaluation, cell: str) -> str:
    """The sentence, for a model of `cell`, with the intervals that it rests on; "" where the readings never change."""
    name, model, ridge = _NAMES[cell], evaluation.of(MODEL, 1), evaluation.over_ridge
    if model is None or math.isnan(model.skill.value):
        return ""
    over_naive = f"against persistence {_shown(model.skill)}"
    if ridge is None:
        beats = "is better than persistence" if model.skill.low > 0 else "is not better than persistence beyond noise"
        return f"{name} {beats} at lead 1 ({over_naive})."
    told = f"skill at lead 1 {over_naive}, against the ridge {_shown(ridge)}"
    if model.skill.low > 0 and ridge.low > 0:
        return f"{name} earns its place: {told}; {_winners(evaluation)}."
    offer = "; write the ridge as the model with --cell linear" if _ridge_offered(evaluation, ridge) else ""
    return f"{name} does not earn its place beyond noise: {told}; {_winners(evaluation)}{offer}."


def _ridge_offered(evaluation: Evaluation, over_ridge: Skill) -> bool:
    linear = evaluation.of(RIDGE, 1)
    return not over_ridge.low > 0 and linear is not None and linear.skill.value > 0


def _shown(skill: Skill) -> str:
    return f"{skill.value:+.1%} ({skill.low:+.1%} to {skill.high:+.1%})"


def _winners(evaluation: Evaluation) -> str:
    """Which method has the smallest mean error at which leads."""
    wins: dict[str, list[str]] = {}
    for lead in evaluation.leads():
        wins.setdefault(evaluation.best_at(lead), []).append(str(lead))
    return "smallest mean error: " + ", ".join(f"{method} at lead {'/'.join(at)}" for method, at in wins.items())
