"""Loads that are not watched reading by reading, and what a process weighs under them.

Packets are encoded before and sent by hand (`tests.bench.wire`), so that the publisher costs the machine little.
"""

import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tests.bench.wire import Wire, publish_packet
from tests.brokers import BrokerProcess
from tests.chaos.streams import STARTED_AT
from tests.daemons import DaemonProcess

_ACK_BYTES = 4
_MIDS = 65_535


class Torrent:
    """Publishes packets of one reading from a thread, at most so many a second; QoS 1 where the packets say so.

    Attributes:
        sent: readings given to the network.
        acknowledged: of QoS 1, readings that the broker has taken.
    """

    def __init__(
        self, broker: BrokerProcess, packets: Iterable[bytes], rate: float, client_id: str = "torrent"
    ) -> None:
        self._wire = Wire(broker.host, broker.port, client_id)
        self._packets, self._rate = packets, rate
        self.sent = self.acknowledged = 0
        self._stop = threading.Event()
        self._sender = threading.Thread(target=self._send)
        self._reader = threading.Thread(target=self._read)

    def _send(self) -> None:
        begun = time.monotonic()
        packets = iter(self._packets)
        while not self._stop.is_set():
            due = int((time.monotonic() - begun) * self._rate) - self.sent
            if due < 1:
                time.sleep(0.005)
                continue
            chosen = list(itertools.islice(packets, min(due, 1000)))
            if not chosen:
                return
            self.send(chosen)

    def send(self, packets: Iterable[bytes]) -> None:
        """Send packets now."""
        chosen = list(packets)
        self._wire.send(b"".join(chosen))
        self.sent += len(chosen)

    def _read(self) -> None:
        n_byte = 0
        while data := self._wire.socket.recv(65_536):
            n_byte += len(data)
            self.acknowledged = n_byte // _ACK_BYTES

    def wait(self, timeout_s: float) -> None:
        """Until everything is sent."""
        self._sender.join(timeout_s)
        assert not self._sender.is_alive(), f"{self.sent} readings sent"

    def stop(self) -> None:
        """Send no more, and wait until the broker has taken what was sent."""
        self._stop.set()
        self._sender.join()
        deadline = time.monotonic() + 20
        while 0 < self.acknowledged < self.sent and time.monotonic() < deadline:
            time.sleep(0.01)

    def __enter__(self) -> Self:
        self._wire.__enter__()
        self._reader.start()
        self._sender.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._wire.socket.shutdown(socket.SHUT_RD)
        self._reader.join()
        self._wire.__exit__(kind, error, at)


def packets(n_device: int, qos: int, *, n_value: int = 1, first: int = 0) -> Iterator[bytes]:
    """Messages round the devices without end, each ten seconds after the device's last, from the `first`-th turn on.

    With more than one value, they are called `value`, `value1`, and so on.
    """
    noise = np.random.default_rng(first).normal(4.0, 0.2, (1000, n_value)).round(3).tolist()
    names = ["value", *(f"value{i}" for i in range(1, n_value))]
    values = [json.dumps(dict(zip(names, row, strict=True)))[1:] for row in noise]
    topics = [f"sensors/d{device}/temperature" for device in range(n_device)]
    for i in itertools.count():
        payload = f'{{"time": {STARTED_AT + 10.0 * (first + i // n_device)}, {values[i % 1000]}'.encode()
        yield publish_packet(topics[i % n_device], payload, 1 + i % _MIDS if qos else 0)


def judged(daemon: DaemonProcess) -> int:
    """Readings that were used."""
    used = ("scored", "warming_up")
    return int(sum(daemon.sample("forewarn_readings_total", outcome=outcome) for outcome in used))


def wait_until_judged(daemon: DaemonProcess, n: int, timeout_s: float) -> float:
    """Seconds until so many readings were used."""
    begun = time.monotonic()
    while (now := judged(daemon)) < n:
        assert time.monotonic() < begun + timeout_s, f"{now} of {n} readings:\n{daemon.log.read_text()[-3000:]}"
        time.sleep(0.05)
    return time.monotonic() - begun


def rss_mb(daemon: DaemonProcess) -> float:
    """Resident memory."""
    pages = Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def n_descriptor(daemon: DaemonProcess) -> int:
    """Open files and sockets."""
    return sum(1 for _ in Path(f"/proc/{daemon.process.pid}/fd").iterdir())


def slope(at: list[float], values: list[float]) -> float:
    """Of the line through the values, per hour where `at` is in seconds."""
    return float(np.polyfit(np.array(at) - at[0], values, 1)[0] * 3600.0)
