"""The HTTP port of a running daemon as the settings and credentials open it. No broker is needed."""

import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

from forewarn.adapters.http import HttpServer
from forewarn.adapters.http_request import Answer
from forewarn.errors import ForewarnError
from forewarn.health import check_health
from forewarn.passwords import PasswordHash
from forewarn.settings.daemon import MetricsSettings
from tests.certificates import authority, signed
from tests.daemons import TINY, DaemonProcess
from tests.ports import free_port


def settings_of(folder: Path, metrics: str) -> Path:
    path = folder / "forewarn.toml"
    path.write_text(
        f'model = "{TINY}"\n[[inputs]]\ntopic = "sensors/{{device}}/{{metric}}"\n[mqtt]\nport = {free_port()}\n'
        f"[metrics]\nport = 0\n{metrics}"
    )
    return path


def test_it_speaks_tls_and_asks_for_the_password_of_the_credential(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    own = signed(ca, "server")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    hashed = str(PasswordHash.of("a secret"))
    (credentials / "metrics__password_hash").write_text(f"{hashed}\n")
    (credentials / "metrics__key_file").write_bytes(own.key.read_bytes())
    config = settings_of(tmp_path, f'username = "prometheus"\ncert_file = "{own.cert}"\nhost = "0.0.0.0"\n')
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    with DaemonProcess(config, environ=environ, ready=False) as daemon:
        port = daemon.wait_for_log(r"metrics on https://0\.0\.0\.0:(\d+)/metrics")[1]
        request = urllib.request.Request(f"https://127.0.0.1:{port}/metrics")
        context = ssl.create_default_context(cafile=ca.cert)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=5, context=context)  # noqa: S310 - the same
        request.add_header("Authorization", "Basic " + b64encode(b"prometheus:a secret").decode())
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310 - the same
            assert b"forewarn_build_info" in answer.read()
        log = daemon.log.read_text()
    assert "whoever reaches" not in log
    assert hashed[-20:] not in log


def health(config: Path, port: int, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """As the image's health check asks."""
    command = [sys.executable, "-m", "forewarn", "health", "--config", str(config)]
    own = {**os.environ, **(environ or {}), "FOREWARN_METRICS__PORT": str(port)}
    return subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("kind", ["plain", "expired", "clients", "others"])
def test_health_is_told_over_whatever_the_port_speaks_and_without_the_password(kind: str, tmp_path: Path) -> None:
    metrics = f'host = "0.0.0.0"\nusername = "x"\npassword_hash = "{PasswordHash.of("secret")}"\n'
    environ = {}
    if kind != "plain":
        ca = authority(tmp_path)
        own = signed(ca, "server", days=-1 if kind == "expired" else 2)
        metrics += f'cert_file = "{own.cert}"\n'
        clients = {"clients": ca, "others": authority(tmp_path, "other")}.get(kind)
        metrics += f'client_ca_file = "{clients.cert}"\n' if clients else ""
        (tmp_path / "credentials").mkdir()
        (tmp_path / "credentials" / "metrics__key_file").write_bytes(own.key.read_bytes())
        environ["CREDENTIALS_DIRECTORY"] = str(tmp_path / "credentials")
    config = settings_of(tmp_path, metrics)
    with DaemonProcess(config, environ=environ, ready=False) as daemon:
        port = int(daemon.wait_for_log(r"metrics on https?://0\.0\.0\.0:(\d+)/metrics")[1])
        asked = health(config, port, environ)
        if kind == "others":
            assert (asked.returncode, asked.stderr.count("\n")) == (1, 1)
            assert "does not answer on 127.0.0.1" in asked.stderr
        else:
            assert (asked.returncode, asked.stdout, asked.stderr) == (0, "ok\n", "")
    assert health(config, port, environ).returncode == 1


def test_health_of_a_daemon_that_stands_still_is_bad(tmp_path: Path) -> None:
    config = settings_of(tmp_path, "")
    with DaemonProcess(config, ready=False) as daemon:
        port = int(daemon.url.rpartition(":")[2])
        assert health(config, port).returncode == 0
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            asked = health(config, port)
        finally:
            daemon.process.send_signal(signal.SIGCONT)
    assert (asked.returncode, "timed out" in asked.stderr) == (1, True)
    assert health(config, 0).returncode == 78


def test_a_daemon_that_is_not_well_is_told_in_its_own_words() -> None:
    page = Answer(503, "text/plain", b"the loop has stood still for 12 s\n")
    with HttpServer("127.0.0.1", 0, {"/healthz": lambda _: page}) as server:
        settings = MetricsSettings(port=server.port)
        with pytest.raises(ForewarnError, match="the daemon is not well: the loop has stood still for 12 s"):
            check_health(settings)


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])  # noqa: S104 - what an operator may set
def test_a_port_that_is_open_to_all_is_told_in_one_line(host: str, warned: bool, tmp_path: Path) -> None:
    with DaemonProcess(settings_of(tmp_path, f'host = "{host}"\n'), ready=False) as daemon:
        daemon.wait_for_log("metrics on")
    assert daemon.log.read_text().count("whoever reaches metrics.host") == warned


def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    config = settings_of(tmp_path, 'cert_file = "/nowhere/server.crt"\n')
    daemon = DaemonProcess(config, ready=False)
    with pytest.raises(TimeoutError), daemon:
        pass
    assert daemon.process.wait(10) == 78
    assert "metrics.cert_file: /nowhere/server.crt cannot be read" in daemon.log.read_text()
