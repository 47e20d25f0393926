"""Somebody publishes under made-up device names while known devices go on."""

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forewarn.adapters.journal import Journal
from forewarn.core.snapshot import Snapshot
from tests.bench.wire import publish_packet
from tests.brokers import Mosquitto, mosquitto_path
from tests.chaos.loads import Torrent, rss_mb, slope, wait_until_judged
from tests.chaos.streams import BY_ARRIVAL, EXTRA, LONG, Publisher, numbered
from tests.daemons import DaemonProcess, settings_file

NAMES = 1_000_000 if LONG else 20_000
CAP, DEVICES, READINGS, RATE = 1_000, 50, 10_000, 500.0
AHEAD = 2_000  # names on their way


def run(folder: Path, broker: Mosquitto, n_name: int) -> dict[str, list[bytes]]:
    """What is known of the known devices in the end, by series, and the cap is held all the while."""
    folder.mkdir()
    settings = settings_file(folder, broker, EXTRA)
    text = settings.read_text().replace("forecast = true", "forecast = false")
    settings.write_text(text + f"[limits]\nmax_devices = {CAP}\nmax_queue = 100000\n")
    with DaemonProcess(settings) as daemon:
        with Publisher(broker, numbered(READINGS, DEVICES), RATE) as publisher:
            wait_until_judged(daemon, 40 * DEVICES, 60)  # known from here on
            if n_name:
                flood(daemon, broker, n_name)
            publisher.hurry()
            publisher.wait(120)
        wait_until_judged(daemon, READINGS + n_name, 60)
        assert daemon.sample("forewarn_devices") <= CAP
        assert daemon.stop() == 0
    return known(folder)


def flood(daemon: DaemonProcess, broker: Mosquitto, n: int) -> None:
    """Never more on the way than the inbox holds, so that none is dropped."""
    begun = time.monotonic()
    at, rss = [], []
    packets = (
        publish_packet(f"sensors/made-up-{i}/temperature", b'{"value": 4.0, "time": 1700000000}')
        for i in itertools.count()
    )
    sent, before = 0, daemon.sample("forewarn_evictions_total")
    with Torrent(broker, (), 1.0, "names") as torrent:
        while sent < n:
            torrent.send(itertools.islice(packets, AHEAD))
            sent += AHEAD
            while daemon.sample("forewarn_evictions_total") - before < sent - CAP - AHEAD:
                time.sleep(0.02)
            at.append(time.monotonic() - begun)
            rss.append(rss_mb(daemon))
            assert daemon.sample("forewarn_devices") <= CAP
    third = len(at) // 3
    sys.stdout.write(
        f"{n:,} names at {n / at[-1]:,.0f} a second: RSS {rss[0]:.1f} to {max(rss):.1f} MB, after a third "
        f"{min(rss[third:]):.1f} to {max(rss[third:]):.1f}, slope {slope(at[third:], rss[third:]):+.1f} MB/h\n"
    )
    assert max(rss[third:]) - rss[third] < 10.0


def known(folder: Path) -> dict[str, list[bytes]]:
    """The columns of the known devices, by series."""
    journal = Journal(folder / "state.sqlite")
    found = journal.recover()
    journal.close()
    assert found.snapshot is not None
    snapshot = Snapshot.from_bytes(found.snapshot)
    assert len(snapshot.keys) <= CAP
    columns = [column for name, column in sorted(snapshot.columns.items()) if name not in BY_ARRIVAL]
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
    calm = run(tmp_path / "calm", broker, 0)
    assert len(calm) == DEVICES
    assert run(tmp_path / "flooded", broker, NAMES) == calm
