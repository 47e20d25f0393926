"""`forewarn run` as the demonstration's child process, with settings of its own.

Rules that hold here:

- Neither the settings of the surroundings (`FOREWARN_…`, a service's directories) nor the terminal's Ctrl-C reach it.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final, Self

from forewarn.demo.board import Board
from forewarn.demo.broker import HOST, free_port
from forewarn.errors import ForewarnError

_FOREIGN: Final = ("FOREWARN_", "NOTIFY_SOCKET", "WATCHDOG_", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY")
_START_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 8.0
# Sensitive: at five readings a second a month is thirteen million of them, and a demonstration a few hundred.
_SETTINGS: Final = """\
instance = "demo"
model = "starter"

[units]
temperature = "°C"

[mqtt]
host = "{host}"
port = {port}
protocol = "3.1.1"

[[inputs]]
topic = "sensors/{{device}}/{{metric}}"

[alerts]
sensitivity = 7

[faults]
silent_min_s = 3.0

[metrics]
port = {http_port}

[publish]
forecast = true
"""


class DaemonProcess:
    """The daemon as a child process; a context manager that starts and stops it.

    Attributes:
        page_url: where its page is.
    """

    def __init__(self, folder: Path, port: int) -> None:
        """Write its settings.

        Args:
            folder: for its settings and its log.
            port: of the broker on loopback.
        """
        http_port = free_port()
        self.page_url = f"http://{HOST}:{http_port}/"
        self._settings = folder / "forewarn.toml"
        self._settings.write_text(_SETTINGS.format(host=HOST, port=port, http_port=http_port), encoding="utf-8")
        self._log = folder / "forewarn.log"

    def __enter__(self) -> Self:
        """Start it."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and package
                [sys.executable, "-m", "forewarn", "run", "--config", str(self._settings)],
                stdout=log,
                stderr=log,
                env={key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)},
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End it as an operator would."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def check(self) -> None:
        """See that it still runs.

        Raises:
            ForewarnError: where it has ended; with what it said last.
        """
        if self._process.poll() is not None:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip()[-1000:]
            raise ForewarnError(f"the daemon ended with exit code {self._process.returncode}: {said}")

    def wait_until_online(self, board: Board, stop: threading.Event) -> None:
        """Return once it says over MQTT that it is online, or `stop` is set.

        Raises:
            ForewarnError: where it has ended, or says nothing in time.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not board.online.wait(0.05) and not stop.is_set():
            self.check()
            if time.monotonic() > deadline:
                raise ForewarnError(f"the daemon is not online after {_START_TIMEOUT_S:.0f} s")
