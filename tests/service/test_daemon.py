import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from forewarn.adapters.onnx_forecaster import load_model
from forewarn.backtest import backtest
from forewarn.core.readings import status_name
from forewarn.core.rules import Rules
from forewarn.history import read_history
from tests.brokers import BrokerProcess, Mosquitto, Subscriber
from tests.daemons import INSTANCE, JSON_INPUT, TINY, DaemonProcess, settings_file

MEASURES = ("expected", "lower", "upper", "residual", "score")


def payload(at: float, value: float) -> str:
    return json.dumps({"time": at, "value": value})


def history_file(folder: Path, n: int = 400) -> Path:
    """Two devices with a spike each, a duplicate, a late reading, one that is no number."""
    rng = np.random.default_rng(3)
    lines = ["timestamp,device,temperature"]
    for i in range(n):
        device = "ab"[i % 2]
        value = round(4.0 + float(rng.normal(0, 0.2)) + (9.0 if i in (200, 301) else 0.0), 2)
        at = 1.7e9 + 30.0 * i - (3000.0 if i == 150 else 0.0) - (60.0 if i == 160 else 0.0)
        lines.append(f"{at},{device},{'nan' if i == 170 else value}")
    path = folder / "history.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("detector", "kind"), [("tail", "anomaly"), ("residual", "residual")])
def test_a_backtest_and_the_daemon_give_identical_verdicts(
    broker: BrokerProcess, tmp_path: Path, detector: Literal["tail", "residual"], kind: str
) -> None:
    history = read_history(history_file(tmp_path))
    expected = backtest(load_model(TINY), Rules(detector=detector), history)
    config = settings_file(tmp_path, broker, detector=detector)
    with Subscriber(broker, f"forewarn/{INSTANCE}/#") as subscriber, DaemonProcess(config) as daemon:
        for device, at, value in zip(history.device, history.at.tolist(), history.values[:, 0].tolist(), strict=True):
            subscriber.publish(f"sensors/{device}/temperature", payload(at, value))
        daemon.wait_for_sample("forewarn_readings_received_total", len(history))
        forecasts = f"forewarn/{INSTANCE}/forecast/"
        deadline = time.monotonic() + 10
        while sum(m.topic.startswith(forecasts) for m in subscriber.messages) < len(history):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    said = [json.loads(m.payload) for m in subscriber.messages if m.topic.startswith(forecasts)]
    assert len(said) == len(history)
    numbers = {name: getattr(expected.verdicts, name) for name in MEASURES}
    for row, verdict in enumerate(said):
        assert verdict["status"] == status_name(int(expected.verdicts.outcome[row]))
        for name, column in numbers.items():
            assert verdict[name] == (None if np.isnan(column[row]) else column[row]), (row, name)
        assert verdict["alert"] == bool(expected.verdicts.alert[row])
    alerts = [json.loads(m.payload) for m in subscriber.messages if m.topic.startswith(f"forewarn/{INSTANCE}/alerts/")]
    ids = [(a["id"], a["at"]) for a in alerts if a["type"] == "raised" and a["kind"] == kind]
    assert ids == [(e.alert.id, e.alert.at) for e in expected.alerts if e.alert.kind == kind]
    assert len(ids) >= 2


def test_every_reading_is_accounted_for_whatever_comes(broker: BrokerProcess, tmp_path: Path) -> None:
    config = settings_file(tmp_path, broker)
    now = time.time()
    bad: dict[str, list[str | bytes]] = {
        "not_json": ["garbage", "{", ""],
        "not_number": ['{"time": 1, "value": "warm"}', '{"time": 1, "value": true}'],
        "missing_value": ['{"time": 1}', '{"time": 1, "value": null}'],
        "bad_time": ['{"value": 1}', '{"value": 1, "time": "soon"}'],
        "not_finite": ['{"time": 1, "value": "NaN"}', '{"time": 1, "value": 1e400}'],
        "out_of_range": ['{"time": 1, "value": 1e39}'],
        "from_future": [payload(now + 4000, 1.0)],
        "too_large": ['{"time": 1, "value": 1, "x": "' + "x" * 10_000_000 + '"}'],
        "not_text": [b"\xff\xfe\x00"],
    }
    with Subscriber(broker, f"forewarn/{INSTANCE}/status") as subscriber, DaemonProcess(config) as daemon:
        for payloads in bad.values():
            for one in payloads:
                subscriber.publish("sensors/a/temperature", one)
        subscriber.publish("sensors//temperature", payload(now, 1.0))
        subscriber.publish("sensors/" + "x" * 300 + "/temperature", payload(now, 1.0))
        for i in range(50):
            subscriber.publish("sensors/a/temperature", payload(now - 600 + i, 4.0 + i % 3))
        subscriber.publish("sensors/a/temperature", payload(now - 551, 4.0))
        subscriber.publish("sensors/a/temperature", payload(now - 580, 4.0))
        n = sum(map(len, bad.values())) + 2 + 50 + 2
        daemon.wait_for_sample("forewarn_readings_received_total", n)
        for reason, payloads in bad.items():
            assert daemon.sample("forewarn_rejections_total", reason=reason) == len(payloads), reason
        assert daemon.sample("forewarn_rejections_total", reason="bad_device") == 2
        assert daemon.sample("forewarn_rejections_total", reason="duplicate") == 1
        assert daemon.sample("forewarn_rejections_total", reason="out_of_order") == 1
        # amqtt now and then hands over a message of another client's subscription; that too is accounted for.
        stray = daemon.sample("forewarn_rejections_total", reason="no_route")
        assert broker.name == "amqtt" or not stray
        assert (
            daemon.sample("forewarn_readings_total") == n + stray == daemon.sample("forewarn_readings_received_total")
        )
        assert daemon.sample("forewarn_readings_total", outcome="rejected") == n + stray - 50
        assert daemon.get("/healthz")[0] == 200
    assert daemon.stop() == 0
    log = daemon.log.read_text()
    assert "Traceback" not in log
    assert len(log.splitlines()) < 40


def test_readings_without_a_time_of_their_own_are_all_taken_however_close_they_come(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    config = settings_file(tmp_path, mosquitto, '[[inputs]]\ntopic = "burst/{device}/{metric}"\n')
    numbers = "\n".join(str(4 + i % 7) for i in range(300))
    with DaemonProcess(config) as daemon:
        with Subscriber(mosquitto, "nothing") as publisher:
            for number in numbers.split():
                publisher.publish("burst/a/temperature", number, qos=0)
        daemon.wait_for_sample("forewarn_readings_received_total", 300)
        assert daemon.sample("forewarn_readings_total", outcome="rejected") == 0


def test_it_says_online_and_offline_and_stops_within_five_seconds(broker: BrokerProcess, tmp_path: Path) -> None:
    topic = f"forewarn/{INSTANCE}/status"
    with Subscriber(broker, topic) as subscriber:
        with DaemonProcess(settings_file(tmp_path, broker)) as daemon:
            subscriber.wait_for(lambda m: m.payload == b"online")
        subscriber.wait_for(lambda m: m.payload == b"offline")
    assert daemon.process.returncode == 0
    assert daemon.stop_s < 5
    with Subscriber(broker, topic) as late:
        assert late.wait_for(lambda m: m.retain).payload == b"offline"


def test_a_killed_daemon_is_told_offline_by_its_last_will(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with Subscriber(mosquitto, f"forewarn/{INSTANCE}/status") as subscriber:
        with DaemonProcess(settings_file(tmp_path, mosquitto)) as daemon:
            subscriber.wait_for(lambda m: m.payload == b"online")
            n = len(subscriber.messages)
            daemon.process.send_signal(signal.SIGKILL)
            subscriber.wait_for_count(n + 1)
        assert subscriber.messages[-1].payload == b"offline"


def test_windows_and_baselines_survive_a_restart(mosquitto: Mosquitto, tmp_path: Path) -> None:
    config = settings_file(tmp_path, mosquitto)
    with Subscriber(mosquitto, f"forewarn/{INSTANCE}/forecast/kept/#") as subscriber:
        for part in (range(20), range(20, 40)):
            with DaemonProcess(config) as daemon:
                for i in part:
                    subscriber.publish("sensors/kept/temperature", payload(1.7e9 + i, 4.0 + 0.1 * (i % 5)))
                daemon.wait_for_sample("forewarn_readings_received_total", part.stop)
        said = [json.loads(m.payload)["status"] for m in subscriber.wait_for_count(40)]
    assert said == ["warming_up"] * 6 + ["scored"] * 34


def test_retained_state_tells_a_late_subscriber(broker: BrokerProcess, tmp_path: Path) -> None:
    with Subscriber(broker, "nothing") as publisher, DaemonProcess(settings_file(tmp_path, broker)) as daemon:
        for i in range(30):
            publisher.publish("sensors/late/temperature", payload(1.7e9 + i, 4.0 + 0.1 * (i % 5)))
        publisher.publish("sensors/late/temperature", payload(1.7e9 + 30, 40.0))
        daemon.wait_for_sample("forewarn_readings_received_total", 31)
        time.sleep(0.3)
        with Subscriber(broker, f"forewarn/{INSTANCE}/state/late/temperature") as late:
            state = json.loads(late.wait_for(lambda m: m.retain and "/state/" in m.topic).payload)
    assert state["state"] == "alert"
    assert state["value"] == 40.0
    assert state["alerts"][0]["kind"] == "residual"


@pytest.mark.usefixtures("mosquitto")  # skips where there is none
def test_the_broker_may_be_away_at_the_start_and_go_away_later(tmp_path: Path) -> None:
    own = Mosquitto()
    try:
        with DaemonProcess(settings_file(tmp_path, own), ready=False) as daemon:
            daemon.wait_for_log("cannot be reached")
            assert daemon.get("/readyz")[0] == 503
            assert daemon.get("/healthz")[0] == 200
            for round_ in range(2):
                own.start()
                daemon.wait_until_ready(40)
                with Subscriber(own, f"forewarn/{INSTANCE}/forecast/#") as subscriber:
                    subscriber.publish("sensors/a/temperature", payload(1.7e9 + round_, 4.0))
                    subscriber.wait_for(lambda m: b"warming_up" in m.payload)
                own.stop()
                daemon.wait_for_log("lost")
            assert daemon.sample("forewarn_mqtt_reconnects_total") == 1
        assert daemon.process.returncode == 0
        assert daemon.stop_s < 5
    finally:
        own.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("[mqtt]", "[mqqt]"), "there is no setting mqqt; did you mean mqtt?"),
        ((str(TINY), "/nowhere/model.onnx"), "/nowhere/model.onnx"),
        ((JSON_INPUT, ""), "at least one [[inputs]]"),
        (("instance =", "instance ="[:5]), "is no TOML"),
        (('value = "value"', 'valeu = "value"'), "did you mean value?"),
    ],
)
def test_bad_settings_stop_the_start_with_a_clear_line(
    mosquitto: Mosquitto, tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    config = settings_file(tmp_path, mosquitto)
    config.write_text(config.read_text().replace(*change))
    done = subprocess.run(
        [sys.executable, "-m", "forewarn", "run", "--config", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_model_stops_the_start_with_one_line(mosquitto: Mosquitto, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(TINY.read_bytes()[:500])
    config = settings_file(tmp_path, mosquitto, model=broken)
    done = subprocess.run(
        [sys.executable, "-m", "forewarn", "run", "--config", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1
    assert "broken.onnx" in done.stderr


BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "pandas", "forewarn_training", "amqtt", "rich", "cbor2"}:
            raise ImportError(f"{name} is not part of the edge install")
sys.meta_path.insert(0, Blocked())
from forewarn.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_edge_commands_run_where_nothing_of_the_extras_can_be_imported(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    edge = [sys.executable, "-c", BLOCK]
    data = history_file(tmp_path)
    config = settings_file(tmp_path, mosquitto)
    out = tmp_path / "scores.csv"
    commands = (
        ["check", "--config", str(config), "--connect"],
        ["backtest", "--model", "starter", "--data", str(data), "--out", str(out)],
        ["model", "show", "starter"],
        ["simulate", "--help"],
        ["replay", "--help"],
    )
    for command in commands:
        done = subprocess.run([*edge, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
    process = subprocess.Popen([*edge, "run", "--config", str(config)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any("connected to" in line for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    process.stderr.close()


def drain(notify: socket.socket) -> None:
    """Read until nothing comes for as long as the socket's timeout."""
    while notify.recv(4096):
        pass


def test_systemd_is_told_ready_and_then_that_the_loop_is_alive(mosquitto: Mosquitto, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(address))
        notify.settimeout(10)
        environ = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"}
        with DaemonProcess(settings_file(tmp_path, mosquitto), environ=environ) as daemon:
            said: list[str] = []
            while said.count("WATCHDOG=1") < 2:
                said.append(notify.recv(4096).decode())
            os.kill(daemon.process.pid, signal.SIGSTOP)
            notify.settimeout(1.5)
            with pytest.raises(TimeoutError):
                drain(notify)
            os.kill(daemon.process.pid, signal.SIGCONT)
    assert "READY=1" in said
