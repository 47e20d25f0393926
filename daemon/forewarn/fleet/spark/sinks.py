"""Where what is said goes, once for each micro-batch, before Spark notes that it is done.

Rules that hold here:

- A micro-batch whose end was not noted is repeated, with the same readings and so with the same alerts: what is written
  twice has the same name, id and sequence.
- Files are whole or not there. A sink that does not take an alert fails the micro-batch, which is then repeated by the
  next start of the job: no alert is lost for want of a broker.
"""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from forewarn.adapters.mqtt.client import MqttClient
from forewarn.adapters.mqtt.session import Broker, BrokerError
from forewarn.errors import ForewarnError
from forewarn.fleet.rows import Said
from forewarn.settings.fleet import KafkaSettings

log = logging.getLogger(__name__)

_BROKER_WAIT_S = 60.0
_BROKER_PAUSE_S = 2.0
_OF_SCORES = (
    *("device", "metric", "at", "received_at", "value", "expected", "lower", "upper", "residual", "score"),
    *("threshold", "alert"),
)


class AlertMessage(NamedTuple):
    """One message of an alert, with its MQTT topic."""

    topic: str
    payload: str


class Sink(Protocol):
    """Takes alerts."""

    def write(self, alerts: Sequence[AlertMessage], batch: int) -> None:
        """Take the alerts of a micro-batch, in their order.

        Raises:
            ForewarnError: where they cannot be taken.
        """


class FilesSink:
    """A file of JSON lines for each micro-batch that has alerts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, alerts: Sequence[AlertMessage], batch: int) -> None:
        """See `Sink`."""
        path = self._folder / f"{batch:012d}.jsonl"
        draft = self._folder / f".{path.name}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as file:
                file.writelines(f"{alert.payload}\n" for alert in alerts)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            raise ForewarnError(f"{path}: cannot be written ({error.strerror})") from error


class MqttSink:
    """A broker, to which alerts go as the daemon would publish them."""

    def __init__(self, broker: Broker, client_id: str) -> None:
        self._broker, self._client_id = broker, client_id
        self._client: MqttClient | None = None

    def write(self, alerts: Sequence[AlertMessage], batch: int) -> None:  # noqa: ARG002 - see `Sink`
        """See `Sink`. A broker that is away is waited for, a minute at most."""
        ends_at = time.monotonic() + _BROKER_WAIT_S
        while True:
            try:
                self._publish(alerts)
            except BrokerError as error:
                self._close()
                if time.monotonic() > ends_at:
                    raise
                log.warning("alerts wait: %s", error)
                time.sleep(_BROKER_PAUSE_S)
            else:
                return

    def _publish(self, alerts: Iterable[AlertMessage]) -> None:
        if self._client is None:
            client = MqttClient(self._broker, client_id=self._client_id)
            self._client = client.__enter__()
        for alert in alerts:
            self._client.publish(alert.topic, alert.payload, qos=1)
        self._client.flush()

    def _close(self) -> None:
        if self._client is not None:
            self._client.__exit__(None, None, None)
            self._client = None


class KafkaSink:
    """A topic of Kafka; the key is device and metric, so that the alerts of a series stay in their order."""

    def __init__(self, spark: SparkSession, kafka: KafkaSettings) -> None:
        self._spark, self._kafka = spark, kafka

    def write(self, alerts: Sequence[AlertMessage], batch: int) -> None:  # noqa: ARG002 - see `Sink`
        """See `Sink`."""
        rows = [("/".join(alert.topic.split("/")[-2:]), alert.payload) for alert in alerts]
        writer = self._spark.createDataFrame(rows, "key string, value string").coalesce(1).write.format("kafka")
        for name, value in {**shared(self._kafka.options), **self._kafka.alert_options}.items():
            writer = writer.option(name, value)
        writer.option("topic", self._kafka.alert_topic).save()


def shared(options: dict[str, str]) -> dict[str, str]:
    """The options of a Kafka source that hold for a sink too: those of the client itself."""
    return {name: value for name, value in options.items() if name.startswith("kafka.")}


def write_scores(said: DataFrame, folder: Path, batch: int) -> None:
    """Keep the verdict on every reading, as Parquet, in a folder for the micro-batch."""
    scores = said.where(f.col("kind") == int(Said.SCORE)).select(*_OF_SCORES, f.col("name").alias("status"))
    scores.write.mode("overwrite").parquet(str(folder / f"batch={batch}"))


def alerts_of(table: pa.Table) -> list[AlertMessage]:
    """The alerts among rows of `SAID`, in their order."""
    some = table.filter(pa.compute.equal(table["kind"], int(Said.ALERT)))
    return [AlertMessage(*pair) for pair in zip(some["topic"].to_pylist(), some["payload"].to_pylist(), strict=True)]


def counts_of(table: pa.Table) -> tuple[Counter[str], dict[int, dict[str, int]]]:
    """What rows of `SAID` count, by name, and how much each bucket has, by bucket and name."""
    counts, levels = Counter[str](), dict[int, dict[str, int]]()
    some = table.filter(pa.compute.greater_equal(table["kind"], int(Said.COUNT))).to_pydict()
    for kind, bucket, name, n in zip(*(some[name] for name in ("kind", "bucket", "name", "n")), strict=True):
        if kind == Said.COUNT:
            counts[name] += n
        else:
            levels.setdefault(bucket, {})[name] = n
    return counts, levels


def sentence_of(alert: AlertMessage) -> str:
    """What a person is told of it."""
    told = json.loads(alert.payload)
    return str(told.get("data", told)["sentence"])
