"""A long run at half of what the daemon can do, with a lost connection each minute. `python -m tests.chaos.soak`.

Every other connection is cut, the rest become half-open, so that the daemon must find out by itself.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.brokers import Mosquitto
from tests.chaos.loads import Torrent, judged, n_descriptor, packets, rss_mb, slope, wait_until_judged
from tests.chaos.proxy import Proxy
from tests.chaos.streams import EXTRA
from tests.daemons import DaemonProcess, settings_file

DEVICES = 200
KEEPALIVE_S = 5


@dataclass
class Soaked:
    """What was seen, sample by sample.

    Attributes:
        capacity: readings a second that the daemon works off.
        rate: readings a second that it was given.
        lost: readings that were sent and not judged.
        reconnects: times that it connected anew.
        at: of each sample, seconds from the start.
        rss_mb: resident memory.
        descriptors: open files and sockets while it was connected.
    """

    capacity: float = 0.0
    rate: float = 0.0
    lost: int = 0
    reconnects: int = 0
    at: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    @property
    def settled(self) -> int:
        """The first sample after a third of the run, when every table and cache has its size."""
        return len(self.at) // 3

    @property
    def slope_mb_per_hour(self) -> float:
        """Of the resident memory, after the first third."""
        return slope(self.at[self.settled :], self.rss_mb[self.settled :])

    def __str__(self) -> str:
        """The figures."""
        kept = self.rss_mb[self.settled :]
        return (
            f"{self.at[-1] / 60:.1f} minutes at {self.rate:,.0f} readings/s of {self.capacity:,.0f}, "
            f"{self.reconnects} reconnects, {self.lost} readings lost; RSS {min(kept):.1f} to {max(kept):.1f} MB, "
            f"slope {self.slope_mb_per_hour:+.1f} MB/h; descriptors {min(self.descriptors)} to {max(self.descriptors)}"
        )


def soak(folder: Path, seconds: float, every_s: float) -> Soaked:
    """Run for so long, with a lost connection each `every_s`."""
    soaked = Soaked()
    broker = Mosquitto(["max_queued_messages 0", "max_inflight_messages 200"])
    broker.start()
    try:
        with Proxy(broker) as proxy:
            settings = settings_file(folder, proxy, EXTRA)
            text = settings.read_text().replace("[mqtt]\n", f"[mqtt]\nkeepalive_s = {KEEPALIVE_S}\n")
            text = text.replace("[state]\n", "[state]\nsave_every_s = 20.0\n")
            settings.write_text(text.replace("forecast = true", "forecast = false"))
            with DaemonProcess(settings) as daemon:
                _soak(soaked, daemon, broker, proxy, seconds, every_s)
    finally:
        broker.close()
    return soaked


def _soak(
    soaked: Soaked, daemon: DaemonProcess, broker: Mosquitto, proxy: Proxy, seconds: float, every_s: float
) -> None:
    n, soaked.capacity = _capacity(daemon, broker)
    soaked.rate = soaked.capacity / 2
    begun = broken_at = time.monotonic()
    with Torrent(broker, packets(DEVICES, 1, first=n // DEVICES), soaked.rate) as torrent:
        while (now := time.monotonic()) < begun + seconds:
            if now > broken_at + every_s:
                broken_at = now
                if len(soaked.at) % 2:
                    proxy.hole(proxy.out, proxy.back)
                    time.sleep(1.0)
                    proxy.mend()
                else:
                    proxy.cut()
            time.sleep(min(1.0, every_s / 10))
            if time.monotonic() > broken_at + every_s - 2 * min(1.0, every_s / 10):  # connected for a while
                soaked.at.append(time.monotonic() - begun)
                soaked.rss_mb.append(rss_mb(daemon))
                soaked.descriptors.append(n_descriptor(daemon))
    wait_until_judged(daemon, n + torrent.sent, 120)
    soaked.lost = n + torrent.sent - judged(daemon)
    soaked.reconnects = int(daemon.sample("forewarn_mqtt_reconnects_total"))


def _capacity(daemon: DaemonProcess, broker: Mosquitto) -> tuple[int, float]:
    """How many readings were sent to find out, and how many a second are worked off of a heap of QoS 1."""
    n = 60 * DEVICES
    begun = time.monotonic()
    with Torrent(broker, (p for p, _ in zip(packets(DEVICES, 1), range(n), strict=False)), 1e6) as torrent:
        torrent.wait(60)
        wait_until_judged(daemon, n, 60)
    return n, n / (time.monotonic() - begun)


def main(command_line: Sequence[str] | None = None) -> None:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between lost connections")
    arguments = parser.parse_args(command_line)
    with tempfile.TemporaryDirectory(prefix="forewarn-soak-") as folder:
        sys.stdout.write(f"{soak(Path(folder), 60 * arguments.minutes, arguments.every)}\n")


if __name__ == "__main__":
    main()
