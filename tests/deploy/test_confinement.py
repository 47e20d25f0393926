"""The daemon at work under the system-call filters and the memory protection of its unit."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import Mosquitto, Subscriber
from tests.certificates import authority, signed
from tests.daemons import INSTANCE, DaemonProcess, settings_file
from tests.links import need_mosquitto
from tests.ports import free_port

UNIT = Path(__file__).parents[2] / "systemd" / "forewarn.service"
CONFINED = (sys.executable, "-m", "tests.deploy.confined", str(UNIT), "--")
FORBIDDEN = {
    "import mmap; mmap.mmap(-1, 4096, prot=7)": "PermissionError",
    "import os; os.sched_setaffinity(0, {0})": "PermissionError",
    "import os; os.chroot('/')": "PermissionError",
    "import os; os.chown('.', 0, 0)": "PermissionError",
    "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)": "PermissionError",
    "import ctypes; c = ctypes.CDLL(None, use_errno=True); c.unshare(1 << 28); raise OSError(ctypes.get_errno(), '')": (
        "PermissionError"
    ),
}


@pytest.fixture(scope="module")
def confined() -> tuple[str, ...]:
    """What to put before a command."""
    if shutil.which("systemd-analyze") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("systemd-analyze is not installed")
    tried = subprocess.run([*CONFINED, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no system-call filter on this machine: {tried.stderr.strip()}")
    return CONFINED


@pytest.mark.parametrize("program", FORBIDDEN)
def test_the_filters_forbid_what_the_unit_says(program: str, confined: tuple[str, ...]) -> None:
    ran = subprocess.run([*confined, sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith(FORBIDDEN[program]), ran.stderr


@pytest.fixture
def two_ports(tmp_path: Path) -> Iterator[tuple[Mosquitto, dict[str, str]]]:
    """A broker with a port of plain text, and what makes a daemon use its other one, of TLS."""
    need_mosquitto()
    tmp_path.chmod(0o755)
    ca, port = authority(tmp_path), free_port()
    server = signed(ca, "server")
    tls = [f"listener {port} 127.0.0.1", f"certfile {server.cert}", f"keyfile {server.key}", "user root"]
    broker = Mosquitto(tls)
    broker.start()
    variables = {"PORT": str(port), "TLS": "true", "CA_FILE": str(ca.cert)}
    yield broker, {f"FOREWARN_MQTT__{name}": value for name, value in variables.items()}
    broker.close()


def test_the_daemon_judges_and_alerts_over_tls_under_the_filters_of_its_unit(
    confined: tuple[str, ...], two_ports: tuple[Mosquitto, dict[str, str]], tmp_path: Path
) -> None:
    broker, environ = two_ports
    environ["ORT_DISABLE_TELEMETRY"] = "1"  # as in the unit
    now = time.time() - 600.0
    with (
        Subscriber(broker, f"forewarn/{INSTANCE}/alerts/#") as subscriber,
        DaemonProcess(settings_file(tmp_path, broker), environ=environ, launcher=confined) as daemon,
    ):
        for i in range(100):
            reading = {"time": now + i, "value": 4.0 + i % 3 / 10 + (40.0 if i == 99 else 0.0)}
            subscriber.publish("sensors/a/temperature", json.dumps(reading))
        alert = json.loads(subscriber.wait_for(lambda m: b"raised" in m.payload).payload)
        assert alert["device"] == "a"
        assert daemon.sample("process_resident_memory_bytes") > 0
        assert "Seccomp:\t2" in Path(f"/proc/{daemon.process.pid}/status").read_text()
    assert daemon.process.returncode == 0
    assert (tmp_path / "state.sqlite").stat().st_size > 0
    log = daemon.log.read_text()
    assert [line for line in log.splitlines() if "INFO" not in line and line.strip()] == [], log
