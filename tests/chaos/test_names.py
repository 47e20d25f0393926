"""Somebody publishes under made-up device names while known devices go on."""

import functools
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forewarn.adapters.journal import Journal
from forewarn.core.snapshot import Snapshot
from tests.bench.wire import publish_packet
from tests.brokers import Mosquitto, mosquitto_path
from tests.chaos.loads import Torrent, judged, rss_mb, slope, wait_until_judged
from tests.chaos.streams import BY_ARRIVAL, EXTRA, LONG, Publisher, numbered
from tests.daemons import DaemonProcess, settings_file

NAMES = 1_000_000 if LONG else 20_000
CAP, DEVICES = 1_000, 50
READINGS, RATE = (40_000, 100.0) if LONG else (10_000, 500.0)  # of the known devices, all the while
AHEAD = 4_000
"""Names on their way: fewer than the inbox holds, so that none is dropped."""
EVERY_S = 0.2
EXCESS_S = 60.0 if LONG else 3.0
MOST_GROWTH_MB = 60.0
"""The table at its cap, the topics that are remembered, an inbox of names, and what the allocators keep of them."""
MOST_DRIFT_MB = 4.0
"""From the third quarter to the last one: 16 bytes a name."""


class Flood:
    """Names that nobody knows, one reading each, as fast as they are worked off.

    Attributes:
        at: of each sample, seconds from the start.
        rss_mb: resident memory, the first of before the first name.
        at_cap_mb: the same when the cap had just been reached.
        n_known: readings of known devices that were published meanwhile.
        prompt: share of all readings, names and known ones, that were judged within a second of their arrival.
        in_time: the same within five seconds.
    """

    def __init__(self) -> None:
        self.at: list[float] = []
        self.rss_mb: list[float] = []
        self.at_cap_mb = 0.0
        self.n_known = 0
        self.prompt = self.in_time = 0.0

    def run(self, broker: Mosquitto, daemon: DaemonProcess, publisher: Publisher) -> None:
        """Until all names were judged; the cap holds all the while."""
        before, begun = publisher.sent, time.monotonic()
        packets = made_up()
        with Torrent(broker, (), 1.0, "names") as torrent:
            while (known := self._sample(daemon, begun)) < NAMES:
                n = min(AHEAD - (torrent.sent - known), NAMES - torrent.sent)
                torrent.send(itertools.islice(packets, n))
                time.sleep(EVERY_S if torrent.sent == NAMES or n < AHEAD // 2 else 0.0)
        assert daemon.sample("forewarn_dropped_total") == 0
        self.n_known = publisher.sent - before
        self.prompt, self.in_time = (_judged_within(daemon, seconds) for seconds in ("1.0", "5.0"))

    def _sample(self, daemon: DaemonProcess, begun: float) -> int:
        """Names that were judged so far."""
        n = names_judged(daemon)
        self.at.append(time.monotonic() - begun)
        self.rss_mb.append(rss_mb(daemon))
        if n >= CAP and not self.at_cap_mb:
            self.at_cap_mb = self.rss_mb[-1]
        return n

    def quarter(self, nth: int) -> list[float]:
        """The resident memory in a quarter of the time."""
        return self.rss_mb[nth * len(self.rss_mb) // 4 : (nth + 1) * len(self.rss_mb) // 4]

    @property
    def drift_mb(self) -> float:
        """From the mean of the third quarter to that of the last."""
        return statistics.fmean(self.quarter(3)) - statistics.fmean(self.quarter(2))

    def __str__(self) -> str:
        """The figures."""
        text = (
            f"{NAMES:,} names at {NAMES / self.at[-1]:,.0f} a second, {self.n_known:,} readings of known devices "
            f"meanwhile, {100 * self.prompt:.2f} % judged within 1 s; RSS {self.rss_mb[0]:.1f} MB at the start, "
            f"{self.at_cap_mb:.1f} at the cap, {self.rss_mb[-1]:.1f} at the end"
        )
        half = len(self.at) // 2
        per_name = slope(self.at[half:], self.rss_mb[half:]) / 3600.0 * self.at[-1] / NAMES
        last = (
            f"; in the last half {min(self.rss_mb[half:]):.1f} to {max(self.rss_mb[half:]):.1f}, slope "
            f"{1e6 * per_name:+.1f} MB a million names, from the third quarter to the last {self.drift_mb:+.1f} MB"
        )
        return text + last * LONG


def _judged_within(daemon: DaemonProcess, seconds: str) -> float:
    """Share of all readings so far."""
    name = "forewarn_reading_latency_seconds"
    return daemon.sample(f"{name}_bucket", le=seconds) / daemon.sample(f"{name}_count")


def made_up() -> Iterator[bytes]:
    """A reading each of names that nobody knows, at QoS 0, without end."""
    payload = b'{"value": 4.0, "time": 1700000000}'
    return (publish_packet(f"sensors/made-up-{i}/temperature", payload) for i in itertools.count())


def names_judged(daemon: DaemonProcess) -> int:
    """How many so far; the cap must hold."""
    evicted, devices = daemon.sample("forewarn_evictions_total"), daemon.sample("forewarn_devices")
    assert devices <= CAP
    return max(0, int(evicted + devices) - DEVICES)


def run(
    folder: Path, broker: Mosquitto, meanwhile: Callable[[DaemonProcess, Publisher], None] | None = None
) -> dict[str, list[bytes]]:
    """What is known of the known devices in the end, by series."""
    folder.mkdir()
    settings = settings_file(folder, broker, EXTRA)
    text = settings.read_text().replace("forecast = true", "forecast = false").replace("[mqtt]\n", "[mqtt]\nqos = 1\n")
    settings.write_text(text + f"[limits]\nmax_devices = {CAP}\nmax_queue = 100000\n")
    with DaemonProcess(settings) as daemon:
        with Publisher(broker, numbered(READINGS, DEVICES), RATE) as publisher:
            if meanwhile is not None:
                wait_until_judged(daemon, 40 * DEVICES, 60)  # known from here on
                meanwhile(daemon, publisher)
            publisher.hurry()
            publisher.wait(300)
        deadline = time.monotonic() + 60
        while judged(daemon) - names_judged(daemon) < READINGS:
            assert time.monotonic() < deadline, daemon.log.read_text()[-3000:]
            time.sleep(0.1)
        assert daemon.stop() == 0
    return known(folder)


def known(folder: Path) -> dict[str, list[bytes]]:
    """The columns of the known devices, by series."""
    journal = Journal(folder / "state.sqlite")
    found = journal.recover()
    journal.close()
    assert found.snapshot is not None
    snapshot = Snapshot.from_bytes(found.snapshot)
    assert len(snapshot.keys) <= CAP
    columns = [column for name, column in sorted(snapshot.parts[0].columns.items()) if name not in BY_ARRIVAL]
    return {
        key.device: [column[slot].tobytes() for column in columns]
        for slot, key in enumerate(snapshot.keys)
        if not key.device.startswith("made-up")
    }


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    if mosquitto_path() is None:
        pytest.skip("Mosquitto is not installed")
    one = Mosquitto(["max_queued_messages 0", "max_inflight_messages 200"])
    one.start()
    yield one
    one.close()


def test_made_up_names_cost_no_memory_and_no_known_device_its_window(tmp_path: Path, broker: Mosquitto) -> None:
    calm = run(tmp_path / "calm", broker)
    assert len(calm) == DEVICES
    flood = Flood()
    assert run(tmp_path / "flooded", broker, functools.partial(flood.run, broker)) == calm
    sys.stdout.write(f"{flood}\n")
    assert flood.n_known > 2 * DEVICES
    assert flood.in_time > 0.99
    assert max(flood.rss_mb) - flood.rss_mb[0] < MOST_GROWTH_MB
    if LONG:
        assert flood.drift_mb < MOST_DRIFT_MB


def test_more_names_than_can_be_worked_off_cost_no_known_device_a_reading(tmp_path: Path, broker: Mosquitto) -> None:
    def flood(daemon: DaemonProcess, publisher: Publisher) -> None:
        before, begun = publisher.sent, time.monotonic()
        with Torrent(broker, made_up(), 1e6, "names") as torrent:
            time.sleep(EXCESS_S)
            sent, n, seconds = torrent.sent, names_judged(daemon), time.monotonic() - begun
        known, dropped = publisher.sent - before, daemon.sample("forewarn_dropped_total", queue="inbox")
        sys.stdout.write(
            f"{sent / seconds:,.0f} names a second, of which {n / seconds:,.0f} were judged, for {seconds:.0f} s; "
            f"{dropped:,.0f} dropped by the inbox, {known:,} readings of known devices meanwhile, RSS at the end "
            f"{rss_mb(daemon):.1f} MB\n"
        )
        assert dropped > 0
        assert known > 2 * DEVICES

    calm = run(tmp_path / "calm", broker)
    assert run(tmp_path / "flooded", broker, flood) == calm
