"""An MQTT 3.1.1 broker (amqtt) in a process of its own, for the demonstration and for tests without Mosquitto.

Rules that hold here:

- The child lives as long as its standard input stays open, so it ends with its parent whatever ends the parent.
- It listens on loopback alone.
"""

import asyncio
import logging
import socket
import subprocess
import sys
import threading
import warnings
from types import TracebackType
from typing import Self

from forewarn.errors import ForewarnError

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0


def free_port() -> int:
    """A TCP port on loopback that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class EmbeddedBroker:
    """The broker as a child process; a context manager that starts and stops it.

    Attributes:
        host: loopback.
        port: chosen at construction where 0 is given, and kept over a restart.
    """

    host = HOST

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the child and wait until it accepts connections.

        Raises:
            ForewarnError: where it does not start; with what it said.
        """
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", __name__, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A Ctrl-C in the terminal is for the parent, which then stops the broker last.
            start_new_session=True,
        )
        stalled = threading.Timer(START_TIMEOUT_S, self._process.kill)
        stalled.start()
        said = self._process.stdout.readline() if self._process.stdout else ""
        stalled.cancel()
        if said.strip() != "ready":
            rest = said + self._process.communicate()[0]
            raise ForewarnError(f"the embedded broker did not start on port {self.port}: {rest.strip()[-500:]}")

    def stop(self) -> None:
        """End the child and wait for it; nothing where none runs."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop it."""
        self.stop()


async def _serve(port: int) -> None:
    from amqtt.broker import Broker  # noqa: PLC0415 - of the demo extra; the parent needs none of it

    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Broker(config)
    await broker.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serve until standard input ends."""
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    asyncio.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
