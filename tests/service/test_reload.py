"""Settings and models that change while the daemon runs."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import BrokerProcess, Subscriber
from tests.daemons import INSTANCE, TINY, DaemonProcess, settings_file
from tests.models.generate import TEMPERATURE


def publish(subscriber: Subscriber, device: str, start: int, n: int, value: float = 4.0) -> None:
    for i in range(start, start + n):
        reading = {"time": 1.7e9 + 10.0 * i, "value": value + 0.05 * (i % 3)}
        subscriber.publish(f"sensors/{device}/temperature", json.dumps(reading))


def eventually(says: Callable[[], Any], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not says():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kinds(subscriber: Subscriber) -> list[tuple[str, str, str]]:
    alerts = [json.loads(m.payload) for m in subscriber.messages if "/alerts/" in m.topic]
    return [(a["type"], a["kind"], a["id"]) for a in alerts if a["kind"] != "silent"]


def statuses(subscriber: Subscriber, since: float) -> list[str]:
    """Of the readings from a time on."""
    forecasts = [json.loads(m.payload) for m in subscriber.messages if "/forecast/" in m.topic]
    return [one["status"] for one in forecasts if one["at"] >= since]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file that a test may exchange."""
    path = tmp_path / "model.onnx"
    shutil.copy(TINY, path)
    return path


def longer(path: Path) -> None:
    """Another model in its place, of twice as many steps and other leads, written as a trainer would."""
    pytest.importorskip("torch")
    import numpy as np  # noqa: PLC0415 - with torch alone

    from forewarn.core.card import ModelCard  # noqa: PLC0415 - the same
    from forewarn_training.export import export  # noqa: PLC0415 - the same
    from forewarn_training.model import Network, NetworkSpec  # noqa: PLC0415 - the same

    card = ModelCard("longer", "2", (TEMPERATURE,), "temperature", 12, 5, "2025-01-01T00:00:00Z", interval_s=10.0)
    windows = np.random.default_rng(1).normal(4, 1, (8, 12, 1)).astype(np.float32)
    network = Network(NetworkSpec(12, 1, 0, 5, units=4))
    network.output_scale.fill_(0.01)  # near the last reading
    export(path, network, card, windows, np.ones(8, np.float32), 1.0)


def test_sighup_takes_up_settings_and_refuses_those_that_are_wrong(broker: BrokerProcess, tmp_path: Path) -> None:
    config = settings_file(tmp_path, broker)
    good = config.read_text()
    with Subscriber(broker, f"forewarn/{INSTANCE}/#") as subscriber, DaemonProcess(config) as daemon:
        publish(subscriber, "a", 0, 60)
        publish(subscriber, "a", 60, 1, value=14.0)
        subscriber.wait_for(lambda m: "/alerts/" in m.topic)
        daemon.wait_for_sample("forewarn_readings_received_total", 61)
        for wrong, says in (
            ("[alerts]\nno_such = 1", "no_such"),
            ("not toml", "TOML"),
            ('model = "/nowhere"', "nowhere"),
        ):
            text = good.replace(f'model = "{TINY}"', wrong) if "model" in wrong else f"{good}\n{wrong}"
            config.write_text(text.replace('[alerts]\ndetector = "residual"', "") if "[alerts]" in wrong else text)
            before = daemon.sample("forewarn_reloads_total", result="refused")
            daemon.process.send_signal(signal.SIGHUP)
            eventually(lambda n=before: daemon.sample("forewarn_reloads_total", result="refused") == n + 1)  # type: ignore[misc]  # bound at once
            assert says in daemon.log.read_text().rpartition("reload refused")[2]
        config.write_text(good.replace("[alerts]", "[alerts]\nthreshold = 1000.0\nthreshold_mode = 'absolute'"))
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: daemon.sample("forewarn_reloads_total", result="taken") == 1)
        publish(subscriber, "a", 61, 5)
        eventually(lambda: ("cleared", "residual", kinds(subscriber)[0][2]) in kinds(subscriber))
        publish(subscriber, "a", 66, 1, value=30.0)
        daemon.wait_for_sample("forewarn_readings_received_total", 67)
        time.sleep(0.3)
        assert [kind for kind, _, _ in kinds(subscriber)] == ["raised", "cleared"]
        assert daemon.get("/readyz")[0] == 200
        config.write_text(good.replace("[publish]", "[limits]\nmax_devices = 7\n[publish]"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_log("of limits the changes count from the next start on")


def test_another_model_file_is_taken_up_between_two_batches_and_windows_and_alerts_go_on(
    broker: BrokerProcess, tmp_path: Path, model: Path
) -> None:
    config = settings_file(tmp_path, broker, model=model)
    with Subscriber(broker, f"forewarn/{INSTANCE}/#") as subscriber, DaemonProcess(config) as daemon:
        publish(subscriber, "a", 0, 60)
        publish(subscriber, "a", 60, 2, value=14.0)
        daemon.wait_for_sample("forewarn_readings_received_total", 62)
        eventually(lambda: kinds(subscriber))
        (first,) = [one for one in kinds(subscriber) if one[0] == "raised"]
        model.write_bytes(b"no model at all")
        eventually(lambda: daemon.sample("forewarn_reloads_total", result="refused") == 1)
        longer(model)
        eventually(lambda: daemon.sample("forewarn_reloads_total", result="taken") == 1)
        publish(subscriber, "a", 62, 1)
        daemon.wait_for_sample("forewarn_readings_received_total", 63)
        publish(subscriber, "a", 63, 8)
        eventually(lambda: ("cleared", "residual", first[2]) in kinds(subscriber))
        eventually(lambda: len(statuses(subscriber, 1.7e9 + 630.0)) == 8)
        assert statuses(subscriber, 1.7e9 + 630.0) == ["scored"] * 8  # by the new model, without another warm-up
        assert 'name="longer"' in daemon.get("/metrics")[1]
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait()
        daemon.__enter__()
        assert "restored 1 series" in daemon.log.read_text()
