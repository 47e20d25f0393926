"""One stream of readings through the daemon, a backtest and a fleet job, and what each said of it, in one form."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.dataset

from forewarn.adapters.onnx_forecaster import load_model, resolve_model
from forewarn.backtest import Backtest, backtest
from forewarn.core.alerts import SeriesEvicted
from forewarn.core.patterns import Choice
from forewarn.core.readings import status_name
from forewarn.history import read_history
from forewarn.messages import ModelTold, Phrasebook
from forewarn.settings import Settings
from tests.brokers import Mosquitto, Subscriber
from tests.chaos.streams import STARTED_AT, Publisher, Reading
from tests.daemons import DaemonProcess, settings_file

JSON_INPUT = """
[[inputs]]
topic = "sensors/{device}/{metric}"
dialect = "json"
value = "value"
time = "time"
"""
QUIET = "[faults]\nsilent = false\n"
_FLEET = """
instance = "test"
[metrics]
port = 0
[fleet]
folder = "{folder}"
buckets = {buckets}
lateness_s = {lateness_s}
files_per_batch = {files_per_batch}
trigger_s = {trigger_s}
scores = {scores}
{more}
[fleet.spark]
"spark.master" = "local[{cores},4]"
"spark.ui.enabled" = "false"
"spark.sql.shuffle.partitions" = "2"
"""

Alerts = dict[tuple[str, int], dict[str, Any]]
"""Messages about alerts by id and sequence, but for when readings arrived and for the model."""
Scores = dict[tuple[str, float], tuple[object, ...]]
"""By device and time what was said of each reading."""


class Said(NamedTuple):
    """What was said of a stream."""

    alerts: Alerts
    scores: Scores


def fleet_settings(
    folder: Path,
    inputs: str = JSON_INPUT + QUIET,
    *,
    buckets: int = 4,
    lateness_s: float = 0.0,
    files_per_batch: int = 2,
    trigger_s: float = 0.0,
    scores: bool = True,
    cores: int = 2,
    more: str = "",
) -> Path:
    """Settings of a job in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = _FLEET.format(
        folder=folder,
        buckets=buckets,
        lateness_s=lateness_s,
        files_per_batch=files_per_batch,
        trigger_s=trigger_s,
        scores=str(scores).lower(),
        cores=cores,
        more=more,
    )
    path = folder / "fleet.toml"
    path.write_text(f"{text.partition('[metrics]')[0]}{inputs}[metrics]{text.partition('[metrics]')[2]}")
    return path


def command(config: Path, *options: str) -> list[str]:
    """The command that runs a job."""
    return [sys.executable, "-m", "forewarn", "fleet", "run", "--config", str(config), *options]


def run_once(config: Path, *options: str, timeout_s: float = 600.0) -> subprocess.CompletedProcess[str]:
    """Run a job until all that is there has been judged."""
    return subprocess.run(
        command(config, "--once", *options), capture_output=True, text=True, timeout=timeout_s, check=False
    )


def workers(parent: int) -> list[int]:
    """The Python workers below a process."""
    found, below = [], {parent}
    for line in subprocess.check_output(["ps", "-eo", "pid,ppid,args", "--sort", "pid"], text=True).splitlines()[1:]:
        pid, ppid, args = line.split(None, 2)
        if int(ppid) in below:
            below.add(int(pid))
            if "pyspark" in args and "daemon" in args:
                found.append(int(pid))
    return found


def shuffled(readings: Sequence[Reading], seed: int = 1) -> list[Reading]:
    """In another order between devices; each device's own stay in theirs."""
    by_device: dict[str, list[Reading]] = {}
    for one in readings:
        by_device.setdefault(one.topic, []).append(one)
    turns = [one.topic for one in readings]
    random.Random(seed).shuffle(turns)
    rests = {topic: iter(own) for topic, own in by_device.items()}
    return [next(rests[topic]) for topic in turns]


def land(readings: Sequence[Reading], folder: Path, n_file: int, *, first: int = 0) -> None:
    """Put readings into a landing folder, in their order; they arrive after the last of their times."""
    folder.mkdir(parents=True, exist_ok=True)
    arrival = STARTED_AT + 1e6
    per_file = -(-len(readings) // n_file)
    for i in range(n_file):
        part = readings[i * per_file : (i + 1) * per_file]
        lines = [
            json.dumps({**one._asdict(), "received_at": arrival + 1e-3 * (i * per_file + nth)})
            for nth, one in enumerate(part)
        ]
        put(folder / f"{first + i:06d}.jsonl", lines, first + i)


def put(path: Path, lines: Sequence[str], nth: int) -> None:
    """A file of a landing folder, under its name once it is whole, and by its time the nth."""
    draft = path.with_name(f".{path.name}")
    draft.write_text("".join(f"{line}\n" for line in lines))
    os.utime(draft, (STARTED_AT + nth, STARTED_AT + nth))
    draft.rename(path)


def fleet_said(folder: Path) -> Said:
    """What a job wrote. Repeats of an alert have to be the same."""
    alerts: Alerts = {}
    for path in sorted((folder / "alerts").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            _add(alerts, json.loads(line))
    scores: Scores = {}
    if (folder / "scores").exists():
        table = pyarrow.dataset.dataset(folder / "scores", format="parquet").to_table().to_pydict()
        names = ("status", "expected", "lower", "upper", "residual", "score", "threshold", "alert")
        for device, at, *said in zip(table["device"], table["at"], *(table[name] for name in names), strict=True):
            scores[device, at] = tuple(_plain(one) for one in said)
    return Said(alerts, scores)


def daemon_said(folder: Path, broker: Mosquitto, readings: Sequence[Reading], rate: float) -> Said:
    """What the daemon says of the same stream."""
    folder.mkdir()
    config = settings_file(folder, broker, JSON_INPUT + QUIET, model=resolve_model("starter"), detector="tail")
    more = "[limits]\nmax_queue = 1000000\n"
    config.write_text(config.read_text() + more)
    with Subscriber(broker, "forewarn/test/alerts/#", "forewarn/test/forecast/#") as subscriber:
        with DaemonProcess(config) as daemon:
            with Publisher(broker, readings, rate) as publisher:
                publisher.wait(3600)
            subscriber.wait_for_count(len(readings), 300)
            while not all_told(daemon, subscriber):
                pass
        alerts: Alerts = {}
        scores: Scores = {}
        for message in subscriber.messages:
            told = json.loads(message.payload)
            if "/alerts/" in message.topic:
                _add(alerts, told)
            else:
                names = ("status", "expected", "lower", "upper", "residual", "score", "threshold", "alert")
                scores[told["device"], told["at"]] = tuple(told[name] for name in names)
    return Said(alerts, scores)


def all_told(daemon: DaemonProcess, subscriber: Subscriber) -> bool:
    """Whether everything that the daemon published has arrived."""
    before = len(subscriber.messages)
    daemon.get("/metrics")
    try:
        subscriber.wait_for_count(before + 1, 1.0)
    except TimeoutError:
        return True
    return False


def backtest_rate(folder: Path, readings: Sequence[Reading]) -> float:
    """Readings a second of the plain core."""
    return _backtest(folder, readings).readings_per_s


def _backtest(folder: Path, readings: Sequence[Reading]) -> Backtest:
    path = folder / "history.csv"
    with path.open("w") as file:
        file.write("timestamp,device,temperature\n")
        for one in readings:
            payload = json.loads(one.payload)
            file.write(f"{payload['time']!r},{one.topic.split('/')[1]},{payload['value']!r}\n")
    settings = Settings.model_validate({"faults": {"silent": False}})
    return backtest(load_model(resolve_model("starter")), settings.rules(), read_history(path))


def backtest_said(folder: Path, readings: Sequence[Reading]) -> Said:
    """What a backtest says of the same stream, in its order."""
    result = _backtest(folder, readings)
    phrases = Phrasebook("forewarn/test", Choice(ModelTold({}, result.unit)), {})
    alerts: Alerts = {}
    for event in result.verdicts.events:
        assert not isinstance(event, SeriesEvicted)
        _add(alerts, json.loads(phrases.alert(event).payload))
    names = ("expected", "lower", "upper", "residual", "score", "threshold", "alert")
    columns = [getattr(result.verdicts, name).tolist() for name in names]
    statuses = [status_name(outcome) for outcome in result.verdicts.outcome.tolist()]
    rows = zip(result.history.device, result.history.at.tolist(), statuses, *columns, strict=True)
    return Said(alerts, {(device, at): tuple(_plain(one) for one in said) for device, at, *said in rows})


def _add(alerts: Alerts, told: dict[str, Any]) -> None:
    key = (told["id"], told["sequence"])
    mine = {**told, "received_at": None, "model": None}
    assert alerts.setdefault(key, mine) == mine


def _plain(one: object) -> object:
    """NaN as None, as JSON has it."""
    return None if isinstance(one, float) and np.isnan(one) else one
