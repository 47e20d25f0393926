"""Settings: one TOML file, overridden by `FOREWARN_…` environment variables and by a credentials directory.

Rules that hold here:

- Credentials beat the environment, the environment beats the file, the file beats the defaults.
- An unknown key is an error that names the nearest known one, wherever it came from.
- These objects stop at service.py: the core and the adapters get plain values.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from forewarn.core.conversions import TEMPERATURE_UNITS
from forewarn.core.rules import MAX_SENSITIVITY, MIN_SENSITIVITY, Limits, Override, Rules, Threshold
from forewarn.errors import PayloadError, SettingsError
from forewarn.inputs.dialect import Retained
from forewarn.inputs.dialects import DIALECTS, TEMPERATURES
from forewarn.inputs.topics import MAX_NAME, TopicPattern, checked_name
from forewarn.passwords import PasswordHash
from forewarn.settings_sources import DELIMITER, ENV_PREFIX, flat, merged, problems, read_sources


def _name(text: str) -> str:
    try:
        return checked_name(text)
    except PayloadError:
        raise ValueError(
            f"{text!r} is no name: 1 to {MAX_NAME} characters without / + # and control characters are needed"
        ) from None


def _topic(text: str) -> str:
    if text.startswith("$"):
        raise ValueError("topics that begin with $ are the broker's own")
    return "/".join(_name(level) for level in text.split("/"))


def _host(text: str) -> str:
    if re.search(r"[\s/@]", text):
        raise ValueError("the name or address alone is needed, without mqtt:// and user")
    return text


def _dialect(text: str) -> str:
    if text not in DIALECTS:
        raise ValueError(f"there is no dialect {text!r}; there are {', '.join(DIALECTS)}")
    return text


def _password_hash(secret: SecretStr) -> SecretStr:
    PasswordHash.parse(secret.get_secret_value())
    return secret


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, AfterValidator(_name)]
JsonPath = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MqttSettings(_Section):
    """The broker."""

    host: Annotated[str, AfterValidator(_host)] = Field(
        default="127.0.0.1", min_length=1, description="Name or address of the broker."
    )
    port: int = Field(default=1883, ge=1, le=65535, description="TCP port of the broker.")
    username: str | None = Field(default=None, description="User name, where the broker asks for one.")
    password: SecretStr | None = Field(
        default=None, description="Password; better as the credential `mqtt__password` or in `FOREWARN_MQTT__PASSWORD`."
    )
    client_id: str = Field(default="", description="MQTT client id; empty means `forewarn-<instance>`.")
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="MQTT version.")
    keepalive_s: int = Field(
        default=30, ge=5, le=3600, description="Seconds of silence after which the connection is probed."
    )
    qos: Literal[0, 1] = Field(default=1, description="QoS of the subscriptions.")
    session_expiry_s: int = Field(
        default=86_400,
        ge=0,
        le=4_294_967_295,
        description="For how many seconds the broker keeps messages of QoS 1 while forewarn is away, where there is a "
        "state file (MQTT 5; with 3.1.1 the broker decides).",
    )
    tls: bool = Field(
        default=False,
        description="Whether the port speaks TLS (usually 8883); the broker's certificate and name are always checked.",
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates of the CAs to trust, PEM; without it those of the system."
    )
    cert_file: Path | None = Field(default=None, description="Client certificate, PEM, where the broker asks for one.")
    key_file: Path | None = Field(
        default=None,
        description="Its key, PEM, without a passphrase; better the credential `mqtt__key_file`, which is the file.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        unused = [key for key in ("ca_file", "cert_file", "key_file") if getattr(self, key) and not self.tls]
        if unused:
            raise ValueError(f"{unused[0]} is for TLS: it needs tls = true")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file is the key of a client certificate: it needs cert_file")
        return self


class InputSettings(_Section):
    """Messages that are readings. docs/inputs.md has a section for each dialect."""

    topic: str = Field(
        description="Topic pattern; `{device}` and `{metric}` name a level, `+` and a last `#` match any. Where a "
        "dialect has its own topics, they are the default."
    )
    dialect: Annotated[str, AfterValidator(_dialect)] = Field(
        default="number", description=f"What the payload is: {', '.join(f'`{name}`' for name in DIALECTS)}."
    )
    device: JsonPath | None = Field(
        default=None, description="JSON: dotted path of the device's name, where the topic has none."
    )
    metric: Name | None = Field(default=None, description="The metric's name, where the topic has none.")
    value: JsonPath | None = Field(default=None, description="JSON: dotted path of the value.")
    values: dict[Name, JsonPath] = Field(
        default={}, description="JSON: dotted path of each metric's value, for several in a message."
    )
    time: JsonPath | None = Field(
        default=None, description="JSON: dotted path of the reading's time; without it the arrival counts."
    )
    metrics: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Shell-style patterns of the metrics to take, whatever their case. Without them, `json` and "
        f"`number` take all, the others `{'`, `'.join(TEMPERATURES)}`.",
    )
    unit: str = Field(default="", description="Unit of the values, where the device does not declare it.")
    absent_is_zero: tuple[Name, ...] = Field(
        default=(), description="Metrics that are 0 where a message leaves them out, where a dialect does so."
    )
    retained: Retained = Field(
        default="seed",
        description="What becomes of a retained message: `seed` begins the window of a series that has no reading yet, "
        "without alerting, `ignore` rejects it, `live` takes it as any other.",
    )

    @model_validator(mode="before")
    @classmethod
    def _own_topic(cls, given: object) -> object:
        """A dialect's own topics, where none are given."""
        if isinstance(given, dict) and "topic" not in given:
            known = DIALECTS.get(str(given.get("dialect")))
            if known is not None and known.topic is not None:
                return {"topic": known.topic, **given}
        return given

    @model_validator(mode="after")
    def _agree(self) -> Self:
        pattern, keys = TopicPattern(self.topic), DIALECTS[self.dialect].keys
        chosen = ("device", "metric", "value", "values", "time", "absent_is_zero")
        unknown = [key for key in chosen if getattr(self, key) and key not in keys]
        if unknown:
            users = [name for name, known in DIALECTS.items() if unknown[0] in known.keys]
            raise ValueError(f"{unknown[0]} is not for {self.dialect}: it is for dialect {', '.join(users)}")
        if self.dialect == "json" and bool(self.value) == bool(self.values):
            raise ValueError('dialect "json" needs either value = "path" or a table [inputs.values]')
        if self.dialect in ("number", "json"):
            self._name_series(pattern)
        return self

    def _name_series(self, pattern: TopicPattern) -> None:
        """Where device and metric come from."""
        if ("device" in pattern.names) == (self.device is not None):
            raise ValueError("the device comes either from {device} in the topic or from a path device = …: give one")
        sources = ("metric" in pattern.names) + (self.metric is not None) + bool(self.values)
        if sources != 1:
            raise ValueError(
                "the metric comes from {metric} in the topic, from metric = … or from [inputs.values]: give one"
            )


class ThresholdOverride(_Section):
    """Another threshold of the judge `residual` for some series."""

    device: str = Field(default="*", description="Shell-style pattern of device names.")
    metric: str = Field(default="*", description="Shell-style pattern of metric names.")
    threshold: Positive = Field(description="As `alerts.threshold`.")
    threshold_mode: Literal["errors", "absolute"] = Field(default="errors", description="As `alerts.threshold_mode`.")


class AlertSettings(_Section):
    """When a reading becomes an alert."""

    detector: Literal["tail", "residual"] = Field(
        default="tail",
        description="`tail`: how rare what the series does is on this series; `residual`: one reading's distance from "
        "its forecast, over a threshold. docs/alerts.md has both.",
    )
    sensitivity: float = Field(
        default=1.0,
        ge=MIN_SENSITIVITY,
        le=MAX_SENSITIVITY,
        description="`tail`: expected alerts per device and month; less is quieter.",
    )
    threshold_mode: Literal["errors", "absolute"] = Field(
        default="errors",
        description="`residual`: in `errors`, multiples of the series' own recent mean absolute error, or in the "
        "metric's unit.",
    )
    threshold: Positive | None = Field(
        default=None,
        description="`residual`: without it, the model's own calibrated threshold counts, or 8 errors.",
    )
    clear_ratio: float = Field(
        default=0.5, gt=0, le=1, description="`residual`: an alert clears below this share of the threshold."
    )
    clear_after: int = Field(
        default=3, ge=1, le=10_000, description="Readings in a row below it before an alert clears."
    )
    raise_after: int = Field(
        default=1,
        ge=1,
        le=32,
        description="`residual`: an alert is raised when so many readings exceed the threshold, k …",
    )
    raise_within: int = Field(default=1, ge=1, le=32, description="… of the last so many, m.")
    critical_ratio: Factor = Field(default=2.0, description="An alert is critical at this multiple of the threshold.")
    multivariate: bool = Field(
        default=True,
        description="Tell when the features of a reading do not go together as in the training.",
    )
    update_every_s: Seconds = Field(default=900.0, description="Seconds between the updates of a lasting alert.")
    overrides: tuple[ThresholdOverride, ...] = Field(default=(), description="The first that matches a series wins.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.raise_after > self.raise_within:
            raise ValueError(
                f"raise_after {self.raise_after} of the last raise_within {self.raise_within} can never be"
            )
        if self.threshold_mode == "absolute" and self.threshold is None:
            raise ValueError('threshold_mode = "absolute" needs a threshold, in the unit of the metric')
        return self


class LimitOverride(_Section):
    """What some series must not do. Without such a table no series has limits."""

    device: str = Field(default="*", description="Shell-style pattern of device names.")
    metric: str = Field(default="*", description="Shell-style pattern of metric names.")
    low: Finite | None = Field(default=None, description="Sensor fault `range`: a reading below, or …")
    high: Finite | None = Field(default=None, description="… above.")
    max_rate_per_s: Positive | None = Field(
        default=None, description="Sensor fault `rate`: a larger change a second, in the metric's unit."
    )
    limit_below: Finite | None = Field(
        default=None, description="`limit` where a reading is below, `forecast_limit` where the forecast is, or …"
    )
    limit_above: Finite | None = Field(default=None, description="… above.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if not self.given():
            raise ValueError("at least one of low, high, max_rate_per_s, limit_below and limit_above is needed")
        for lower, upper in (("low", "high"), ("limit_below", "limit_above")):
            least, most = getattr(self, lower), getattr(self, upper)
            if least is not None and most is not None and least >= most:
                raise ValueError(f"{lower} {least:g} is not below {upper} {most:g}")
        return self

    def given(self) -> dict[str, float]:
        """The limits that there are."""
        names = ("low", "high", "max_rate_per_s", "limit_below", "limit_above")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class FaultSettings(_Section):
    """Sensor faults, and limits that somebody must know of."""

    stuck: bool = Field(default=True, description="Tell equal readings that last much longer than ever before.")
    stuck_min_run: int = Field(default=20, ge=2, description="Fewest equal readings that can be called stuck.")
    stuck_factor: Factor = Field(default=3.0, description="How many times the longest run so far.")
    silent: bool = Field(default=True, description="Tell a series whose readings stay away.")
    silent_factor: Factor = Field(default=5.0, description="How many of its own cadences.")
    silent_min_s: Seconds = Field(default=30.0, description="Shortest silence that is told, in seconds.")
    unit_change: bool = Field(
        default=True, description="Tell a thermometer that goes on in another of °C, °F and K; see docs/faults.md."
    )
    accept_after: int = Field(
        default=256, ge=10, description="Readings in a row inside a fault from which on they are learnt from."
    )
    limit_probability: float = Field(
        default=0.8, ge=0.5, le=0.999, description="From which on `forecast_limit` is told, at two readings in a row."
    )
    overrides: tuple[LimitOverride, ...] = Field(default=(), description="The first that matches a series wins.")


class MonitorSettings(_Section):
    """Another model or other rules for some series; the first that matches a series counts. See docs/models.md."""

    device: str = Field(default="*", description="Shell-style pattern of device names.")
    metric: str = Field(default="*", description="Shell-style pattern of metric names.")
    model: str | None = Field(
        default=None, min_length=1, description="As `model` at the top level; without it, that one judges here too."
    )
    alerts: AlertSettings = Field(
        default=AlertSettings(), description="What of `[alerts]` differs here, such as `{ sensitivity = 0.2 }`."
    )
    faults: FaultSettings = Field(default=FaultSettings(), description="What of `[faults]` differs here.")


class MetricsSettings(_Section):
    """The HTTP port: a page for people, /metrics, /healthz, /readyz. docs/metrics.md says how to open it to others."""

    enabled: bool = Field(default=True, description="Whether the port is opened.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=9464, ge=0, le=65535, description="Port; 0 takes a free one and logs it.")
    page: bool = Field(default=True, description="Whether the port has the page for people. docs/page.md shows it.")
    max_devices: int = Field(default=1000, ge=0, description="Series with metrics of their own; the rest is counted.")
    cert_file: Path | None = Field(default=None, description="Certificate with its chain, PEM: the port speaks TLS.")
    key_file: Path | None = Field(
        default=None,
        description="Its key, PEM, without a passphrase; better the credential `metrics__key_file`, which is the file.",
    )
    client_ca_file: Path | None = Field(
        default=None, description="CAs, PEM: who asks needs a certificate that one of them has signed."
    )
    username: str | None = Field(
        default=None, min_length=1, pattern="^[^:]*$", description="User name that who asks has to give."
    )
    password_hash: Annotated[SecretStr, AfterValidator(_password_hash)] | None = Field(
        default=None,
        description="His password, as `forewarn hash-password` writes it; better as the credential "
        "`metrics__password_hash`.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        unused = [key for key in ("key_file", "client_ca_file") if getattr(self, key) and not self.cert_file]
        if unused:
            raise ValueError(f"{unused[0]} is for TLS: it needs cert_file")
        if bool(self.username) != bool(self.password_hash):
            raise ValueError("username and password_hash belong together: give both or none")
        return self


class StateSettings(_Section):
    """What survives a restart."""

    path: Annotated[Path | None, BeforeValidator(lambda path: path or None)] = Field(
        default=None,
        description="File for windows and baselines; empty means `$STATE_DIRECTORY/state.sqlite`, else none.",
    )
    durability: Literal["process", "power", "none"] = Field(
        default="process",
        description="What a message that was acknowledged survives: the end of the process; a power cut too (fsync); "
        "or `none`: what came since the last snapshot may be lost. docs/reliability.md has the costs.",
    )
    save_every_s: Seconds = Field(
        default=300.0, description="Seconds between snapshots; there is one at a clean stop in any case."
    )


class RecordSettings(_Section):
    """Readings kept as files, for `forewarn-train fit --data FOLDER`. See docs/history.md."""

    folder: Path | None = Field(default=None, description="Where; without it none are kept.")
    format: Literal["csv", "parquet"] = Field(
        default="csv",
        description="Of files that have ended; the newest of each metric is CSV. Parquet needs the extra `parquet`.",
    )
    max_mb: float = Field(
        default=512.0, ge=1, allow_inf_nan=False, description="Megabytes of all files; the oldest file goes then."
    )


class PublishSettings(_Section):
    """What is published."""

    prefix: Annotated[str, AfterValidator(_topic)] = Field(
        default="forewarn", description="First level of every topic, or several."
    )
    forecast: bool = Field(default=False, description="Publish the verdict on every reading on the forecast topic.")
    state_interval_s: Seconds = Field(
        default=60.0, description="A series' retained state is renewed at most this often."
    )
    format: Literal["forewarn", "cloudevents"] = Field(
        default="forewarn",
        description="What an alert is on its topic: the document of docs/mqtt-api.md, or a CloudEvents 1.0 envelope "
        "with that document in `data`.",
    )
    alert_expiry_s: int | None = Field(
        default=None,
        ge=1,
        le=4_294_967_295,
        description="Seconds after its reading from which on nobody needs an alert: brokers drop it then, and so does "
        "forewarn (MQTT 5; with 3.1.1 it is sent however late).",
    )
    response_topic: Annotated[str, AfterValidator(_topic)] | None = Field(
        default=None,
        description="Topic that alerts name as the one for answers (MQTT 5). What comes there is for others: forewarn "
        "does not read it.",
    )


class HomeAssistantSettings(_Section):
    """Devices in Home Assistant, see docs/home-assistant.md."""

    enabled: bool = Field(default=False, description="Tell Home Assistant of devices, by MQTT discovery.")
    prefix: Annotated[str, AfterValidator(_topic)] = Field(
        default="homeassistant", description="The discovery prefix that is set in Home Assistant."
    )
    birth_topic: Annotated[str, AfterValidator(_topic)] = Field(
        default="homeassistant/status",
        description="Where Home Assistant says `online` when it starts. No message there is taken for a reading.",
    )
    max_series: Count = Field(default=1000, description="Series that it is told of; 64 at most of one device.")


class LimitSettings(_Section):
    """Bounds."""

    max_devices: Count = Field(default=10_000, description="Series that are followed at once.")
    max_payload_bytes: Count = Field(default=65_536, description="Longest payload that is looked at.")
    max_future_s: Seconds = Field(default=300.0, description="How far a reading's time may be ahead of its arrival.")
    future: Literal["reject", "restamp"] = Field(
        default="reject",
        description="What becomes of a reading whose time is further ahead: rejected, or its arrival is its time.",
    )
    max_gap: Factor = Field(
        default=12.0, description="A window restarts after a gap of more than so many of the series' own cadences."
    )
    hold_s: Seconds = Field(
        default=900.0,
        description="For how long the last value of a feature counts that comes in a message of its own, for a model "
        "of several features.",
    )
    max_inbox: Count = Field(
        default=20_000,
        description="Messages that may wait to be worked on. At QoS 0 further ones cost others, at QoS 1 the broker "
        "keeps them back: with MQTT 5 it has no more than so many under way, and never more than 4,096.",
    )
    drop: Literal["oldest", "newest"] = Field(default="oldest", description="Which message of QoS 0 goes then.")
    max_queue: Count = Field(
        default=10_000,
        description="Published messages that may wait for the broker; further ones are dropped and counted.",
    )


class LoggingSettings(_Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe message that is shown."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="`json`: one object a line, with `time`, `level`, `logger` and `message`."
    )


class Settings(BaseSettings):
    """All settings of the daemon."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=DELIMITER, extra="forbid", frozen=True
    )

    instance: Name = Field(default="default", description="Name of this daemon in its topics.")
    model: str = Field(default="starter", description="Path of the model file, or `starter` for the one that ships.")
    units: dict[str, str] = Field(default={}, description='Unit of each metric, such as `temperature = "°C"`.')
    mqtt: MqttSettings = MqttSettings()
    inputs: tuple[InputSettings, ...] = Field(default=(), description="At least one is needed to run.")
    alerts: AlertSettings = AlertSettings()
    faults: FaultSettings = FaultSettings()
    monitors: tuple[MonitorSettings, ...] = Field(default=(), description="Models and rules for some series.")
    metrics: MetricsSettings = MetricsSettings()
    state: StateSettings = StateSettings()
    record: RecordSettings = RecordSettings()
    publish: PublishSettings = PublishSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    limits: LimitSettings = LimitSettings()
    logging: LoggingSettings = LoggingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what it is given: `load` reads the sources, since it must say where a value came from."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _complete_monitors(cls, given: object) -> object:
        """What a monitor does not say of its alerts and faults is as for all others."""
        monitors = given.get("monitors") if isinstance(given, dict) else None
        if not isinstance(given, dict) or not isinstance(monitors, list | tuple):
            return given
        return {**given, "monitors": [_completed(one, given) if isinstance(one, dict) else one for one in monitors]}

    def rules(self, monitor: MonitorSettings | None = None) -> Rules:
        """What the core needs to know of these settings, for the series of a monitor or for all others."""
        alerts, faults = (self.alerts, self.faults) if monitor is None else (monitor.alerts, monitor.faults)
        return Rules(
            threshold=Threshold(alerts.threshold, alerts.threshold_mode == "absolute"),
            overrides=tuple(
                Override(o.device, o.metric, Threshold(o.threshold, o.threshold_mode == "absolute"))
                for o in alerts.overrides
            ),
            **alerts.model_dump(exclude={"threshold", "threshold_mode", "overrides"}),
            **faults.model_dump(exclude={"overrides"}),
            limits=tuple(Limits(o.device, o.metric, **o.given()) for o in faults.overrides),
            other_units=frozenset(m for m, unit in self.units.items() if unit.lower() not in TEMPERATURE_UNITS),
            max_gap=self.limits.max_gap,
            max_future_s=self.limits.max_future_s,
            max_series=self.limits.max_devices,
        )


def _completed(monitor: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A monitor whose alerts and faults are whole."""
    whole = dict(monitor)
    for key in ("alerts", "faults"):
        usual, own = given.get(key), monitor.get(key, {})
        if isinstance(usual, BaseModel):
            usual = usual.model_dump(exclude_unset=True)
        if isinstance(usual, dict) and isinstance(own, dict):
            whole[key] = merged([usual, own])
    return whole


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and, for each dotted key that was given, where its value came from."""

    settings: Settings
    origins: Mapping[str, str]

    def origin(self, key: str) -> str:
        """Where the value of a dotted key came from."""
        return self.origins.get(key, "default")


def load(path: Path | None) -> Loaded:
    """Read the settings.

    Raises:
        SettingsError: naming the file, the key and what to do, one line for each problem.
    """
    sources = read_sources(Settings, path)
    origins = {key: name for name, values in sources.items() for key, _ in flat(values)}
    try:
        return Loaded(Settings(**merged(sources.values())), origins)
    except ValidationError as error:
        raise SettingsError(problems(error, Settings, origins)) from None


def effective(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every setting as dotted key and value; secrets are masked. Of a monitor there is what is not the default."""
    values = settings.model_dump(mode="json")
    values["monitors"] = [one.model_dump(mode="json", exclude_defaults=True) for one in settings.monitors]
    return flat(values)
