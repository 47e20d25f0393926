"""Two models in one daemon, on a real broker: each judges its series, through a reload and a kill."""

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from forewarn.adapters.onnx_forecaster import STARTER
from tests.brokers import BrokerProcess, Subscriber
from tests.daemons import INSTANCE, TINY, DaemonProcess, settings_file
from tests.service.test_reload import eventually

PAIR = TINY.with_name("pair.onnx")
TIMED = TINY.with_name("timed.onnx")
INPUTS = """
[[inputs]]
topic = "sensors/{{device}}/{{metric}}"
dialect = "json"
value = "value"
time = "time"
[[monitors]]
device = "freezer-*"
metric = "temperature"
model = "{freezers}"
alerts = {{ threshold = 3.0, threshold_mode = "absolute" }}
[[monitors]]
device = "boiler"
model = "{boilers}"
"""
AT = 1.7e9


def series(subscriber: Subscriber, device: str, metric: str, start: int, values: list[float]) -> None:
    for i, value in enumerate(values, start):
        subscriber.publish(f"sensors/{device}/{metric}", json.dumps({"time": AT + 10.0 * i, "value": value}))


def calm(n: int, level: float = 4.0) -> list[float]:
    return [level + 0.05 * (i % 3) for i in range(n)]


def documents(subscriber: Subscriber, branch: str) -> list[dict[str, Any]]:
    return [json.loads(m.payload) for m in subscriber.messages if f"/{branch}/" in m.topic and m.payload]


def alerts(subscriber: Subscriber, device: str) -> list[tuple[str, str, str]]:
    found = [a for a in documents(subscriber, "alerts") if a["device"] == device and a["kind"] != "silent"]
    return [(a["type"], a["id"], a["model"]["name"]) for a in found]


def statuses(subscriber: Subscriber, device: str, since: int) -> list[str]:
    forecasts = documents(subscriber, "forecast")
    return [one["status"] for one in forecasts if one["device"] == device and one["at"] >= AT + 10.0 * since]


def models(daemon: DaemonProcess) -> set[str]:
    """Those that the daemon says that it runs."""
    return set(re.findall(r'forewarn_model_info\{.*?name="(\w+)"', daemon.get("/metrics")[1]))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The models' files, which a test may exchange."""
    places = {"freezers": tmp_path / "freezers.onnx", "boilers": tmp_path / "boilers.onnx"}
    shutil.copy(TINY, places["freezers"])
    shutil.copy(PAIR, places["boilers"])
    return places


def test_each_model_judges_its_series_through_a_reload_of_one_and_a_kill(
    broker: BrokerProcess, tmp_path: Path, files: dict[str, Path]
) -> None:
    config = settings_file(tmp_path, broker, INPUTS.format(**files), model=STARTER)
    with Subscriber(broker, f"forewarn/{INSTANCE}/#") as subscriber, DaemonProcess(config) as daemon:
        for i in range(60):
            series(subscriber, "freezer-1", "temperature", i, calm(60)[i : i + 1])
            series(subscriber, "boiler", "humidity", i, [40.0])
            series(subscriber, "boiler", "temperature", i, calm(60, 60.0)[i : i + 1])
            series(subscriber, "room", "temperature", i, calm(60, 20.0)[i : i + 1])
        for device, value in (("freezer-1", 14.0), ("boiler", 75.0), ("room", 40.0)):
            series(subscriber, device, "temperature", 60, [value])
        daemon.wait_for_sample("forewarn_readings_received_total", 3 * 61)
        names = {"freezer-1": "tiny", "boiler": "pair", "room": "starter"}
        eventually(lambda: all(alerts(subscriber, device) for device in names))
        first = {device: alerts(subscriber, device) for device in names}
        assert {device: told[0][2] for device, told in first.items()} == names
        assert models(daemon) == {"tiny", "pair", "starter"}
        metrics = daemon.get("/metrics")[1]
        assert 'device="boiler"' in metrics
        assert 'metric="humidity"' not in metrics  # a feature of the model that takes the device, and no series
        assert all(name in daemon.get("/")[1] for name in ("tiny 1", "pair 1", "starter 2"))

        # One model is another by now: the daemon takes all up again, and nothing begins anew.
        shutil.copy(TIMED, tmp_path / "other.onnx")
        (tmp_path / "other.onnx").replace(files["freezers"])
        eventually(lambda: daemon.sample("forewarn_reloads_total", result="taken") == 1)
        assert models(daemon) == {"timed", "pair", "starter"}
        files["boilers"].write_bytes(b"no model at all")
        eventually(lambda: daemon.sample("forewarn_reloads_total", result="refused") == 1)
        assert "reload refused, going on as before: monitors.1:" in daemon.log.read_text()
        assert models(daemon) == {"timed", "pair", "starter"}

        series(subscriber, "boiler", "humidity", 61, [40.0])
        for device, level in (("freezer-1", 4.0), ("boiler", 60.0), ("room", 20.0)):
            series(subscriber, device, "temperature", 61, calm(12, level))
        eventually(lambda: all(alerts(subscriber, device)[-1][0] == "cleared" for device in names))
        for device, (_, alert_id, _) in ((device, told[0]) for device, told in first.items()):
            assert {told[1] for told in alerts(subscriber, device)} == {alert_id}
            eventually(lambda device=device: len(statuses(subscriber, device, 61)) == 12)  # type: ignore[misc]  # the same
            assert set(statuses(subscriber, device, 61)) == {"scored"}
        assert alerts(subscriber, "freezer-1")[-1][2] == "timed"
        assert alerts(subscriber, "boiler")[-1][2] == "pair"

        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait()
        shutil.copy(PAIR, files["boilers"])
        daemon.__enter__()
        assert "restored 3 series" in daemon.log.read_text()
        series(subscriber, "boiler", "humidity", 73, [40.0])
        for device, level in (("freezer-1", 4.0), ("boiler", 60.0), ("room", 20.0)):
            series(subscriber, device, "temperature", 73, calm(5, level))
            eventually(lambda device=device: len(statuses(subscriber, device, 73)) == 5)  # type: ignore[misc]  # bound at once
            assert set(statuses(subscriber, device, 73)) == {"scored"}


@pytest.mark.parametrize("stopped", [False, True])
def test_a_series_whose_new_model_has_other_features_begins_anew_and_its_alert_is_cleared(
    broker: BrokerProcess, tmp_path: Path, files: dict[str, Path], stopped: bool
) -> None:
    monitored = INPUTS.format(**files)
    plain = monitored[: monitored.index("[[monitors]]")]
    config = settings_file(tmp_path, broker, plain, model=TINY)
    with Subscriber(broker, f"forewarn/{INSTANCE}/#") as subscriber, DaemonProcess(config) as daemon:
        for device in ("boiler", "room"):
            series(subscriber, device, "temperature", 0, [*calm(60, 60.0), 75.0])
        daemon.wait_for_sample("forewarn_readings_received_total", 2 * 61)
        eventually(lambda: alerts(subscriber, "boiler") and alerts(subscriber, "room"))
        ((_, alert_id, _),) = alerts(subscriber, "boiler")
        settings_file(tmp_path, broker, monitored, model=TINY)
        state = f"forewarn/{INSTANCE}/state/boiler/temperature"
        eventually(lambda: any(m.topic == state and m.payload for m in subscriber.messages))
        if stopped:
            os.kill(daemon.process.pid, signal.SIGKILL)  # what came since the snapshot is of the old features
            daemon.process.wait()
            daemon.__enter__()
            assert daemon.sample("forewarn_devices") == 1
        else:
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for_log("1 series go on, 1 begin anew")
            eventually(lambda: ("cleared", alert_id, "pair") in alerts(subscriber, "boiler"))
        eventually(lambda: [m.payload for m in subscriber.messages if m.topic == state][-1] == b"")
        assert daemon.sample("forewarn_alerts_active", kind="residual") == 1
        series(subscriber, "boiler", "humidity", 61, [40.0])
        series(subscriber, "boiler", "temperature", 61, calm(4, 60.0))
        series(subscriber, "room", "temperature", 61, calm(4, 60.0))
        eventually(lambda: len(statuses(subscriber, "boiler", 61)) == len(statuses(subscriber, "room", 61)) == 4)
        assert set(statuses(subscriber, "boiler", 61)) == {"warming_up"}
        assert set(statuses(subscriber, "room", 61)) == {"scored"}
