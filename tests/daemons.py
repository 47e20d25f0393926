"""The real daemon in a process of its own, as `forewarn run` starts it."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.brokers import BrokerProcess

TINY = Path(__file__).parent / "models" / "tiny.onnx"
INSTANCE = "test"

_SETTINGS = """
instance = "{instance}"
model = "{model}"
[mqtt]
port = {port}
client_id = "{client_id}"
protocol = "{protocol}"
[metrics]
port = 0
[alerts]
detector = "{detector}"
[state]
path = "{folder}/state.sqlite"
[publish]
forecast = true
"""
JSON_INPUT = """
[[inputs]]
topic = "sensors/{device}/{metric}"
dialect = "json"
value = "value"
time = "time"
"""


def settings_file(
    folder: Path, broker: BrokerProcess, extra: str = JSON_INPUT, *, model: Path = TINY, detector: str = "residual"
) -> Path:
    """Settings for a broker; amqtt speaks MQTT 3.1.1 only."""
    protocol = "3.1.1" if broker.name == "amqtt" else "5"
    values = {"instance": INSTANCE, "model": model, "protocol": protocol, "folder": folder, "detector": detector}
    client_id = "".join(c for c in str(folder) if c.isalnum())[-60:]  # a session of its own in a broker that others use
    text = _SETTINGS.format(port=broker.port, client_id=client_id, **values)
    path = folder / "forewarn.toml"
    path.write_text(text + extra)
    return path


class DaemonProcess:
    """`forewarn run --config FILE`, ready once the `with` block begins, and stopped by SIGTERM at its end."""

    def __init__(
        self,
        config: Path,
        *,
        environ: Mapping[str, str] | None = None,
        ready: bool = True,
        launcher: Sequence[str] = (),
    ) -> None:
        self._config = config
        self._environ = {**os.environ, **(environ or {})}
        self._ready = ready
        self._launcher = launcher
        self.log = config.with_suffix(".log")
        self.stop_s = 0.0

    def __enter__(self) -> Self:
        command = [*self._launcher, sys.executable, "-m", "forewarn", "run", "--config", str(self._config)]
        self.log.write_text("")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environ)
        self.wait_for_log("metrics on")
        if self._ready:
            self.wait_until_ready()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> int:
        """SIGTERM, then the exit code; killed after ten seconds."""
        if self.process.poll() is None:
            began = time.monotonic()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.stop_s = time.monotonic() - began
        return self.process.returncode

    def wait_for_log(self, pattern: str, timeout: float = 20.0) -> re.Match[str]:
        """Wait until the log holds a pattern.

        Raises:
            TimeoutError: with the log.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = re.search(pattern, self.log.read_text())
            if found:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise TimeoutError(f"{pattern!r} is not in the log:\n{self.log.read_text()}")

    @property
    def url(self) -> str:
        """Of the HTTP port."""
        return self.wait_for_log(r"metrics on (http://\S+)/metrics")[1]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_until_ready(self, timeout: float = 20.0) -> None:
        """Wait until it is subscribed."""
        deadline = time.monotonic() + timeout
        while self.get("/readyz")[0] != 200:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready:\n{self.log.read_text()}")
            time.sleep(0.05)

    def sample(self, name: str, **labels: str) -> float:
        """One sample of /metrics, summed over the labels that are not given; 0 where there is none."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
                total += float(match[2])
        return total

    def wait_for_sample(self, name: str, least: float, timeout: float = 15.0, **labels: str) -> None:
        """Wait until a sample is at least so large."""
        deadline = time.monotonic() + timeout
        while self.sample(name, **labels) < least:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} {labels} stays at {self.sample(name, **labels)}:\n{self.log.read_text()}")
            time.sleep(0.05)
