"""What runs on the executors: the two stages of the stream, for Spark's Python workers.

Rules that hold here:

- Nothing is kept between two tasks but the models, which `shipping.py` loads once in each worker.
- Which models judge a micro-batch follows from its number.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.streaming.stateful_processor import (
    ExpiredTimerInfo,
    StatefulProcessor,
    StatefulProcessorHandle,
    TimerValues,
)

from forewarn.errors import ForewarnError
from forewarn.fleet.bucket import Bucket, Said
from forewarn.fleet.judging import Judge
from forewarn.fleet.reading import Columns, Reader
from forewarn.fleet.settings import FleetSettings
from forewarn.fleet.shipping import AWAY, Shipping
from forewarn.inbox import Message
from forewarn.monitors import Models

STATE = "state binary, at_ms long, timer_ms long"
"""Of a bucket: itself, and the processing time when it was last asked and when it asks to be."""
_BATCH_ID = "streaming.sql.batchId"
_ARROW = pa.schema(
    [
        ("bucket", pa.int32()),
        ("kind", pa.int8()),
        ("device", pa.string()),
        ("metric", pa.string()),
        ("at", pa.float64()),
        ("received_at", pa.float64()),
        ("n", pa.int64()),
        ("measured", pa.binary()),
        ("seed", pa.bool_()),
    ]
)


def _models(settings: FleetSettings) -> Models:
    """The models of the micro-batch that this task is of."""
    context = TaskContext.get()
    number = None if context is None else context.getLocalProperty(_BATCH_ID)
    if number is None:
        raise ForewarnError("a stage of the stream runs outside of a micro-batch")
    shipping = Shipping(settings)
    return shipping.load(shipping.at(int(number)))


def read_stage(settings: FleetSettings) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """From `MESSAGES` to `READ`."""

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        reader = None
        for batch in batches:
            if reader is None:
                reader = Reader(settings, _models(settings), time.time())
            messages = list(_messages(batch))
            yield _arrow(reader.read(messages, batch.num_rows - len(messages)))
        if reader is not None:
            yield _arrow(reader.end())

    return read


def _messages(batch: pa.RecordBatch) -> Iterator[Message]:
    """Those that are some."""
    columns = batch.to_pydict()
    names = ("topic", "payload", "received_at", "retained", "damaged")
    for topic, payload, received_at, retained, damaged in zip(*(columns[name] for name in names), strict=True):
        if damaged is None and topic is not None and payload is not None and received_at is not None:
            yield Message(topic, payload, received_at, bool(retained))


def _arrow(rows: Columns) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(rows, schema=_ARROW)


class JudgeStage(StatefulProcessor):  # type: ignore[misc] # pyspark may be missing when types are checked
    """From `READ` to `SAID`, bucket by bucket."""

    def __init__(self, settings: FleetSettings, started_ms: int) -> None:
        """Judge from `started_ms` on, Spark's processing time: before it nobody listened."""
        self._settings, self._started_ms = settings, started_ms

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Begin a task."""
        self._handle = handle
        self._state = handle.getValueState("bucket", STATE)

    def handleInputRows(  # noqa: N802 - pyspark's name
        self,
        key: tuple[int],
        rows: Iterator[pd.DataFrame],
        timerValues: TimerValues,  # noqa: N803 - the same
    ) -> Iterator[pd.DataFrame]:
        """Judge what came to a bucket."""
        whole = pd.concat(list(rows), ignore_index=True, copy=False)
        bucket, _, timer_ms = self._bucket(key[0])
        delivery, counted = self._judge.delivery({name: _column(whole, name) for name in _ARROW.names[1:]})
        yield from self._told(key[0], bucket, bucket.take(delivery), counted)
        self._keep(bucket, timerValues.getCurrentProcessingTimeInMs(), timer_ms)

    def handleExpiredTimer(  # noqa: N802 - pyspark's name
        self,
        key: tuple[int],
        timerValues: TimerValues,  # noqa: N803 - the same
        expiredTimerInfo: ExpiredTimerInfo,  # noqa: ARG002, N803 - the same
    ) -> Iterator[pd.DataFrame]:
        """Say what became due while nothing came."""
        bucket, at_ms, _ = self._bucket(key[0])
        now_ms = timerValues.getCurrentProcessingTimeInMs()
        said = bucket.wait((now_ms - max(at_ms, self._started_ms)) / 1000.0)
        yield from self._told(key[0], bucket, said, Counter())
        self._keep(bucket, now_ms, None)

    def close(self) -> None:
        """End a task."""

    @cached_property
    def _judge(self) -> Judge:
        """Of this task; `init` is called on the driver too, where there is no micro-batch."""
        return Judge(self._settings, _models(self._settings), scores=self._settings.fleet.scores)

    def _bucket(self, number: int) -> tuple[Bucket, int, int | None]:
        if not self._state.exists():
            return self._judge.bucket(None), self._started_ms, None
        state, at_ms, timer_ms = self._state.get()
        try:
            return self._judge.bucket(bytes(state)), at_ms, timer_ms
        except ValueError as error:
            raise ForewarnError(
                f"bucket {number}: its state in the checkpoint cannot be used ({error}): {AWAY}"
            ) from error

    def _told(self, number: int, bucket: Bucket, said: Said, counted: Counter[str]) -> Iterator[pd.DataFrame]:
        for columns in self._judge.rows(said, bucket, counted):
            frame = pd.DataFrame(columns)
            frame.insert(0, "bucket", number)
            yield frame

    def _keep(self, bucket: Bucket, now_ms: int, timer_ms: int | None) -> None:
        """Keep a bucket, and be asked again when something is due although nothing comes."""
        due_in_s = bucket.due_in_s
        again_ms = now_ms + int(1000 * due_in_s) + 1 if due_in_s < _LONGEST_S else None
        if timer_ms is not None:
            self._handle.deleteTimer(timer_ms)
        if again_ms is not None:
            self._handle.registerTimer(again_ms)
        self._state.update((bucket.to_bytes(), now_ms, again_ms))


_TEXTS = frozenset({"device", "metric", "measured"})
_LONGEST_S = 10 * 365 * 86_400.0


def _column(frame: pd.DataFrame, name: str) -> Sequence[Any]:
    """A column as numpy has it, texts and bytes as a list."""
    column: Sequence[Any] = frame[name].to_numpy() if name not in _TEXTS else frame[name].tolist()
    return column
