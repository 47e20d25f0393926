"""From settings to models: which file judges which series by which rules, each file loaded once.

Rules that hold here:

- The first `[[monitors]]` that matches a series is for it; `model`, `[alerts]` and `[faults]` are for all others.
- A file that several name is loaded once, and they share its session.
- A monitor that could never judge anything is an error that says why, before the daemon starts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from forewarn.adapters.onnx_forecaster import Observe, OnnxForecaster, load_model, resolve_model
from forewarn.core.card import ModelCard
from forewarn.core.engine import Engine, Monitor
from forewarn.core.patterns import Choice, SeriesPattern
from forewarn.core.readings import SeriesKey
from forewarn.core.rules import Rules
from forewarn.errors import ModelError, SettingsError, UsageError
from forewarn.inputs.dialect import Input
from forewarn.inputs.dialects import may_give
from forewarn.settings import Settings

_T = TypeVar("_T")
_Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a daemon.

    Attributes:
        rest: judges every series that no monitor takes.
        rules: by which it does.
        monitors: the patterns of each monitor, its model and its rules, in the order in which they are asked.
    """

    rest: OnnxForecaster
    rules: Rules
    monitors: tuple[tuple[SeriesPattern, OnnxForecaster, Rules], ...] = ()

    @property
    def every(self) -> tuple[OnnxForecaster, ...]:
        """Each of them once, `rest` first."""
        found = {id(one): one for one in (self.rest, *(model for _, model, _ in self.monitors))}
        return tuple(found.values())

    @property
    def cards(self) -> list[tuple[SeriesPattern, ModelCard]]:
        """Those of the monitors' models, with their patterns."""
        return [(pattern, model.card) for pattern, model, _ in self.monitors]

    @property
    def simplest(self) -> OnnxForecaster:
        """The one of the fewest features."""
        return min(self.every, key=lambda model: len(model.card.features))

    def of(self, series: SeriesKey) -> OnnxForecaster:
        """The one that judges a series."""
        return next((model for pattern, model, _ in self.monitors if pattern.matches(series)), self.rest)

    def choice(self, of: Callable[[OnnxForecaster], _T]) -> Choice[_T]:
        """For each series what `of` says of the model that judges it."""
        found = {id(model): of(model) for model in self.every}
        return Choice(found[id(self.rest)], [(pattern, found[id(model)]) for pattern, model, _ in self.monitors])

    def engine(self) -> Engine:
        """An engine that judges with them."""
        monitors = [Monitor(one.device, one.metric, model, rules) for one, model, rules in self.monitors]
        return Engine(self.rest, self.rules, monitors)


def load_models(settings: Settings, inputs: Sequence[Input] | None = None, *, observe: Observe | None = None) -> Models:
    """Load and prove every model that the settings name.

    Args:
        settings: of the daemon.
        inputs: what feeds the models; None where that does not matter.
        observe: see `load_model`.

    Raises:
        SettingsError: where a monitor could never judge anything.
        ModelError: where a model cannot be used.
    """
    loaded: dict[Path, OnnxForecaster] = {}

    def model(name: str) -> OnnxForecaster:
        path = resolve_model(name)
        same = path.resolve()
        if same not in loaded:
            loaded[same] = load_model(path, observe=observe)
        return loaded[same]

    rest = model(settings.model)
    monitors = []
    for i, one in enumerate(settings.monitors):
        try:
            chosen = model(one.model or settings.model)
        except ModelError as error:
            raise ModelError(f"monitors.{i}: {error}") from None
        problem = None if inputs is None else _problem(chosen, one.metric, inputs)
        if problem is not None:
            raise SettingsError(f"monitors.{i}: {problem}")
        monitors.append((SeriesPattern(one.device, one.metric), chosen, settings.rules(one)))
    return Models(rest, settings.rules(), tuple(monitors))


def of_file(settings: Settings, models: Models, devices: Iterable[str], metric: str) -> tuple[OnnxForecaster, Settings]:
    """The one model of all these devices, and the settings with the rules that it judges them by.

    Args:
        settings: that the models were loaded from.
        models: of the daemon.
        devices: of a file.
        metric: that is judged.

    Raises:
        UsageError: where several models, or by several rules, judge them.
    """
    rest = (models.rest, settings)
    chosen = [
        (pattern, (model, settings.model_copy(update={"alerts": one.alerts, "faults": one.faults})))
        for (pattern, model, _), one in zip(models.monitors, settings.monitors, strict=True)
    ]
    of = Choice(rest, chosen).of
    found: dict[tuple[int, Rules], tuple[str, tuple[OnnxForecaster, Settings]]] = {}
    for device in dict.fromkeys(devices):
        model, own = of(SeriesKey(device, metric))
        found.setdefault((id(model), own.rules()), (device, (model, own)))
    if len(found) > 1:
        told = ", ".join(f"{device} by {model.path}" for device, (model, _) in found.values())
        raise UsageError(f"the devices of the file have several monitors ({told}): give a file for each, or a --model")
    return next((one for _, one in found.values()), rest)


def signature(settings: Settings) -> _Signature:
    """What tells the model files from others without reading them; None in place of one that is not there."""
    return tuple(_of_file(resolve_model(name)) for name in names_of(settings))


def names_of(settings: Settings) -> list[str]:
    """The names of the model files, each once."""
    return list(dict.fromkeys([settings.model, *(one.model for one in settings.monitors if one.model is not None)]))


def _of_file(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _problem(model: OnnxForecaster, metric: str, inputs: Sequence[Input]) -> str | None:
    """Why a model of several features could never judge a series of a monitor; None where it could."""
    card = model.card
    if len(card.features) == 1:
        return None
    if not fnmatchcase(card.target, metric):
        return (
            f"{model.path} judges {card.target}, which metric = {metric!r} does not match: "
            f'give metric = "{card.target}", or leave it out'
        )
    names = [feature.name for feature in card.features]
    unfed = [name for name in names if not any(may_give(one, name) for one in inputs)]
    if unfed:
        return (
            f"{model.path} needs {', '.join(unfed)}, which no [[inputs]] gives: let one of them have it by its metric, "
            "values or metrics"
        )
    return None
