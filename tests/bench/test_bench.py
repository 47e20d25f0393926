"""The parts of the benchmark work; what it measures is no test's business."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import record
from tests.bench.load import Load, flood, prime
from tests.bench.measured import Measured, split_cores
from tests.bench.throughput import CANDIDATES, OVER_TLS, WATCHED, Lossless, Round, table
from tests.bench.viewer import Viewer
from tests.bench.wire import Wire, publish_packet
from tests.brokers import Mosquitto, Subscriber

TINY = Path(__file__).parents[1] / "models" / "tiny.onnx"


def test_packets_by_hand_arrive_as_they_were_meant(mosquitto: Mosquitto) -> None:
    payloads = [b"1.5", b"", b"x" * 200, b"y" * 20_000]  # remaining lengths of one, two and three bytes
    with Subscriber(mosquitto, "wire/#") as subscriber, Wire(mosquitto.host, mosquitto.port, "wire") as wire:
        wire.send(b"".join(publish_packet(f"wire/{i}", payload) for i, payload in enumerate(payloads)))
        messages = subscriber.wait_for_count(len(payloads))
    assert [(m.topic, m.payload) for m in messages] == [(f"wire/{i}", p) for i, p in enumerate(payloads)]


@pytest.fixture
def lossless(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Lossless]:  # noqa: ARG001 - skips where there is none
    """The benchmark's own broker."""
    with Lossless(tmp_path) as broker:
        yield broker


@pytest.mark.parametrize(
    ("name", "detector"),
    [("forewarn", "residual"), ("forewarn", "tail"), (OVER_TLS, "residual"), ("naive", "residual")],
)
def test_each_candidate_counts_what_it_is_sent_and_tells_a_probe(
    lossless: Lossless, tmp_path: Path, name: str, detector: str
) -> None:
    candidate, alert_topic = CANDIDATES[name]
    measured = candidate(lossless, TINY, tmp_path, split_cores()[0], detector)
    load = Load(100)
    with measured, Wire(lossless.host, lossless.port, "load") as wire, Subscriber(lossless, alert_topic) as alerts:
        prime(wire, measured, load)
        took, lost = flood(wire, measured, [load.round(20.0 + 0.01 * (i % 7)) for i in range(65)], in_flight=5000)
        assert (took > 0, lost) == (True, 0)
        load.advance(1.0)
        wire.send(load.reading(7, 80.0))
        alerts.wait_for(lambda message: "device-0007" in message.topic)
        assert measured.cpu_s() > 0
        assert 20e6 < measured.rss_bytes() < 1e9


def test_a_viewer_sees_what_it_would_cost(lossless: Lossless, tmp_path: Path) -> None:
    measured = CANDIDATES[WATCHED][0](lossless, TINY, tmp_path, split_cores()[0], "residual")
    load = Load(10)
    with measured, Wire(lossless.host, lossless.port, "load") as wire, Viewer(measured.count_url) as viewer:
        prime(wire, measured, load)
        flood(wire, measured, [load.round()], in_flight=5000)
        deadline = time.monotonic() + 10
        while viewer.n_event < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert 0 < measured.loop_cpu_s() <= measured.cpu_s()
    assert viewer.n_load == 1
    assert viewer.n_byte > 20_000


def test_a_candidate_that_does_not_start_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such luck')"]
    measured = Measured("unlucky", command, "http://127.0.0.1:9/", "none", tmp_path / "log", split_cores()[0])
    with pytest.raises(RuntimeError, match="no such luck"), measured:
        pass


def test_the_table_holds_medians_and_their_ratios() -> None:
    rounds = {
        "naive": [Round(v, v, v, v, v, v, v, 0) for v in (1.0, 3.0, 200.0)],
        "forewarn": [Round(v, v, v, v, v, v, v, 0) for v in (1.0, 6.0, 9.0)],
    }
    assert table(rounds).splitlines()[2:] == [
        "| naive | 3.0 | 3.0 | 3.0 | 3.0 | 3.0 | 3.0 | 3.0 | 0.0 |",
        "| forewarn | 6.0 | 6.0 | 6.0 | 6.0 | 6.0 | 6.0 | 6.0 | 0.0 |",
        "| forewarn / naive | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 |  |",
    ]


def test_kept_readings_are_measured_in_each_form() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'forewarn[parquet]'")
    kind, n, *sizes, _ = (cell.strip() for cell in record.measure(90_000, rounded=True).strip("| ").split("|"))
    assert (kind, 1_000 < int(n.replace(",", "")) < 3_000) == ("in steps", True)
    plain, zipped, columns = map(float, sizes)
    assert 30 < plain < 60
    assert columns < zipped < plain / 5
