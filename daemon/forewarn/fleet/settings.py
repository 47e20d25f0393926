"""Settings of a fleet job: those of the daemon, with the section `[fleet]`.

Rules that hold here:

- A file of the daemon's becomes one of a fleet with `[fleet]` added, so the same readings are judged by the same rules.
- What means nothing here is refused instead of ignored.
"""

from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from forewarn.core.rules import Rules
from forewarn.errors import SettingsError
from forewarn.inputs.dialects import DIALECTS
from forewarn.settings import Settings, load_as
from forewarn.settings.daemon import MetricsSettings, MqttSettings
from forewarn.settings.fleet import FleetSection, KafkaSettings
from forewarn.settings.judging import MonitorSettings

_OF_THE_DAEMON = ("state", "record", "homeassistant")


class FleetSettings(Settings):
    """All settings of a fleet job."""

    fleet: FleetSection = Field(description="What the job reads, keeps and writes.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for name in _OF_THE_DAEMON:
            if name in self.model_fields_set:
                raise ValueError(f"[{name}] is for the daemon, a fleet job has nothing of it: leave it out")
        for i, one in enumerate(self.inputs):
            if DIALECTS[one.dialect].remembers or one.absent_is_zero:
                told = f'dialect "{one.dialect}"' if not one.absent_is_zero else "absent_is_zero"
                raise ValueError(
                    f"inputs.{i}: {told} is not for a fleet, whose messages are read apart from one another: it needs "
                    "what earlier messages of the device said"
                )
        return self

    def rules(self, monitor: MonitorSettings | None = None) -> Rules:
        """As those of the daemon, with the cap of one bucket."""
        return replace(super().rules(monitor), max_series=self.fleet.series_per_bucket)

    def for_executors(self) -> Self:
        """What executors need: no password among it."""
        fleet = self.fleet.model_copy(update={"kafka": KafkaSettings(), "spark": {}})
        return self.model_copy(update={"mqtt": MqttSettings(), "metrics": MetricsSettings(), "fleet": fleet})


def load_fleet(path: Path) -> FleetSettings:
    """Read the settings of a fleet job.

    Raises:
        SettingsError: naming the file, the key and what to do.
    """
    settings = load_as(FleetSettings, path)
    if not settings.inputs:
        raise SettingsError(f'{path}: inputs: at least one [[inputs]] with topic = "…" is needed')
    return settings
