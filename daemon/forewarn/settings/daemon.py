"""The sections that say what the daemon is connected to, what it keeps and publishes, and its bounds."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from forewarn.passwords import PasswordHash
from forewarn.settings.kinds import Count, Factor, Seconds, Section, Topic


def _host(text: str) -> str:
    if re.search(r"[\s/@]", text):
        raise ValueError("the name or address alone is needed, without mqtt:// and user")
    return text


def _password_hash(secret: SecretStr) -> SecretStr:
    PasswordHash.parse(secret.get_secret_value())
    return secret


class MqttSettings(Section):
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


class MetricsSettings(Section):
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


class StateSettings(Section):
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


class RecordSettings(Section):
    """Readings kept as files, for `forewarn-train fit --data FOLDER`. See docs/history.md."""

    folder: Path | None = Field(default=None, description="Where; without it none are kept.")
    format: Literal["csv", "parquet"] = Field(
        default="csv",
        description="Of files that have ended; the newest of each metric is CSV. Parquet needs the extra `parquet`.",
    )
    max_mb: float = Field(
        default=512.0, ge=1, allow_inf_nan=False, description="Megabytes of all files; the oldest file goes then."
    )


class PublishSettings(Section):
    """What is published."""

    prefix: Topic = Field(default="forewarn", description="First level of every topic, or several.")
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
    response_topic: Topic | None = Field(
        default=None,
        description="Topic that alerts name as the one for answers (MQTT 5). What comes there is for others: forewarn "
        "does not read it.",
    )


class HomeAssistantSettings(Section):
    """Devices in Home Assistant, see docs/home-assistant.md."""

    enabled: bool = Field(default=False, description="Tell Home Assistant of devices, by MQTT discovery.")
    prefix: Topic = Field(default="homeassistant", description="The discovery prefix that is set in Home Assistant.")
    birth_topic: Topic = Field(
        default="homeassistant/status",
        description="Where Home Assistant says `online` when it starts. No message there is taken for a reading.",
    )
    max_series: Count = Field(default=1000, description="Series that it is told of; 64 at most of one device.")


class LimitSettings(Section):
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


class LoggingSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe message that is shown."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="`json`: one object a line, with `time`, `level`, `logger` and `message`."
    )
