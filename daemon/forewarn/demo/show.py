"""`forewarn demo`: a broker, a simulated fleet with faults, the daemon, and a view of what it says.

Rules that hold here:

- The daemon is the real one: `forewarn run`, a process of its own with a settings file, fed and heard over MQTT alone.
- Whatever ends the demonstration, its processes, its ports and its files are gone afterwards.
"""

import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from forewarn import __version__
from forewarn.adapters.mqtt.client import MqttClient
from forewarn.adapters.mqtt.session import Broker
from forewarn.demo.board import ROOT, Board
from forewarn.demo.broker import HOST, EmbeddedBroker
from forewarn.demo.daemon import DaemonProcess
from forewarn.demo.tally import Tally, TimedFault
from forewarn.errors import ForewarnError, UsageError
from forewarn.replay import publish, simulation_messages
from forewarn.simulate import RECOVERY, USUAL_FAULTS, Fault, FleetSpec, Simulation, simulate

if TYPE_CHECKING:
    from forewarn.demo.view import View

CADENCE_S: Final = 60.0
LONGEST_S: Final = 3600.0
MOST_DEVICES: Final = 100
_WARM_UP_READINGS: Final = 75  # a window of 30, 30 residuals to learn from, and some to see the fleet undisturbed
_FAULT_EVERY_S: Final = 5.0  # of the viewer's time, over the whole fleet
_REFRESH_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class DemoSpec:
    """What to show.

    Attributes:
        duration_s: seconds that the fleet runs; None for an hour or until it is ended.
        n_device: simulated sensors.
        seed: of the fleet and its faults.
        faults: the kinds to inject.
        speed: simulated seconds in a second; a sensor sends every 60 simulated seconds.

    Raises:
        UsageError: naming the option and what is possible.
    """

    duration_s: float | None = None
    n_device: int = 12
    seed: int = 1
    faults: tuple[Fault, ...] = USUAL_FAULTS
    speed: float = 300.0

    def __post_init__(self) -> None:
        """Refuse what cannot be shown."""
        if not 1 <= self.n_device <= MOST_DEVICES:
            raise UsageError(
                f"--devices {self.n_device}: 1 to {MOST_DEVICES} can be shown; `forewarn simulate` makes larger fleets"
            )
        if self.duration_s is not None and not 0 < self.duration_s <= LONGEST_S:
            raise UsageError(f"--duration {self.duration_s}: give seconds, up to {LONGEST_S:.0f}")
        if not 1 <= self.speed <= 1200:
            raise UsageError(f"--speed {self.speed}: 1 to 1200 simulated seconds a second can be shown")

    def fleet(self) -> Simulation:
        """The whole fleet, ahead of time."""
        return simulate(
            FleetSpec(
                n_device=self.n_device,
                seed=self.seed,
                cadence_s=CADENCE_S,
                duration_s=(self.duration_s or LONGEST_S) * self.speed,
                faults=self.faults,
                fault_every_s=_FAULT_EVERY_S * self.speed * self.n_device,
                warm_up_s=_WARM_UP_READINGS * CADENCE_S,
            )
        )


def demo(spec: DemoSpec, out: TextIO) -> None:
    """Run the demonstration until its time is over or SIGINT, SIGTERM or SIGHUP comes, then draw up the account.

    Args:
        spec: what to show.
        out: where; a live view on a terminal, plain lines elsewhere.

    Raises:
        ForewarnError: where the demo extra is missing, or the broker or the daemon does not start or ends early.
    """
    _require_extra()
    from forewarn.demo.view import view_on  # noqa: PLC0415 - needs the demo extra

    board = Board()
    stop = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(_stopped_by_signals(stop))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forewarn-demo-")))
        broker = stack.enter_context(EmbeddedBroker())
        address = Broker(broker.host, broker.port, protocol="3.1.1")
        client = stack.enter_context(
            MqttClient(address, client_id="demo-view", on_message=board.hear, subscriptions=[f"{ROOT}/#"])
        )
        daemon = stack.enter_context(DaemonProcess(folder, broker.port))
        view = stack.enter_context(view_on(out, _title(spec, broker.port, daemon.page_url)))
        daemon.wait_until_online(board, stop)
        _show(spec, board, client, daemon, view, stop)
    out.write("\n" + "\n".join(_summary(board)) + "\n")


def _show(
    spec: DemoSpec, board: Board, client: MqttClient, daemon: DaemonProcess, view: "View", stop: threading.Event
) -> None:
    fleet = spec.fleet()
    board.tally = _tally(fleet, spec.speed, time.time())
    messages = simulation_messages(fleet, plain=True)
    with ThreadPoolExecutor(1) as pool:
        feed = pool.submit(publish, messages, client, speed=spec.speed, sleep=stop.wait)
        try:
            while not feed.done() and not stop.wait(_REFRESH_S):
                daemon.check()
                view.show(board)
        finally:
            stop.set()
    feed.result()
    time.sleep(_REFRESH_S)  # the last verdicts are on their way
    view.show(board)


def _tally(fleet: Simulation, speed: float, began_at: float) -> Tally:
    first_at = float(fleet.at[0])
    faults = tuple(
        TimedFault(
            label.device,
            label.kind,
            began_at + (label.started_at - first_at) / speed,
            began_at + (label.ended_at - first_at) / speed,
        )
        for label in fleet.labels
    )
    reading_s = CADENCE_S / speed
    return Tally(faults, settle_s=1.0, recovery_s=1.0 + RECOVERY * reading_s)


def _summary(board: Board) -> list[str]:
    if board.tally is None:
        return ["ended before the fleet started"]
    return board.tally.account(board.raised, board.clock()).lines()


def _title(spec: DemoSpec, port: int, page_url: str) -> str:
    """Three lines of at most 80 characters."""
    reading_s = CADENCE_S / spec.speed
    forecasts, alerts, faults = (f"{n * reading_s:.0f} s" for n in (30, 60, _WARM_UP_READINGS))
    return (
        f"forewarn {__version__} demo: {spec.n_device} simulated sensors, a reading of each every {reading_s:.2g} s\n"
        f"broker mqtt://{HOST}:{port}   page {page_url}\n"
        f"forecasts begin after {forecasts}, alerts after {alerts}, faults after {faults}; Ctrl-C ends it"
    )


def _require_extra() -> None:
    if find_spec("amqtt") is None or find_spec("rich") is None:
        raise ForewarnError("forewarn demo needs an embedded broker and a terminal view: pip install 'forewarn[demo]'")


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP set `stop` within the block."""
    known = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores SIGHUP
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
