"""Five times as many readings as the daemon can work off: what is dropped, what is held back, what memory it takes."""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import pytest

from tests.brokers import Mosquitto, mosquitto_path
from tests.chaos.loads import Torrent, judged, packets, rss_mb
from tests.chaos.streams import LONG
from tests.daemons import DaemonProcess, settings_file

INPUT = """
[[inputs]]
topic = "sensors/{{device}}/+"
dialect = "json"
time = "time"
[inputs.values]
value = "value"
{values}
[faults]
silent = false
"""
VALUES = 50
"""In each message, so that the daemon, not the broker or the publisher, is what is too slow."""
SECONDS = 60.0 if LONG else 2.0
DEVICES = 20
PROBE_RATE = 4_000.0  # more than can be worked off, less than the publisher can do
MOST_GROWTH_MB = 60.0
"""An inbox of 500 messages, a socket's worth of others, a batch, and what the allocators keep of them."""


class Watch:
    """Samples the daemon while something else is done.

    Attributes:
        rss_mb: resident memory, each tenth of a second.
        slowest_s: the longest that an answer of `/healthz` took.
    """

    def __init__(self, daemon: DaemonProcess) -> None:
        self.rss_mb: list[float] = []
        self.slowest_s = 0.0
        self._daemon = daemon
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._stop.wait(0.1):
            begun = time.monotonic()
            status, _ = self._daemon.get("/healthz")
            self.slowest_s = max(self.slowest_s, time.monotonic() - begun if status == 200 else 1e9)
            self.rss_mb.append(rss_mb(self._daemon))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()


class Loaded(NamedTuple):
    """What a load did."""

    capacity: float
    rate: float
    sent: int
    dropped: float
    grown_mb: float
    current_s: float


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    if mosquitto_path() is None:
        pytest.skip("Mosquitto is not installed")
    one = Mosquitto(["max_queued_messages 0", "max_inflight_messages 1000"])
    one.start()
    yield one
    one.close()


def config(folder: Path, broker: Mosquitto, qos: int, drop: str) -> Path:
    values = "\n".join(f'value{i} = "value{i}"' for i in range(1, VALUES))
    path = settings_file(folder, broker, INPUT.format(values=values))
    text = path.read_text().replace("[mqtt]\n", f"[mqtt]\nqos = {qos}\nkeepalive_s = 5\n")
    path.write_text(
        text.replace("forecast = true", "forecast = false")
        + f'[limits]\nmax_inbox = 500\nmax_queue = 5000\ndrop = "{drop}"\n'
    )
    return path


def load(daemon: DaemonProcess, broker: Mosquitto, qos: int) -> Loaded:
    """Find out what the daemon can do, give it five times that, and see when it is current."""
    stream = packets(DEVICES, qos, n_value=VALUES)
    with Torrent(broker, stream, PROBE_RATE) as torrent:
        daemon.wait_for_sample("forewarn_readings_total", 1)
        time.sleep(1.0)
        begun, before = time.monotonic(), judged(daemon)
        time.sleep(2.0)
        capacity = (judged(daemon) - before) / VALUES / (time.monotonic() - begun)
        torrent.stop()
        probed = torrent.sent
        wait_until_settled(daemon, probed)
    assert capacity > 0
    rate, before_mb = 5 * capacity, rss_mb(daemon)
    dropped_before = daemon.sample("forewarn_dropped_total", queue="inbox")
    with Watch(daemon) as watch, Torrent(broker, stream, rate, "overload") as torrent:
        begun = time.monotonic()
        time.sleep(SECONDS)
        torrent.stop()
        ended = time.monotonic()
        wait_until_settled(daemon, probed + torrent.sent)
        current_s = time.monotonic() - ended
    assert watch.slowest_s < 5.0
    grown_mb = max(watch.rss_mb) - before_mb
    dropped = daemon.sample("forewarn_dropped_total", queue="inbox") - dropped_before
    return Loaded(capacity, torrent.sent / (ended - begun), torrent.sent, dropped, grown_mb, current_s)


def wait_until_settled(daemon: DaemonProcess, n: int) -> None:
    """Until so many messages were judged or dropped; other work may slow that down, but it must not stand still."""
    before, moved_at = -1.0, time.monotonic()
    while (known := judged(daemon) / VALUES + daemon.sample("forewarn_dropped_total", queue="inbox")) < n:
        if known > before:
            before, moved_at = known, time.monotonic()
        assert time.monotonic() < moved_at + 20.0, f"{known:.0f} of {n}:\n{daemon.log.read_text()[-3000:]}"
        time.sleep(0.1)
    assert known == n  # nothing came twice


def say(found: Loaded, how: str) -> None:
    sys.stdout.write(
        f"{how}: {found.rate:,.0f} messages/s at a capacity of {found.capacity:,.0f} for {SECONDS:.0f} s; "
        f"{found.dropped:,.0f} of {found.sent:,} dropped, RSS +{found.grown_mb:.1f} MB at most, "
        f"current {found.current_s:.1f} s after the end\n"
    )


@pytest.mark.parametrize("drop", ["oldest", "newest"])
def test_too_many_readings_of_qos_0_are_dropped_and_counted(tmp_path: Path, broker: Mosquitto, drop: str) -> None:
    with DaemonProcess(config(tmp_path, broker, 0, drop)) as daemon:
        found = load(daemon, broker, 0)
        say(found, f"QoS 0, drop {drop}")
        assert found.dropped > 0.1 * found.sent  # the short form ends before much more than the inbox has come
        assert found.grown_mb < MOST_GROWTH_MB
        assert found.current_s < 10.0
        assert daemon.sample("forewarn_mqtt_reconnects_total") == 0


def test_too_many_readings_of_qos_1_are_held_back_at_the_broker_and_none_is_lost(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with DaemonProcess(config(tmp_path, broker, 1, "oldest")) as daemon:
        found = load(daemon, broker, 1)
        say(found, "QoS 1")
        assert daemon.sample("forewarn_dropped_total", queue="inbox") == 0
        assert found.grown_mb < MOST_GROWTH_MB
        assert daemon.sample("forewarn_mqtt_reconnects_total") == 0
