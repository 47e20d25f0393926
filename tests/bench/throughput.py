"""Readings per second, CPU time, latency and memory of the daemon, beside those of the naive one.

Each round starts a fresh process on a core of its own, with a real Mosquitto and this publisher on the other cores:
first as fast as it goes, with a bounded number of readings in flight so that nothing is dropped, then at a fixed rate
with probes, readings so far off that each must raise an alert, timed from their publishing to the alert's arrival.
Candidates take turns, so that a machine that slows down slows both. With `--beside tls` they are the daemon without and
with TLS to the broker, with `--beside viewer` without and with somebody at its page.
`python -m tests.bench.throughput --help`.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

from forewarn.adapters.onnx_forecaster import resolve_model
from forewarn.demo.broker import HOST
from tests.bench.load import N_DEVICE, Load, flood, prime, probe
from tests.bench.measured import Measured, split_cores
from tests.bench.viewer import Viewer
from tests.bench.wire import Wire
from tests.brokers import Mosquitto, Subscriber
from tests.certificates import authority, signed
from tests.ports import free_port

N_STEP = 30
OVER_TLS, WATCHED = "forewarn over TLS", "forewarn with a viewer"
SETTINGS = """
instance = "bench"
model = "{model}"
[mqtt]
port = {port}
qos = 0
{tls}
[[inputs]]
topic = "sensors/{{device}}/{{metric}}"
dialect = "json"
value = "value"
time = "time"
[alerts]
detector = "{detector}"
threshold_mode = "absolute"
threshold = 30.0
[metrics]
port = {metrics_port}
max_devices = 0
[state]
path = "{folder}/state.sqlite"
[logging]
level = "warning"
"""


@dataclass(frozen=True)
class Round:
    """What one round of one candidate gave; `port_percent` is the share of all CPU time that is not the loop's."""

    readings_per_s: float
    cpu_us_per_reading: float
    port_percent: float
    cpu_us_at_rate: float
    latency_p50_ms: float
    latency_p99_ms: float
    rss_mb: float
    lost: float


class Lossless(Mosquitto):
    """A Mosquitto that drops nothing, and has a second port that speaks TLS where it is given a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.tls_port = free_port()
        lines = ["max_queued_messages 0", "set_tcp_nodelay true"]
        if folder is not None:
            self.ca = authority(folder)
            server = signed(self.ca, "server")
            files = [f"certfile {server.cert}", f"keyfile {server.key}", "user root"]
            lines += [f"listener {self.tls_port} {self.host}", *files]
        super().__init__(lines)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and remove its files."""
        self.close()


def measure(measured: Measured, broker: Mosquitto, alert_topic: str, arguments: argparse.Namespace) -> Round:
    """One round."""
    load = Load(arguments.rounds + N_STEP + 60)
    with (
        measured,
        Wire(broker.host, broker.port, "bench-load") as wire,
        Subscriber(broker, alert_topic) as alerts,
        Viewer(measured.count_url) if measured.name == WATCHED else nullcontext(),
    ):
        prime(wire, measured, load)
        warm_up = [load.round(20.0 + 0.01 * (i % 7)) for i in range(N_STEP + 35)]
        rounds = [load.round(20.0 + 0.01 * (i % 7)) for i in range(arguments.rounds)]
        _, lost_before = flood(wire, measured, warm_up, arguments.in_flight)
        cpu_before, loop_before = measured.cpu_s(), measured.loop_cpu_s()
        took, lost = flood(wire, measured, rounds, arguments.in_flight)
        cpu, loop = measured.cpu_s() - cpu_before, measured.loop_cpu_s() - loop_before
        n = len(rounds) * N_DEVICE - lost
        base, cpu_before = measured.count(), measured.cpu_s()
        latencies = sorted(probe(wire, alerts, load, arguments.probes, arguments.rate))
        cpu_at_rate = (measured.cpu_s() - cpu_before) / (measured.count() - base)
        return Round(
            readings_per_s=n / took,
            cpu_us_per_reading=cpu / n * 1e6,
            port_percent=100.0 * (1.0 - loop / cpu),
            cpu_us_at_rate=cpu_at_rate * 1e6,
            latency_p50_ms=1e3 * statistics.median(latencies),
            latency_p99_ms=1e3 * latencies[int(0.99 * (len(latencies) - 1))],
            rss_mb=measured.rss_bytes() / 1e6,
            lost=lost_before + lost,
        )


def naive(broker: Lossless, model: Path, folder: Path, core: set[int], detector: str) -> Measured:  # noqa: ARG001 - it has one
    """`tests/bench/naive.py`."""
    count_port = free_port()
    options = ["--port", str(broker.port), "--count-port", str(count_port), "--model", str(model)]
    return Measured(
        "naive",
        [sys.executable, "-m", "tests.bench.naive", *options],
        f"http://{HOST}:{count_port}/",
        "naive_readings_total",
        folder / "naive.log",
        core,
    )


def forewarn(broker: Lossless, model: Path, folder: Path, core: set[int], detector: str) -> Measured:
    """`forewarn run` with its journal; metrics of single devices are off, since the counter is read often."""
    return _forewarn(model, folder, core, detector, port=broker.port)


def over_tls(broker: Lossless, model: Path, folder: Path, core: set[int], detector: str) -> Measured:
    """The same, with TLS between it and the broker."""
    tls = f'tls = true\nca_file = "{broker.ca.cert}"'
    return _forewarn(model, folder, core, detector, port=broker.tls_port, tls=tls)


def _forewarn(model: Path, folder: Path, core: set[int], detector: str, *, port: int, tls: str = "") -> Measured:
    metrics_port = free_port()
    settings = folder / "forewarn.toml"
    places = {"port": port, "tls": tls, "metrics_port": metrics_port, "model": model, "folder": folder}
    settings.write_text(SETTINGS.format(detector=detector, **places))
    (folder / "state.sqlite").unlink(missing_ok=True)
    return Measured(
        "forewarn",
        [sys.executable, "-m", "forewarn", "run", "--config", str(settings)],
        f"http://{HOST}:{metrics_port}/metrics",
        "forewarn_readings_total",
        folder / "forewarn.log",
        core,
    )


def watched(broker: Lossless, model: Path, folder: Path, core: set[int], detector: str) -> Measured:
    """The same as `forewarn`, with a viewer of its page."""
    return replace(forewarn(broker, model, folder, core, detector), name=WATCHED)


CANDIDATES: dict[str, tuple[Callable[[Lossless, Path, Path, set[int], str], Measured], str]] = {
    "naive": (naive, "naive/alerts/#"),
    "forewarn": (forewarn, "forewarn/+/alerts/#"),
    OVER_TLS: (over_tls, "forewarn/+/alerts/#"),
    WATCHED: (watched, "forewarn/+/alerts/#"),
}
_PAIRS = {"naive": ("naive", "forewarn"), "tls": ("forewarn", OVER_TLS), "viewer": ("forewarn", WATCHED)}


def made_model(folder: Path) -> Path:
    """A model of the benchmark's shape."""
    try:
        from tests.bench.model import write_model  # noqa: PLC0415 - needs the training extra
    except ImportError as error:
        sys.exit(f"no model ({error}): pip install 'forewarn[training]', or give a 30-step one with --model")
    write_model(folder / "bench.onnx")
    return folder / "bench.onnx"


def table(results: dict[str, list[Round]]) -> str:
    """Medians over the rounds as a Markdown table, and where there are two candidates, the second over the first."""
    names = [field.name for field in fields(Round)]
    medians = {
        name: [statistics.median(getattr(r, column) for r in rounds) for column in names]
        for name, rounds in results.items()
    }
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    lines += [f"| {name} | " + " | ".join(f"{value:,.1f}" for value in row) + " |" for name, row in medians.items()]
    if len(medians) == 2:
        first, second = medians.values()
        ratios = [f"{b / a:.2f}" if a else "" for a, b in zip(first, second, strict=True)]
        lines.append(f"| {' / '.join(reversed(medians))} | " + " | ".join(ratios) + " |")
    return "\n".join(lines)


def options(command_line: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="`starter` or a file; default: one made for the benchmark by the exporter")
    parser.add_argument("--detector", choices=("tail", "residual"), default="residual", help="the judge of forewarn")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of each candidate")
    parser.add_argument("--rounds", type=int, default=200, help="readings of each device in a round")
    parser.add_argument("--in-flight", type=int, default=15_000, help="most readings sent and not yet handled")
    parser.add_argument("--rate", type=float, default=5000.0, help="readings a second while latency is measured")
    parser.add_argument("--probes", type=int, default=200, help="latency samples in a round")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--only", choices=sorted(CANDIDATES), help="one candidate")
    which.add_argument("--beside", choices=sorted(_PAIRS), default="naive", help="what forewarn is compared with")
    arguments = parser.parse_args(command_line)
    if arguments.probes > N_DEVICE // 2:
        parser.error(f"--probes {arguments.probes}: at most {N_DEVICE // 2}, each is a device of its own")
    return arguments


def run(arguments: argparse.Namespace) -> dict[str, list[Round]]:
    """The rounds of each candidate, printed as they end."""
    own = os.sched_getaffinity(0)
    core, others = split_cores()
    names = (arguments.only,) if arguments.only else _PAIRS[arguments.beside]
    results: dict[str, list[Round]] = {name: [] for name in names}
    os.sched_setaffinity(0, others)
    try:
        with tempfile.TemporaryDirectory(prefix="forewarn-bench-") as made, ExitStack() as stack:
            folder = Path(made)
            broker = stack.enter_context(Lossless(folder if OVER_TLS in names else None))
            model = made_model(folder) if arguments.model is None else resolve_model(arguments.model)
            for _ in range(arguments.repeat):
                for name, rounds in results.items():
                    candidate, alert_topic = CANDIDATES[name]
                    measured = candidate(broker, model, folder, core, arguments.detector)
                    rounds.append(measure(measured, broker, alert_topic, arguments))
                    sys.stdout.write(f"{name} {rounds[-1]}\n")
    finally:
        os.sched_setaffinity(0, own)
    return results


if __name__ == "__main__":
    sys.stdout.write(table(run(options())) + "\n")
