"""History through the buckets: what a backtest says of it, by whatever columns it came."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from tests.chaos.streams import Reading, numbered
from tests.fleet.spark.fleets import backtest_said, fleet_settings


def backfilled(config: Path, data: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "forewarn", "fleet", "backfill", "--config", str(config)]
    return subprocess.run(
        [*command, "--data", str(data), "--out", str(out), *options], capture_output=True, text=True, check=False
    )


def columns(readings: list[Reading]) -> dict[str, list[object]]:
    payloads = [json.loads(one.payload) for one in readings]
    return {
        "timestamp": [datetime.fromtimestamp(one["time"], UTC) for one in payloads],
        "device": [one.topic.split("/")[1] for one in readings],
        "temperature": [one["value"] for one in payloads],
    }


def test_a_backfill_says_what_a_backtest_says(tmp_path: Path) -> None:
    readings = numbered(6_000, 30)
    table = pa.table(columns(readings))
    data = tmp_path / "data"
    for part in range(3):  # the newest first, in folders
        (data / f"part={part}").mkdir(parents=True)
        pq.write_table(table.slice(4_000 - 2_000 * part, 2_000), data / f"part={part}" / "one.parquet")
    gaps = {"timestamp": [None, *columns(readings[:1])["timestamp"]], "device": ["d0", "x"], "temperature": [4.0, None]}
    pq.write_table(pa.table(gaps, table.schema), data / "gaps.parquet")
    out = tmp_path / "out"
    done = backfilled(fleet_settings(tmp_path / "job"), data, out)
    assert done.returncode == 0, done.stderr
    past = backtest_said(tmp_path, readings)
    scores = pyarrow.dataset.dataset(out / "scores", format="parquet").to_table().to_pydict()
    names = ("status", "expected", "lower", "upper", "residual", "score", "threshold", "alert")
    every = zip(scores["device"], scores["at"], *(scores[name] for name in names), strict=True)
    rows = [row for row in every if row[2] != "not_finite"]
    said = {(device, at): tuple(None if one != one else one for one in rest) for device, at, *rest in rows}  # noqa: PLR0124 - NaN
    assert said == past.scores
    alerts = pyarrow.dataset.dataset(out / "alerts", format="parquet").to_table().to_pydict()
    told = [json.loads(payload) for payload in alerts["payload"]]
    assert {(a["id"], a["sequence"]): {**a, "received_at": None, "model": None} for a in told} == past.alerts
    assert len(told) == len(past.alerts) > 30
    summary = json.loads((out / "summary.json").read_text())
    assert summary["readings"].pop("not_finite") == 2
    assert sum(summary["readings"].values()) == len(rows) == 6_000
    assert sum(summary["raised"].values()) == sum(a["type"] == "raised" for a in told)
    assert f"6002 readings: 2 not_finite, {summary['readings']['scored']} scored" in done.stdout


def test_a_folder_that_is_in_use_and_one_without_parquet_are_refused(tmp_path: Path) -> None:
    config = fleet_settings(tmp_path / "job")
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("")
    refused = backfilled(config, tmp_path, out)
    assert refused.returncode == 2
    assert "--out" in refused.stderr
    (tmp_path / "empty").mkdir()
    missing = backfilled(config, tmp_path / "empty", tmp_path / "new")
    assert missing.returncode == 1
    assert "no .parquet file in it" in missing.stderr
