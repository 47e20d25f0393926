"""Readings per second, CPU time, latency and memory of the daemon, beside those of the naive one.

Each round starts a fresh process on a core of its own, with a real Mosquitto and this publisher on the other cores:
first as fast as it goes, with a bounded number of readings in flight so that nothing is dropped, then at a fixed rate
with probes, readings so far off that each must raise an alert, timed from their publishing to the alert's arrival.
Candidates take turns, so that a machine that slows down slows both. With `--viewer` they are forewarn with nobody at
its page and forewarn with somebody. `python -m tests.bench.throughput --help`.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path

from forewarn.adapters.onnx_forecaster import resolve_model
from forewarn.demo.broker import HOST
from tests.bench.load import N_DEVICE, Load, flood, prime, probe
from tests.bench.measured import Measured, split_cores
from tests.bench.viewer import Viewer
from tests.bench.wire import Wire
from tests.brokers import Mosquitto, Subscriber
from tests.ports import free_port

N_STEP = 30
WATCHED = "forewarn with a viewer"
SETTINGS = """
instance = "bench"
model = "{model}"
[mqtt]
port = {port}
qos = 0
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


def naive(port: int, model: Path, folder: Path, core: set[int], detector: str) -> Measured:  # noqa: ARG001 - it has one
    """`tests/bench/naive.py`."""
    count_port = free_port()
    options = ["--port", str(port), "--count-port", str(count_port), "--model", str(model)]
    return Measured(
        "naive",
        [sys.executable, "-m", "tests.bench.naive", *options],
        f"http://{HOST}:{count_port}/",
        "naive_readings_total",
        folder / "naive.log",
        core,
    )


def forewarn(port: int, model: Path, folder: Path, core: set[int], detector: str) -> Measured:
    """`forewarn run` with its journal; metrics of single devices are off, since the counter is read often."""
    metrics_port = free_port()
    settings = folder / "forewarn.toml"
    places = {"port": port, "metrics_port": metrics_port, "model": model, "folder": folder}
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


def watched(port: int, model: Path, folder: Path, core: set[int], detector: str) -> Measured:
    """The same with a viewer of its page."""
    return replace(forewarn(port, model, folder, core, detector), name=WATCHED)


CANDIDATES: dict[str, tuple[Callable[[int, Path, Path, set[int], str], Measured], str]] = {
    "naive": (naive, "naive/alerts/#"),
    "forewarn": (forewarn, "forewarn/+/alerts/#"),
    WATCHED: (watched, "forewarn/+/alerts/#"),
}


@contextmanager
def lossless_broker() -> Iterator[Mosquitto]:
    """A Mosquitto that drops nothing."""
    broker = Mosquitto(["max_queued_messages 0", "set_tcp_nodelay true"])
    broker.start()
    try:
        yield broker
    finally:
        broker.close()


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
    parser.add_argument("--only", choices=("naive", "forewarn"))
    parser.add_argument("--viewer", action="store_true", help="forewarn without and with a viewer of its page")
    arguments = parser.parse_args(command_line)
    if arguments.probes > N_DEVICE // 2:
        parser.error(f"--probes {arguments.probes}: at most {N_DEVICE // 2}, each is a device of its own")
    return arguments


def run(arguments: argparse.Namespace) -> dict[str, list[Round]]:
    """The rounds of each candidate, printed as they end."""
    own = os.sched_getaffinity(0)
    core, others = split_cores()
    names = ["forewarn", WATCHED] if arguments.viewer else ["naive", "forewarn"]
    results: dict[str, list[Round]] = {name: [] for name in names if arguments.only in (None, name)}
    os.sched_setaffinity(0, others)
    try:
        with tempfile.TemporaryDirectory(prefix="forewarn-bench-") as folder, lossless_broker() as broker:
            model = made_model(Path(folder)) if arguments.model is None else resolve_model(arguments.model)
            for _ in range(arguments.repeat):
                for name, rounds in results.items():
                    candidate, alert_topic = CANDIDATES[name]
                    measured = candidate(broker.port, model, Path(folder), core, arguments.detector)
                    rounds.append(measure(measured, broker, alert_topic, arguments))
                    sys.stdout.write(f"{name} {rounds[-1]}\n")
    finally:
        os.sched_setaffinity(0, own)
    return results


if __name__ == "__main__":
    sys.stdout.write(table(run(options())) + "\n")
