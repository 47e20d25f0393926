"""Messages to rows: as the daemon's own intake reads them, and every one is counted once."""

import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forewarn.core.readings import Rejection
from forewarn.fleet.bucket import bucket_of
from forewarn.fleet.reading import Columns, Reader
from forewarn.fleet.rows import READ, Read
from forewarn.inbox import Message
from forewarn.intake import Intake
from forewarn.logs import Complaints
from forewarn.monitors import Models, load_models
from forewarn.wiring import decoder_of
from tests.fleet.configs import NUMBERS, PAIR, loaded

AT = 1.7e9
INPUTS = f"""{NUMBERS}
[[inputs]]
topic = "j/{{device}}"
dialect = "json"
values = {{ temperature = "t", humidity = "h" }}
time = "at"
[[inputs]]
topic = "senml/{{device}}"
dialect = "senml"
[[inputs]]
topic = "influx/#"
dialect = "influx"
[[inputs]]
dialect = "tasmota"
[[inputs]]
topic = "esp/#"
dialect = "esphome"
"""
PAYLOADS: tuple[tuple[str, bytes], ...] = (
    ("s/a/temperature", b"4.5"),
    ("s/b/temperature", b"warm"),
    ("s/b/temperature", b"1e400"),
    ("s/c:probe/humidity", b"61"),
    ("j/d", b'{"t": 4, "h": 50, "at": 1699999999}'),
    ("j/d", b'{"t": 4, "at": 1700009999}'),
    ("j/d", b"{"),
    ("senml/e", b'[{"bn":"x","bt":1.6999e9,"n":"temperature","u":"Cel","v":3.5},{"n":"temperature","t":5,"v":4}]'),
    ("influx/f", b"weather,device=f temperature=82 1699999990000000000"),
    ("tele/plug/SENSOR", b'{"AM2301":{"Temperature":20.5,"Humidity":41.0}}'),
    ("tele/plug/LWT", b"Offline"),
    ("tele/other/LWT", b"Offline"),
    ("tele/other/LWT", b"Online"),
    ("esp/cold/sensor/temperature/state", b"-18"),
    ("esp/cold/status", b"offline"),
    ("esp/cold/debug", b"x"),
    ("nowhere", b"1"),
    ("", b"1"),
    ("s/a/temperature", b"9" * 70_000),
    ("s/\xff/temperature", b"\xff"),
)
SOME_VALUES = {b'{"t": 4, "at": 1700009999}'}
MESSAGES = [Message(topic, payload, AT + i, retained=i % 5 == 0) for i, (topic, payload) in enumerate(PAYLOADS)]


class Counts:
    """What the daemon's intake says of the same messages."""

    def __init__(self) -> None:
        self.n: Counter[str] = Counter()

    def rejected(self, reason: Rejection) -> None:
        self.n[f"rejected:{reason}"] += 1

    def skipped(self) -> None:
        self.n["skipped"] += 1

    def restamped(self, n: int) -> None:
        self.n["restamped"] += n


class Task:
    """A reader, and all its rows."""

    def __init__(self, folder: Path, *, now: float = AT + 100.0, **given: Any) -> None:  # noqa: ANN401 - settings
        self.settings = loaded(folder, **{"rest": INPUTS, "fleet": "buckets = 5", **given})
        self.models: Models = load_models(self.settings)
        self.reader = Reader(self.settings.for_executors(), self.models, now)
        self.rows: list[dict[str, Any]] = []

    def read(self, messages: list[Message], damaged: int = 0) -> list[dict[str, Any]]:
        return self._noted(self.reader.read(messages, damaged))

    def end(self) -> list[dict[str, Any]]:
        return self._noted(self.reader.end())

    def _noted(self, columns: Columns) -> list[dict[str, Any]]:
        assert list(columns) == [column.split()[0] for column in READ.split(", ")]
        assert len({len(column) for column in columns.values()}) == 1
        new = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        self.rows += new
        return new

    def of(self, kind: Read) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["kind"] == kind]

    @property
    def counts(self) -> dict[str, int]:
        return {row["device"]: row["n"] for row in self.of(Read.COUNT)}


def numbers(n: int, *, start: float = AT, device: str = "a") -> list[Message]:
    return [Message(f"s/{device}/temperature", str(i).encode(), start + i, retained=False) for i in range(n)]


@pytest.mark.parametrize("sizes", [[len(MESSAGES)], [1] * len(MESSAGES), [7, 8, 5]])
@pytest.mark.parametrize("future", ["reject", "restamp"])
def test_rows_are_the_readings_of_the_daemon_s_intake(tmp_path: Path, sizes: list[int], future: str) -> None:
    task = Task(tmp_path, rest=f'{INPUTS}[limits]\nfuture = "{future}"\n')
    counts = Counts()
    daemon = Intake(
        decoder_of(task.settings, task.models.rest.card),
        counts,
        Complaints(),
        n_feature=1,
        restamp_after_s=300.0 if future == "restamp" else None,
    )
    left = list(MESSAGES)
    departures: list[tuple[str, float]] = []
    for size in sizes:
        some, left = left[:size], left[size:]
        taken = daemon.take(some)
        rows = task.read(some)
        readings = [row for row in rows if row["kind"] == Read.READING]
        assert [(row["device"], row["metric"]) for row in readings] == [tuple(key) for key in taken.batch.keys]
        assert [row["at"] for row in readings] == taken.batch.at.tolist()
        assert [row["received_at"] for row in readings] == taken.batch.received_at.tolist()
        assert [struct.unpack("<d", row["measured"]) for row in readings] == [tuple(v) for v in taken.batch.values]
        seeds = np.zeros(len(readings), np.bool_) if taken.batch.seed is None else taken.batch.seed
        assert [row["seed"] for row in readings] == seeds.tolist()
        departures += taken.departures
    task.end()
    assert [(row["device"], row["received_at"]) for row in task.of(Read.DEPARTURE)] == departures
    assert task.counts == {name: n for name, n in counts.n.items() if n}
    assert [row["n"] for row in task.of(Read.READING)] == list(range(len(task.of(Read.READING))))
    assert len(task.of(Read.READING)) == 11
    assert {"plug", "cold"} <= {device for device, _ in departures}


def test_every_message_is_readings_or_rejected_or_skipped_or_a_departure(tmp_path: Path) -> None:
    for message in MESSAGES:
        if message.topic == "tele/other/LWT":
            continue  # see below
        task = Task(tmp_path)
        task.read([message])
        task.end()
        rejected = sum(n for name, n in task.counts.items() if name.startswith("rejected:"))
        departures = len(task.of(Read.DEPARTURE))
        outcomes = [len(task.of(Read.READING)) > 0, task.counts.get("skipped") == 1, rejected > 0]
        assert sum(outcomes) == 1 + (message.payload in SOME_VALUES), message
        assert departures == (message.payload.lower() == b"offline")
        assert departures == 0 or "skipped" in task.counts  # it is no reading
    task = Task(tmp_path)
    task.read([one for one in MESSAGES if one.topic == "tele/other/LWT"])
    assert task.rows == []  # who is back is not going


def test_each_row_is_dealt_to_the_bucket_of_its_device(tmp_path: Path) -> None:
    task = Task(tmp_path)
    task.read(MESSAGES)
    rows = [*task.of(Read.READING), *task.of(Read.DEPARTURE)]
    assert len({row["bucket"] for row in rows}) > 2
    assert [row["bucket"] for row in rows] == [bucket_of(row["device"], 5) for row in rows]
    plug = {row["bucket"] for row in rows if row["device"].partition(":")[0] == "plug"}
    assert len(plug) == 1


def test_every_bucket_is_told_from_when_to_when_a_task_has_read(tmp_path: Path) -> None:
    task = Task(tmp_path)
    task.read(numbers(10, start=AT + 20.0))
    task.read([Message("nowhere", b"1", AT + 5.0, retained=False), Message("s/a/t", b"x", AT + 44.0, retained=False)])
    task.read([])
    assert task.of(Read.CLOCK) == []
    task.end()
    clocks = task.of(Read.CLOCK)
    assert [row["bucket"] for row in clocks] == list(range(5))
    assert {(row["at"], row["received_at"]) for row in clocks} == {(AT + 5.0, AT + 44.0)}


@pytest.mark.parametrize("arrival", [AT + 400.1, 1e300, math.inf, -math.inf, math.nan])
def test_an_arrival_that_is_no_time_or_is_to_come_is_rejected_and_moves_no_clock(
    tmp_path: Path, arrival: float
) -> None:
    task = Task(tmp_path)  # at AT + 100, and 300 seconds are allowed
    task.read([*numbers(2), Message("s/a/temperature", b"4", arrival, retained=False), *numbers(1, start=AT + 9.0)])
    task.end()
    assert [row["received_at"] for row in task.of(Read.READING)] == [AT, AT + 1.0, AT + 9.0]
    assert {(row["at"], row["received_at"]) for row in task.of(Read.CLOCK)} == {(AT, AT + 9.0)}
    assert task.counts == {"rejected:from_future": 1}


def test_a_task_whose_messages_are_all_unusable_says_nothing_of_the_time(tmp_path: Path) -> None:
    task = Task(tmp_path)
    task.read([Message("s/a/t", b"4", math.nan, retained=False)], damaged=2)
    task.end()
    assert {row["kind"] for row in task.rows} == {Read.COUNT}
    assert task.counts == {"rejected:from_future": 1, "rejected:malformed": 2}


def test_an_arrival_is_allowed_to_be_as_far_ahead_as_a_reading(tmp_path: Path) -> None:
    task = Task(tmp_path, rest=f"{INPUTS}[limits]\nmax_future_s = 1000.0\n")
    task.read(numbers(1, start=AT + 1100.0))
    assert len(task.of(Read.READING)) == 1


def test_what_is_damaged_is_counted_over_all_parts_of_a_task(tmp_path: Path) -> None:
    task = Task(tmp_path)
    task.read(numbers(1), damaged=3)
    task.read([], damaged=4)
    assert task.of(Read.COUNT) == []
    task.end()
    assert task.counts == {"rejected:malformed": 7}
    assert {row["bucket"] for row in task.of(Read.COUNT)} == {0}


@pytest.mark.parametrize("apart_s", [0.0, 1.0])
def test_the_features_of_a_model_must_come_in_one_message(tmp_path: Path, apart_s: float) -> None:
    task = Task(tmp_path, model=PAIR)
    at = AT + apart_s
    task.read(
        [
            Message("s/a/humidity", b"50", AT, retained=False),
            Message("s/a/temperature", b"4", at, retained=False),
            Message("j/b", b'{"t": 4, "h": 50, "at": 1700000000}', AT, retained=False),
        ]
    )
    (row,) = task.of(Read.READING)
    assert (row["device"], struct.unpack("<2d", row["measured"])) == ("b", (4.0, 50.0))
    task.end()
    assert sum(task.counts.values()) == 2


def test_a_reading_of_a_smaller_model_is_as_wide_as_that_of_the_widest(tmp_path: Path) -> None:
    task = Task(tmp_path, rest=f'{INPUTS}[[monitors]]\ndevice = "b"\nmetric = "temperature"\nmodel = "{PAIR}"\n')
    task.read(
        [
            Message("s/a/temperature", b"7", AT, retained=False),
            Message("j/b", b'{"t": 4, "h": 50, "at": 1700000000}', AT, retained=False),
        ]
    )
    found = {(row["device"], row["metric"]): struct.unpack("<2d", row["measured"]) for row in task.of(Read.READING)}
    assert found["a", "temperature"] == (7.0, 0.0)
    assert found["b", "temperature"] == (4.0, 50.0)
