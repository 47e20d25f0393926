"""`forewarn fleet backfill`: the history of a fleet through the same buckets, to scores and alerts as Parquet.

Rules that hold here:

- Readings are judged in the order of their own times, which are taken for their arrivals too: none is late. Silence,
  which is a matter of arrivals, is not judged; as in `forewarn backtest`.
- A task judges its buckets one after the other as their readings stream through it, so its memory is that of one
  bucket's series, however many years there are. For this the readings are sorted within a partition, where
  `applyInPandas` would hold a whole bucket at once.
- The folder of the results is written once: what is there already is not touched.
"""

import json
import math
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from tqdm import tqdm

from forewarn.adapters import parquet
from forewarn.adapters.fleet_telemetry import ALERTS, READINGS
from forewarn.core.readings import Batch, SeriesKey
from forewarn.errors import DataError, ForewarnError, UsageError
from forewarn.fleet import rows
from forewarn.fleet.bucket import Bucket, Delivery
from forewarn.fleet.judging import Judge
from forewarn.fleet.settings import FleetSettings
from forewarn.fleet.shipping import Shipping
from forewarn.fleet.spark.failures import told
from forewarn.fleet.spark.session import start
from forewarn.history import parse_time
from forewarn.history.columns import Choice, Columns
from forewarn.monitors import Models, load_models

if TYPE_CHECKING:
    from pyspark import Accumulator

_SAMPLE_ROWS = 500
_LOOK_S = 0.5
_TOP = 10  # devices in the summary


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backfill found.

    Attributes:
        readings: by what became of them.
        raised: alerts by kind.
        devices: those with the most alerts, with their number.
        seconds: that the judging took.
    """

    readings: dict[str, int]
    raised: dict[str, int]
    devices: dict[str, int]
    seconds: float

    def lines(self) -> Iterator[str]:
        """For people."""
        n = sum(self.readings.values())
        split = ", ".join(f"{count} {status}" for status, count in self.readings.items())
        yield f"{n} readings: {split or 'none'}; {n / max(self.seconds, 1e-9):.0f} readings/s"
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.raised.items()))
        yield f"alerts: {kinds or 'none'}"
        if self.devices:
            yield f"most of them: {', '.join(f'{device} ({count})' for device, count in self.devices.items())}"


def backfill(settings: FleetSettings, data: Path, out: Path, choice: Choice, *, progress: bool = True) -> Summary:
    """Judge Parquet files.

    Args:
        settings: of the fleet; its folder, source and sinks do not matter here.
        data: a Parquet file, or a folder of them, in folders of its own or not.
        out: the folder of the results; a new or an empty one.
        choice: of columns.
        progress: whether a bar is shown.

    Raises:
        DataError: where the files or their columns cannot be used.
        UsageError: where `out` is in use, or the models need different columns.
        ForewarnError: where Spark fails.
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"--out {out}: there is something in it already; give a new folder")
    own = _without_silence(settings, out)
    names = _names(data, load_models(own), choice)
    Shipping(own).begin(0)
    spark = start(own)
    try:
        return _judged(spark, own, data, out, names, progress=progress)
    except ForewarnError:
        raise
    except Exception as error:
        raise told(error, own) from error
    finally:
        spark.stop()


@dataclass(frozen=True, slots=True)
class _Names:
    """Columns: of times, of devices or "", of metrics or "", of values; and the metric where no column says it."""

    moment: str
    device: str
    metric: str
    values: tuple[str, ...]
    target: str


def _without_silence(settings: FleetSettings, folder: Path) -> FleetSettings:
    """The same with results in a folder of their own, and nothing told of silence."""
    quiet = settings.faults.model_copy(update={"silent": False})
    monitors = tuple(
        one.model_copy(update={"faults": one.faults.model_copy(update={"silent": False})}) for one in settings.monitors
    )
    fleet = settings.fleet.model_copy(update={"folder": folder, "lateness_s": 0.0, "scores": True})
    return settings.for_executors().model_copy(update={"faults": quiet, "monitors": monitors, "fleet": fleet})


def _names(data: Path, models: Models, choice: Choice) -> _Names:
    """Which columns are what, by the first file."""
    card = models.rest.card
    if any(model.card.features != card.features for model in models.every):
        raise UsageError("the models of the settings have different features: backfill what each judges by itself")
    files = sorted(data.rglob("*.parquet")) if data.is_dir() else [data]
    if not files:
        raise DataError(f"{data}: no .parquet file in it: give another --data")
    try:
        texts = parquet.rows(files[0])
        header, sample = next(texts, []), list(islice(texts, _SAMPLE_ROWS))
    except OSError as error:
        raise DataError(f"{files[0]}: cannot be read ({error.strerror})") from error
    several = tuple(feature.name for feature in card.features) if len(card.features) > 1 else None
    asked = replace(choice, prefer=card.target)
    if several:
        asked = replace(asked, features=several, target=card.target)
    columns = Columns(files[0], header, sample, asked)
    moment = columns.time()
    device = columns.device({moment})
    metric = "" if several else columns.metric({moment, device})
    if metric:
        return _Names(moment, device, metric, (columns.value({moment, device, metric}),), "")
    values, target = columns.features({moment, device})
    return _Names(moment, device, "", values, target)


def _judged(
    spark: SparkSession, settings: FleetSettings, data: Path, out: Path, names: _Names, *, progress: bool
) -> Summary:
    table = _table(spark, data, names, settings.fleet.buckets)
    n = table.count()
    done = spark.sparkContext.accumulator(0)
    said = table.mapInArrow(_stage(settings, done), rows.SAID)
    began = time.monotonic()
    with _bar(n, done, shown=progress):
        said.drop("bucket", "topic").withColumnRenamed("name", "status").write.partitionBy("kind").parquet(
            str(out / "said")
        )
    return _settled(spark, out, time.monotonic() - began)


def _table(spark: SparkSession, data: Path, names: _Names, n_bucket: int) -> DataFrame:
    """The readings, each bucket's in the order of their times and those in one partition."""
    try:
        read = spark.read.option("recursiveFileLookup", "true").parquet(str(data))
    except Exception as error:
        raise DataError(f"{data}: cannot be read as Parquet ({str(error).splitlines()[0][:200]})") from error
    device = f.col(f"`{names.device}`").cast("string") if names.device else f.lit("")
    table = read.select(
        (f.crc32(f.substring_index(device, ":", 1)) % n_bucket).cast("int").alias("bucket"),
        device.alias("device"),
        (f.col(f"`{names.metric}`").cast("string") if names.metric else f.lit(names.target)).alias("metric"),
        f.coalesce(_seconds(read, names.moment), f.lit(math.nan)).alias("at"),
        f.array(*(f.col(f"`{name}`").cast("double") for name in names.values)).alias("measured"),
    )
    place = table.withColumn("place", f.monotonically_increasing_id())
    return place.repartition(n_bucket, "bucket").sortWithinPartitions("bucket", "at", "place").drop("place")


def _seconds(read: DataFrame, name: str) -> Any:  # noqa: ANN401 - a Column, whose class is another with Spark Connect
    """A column of times as UTC epoch seconds."""
    kind, column = dict(read.dtypes)[name], f.col(f"`{name}`")
    if kind.startswith("timestamp"):
        return column.cast("timestamp").cast("double")
    return f.udf(lambda text: None if text is None else parse_time(text), "double")(column.cast("string"))


def _stage(
    settings: FleetSettings, done: "Accumulator[int]"
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Judges the buckets of one partition, one after the other."""

    def judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        shipping = Shipping(settings)
        one = Judge(settings, shipping.load(shipping.at(0)), scores=True)
        number, bucket = -1, one.bucket(None)
        for batch in batches:
            for found, part in _by_bucket(batch):
                if found != number:
                    number, bucket = found, one.bucket(None)
                yield from _said(one, number, bucket, part)
            done.add(batch.num_rows)

    return judge


def _by_bucket(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The parts of a batch that are of one bucket each, in their order."""
    numbers = batch.column(0).to_numpy()
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for begin, end in pairwise(starts):
        if end > begin:
            yield int(numbers[begin]), batch.slice(begin, end - begin)


def _said(judge: Judge, number: int, bucket: Bucket, part: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    at = part.column("at").to_numpy()
    keys = [
        SeriesKey(*key)
        for key in zip(part.column("device").to_pylist(), part.column("metric").to_pylist(), strict=True)
    ]
    values = part.column("measured").flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    arrivals = np.nan_to_num(np.fmax.accumulate(at))  # one that has no time comes with the last that has one
    batch = Batch(keys, at, arrivals, values.reshape(len(keys), -1))
    said = bucket.take(Delivery(batch, (), float(arrivals[0]), float(arrivals[-1])))
    for columns in judge.rows(said, bucket, Counter()):
        n = len(columns["kind"])
        yield pa.RecordBatch.from_pydict(
            {"bucket": pa.array(np.full(n, number, np.int32)), **{k: pa.array(v) for k, v in columns.items()}}
        ).cast(_SAID)


_ARROW_TYPES = {
    "int": pa.int32(),
    "tinyint": pa.int8(),
    "long": pa.int64(),
    "string": pa.string(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
}
_SAID = pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in (part.split() for part in rows.SAID.split(", "))])


@contextmanager
def _bar(n: int, done: "Accumulator[int]", *, shown: bool) -> Iterator[None]:
    """A progress bar that follows what the tasks have done."""
    ended = threading.Event()
    with tqdm(total=n, unit=" readings", disable=None if shown else True) as bar:

        def follow() -> None:
            while not ended.wait(_LOOK_S):
                bar.update(done.value - bar.n)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            bar.update(done.value - bar.n)


def _settled(spark: SparkSession, out: Path, seconds: float) -> Summary:
    """Give the results their places, and say what they are."""
    place = out / "said"
    kinds = {int(path.name.partition("=")[2]): path for path in place.glob("kind=*")}
    readings, raised = Counter[str](), Counter[str]()
    devices: list[tuple[str, int]] = []
    if rows.Said.COUNT in kinds:
        counts = spark.read.parquet(str(kinds[rows.Said.COUNT])).groupBy("status").agg(f.sum("n")).collect()
        for name, n in counts:
            if name.startswith(READINGS):
                readings[name.removeprefix(READINGS)] = n
            elif name.startswith(f"{ALERTS}raised:"):
                raised[name.split(":")[2]] += n
    if rows.Said.ALERT in kinds:
        alerts = spark.read.parquet(str(kinds[rows.Said.ALERT]))
        chosen = alerts.select(
            f.col("status").alias("id"), f.col("n").alias("sequence"), "device", "metric", "at", "payload"
        )
        chosen.coalesce(1).write.parquet(str(out / "alerts"))
        most = alerts.where("n = 1").groupBy("device").count().orderBy(f.desc("count"), "device").limit(_TOP)
        devices = [(device, n) for device, n in most.collect()]
    if rows.Said.SCORE in kinds:
        kinds[rows.Said.SCORE].rename(out / "scores")
    shutil.rmtree(place)
    summary = Summary(dict(sorted(readings.items())), dict(sorted(raised.items())), dict(devices), seconds)
    (out / "summary.json").write_text(json.dumps(asdict(summary), indent=1), "utf-8")
    return summary
