"""`forewarn fleet run`: the job as a whole, from the source through both stages to the sinks.

Rules that hold here:

- One job at a time has a folder.
- A micro-batch is judged with the models that were chosen for it before it began; a new model file is taken between two
  of them, or not at all.
"""

import fcntl
import json
import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from py4j.protocol import Py4JError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from forewarn.adapters.fleet_telemetry import FleetTelemetry
from forewarn.adapters.http import HttpServer
from forewarn.adapters.http_request import Answer, Route
from forewarn.errors import ForewarnError, ModelError, SettingsError
from forewarn.fleet import rows
from forewarn.fleet.settings import FleetSettings
from forewarn.fleet.shipping import AWAY, Shipping
from forewarn.fleet.spark import quiet
from forewarn.fleet.spark.failures import told
from forewarn.fleet.spark.session import start
from forewarn.fleet.spark.sinks import (
    AlertMessage,
    FilesSink,
    KafkaSink,
    MqttSink,
    Sink,
    alerts_of,
    counts_of,
    write_scores,
)
from forewarn.fleet.spark.sources import messages
from forewarn.fleet.spark.stages import JudgeStage, read_stage
from forewarn.monitors import Models
from forewarn.port import exposed
from forewarn.wiring import auth_of, broker_of, server_tls

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.streaming.query import StreamingQuery

log = logging.getLogger(__name__)

_LOOK_S = 0.5
Show = Callable[[Sequence[AlertMessage]], None]


class Job:
    """A fleet's stream.

    Attributes:
        telemetry: of it.
    """

    def __init__(self, settings: FleetSettings, *, packages: Sequence[str] = (), show: Show | None = None) -> None:
        """Prepare a job.

        Args:
            settings: of the fleet.
            packages: Maven coordinates of Spark's connectors.
            show: is given the alerts of each micro-batch once the sinks have them.
        """
        self._settings, self._packages, self._show = settings, packages, show
        self._folder = settings.fleet.folder
        self._shipping = Shipping(settings)
        self.telemetry = FleetTelemetry()
        self._sinks: list[Sink] = []
        self._stopping = False

    def run(self, *, once: bool = False) -> None:
        """Run until `stop`; with `once`, until all that is there is judged.

        Raises:
            SettingsError: where pyspark, Java or a connector is missing, or the settings do not fit the checkpoint.
            ModelError: where a model cannot be used.
            ForewarnError: where the job fails, with what to do.
        """
        with _locked(self._folder):
            _keep_buckets(self._folder, self._settings.fleet.buckets)
            self._use(self._shipping.begin(_next_batch(self._folder / "checkpoint")))
            with self._port():
                self._run(start(self._settings, self._packages), once=once)

    def _run(self, spark: SparkSession, *, once: bool) -> None:
        try:
            self._sinks = list(self._made_sinks(spark))
            query = self._started(spark, once=once)
            log.info("fleet %s runs in %s", self._settings.instance, self._folder)
            while not query.awaitTermination(_LOOK_S):
                # Timers keep Spark from ending by itself when all is read.
                if self._stopping or (once and _nothing_came(query)):
                    quiet.hush()
                    query.stop()
        except Exception as error:
            if not self._stopping:
                raise error if isinstance(error, ForewarnError) else told(error, self._settings) from error
        finally:
            with suppress(OSError, Py4JError):  # a signal to all processes has ended Spark itself by now
                spark.stop()

    def stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """End soon; may be the handler of a signal."""
        self._stopping = True
        quiet.hush()

    def _started(self, spark: SparkSession, *, once: bool) -> "StreamingQuery":
        fleet, shipped = self._settings.fleet, self._settings.for_executors()
        read = messages(spark, self._settings).mapInArrow(read_stage(shipped), rows.READ)
        said = read.groupBy("bucket").transformWithStateInPandas(
            JudgeStage(shipped, int(time.time() * 1000)), rows.SAID, "append", "processingTime"
        )
        writer = said.writeStream.foreachBatch(self.write).outputMode("append")
        writer = writer.option("checkpointLocation", str(self._folder / "checkpoint"))
        return (
            writer.trigger(availableNow=True) if once else writer.trigger(processingTime=f"{fleet.trigger_s} seconds")
        ).start()

    @contextmanager
    def _port(self) -> Iterator[None]:
        """Answer at /metrics and /healthz, where the settings want it."""
        metrics = self._settings.metrics
        if not metrics.enabled:
            yield
            return
        routes: dict[str, Route] = {
            "/metrics": lambda _: exposed(self.telemetry),
            "/healthz": lambda _: Answer(200, "text/plain; charset=utf-8", b"ok\n"),
        }
        tls, auth = server_tls(metrics), auth_of(metrics)
        server = HttpServer(metrics.host, metrics.port, routes, tls=tls, auth=auth, told_to_all=["/healthz"])
        log.info("metrics on %s/metrics", server.url)
        try:
            yield
        finally:
            server.close()

    def _made_sinks(self, spark: SparkSession) -> Iterator[Sink]:
        for name in self._settings.fleet.alerts:
            if name == "files":
                yield FilesSink(self._folder / "alerts")
            elif name == "mqtt":
                client_id = self._settings.mqtt.client_id or f"forewarn-fleet-{self._settings.instance}"
                yield MqttSink(broker_of(self._settings.mqtt), client_id)
            else:
                yield KafkaSink(spark, self._settings.fleet.kafka)

    def write(self, said: DataFrame, batch: int) -> None:
        """Give what a micro-batch said to the sinks."""
        began = time.monotonic()
        table = self._taken(said, batch)
        alerts = alerts_of(table)
        if alerts:
            for sink in self._sinks:
                sink.write(alerts, batch)
            if self._show is not None:
                self._show(alerts)
        self.telemetry.batch_done(batch, *counts_of(table), time.monotonic() - began)
        self._renew(batch)

    def _taken(self, said: DataFrame, batch: int) -> "pa.Table":
        """The rows but for the scores, which are written by the executors."""
        if not self._settings.fleet.scores:
            return said.toArrow()
        kept = said.persist()  # so that nothing is judged twice
        try:
            write_scores(kept, self._folder / "scores", batch)
            return kept.where(f.col("kind") != int(rows.Said.SCORE)).toArrow()
        finally:
            kept.unpersist()

    def _renew(self, batch: int) -> None:
        """Take model files that changed, from the next micro-batch on."""
        if not self._shipping.changed():
            return
        try:
            models = self._shipping.begin(batch + 1)
        except (ModelError, SettingsError) as error:
            log.error("the models stay as they are: %s", error)  # noqa: TRY400 - the text says it all
            self.telemetry.reloaded("refused")
            return
        log.info("micro-batch %d begins with new models", batch + 1)
        self.telemetry.reloaded("taken")
        self._use(models)

    def _use(self, models: Models) -> None:
        self.telemetry.models_loaded([(model.card, model.sha256) for model in models.every])


def _nothing_came(query: "StreamingQuery") -> bool:
    """Whether the last two micro-batches had no messages: the first one may be that which was cut off before."""
    last = query.recentProgress[-2:]
    return len(last) == 2 and not any(one.numInputRows for one in last)


def stop_on_signals(job: Job) -> None:
    """Let SIGTERM and SIGINT end a job."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, job.stop)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Have a folder for oneself.

    Raises:
        ForewarnError: where another job has it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise ForewarnError(f"{folder}: cannot be written ({error.strerror}): set fleet.folder") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ForewarnError(
                f"{folder}: another job runs in it; stop that one, or give another fleet.folder"
            ) from error
        yield


def _keep_buckets(folder: Path, n: int) -> None:
    """Note how many buckets the checkpoint has.

    Raises:
        SettingsError: where it has another number.
    """
    path = folder / "checkpoint.json"
    if not (folder / "checkpoint" / "metadata").exists():
        path.write_text(json.dumps({"buckets": n}), "utf-8")
        return
    try:
        before = int(json.loads(path.read_text("utf-8"))["buckets"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ForewarnError(f"{path}: cannot be read ({error}): {AWAY}") from error
    if before != n:
        raise SettingsError(f"fleet.buckets is {n}, the checkpoint in {folder} has {before}: give that, or {AWAY}")


def _next_batch(checkpoint: Path) -> int:
    """The first micro-batch that has not begun."""
    names = [path.name for path in (checkpoint / "offsets").glob("*")] if checkpoint.exists() else []
    return max((int(name) for name in names if name.isdecimal()), default=-1) + 1
