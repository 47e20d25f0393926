"""The Spark session of a fleet job."""

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forewarn.errors import ForewarnError, SettingsError
from forewarn.fleet.settings import FleetSettings
from forewarn.fleet.spark import quiet

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONNECTOR = "org.apache.spark:spark-sql-kafka-0-10_2.13"
_ROCKSDB = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
_LOOPBACK = "127.0.0.1"
_PARTITIONS = 32
_OF_PY4J = "Exception while sending command."  # logged past its own logger, where a signal ends the JVM as well


def check_installed() -> None:
    """Refuse to go on without pyspark or Java.

    Raises:
        SettingsError: saying what to install.
    """
    try:
        import pyspark  # noqa: F401, I001, PLC0415 - asks whether it is there
        import pandas  # noqa: F401, ICN001, PLC0415
        import pyarrow  # noqa: F401, ICN001, PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"a fleet needs {error.name}, which is not installed: pip install 'forewarn[spark]'"
        ) from error
    check_java()


def check_java() -> None:
    """Refuse to go on without Java.

    Raises:
        SettingsError: saying what to install.
    """
    home = os.environ.get("JAVA_HOME")
    if shutil.which(str(Path(home) / "bin" / "java") if home else "java") is None:
        raise SettingsError("a fleet needs Java 17: install a JRE (Debian: openjdk-17-jre-headless), or set JAVA_HOME")


def start(settings: FleetSettings, packages: Sequence[str] = ()) -> "SparkSession":
    """A session with the settings that the job needs; those of `[fleet.spark]` count over them.

    Raises:
        SettingsError: where pyspark or Java is missing.
        ForewarnError: where Spark does not start.
    """
    check_installed()
    from pyspark import SparkConf  # noqa: PLC0415 - it may be missing until here
    from pyspark.sql import SparkSession  # noqa: PLC0415

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    given, submitted = settings.fleet.spark, "SPARK_ENV_LOADED" in os.environ
    conf = SparkConf()
    conf.set("spark.app.name", f"forewarn-{settings.instance}")
    defaults = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.streaming.stateStore.providerClass": _ROCKSDB,
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
        # Spark's 100 would be 100 times the state where every device sends within each micro-batch.
        "spark.sql.streaming.minBatchesToRetain": "10",
        "spark.sql.streaming.metricsEnabled": "true",
        "spark.ui.prometheus.enabled": "true",
        "spark.ui.showConsoleProgress": "false",
        "spark.metrics.conf.*.sink.prometheusServlet.class": "org.apache.spark.metrics.sink.PrometheusServlet",
        "spark.metrics.conf.*.sink.prometheusServlet.path": "/metrics/prometheus",
        # Workers read each task's readings from Arrow; larger parts than these cost memory and bring nothing.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
    }
    partitions = _PARTITIONS
    if not submitted:
        defaults["spark.master"] = "local[*,4]"  # a task whose worker dies is tried again
        if given.get("spark.master", "local").startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", _LOOPBACK)  # nobody else needs to reach it
            # One process has everything. With Spark's 1 GB the states of 100,000 devices on two cores fill it.
            defaults["spark.driver.memory"] = "4g"
            partitions = 2 * (os.cpu_count() or 1)
    # Each costs a task, a state store and files in every micro-batch. It stays with the checkpoint.
    defaults["spark.sql.shuffle.partitions"] = str(min(settings.fleet.buckets, partitions))
    if packages:
        defaults["spark.jars.packages"] = ",".join(packages)
    for name, value in {**defaults, **given}.items():
        if name in given or not conf.contains(name):  # what spark-submit was given counts over a default
            conf.set(name, value)
    try:
        with quiet.launch():
            spark = SparkSession.builder.config(conf=conf).getOrCreate()
    except Exception as error:
        raise ForewarnError(f"Spark does not start: {(str(error) or repr(error)).splitlines()[0][:300]}") from error
    # What fails is told in one line by whoever started the job; the stack of the JVM is for `debug`.
    spark.sparkContext.setLogLevel("INFO" if settings.logging.level == "debug" else "FATAL")
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(lambda record: record.msg != _OF_PY4J)
    return spark
