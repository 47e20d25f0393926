"""`forewarn check`: what the daemon would run with, before it does."""

from collections.abc import Iterator
from pathlib import Path

from forewarn.adapters.mqtt.client import MqttClient
from forewarn.core.card import ModelCard
from forewarn.errors import SettingsError
from forewarn.monitors import Models, load_models
from forewarn.settings import effective, load
from forewarn.wiring import broker_of, inputs_of, overlaps, recording_of, server_tls


def check(path: Path, *, connect: bool) -> Iterator[str]:
    """Validate settings and model, and with `connect` log in to the broker; yields lines to print.

    Raises:
        SettingsError: the settings cannot be used.
        ModelError: the model cannot be used.
        BrokerError: the broker does not let us in.
    """
    loaded = load(path)
    settings = loaded.settings
    values = dict(effective(settings))
    width = max(len(key) for key in values)
    for key, value in values.items():
        yield f"{key:{width}} = {_shown(value)}  ({loaded.origin(key)})"
    if not settings.inputs:
        raise SettingsError(f'{path}: inputs: at least one [[inputs]] with topic = "…" is needed')
    yield from (f"warning: {warning}" for warning in overlaps(settings))
    models = load_models(settings, inputs_of(settings.inputs))
    for forecaster in models.every:
        yield f"model: {forecaster.path}, golden sample agrees"
        yield from (f"  {line}" for line in card_lines(forecaster.card, forecaster.sha256))
    yield from _who_judges(models)
    broker = broker_of(settings.mqtt)
    if broker.tls is not None:
        broker.tls.context()
    server_tls(settings.metrics)
    recording_of(settings, models)
    if connect:
        with MqttClient(broker, client_id=f"forewarn-check-{settings.instance}"):
            yield f"broker: {settings.mqtt.host}:{settings.mqtt.port} lets us in"


def _who_judges(models: Models) -> Iterator[str]:
    """Which model judges what, where there is more than one answer."""
    for pattern, forecaster, _ in models.monitors:
        yield f"judged by {forecaster.path}: device {pattern.device}, metric {pattern.metric}"
    if models.monitors:
        yield f"judged by {models.rest.path}: all others"


def card_lines(card: ModelCard, sha256: str) -> Iterator[str]:
    """A model card for people."""
    features = ", ".join(f"{f.name} [{f.unit}]" if f.unit else f.name for f in card.features)
    calibration = card.calibration
    yield f"name            {card.name} {card.version}"
    yield f"sha256          {sha256}"
    yield f"created at      {card.created_at}"
    yield f"features        {features}"
    yield f"target          {card.target}"
    yield f"window          {card.n_step} readings"
    yield f"horizon         {card.horizon} readings"
    yield f"trained on      {card.training_data_sha256 or 'synthetic series'}"
    yield f"interval        {'any' if card.interval_s is None else f'{card.interval_s:g} s'}"
    yield f"mean |residual| {_or_learnt(calibration.mean_abs_residual, card.unit)}"
    yield f"95 % band       {_or_learnt(None if calibration.band_95 is None else calibration.band_95[0], card.unit)}"
    yield f"threshold       {_or_learnt(calibration.threshold_errors, 'mean |residual|')}"
    yield from (f"{name:15} {value:.4g}" for name, value in card.metrics.items())


def _or_learnt(value: float | None, unit: str) -> str:
    return "learnt on each device" if value is None else f"{value:.4g} {unit}".rstrip()


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
