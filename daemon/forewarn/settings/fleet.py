"""The section `[fleet]` and its parts: what `forewarn fleet` needs to know besides the daemon's own sections."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from forewarn.settings.kinds import Count, Seconds, Section

Sink = Literal["files", "mqtt", "kafka"]


def _mqtt_topic(text: str) -> str:
    if text not in ("key", "topic") and not (text.startswith("header:") and len(text) > len("header:")):
        raise ValueError('"key", "topic" or "header:NAME" is possible')
    return text


class KafkaSettings(Section):
    """Kafka, as source or for alerts. It needs Spark's connector: see docs/fleet.md."""

    options: dict[str, str] = Field(
        default={},
        description="Options of Spark's Kafka source, as its documentation names them: `kafka.bootstrap.servers`, and "
        "one of `subscribe` and `subscribePattern`, are needed.",
    )
    mqtt_topic: Annotated[str, AfterValidator(_mqtt_topic)] = Field(
        default="key",
        description="Where a record has the MQTT topic of its message: its `key`, `header:NAME`, or `topic` for "
        "Kafka's own topic with each `.` taken for a `/`.",
    )
    alert_topic: str = Field(default="forewarn.alerts", min_length=1, description="Topic that alerts are written to.")
    alert_options: dict[str, str] = Field(
        default={},
        description="Options of Spark's Kafka sink; those of `options` that begin with `kafka.` hold there too.",
    )


class FleetSection(Section):
    """A fleet on Spark: see docs/fleet.md."""

    folder: Annotated[Path, AfterValidator(Path.absolute)] = Field(
        description="What the job keeps: checkpoint, models, alerts. Every executor needs it under this path."
    )
    source: Literal["landing", "kafka"] = Field(default="landing", description="Where messages come from.")
    landing: Annotated[Path, AfterValidator(Path.absolute)] | None = Field(
        default=None, description="Folder that files of messages are put into; without it, `landing` in `folder`."
    )
    landing_format: Literal["json", "parquet"] = Field(
        default="json", description="Of these files: JSON lines or Parquet; docs/fleet.md has the columns."
    )
    landing_done: Literal["keep", "delete"] = Field(
        default="keep", description="What becomes of such a file some time after it was read."
    )
    files_per_batch: Count = Field(default=1000, description="Files of the landing folder read at once, at most.")
    kafka: KafkaSettings = KafkaSettings()
    trigger_s: float = Field(
        default=10.0, ge=0, allow_inf_nan=False, description="Seconds between two micro-batches; 0 waits for nothing."
    )
    lateness_s: float = Field(
        default=10.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that each reading is held for, so that one of an earlier time that comes within them is "
        "judged before it.",
    )
    away_s: Seconds = Field(
        default=120.0,
        description="Seconds without any message of the whole fleet that are taken for the source having been away: "
        "such a time is not counted as silence of a device.",
    )
    buckets: Count = Field(
        default=64,
        le=65_536,
        description="Parts that devices are dealt to by the hash of their names. It stays with the checkpoint.",
    )
    max_series: Count = Field(
        default=1_000_000,
        description="Series that are followed at once; here it stands for `limits.max_devices`. Each bucket has its "
        "share and a quarter more.",
    )
    alerts: tuple[Sink, ...] = Field(
        default=("files",), min_length=1, description="Where alerts go: `files`, `mqtt`, `kafka`."
    )
    scores: bool = Field(default=False, description="Keep the verdict on every reading, as Parquet in `folder`.")
    spark: dict[str, str] = Field(
        default={}, description="Settings of Spark, by the names of its documentation, such as `spark.master`."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        options = self.kafka.options
        if (self.source == "kafka" or "kafka" in self.alerts) and "kafka.bootstrap.servers" not in options:
            raise ValueError('Kafka needs [fleet.kafka.options] with "kafka.bootstrap.servers"')
        if self.source == "kafka" and not {"subscribe", "subscribePattern", "assign"} & options.keys():
            raise ValueError('source = "kafka" needs [fleet.kafka.options] with subscribe or subscribePattern')
        if self.source == "kafka" and self.landing is not None:
            raise ValueError('landing is for source = "landing"')
        return self

    @property
    def inbox(self) -> Path:
        """The landing folder."""
        return self.landing or self.folder / "landing"

    @property
    def series_per_bucket(self) -> int:
        """The cap on the series of one bucket."""
        return -(-5 * self.max_series // (4 * self.buckets)) + 16
