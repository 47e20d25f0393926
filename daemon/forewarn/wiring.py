"""From settings to the parts of a daemon: what depends on them and on the model, made anew when either changes."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forewarn import __version__
from forewarn.adapters import parquet
from forewarn.adapters.http_access import BasicAuth, ServerFiles, ServerTls
from forewarn.adapters.journal import Journal
from forewarn.adapters.mqtt.session import Broker
from forewarn.adapters.mqtt.tls import Tls
from forewarn.adapters.onnx_forecaster import OnnxForecaster
from forewarn.adapters.recorder import Conversion, Recorder
from forewarn.core.card import ModelCard
from forewarn.core.engine import Engine
from forewarn.core.patterns import SeriesPattern
from forewarn.envelope import AlertProperties
from forewarn.errors import SettingsError
from forewarn.homeassistant import Discovery
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Input
from forewarn.inputs.dialects import DIALECTS
from forewarn.inputs.topics import TopicPattern
from forewarn.messages import ModelTold, Phrasebook
from forewarn.monitors import Models, load_models
from forewarn.passwords import PasswordHash
from forewarn.recording import Recording
from forewarn.settings import Settings
from forewarn.settings.daemon import MetricsSettings, MqttSettings
from forewarn.settings.inputs import InputSettings

FIXED = ("instance", "mqtt", "homeassistant", "metrics", "state", "limits", "logging")
"""Settings that count from the next start on."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What judges, and what depends on the models."""

    models: Models
    engine: Engine
    decoder: Decoder
    phrases: Phrasebook
    recording: Recording


def parts_of(settings: Settings, observe: Callable[[int, float], None]) -> Parts:
    """Load the models and make everything that goes with them.

    Args:
        settings: of the daemon.
        observe: see `load_model`.

    Raises:
        SettingsError: where it cannot run with these settings.
        ModelError: where a model cannot be used.
    """
    if not settings.inputs:
        raise SettingsError('inputs: at least one [[inputs]] with topic = "…" is needed')
    models = load_models(settings, inputs_of(settings.inputs), observe=observe)
    return Parts(
        models,
        models.engine(),
        decoder_of(settings, models.rest.card, models.cards),
        phrasebook(settings, models),
        recording_of(settings, models),
    )


def decoder_of(
    settings: Settings, card: ModelCard, monitors: Sequence[tuple[SeriesPattern, ModelCard]] = ()
) -> Decoder:
    """What reads the messages of the inputs, for the model of all series and those of some."""
    limits = settings.limits
    return Decoder(
        inputs_of(settings.inputs),
        card,
        max_payload_bytes=limits.max_payload_bytes,
        own_prefix=settings.publish.prefix,
        units=settings.units,
        hold_s=limits.hold_s,
        max_devices=limits.max_devices,
        monitors=monitors,
    )


def topics_of(settings: Settings) -> list[str]:
    """The topic filters to subscribe to."""
    inputs, home = [one.pattern.subscription for one in inputs_of(settings.inputs)], settings.homeassistant
    return [*inputs, home.birth_topic] if home.enabled and home.birth_topic not in inputs else inputs


def overlaps(settings: Settings) -> list[str]:
    """What to tell of inputs that forewarn's own topics match."""
    prefix = settings.publish.prefix
    return [
        f"inputs.topic {one.topic!r} matches topics below {prefix}/ too, which forewarn publishes to: these are never "
        "readings; a narrower topic, or another publish.prefix, saves sending them"
        for one in settings.inputs
        if TopicPattern(one.topic).reaches_below(prefix)
    ]


def broker_of(settings: MqttSettings) -> Broker:
    """Where the broker is, as the adapter wants it."""
    return Broker(
        host=settings.host,
        port=settings.port,
        username=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        protocol=settings.protocol,
        keepalive_s=settings.keepalive_s,
        tls=Tls(settings.ca_file, settings.cert_file, settings.key_file) if settings.tls else None,
    )


def inputs_of(settings: Iterable[InputSettings]) -> list[Input]:
    """How the inputs are read, as the decoder wants it: one for each topic pattern."""
    return [_input(one, topic) for one in settings for topic in _topics(one)]


def _topics(settings: InputSettings) -> tuple[str, ...]:
    """The topic that is set, and with the dialect's own one those that belong to it."""
    known = DIALECTS[settings.dialect]
    return (settings.topic, *(known.also if settings.topic == known.topic else ()))


def _input(settings: InputSettings, topic: str) -> Input:
    """How the messages of one topic pattern of an input are read."""
    values = settings.values or ({"": settings.value} if settings.value else {})
    return Input(
        pattern=TopicPattern(topic),
        dialect=settings.dialect,
        device=_path(settings.device),
        metric=settings.metric,
        values={metric: tuple(path.split(".")) for metric, path in values.items()},
        time=_path(settings.time),
        metrics=settings.metrics or DIALECTS[settings.dialect].metrics,
        unit=settings.unit,
        absent_is_zero=settings.absent_is_zero,
        retained=settings.retained,
    )


def server_tls(settings: MetricsSettings) -> ServerTls | None:
    """The certificates of the HTTP port.

    Raises:
        SettingsError: naming the file that cannot be used.
    """
    if settings.cert_file is None:
        return None
    return ServerTls(ServerFiles(settings.cert_file, settings.key_file, settings.client_ca_file))


def auth_of(settings: MetricsSettings) -> BasicAuth | None:
    """Who may read the HTTP port; None for everybody who reaches it."""
    if not settings.username or settings.password_hash is None:
        return None
    return BasicAuth(settings.username, PasswordHash.parse(settings.password_hash.get_secret_value()))


def _path(dotted: str | None) -> tuple[str, ...] | None:
    return tuple(dotted.split(".")) if dotted else None


def phrasebook(settings: Settings, models: Models) -> Phrasebook:
    """What makes the messages."""
    return Phrasebook(
        root=f"{settings.publish.prefix}/{settings.instance}",
        models=models.choice(model_told),
        units=settings.units,
        cloudevents=settings.publish.format == "cloudevents",
    )


def model_told(model: OnnxForecaster) -> ModelTold:
    """What is told of a model."""
    card = model.card
    return ModelTold({"name": card.name, "version": card.version, "sha256": model.sha256}, card.unit)


def recording_of(settings: Settings, models: Models) -> Recording:
    """What keeps readings as files.

    Raises:
        SettingsError: where the format needs an extra that is not installed.
    """
    record = settings.record
    conversion = None
    if record.folder is not None and record.format == "parquet":
        parquet.check_installed("record.format")
        conversion = Conversion(parquet.SUFFIX, parquet.from_csv)

    def recorder(place: Path, n: int, features: tuple[str, ...]) -> Recorder:
        folder = None if record.folder is None else record.folder / place
        return Recorder(folder, int(record.max_mb * 1e6 / n), features, conversion)

    return Recording(models.choice(lambda model: model.card), recorder)


def discovery_of(settings: Settings) -> Discovery:
    """What tells Home Assistant of devices, of none where it is off."""
    home = settings.homeassistant
    if not home.enabled:
        return Discovery(home.prefix, birth_topic=None, version=__version__, most=0)
    return Discovery(home.prefix, birth_topic=home.birth_topic, version=__version__, most=home.max_series)


def alert_properties(settings: Settings) -> AlertProperties:
    """What alerts carry beside their document; with MQTT 3.1.1, which has no such thing, no end either."""
    five = settings.mqtt.protocol == "5"
    expiry_s = settings.publish.alert_expiry_s if five else None
    return AlertProperties(settings.instance, expiry_s, settings.publish.response_topic)


def journal_of(settings: Settings) -> Journal | None:
    """The state file; None where there is none."""
    state = settings.state
    path, directory = state.path, os.environ.get("STATE_DIRECTORY")
    if path is None and directory:
        path = Path(directory.split(":")[0]) / "state.sqlite"
    return None if path is None else Journal(path, "power" if state.durability == "power" else "process")
