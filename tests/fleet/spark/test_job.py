"""What a job does beside judging: order, silence, models, sinks, and what it says when it cannot go on."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from forewarn.adapters.onnx_forecaster import resolve_model
from tests.brokers import Mosquitto, Subscriber
from tests.chaos.streams import STARTED_AT, Reading, numbered
from tests.daemons import TINY
from tests.fleet.spark.fleets import JSON_INPUT, QUIET, command, fleet_said, fleet_settings, land, put, run_once
from tests.ports import free_port

STARTER = resolve_model("starter")


def line(reading: Reading, received_at: float | None = None, **more: object) -> str:
    own = {} if received_at is None else {"received_at": received_at}
    return json.dumps({**reading._asdict(), **own, **more})


def reading(device: str, nth: int, value: float = 4.0) -> Reading:
    at = STARTED_AT + 10.0 * nth
    return Reading(f"sensors/{device}/temperature", json.dumps({"time": at, "value": value}))


@contextmanager
def running(config: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    with config.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command(config, *options), stdout=log, stderr=log, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, config.with_suffix(".log").read_text()


def wait_until(condition: Callable[[], bool], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def statuses(folder: Path) -> Counter[str]:
    table = pyarrow.dataset.dataset(folder / "scores", format="parquet").to_table()
    return Counter(table["status"].to_pylist())


def test_readings_are_judged_in_the_order_of_their_times_within_the_bound(tmp_path: Path) -> None:
    config = fleet_settings(tmp_path, lateness_s=60.0, files_per_batch=1)
    one = [reading("a", nth, 4.0 + nth % 3) for nth in range(60)]
    for i in range(0, 60, 3):  # three by three backwards, and one in the file after its own
        one[i], one[i + 2] = one[i + 2], one[i]
    one[19], one[22] = one[22], one[19]
    inbox = tmp_path / "landing"
    inbox.mkdir()
    arrivals = [STARTED_AT + 10.0 * nth for nth in range(60)]
    late = line(reading("a", 3), STARTED_AT + 590.0)
    rows = [line(r, max(at, json.loads(r.payload)["time"])) for r, at in zip(one, arrivals, strict=True)]
    for nth in range(6):
        put(inbox / f"{nth}.jsonl", [*rows[10 * nth : 10 * nth + 10], *([late] if nth == 5 else [])], nth)
    put(inbox / "7.jsonl", [line(reading("z", 0), STARTED_AT + 10_000.0)], 7)  # the clock goes on
    done = run_once(config)
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path) == {"warming_up": 61, "out_of_order": 1}


def test_every_message_ends_somewhere(tmp_path: Path) -> None:
    port = free_port()
    config = fleet_settings(tmp_path, scores=False, files_per_batch=1)
    config.write_text(config.read_text().replace("port = 0", f"port = {port}"))
    inbox = tmp_path / "landing"
    inbox.mkdir()
    now = STARTED_AT + 1e5
    lines = [line(one, now) for one in numbered(300, 3)]
    lines += lines[-3:]
    lines += ["{not json", '{"topic": 7', '{"topic": "sensors/a/temperature"}', "plain"]
    lines += [line(Reading("other/topic", "1"), now), line(Reading("sensors/a/temperature", "{}"), now)]
    lines += [line(reading("a", 0), 9e12)]
    lines += [json.dumps({"topic": "sensors/q/temperature", "payload_base64": "eyJ2YWx1ZSI6IDF9"})]  # without a time
    put(inbox / "0.jsonl", lines, 0)
    old = [line(one, now) for one in numbered(30, 3)]  # before the last ones of their series
    put(inbox / "1.jsonl", old, 1)
    with running(config):
        wait_until(lambda: total(scrape(port)) == len(lines) + len(old))
        said = scrape(port)
    accepted = [said[f'forewarn_fleet_readings_total{{outcome="{name}"}}'] for name in ("scored", "warming_up")]
    assert sum(accepted) == 300
    reasons = {name: n for name, n in said.items() if name.startswith("forewarn_fleet_rejections_total") and n}
    assert reasons == {
        f'forewarn_fleet_rejections_total{{reason="{reason}"}}': n
        for reason, n in {
            "from_future": 1,
            "duplicate": 3,
            "out_of_order": 30,
            "no_route": 1,
            "malformed": 4,
            "bad_time": 2,
        }.items()
    }
    assert said["forewarn_fleet_series"] == 3


def scrape(port: int) -> dict[str, float]:
    """The samples of a job's own port, nothing while it is not open."""
    asked = subprocess.run(
        ["curl", "-s", f"http://127.0.0.1:{port}/metrics"], capture_output=True, text=True, check=False
    )
    rows = (row.rpartition(" ") for row in asked.stdout.splitlines() if not row.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def total(said: dict[str, float]) -> float:
    return sum(value for name, value in said.items() if name.startswith("forewarn_fleet_readings_total"))


def test_silence_is_told_although_nothing_comes_any_more(tmp_path: Path) -> None:
    config = fleet_settings(tmp_path, JSON_INPUT + "[faults]\nsilent_min_s = 2.0\nsilent_factor = 1.0\n", trigger_s=0.5)
    inbox = tmp_path / "landing"
    inbox.mkdir()
    rows = [line(reading("a", nth), STARTED_AT + 0.5 * nth + 1e5) for nth in range(60)]
    put(inbox / "0.jsonl", rows, 0)
    with running(config):
        wait_until(lambda: bool(alert_lines(tmp_path)))
    (alert,) = fleet_said(tmp_path).alerts.values()
    assert alert["kind"] == "silent"
    assert alert["at"] == STARTED_AT + 1e5 + 29.5 + 2.5


def test_one_that_is_silent_among_others_is_told_by_their_clock(tmp_path: Path) -> None:
    config = fleet_settings(tmp_path, JSON_INPUT, files_per_batch=1)
    inbox = tmp_path / "landing"
    inbox.mkdir()
    for part in range(4):
        rows = [
            line(reading(device, nth), STARTED_AT + 10.0 * nth)
            for nth in range(40 * part, 40 * part + 40)
            for device in ("a", "b")
            if device == "a" or nth < 60
        ]
        put(inbox / f"{part}.jsonl", rows, part)
    done = run_once(config)
    assert done.returncode == 0, done.stderr
    silent = [alert for alert in fleet_said(tmp_path).alerts.values() if alert["kind"] == "silent"]
    assert [(alert["device"], alert["type"], alert["at"]) for alert in silent] == [
        ("b", "raised", STARTED_AT + 590.0 + 51.0)
    ]


def test_a_signal_to_the_job_and_to_spark_at_once_ends_it_without_noise(tmp_path: Path) -> None:
    config = fleet_settings(tmp_path, trigger_s=0.2)
    land(numbered(1_000, 10), tmp_path / "landing", 1)
    log = config.with_suffix(".log")
    with log.open("w") as stream:
        process = subprocess.Popen(command(config), stdout=stream, stderr=stream, start_new_session=True)
    wait_until(lambda: n_score(tmp_path) == 1_000)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 0
    assert [line for line in log.read_text().splitlines() if " INFO " not in line] == []


def test_more_partitions_and_cores_lose_no_state(tmp_path: Path) -> None:
    readings = numbered(6_000, 30)
    whole = tmp_path / "whole"
    land(readings, whole / "landing", 4)
    assert run_once(fleet_settings(whole)).returncode == 0
    cut = tmp_path / "cut"
    land(readings[:3_000], cut / "landing", 2)
    assert run_once(fleet_settings(cut, cores=1)).returncode == 0
    land(readings[3_000:], cut / "landing", 7, first=2)
    config = fleet_settings(cut, cores=2)
    config.write_text(config.read_text().replace('partitions" = "2"', 'partitions" = "5"'))
    done = run_once(config)
    assert done.returncode == 0, done.stderr
    assert fleet_said(cut) == fleet_said(whole)


def test_a_new_model_is_taken_between_two_micro_batches_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(TINY, model)
    config = fleet_settings(tmp_path, f'model = "{model}"\n' + JSON_INPUT + QUIET, trigger_s=0.2)
    readings = numbered(3_000, 10)
    land(readings[:1_000], tmp_path / "landing", 1)
    log = config.with_suffix(".log")
    with running(config):
        wait_until(lambda: n_score(tmp_path) == 1_000)
        swap(model, b"nothing")
        wait_until(lambda: "the models stay as they are" in log.read_text())
        land(readings[1_000:2_000], tmp_path / "landing", 1, first=1)
        wait_until(lambda: n_score(tmp_path) == 2_000)
        swap(model, STARTER.read_bytes())
        wait_until(lambda: "begins with new models" in log.read_text())
        land(readings[2_000:], tmp_path / "landing", 1, first=2)
        wait_until(lambda: n_score(tmp_path) == 3_000)
    generations = json.loads((tmp_path / "models" / "generations.json").read_text())
    assert [len(one["files"]) for one in generations] == [1, 1]
    models = {json.loads(text)["model"]["sha256"] for text in alert_lines(tmp_path)}
    assert models <= {next(iter(one["files"].values())) for one in generations}


def n_score(folder: Path) -> int:
    """How many readings' verdicts are there, of micro-batches that are whole."""
    files = [path for part in (folder / "scores").glob("batch=*/_SUCCESS") for path in part.parent.glob("*.parquet")]
    return sum(pq.read_metadata(path).num_rows for path in files)


def swap(path: Path, content: bytes) -> None:
    draft = path.with_name("draft")
    draft.write_bytes(content)
    draft.replace(path)


def alert_lines(folder: Path) -> list[str]:
    return [text for path in (folder / "alerts").glob("*.jsonl") for text in path.read_text().splitlines()]


def test_alerts_go_to_a_broker_as_the_daemon_would_publish_them(tmp_path: Path, mosquitto: Mosquitto) -> None:
    instance = "fleet-mqtt"
    more = 'alerts = ["files", "mqtt"]'
    config = fleet_settings(tmp_path, JSON_INPUT + QUIET + f"[mqtt]\nport = {mosquitto.port}\n", more=more)
    config.write_text(config.read_text().replace('instance = "test"', f'instance = "{instance}"'))
    land(numbered(3_000, 20), tmp_path / "landing", 2)
    with Subscriber(mosquitto, f"forewarn/{instance}/alerts/#") as subscriber:
        done = run_once(config)
        assert done.returncode == 0, done.stderr
        written = alert_lines(tmp_path)
        assert written
        messages = subscriber.wait_for_count(len(written))
    assert [message.payload.decode() for message in messages] == [
        text for path in sorted((tmp_path / "alerts").glob("*.jsonl")) for text in path.read_text().splitlines()
    ]
    assert all(message.qos == 1 and not message.retain for message in messages)


def test_parquet_files_land_as_well(tmp_path: Path) -> None:
    readings = numbered(2_000, 10)
    lines = tmp_path / "lines"
    land(readings, lines / "landing", 1)
    assert run_once(fleet_settings(lines)).returncode == 0
    table = tmp_path / "table"
    (table / "landing").mkdir(parents=True)
    columns = {
        "topic": [one.topic for one in readings],
        "payload": [one.payload for one in readings],
        "received_at": [STARTED_AT + 1e6 + 1e-3 * nth for nth in range(len(readings))],
    }
    pq.write_table(pa.table(columns), table / "landing" / "0.parquet")
    done = run_once(fleet_settings(table, more='landing_format = "parquet"'))
    assert done.returncode == 0, done.stderr
    assert fleet_said(table) == fleet_said(lines)
    assert len(fleet_said(table).scores) == 2_000
