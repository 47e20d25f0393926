"""What a backtest was made with, for whoever wants to make it again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forewarn.adapters.onnx_forecaster import OnnxForecaster
from forewarn.backtest import Backtest
from forewarn.settings import Loaded, effective

_SECTIONS = ("units", "alerts", "faults", "limits.max_gap", "limits.max_future_s")


@dataclass(frozen=True, slots=True)
class Used:
    """What a backtest was made with.

    Attributes:
        facts: name and value, such as of the model and the file.
        settings: key, value, and where the value came from.
    """

    facts: Sequence[tuple[str, str]]
    settings: Sequence[tuple[str, str, str]]


def used(result: Backtest, forecaster: OnnxForecaster, loaded: Loaded, given: Mapping[str, str]) -> Used:
    """Of a backtest with this model and these settings.

    Args:
        result: the backtest.
        forecaster: its model.
        loaded: the settings that its rules came from.
        given: what the command line said beside them, by the option's name.
    """
    card, history = forecaster.card, result.history
    facts = [
        ("history", str(history.path)),
        ("its SHA-256", history.sha256),
        ("judged", history.target),
        ("from", history.timestamp_text[0]),
        ("to", history.timestamp_text[-1]),
        ("model", f"{card.name}, version {card.version}, {card.n_step} readings in, {card.horizon} out"),
        ("its SHA-256", forecaster.sha256),
        ("judge", result.rules.detector),
        *given.items(),
    ]
    shown = [(key, value) for key, value in effective(loaded.settings) if key.startswith(_SECTIONS)]
    return Used(facts, [(key, "" if value is None else str(value), loaded.origin(key)) for key, value in shown])
