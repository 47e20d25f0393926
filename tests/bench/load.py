"""What the candidates are loaded with: floods of readings, and probes among a steady stream."""

import time
from collections.abc import Callable, Sequence

from tests.bench.measured import Measured
from tests.bench.wire import Wire, publish_packet
from tests.brokers import Message, Subscriber

N_DEVICE = 1000
PROBE_C = 80.0  # the forecasts of the benchmark's model are near 20 °C
POLL_S = 0.1  # a scrape costs the daemon about a millisecond
END_POLL_S = 0.02
PATIENCE_S = 3.0
BURST = 10
PROBES_PER_S = 50


class Load:
    """Readings of all devices, one second of their own time apart, the last of them now."""

    def __init__(self, n_round: int) -> None:
        self._at = time.time() - n_round

    def advance(self, seconds: float) -> None:
        """Let the readings' own time go on."""
        self._at += seconds

    def round(self, value: float = 20.0) -> bytes:
        """One reading of each device, encoded."""
        self.advance(1.0)
        return b"".join(self.reading(i, value + 0.001 * (i % 500)) for i in range(N_DEVICE))

    def burst(self, nth: int) -> bytes:
        """A few readings of the devices that are no probes, encoded.

        All of them take less than one interval of a round, so that no reading of a probe is missing meanwhile.
        """
        self.advance(0.0005)
        return b"".join(self.reading(500 + (BURST * nth + i) % 500, 20.0 + 0.01 * (nth % 7)) for i in range(BURST))

    def reading(self, device: int, value: float) -> bytes:
        """One reading, encoded."""
        payload = f'{{"value": {value:.3f}, "time": {self._at:.4f}}}'.encode()
        return publish_packet(f"sensors/device-{device:04}/temperature", payload)


def prime(wire: Wire, measured: Measured, load: Load) -> None:
    """Wait until the candidate is subscribed."""
    deadline = time.monotonic() + 30
    while measured.count() == 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{measured.name} handles nothing: {measured.log.read_text()[-2000:]}")
        load.advance(0.001)
        wire.send(load.reading(0, 20.0))
        time.sleep(0.05)


def flood(wire: Wire, measured: Measured, rounds: Sequence[bytes], in_flight: int) -> tuple[float, int]:
    """Send as fast as the candidate handles them: seconds that it took, and readings that never were handled."""
    base, handled, sent = measured.count(), 0, 0
    began = progressed_at = time.monotonic()

    def wait_for(least: int, poll_s: float) -> None:
        nonlocal handled, progressed_at
        while handled < least and time.monotonic() < progressed_at + PATIENCE_S:
            time.sleep(poll_s)
            before, handled = handled, measured.count() - base
            if handled > before:
                progressed_at = time.monotonic()

    for packets in rounds:
        wait_for(sent + N_DEVICE - in_flight, POLL_S)
        wire.send(packets)
        sent += N_DEVICE
    wait_for(sent, END_POLL_S)
    return progressed_at - began, sent - handled


def probe(wire: Wire, alerts: Subscriber, load: Load, n_probe: int, rate: float) -> list[float]:
    """Seconds from a probe's publishing to its alert, under `rate` readings a second."""
    published: dict[str, float] = {}
    due = time.monotonic()
    for i in range(n_probe):
        for burst in range(int(rate / BURST / PROBES_PER_S)):
            wire.send(load.burst(i + burst))
            due += BURST / rate
            time.sleep(max(0.0, due - time.monotonic()))
        packet = load.reading(i, PROBE_C)
        published[f"device-{i:04}"] = time.monotonic()
        wire.send(packet)

    def of(device: str) -> Callable[[Message], bool]:
        return lambda message: message.topic.split("/")[-2] == device

    return [alerts.wait_for(of(device)).arrived_at - at for device, at in published.items()]
