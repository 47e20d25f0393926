"""From a CSV file to an alert, with real data: trained, served, replayed, heard."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forewarn.history import read_history
from tests.brokers import Mosquitto, Subscriber
from tests.daemons import INSTANCE, JSON_INPUT, DaemonProcess, settings_file
from tests.thorough import THOROUGH

DATA = Path(__file__).parents[3] / "shared" / "data"
AMBIENT = DATA / "nab" / "realKnownCause" / "ambient_temperature_system_failure.csv"
ETT = DATA / "ett" / "ETTh1.csv"
SERVED = 100_000 if THOROUGH else 3_000  # of the last readings


def tool(*command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def patient(mosquitto: Mosquitto) -> Iterator[Mosquitto]:  # noqa: ARG001 - skips where there is none
    """A broker that keeps what a busy machine cannot take at once."""
    broker = Mosquitto(["max_queued_messages 100000"])
    broker.start()
    yield broker
    broker.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "target", "epochs"), [(ETT, "OT", "4"), (AMBIENT, "value", "12")], ids=["ETTh1", "ambient"]
)
def test_a_model_of_real_data_is_served_and_alerts_arrive(
    patient: Mosquitto, tmp_path: Path, data: Path, target: str, epochs: str
) -> None:
    if not data.exists():
        pytest.skip("the real data is not here")
    model, scores, served = tmp_path / "model.onnx", tmp_path / "scores.csv", tmp_path / data.name
    header, *lines = data.read_text("utf-8").splitlines()
    served.write_text("\n".join([header, *lines[-SERVED:]]) + "\n", "utf-8")
    quick = [] if THOROUGH else ["--epochs", epochs]
    trained = tool("forewarn_training.cli", "fit", "--data", str(data), "--target", target, "--out", str(model), *quick)
    columns = ["--data", str(served), "--target", target]
    assert "smaller than persistence" in trained
    tool("forewarn", "backtest", "--model", str(model), *columns, "--out", str(scores))
    n = len(read_history(served, target=target))
    with (
        Subscriber(patient, f"forewarn/{INSTANCE}/alerts/#") as subscriber,
        DaemonProcess(settings_file(tmp_path, patient, JSON_INPUT, model=model, detector="tail")) as daemon,
    ):
        tool("forewarn", "replay", *columns[1:], "--broker", f"127.0.0.1:{patient.port}", "--speed", "0")
        daemon.wait_for_sample("forewarn_readings_received_total", n, timeout=60)
        raised = daemon.sample("forewarn_alerts_total", type="raised")
        assert raised >= 1
        subscriber.wait_for_count(int(raised))
    assert len(scores.read_text().splitlines()) == n + 1
    alerts = [json.loads(message.payload) for message in subscriber.messages]
    heard = [(a["at"], a["kind"]) for a in alerts if a["type"] == "raised" and a["kind"] != "silent"]
    assert len(heard) == len(set(heard))
