"""Settings: one TOML file, overridden by `FOREWARN_…` environment variables and by a credentials directory.

Rules that hold here:

- Credentials beat the environment, the environment beats the file, the file beats the defaults.
- An unknown key is an error that names the nearest known one, wherever it came from.
- These objects stop at service.py: the core and the adapters get plain values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from forewarn.core.conversions import TEMPERATURE_UNITS
from forewarn.core.rules import Limits, Override, Rules, Threshold
from forewarn.errors import SettingsError
from forewarn.settings.daemon import (
    HomeAssistantSettings,
    LimitSettings,
    LoggingSettings,
    MetricsSettings,
    MqttSettings,
    PublishSettings,
    RecordSettings,
    StateSettings,
)
from forewarn.settings.inputs import InputSettings
from forewarn.settings.judging import AlertSettings, FaultSettings, MonitorSettings, completed
from forewarn.settings.kinds import Name
from forewarn.settings.sources import DELIMITER, ENV_PREFIX, flat, merged, problems, read_sources


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
        return {**given, "monitors": [completed(one, given) if isinstance(one, dict) else one for one in monitors]}

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


_Schema = TypeVar("_Schema", bound=Settings)


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
    return Loaded(*_read(Settings, path))


def load_as(schema: type[_Schema], path: Path | None) -> _Schema:
    """Read settings that have more than those of the daemon; as `load`."""
    return _read(schema, path)[0]


def _read(schema: type[_Schema], path: Path | None) -> tuple[_Schema, Mapping[str, str]]:
    sources = read_sources(schema, path)
    origins = {key: name for name, values in sources.items() for key, _ in flat(values)}
    try:
        return schema(**merged(sources.values())), origins
    except ValidationError as error:
        raise SettingsError(problems(error, schema, origins)) from None


def effective(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every setting as dotted key and value; secrets are masked. Of a monitor there is what is not the default."""
    values = settings.model_dump(mode="json")
    values["monitors"] = [one.model_dump(mode="json", exclude_defaults=True) for one in settings.monitors]
    return flat(values)
