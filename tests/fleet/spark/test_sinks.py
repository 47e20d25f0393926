import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forewarn.adapters.mqtt.session import Broker, BrokerError
from forewarn.errors import ForewarnError
from forewarn.fleet.spark import sinks
from forewarn.fleet.spark.sinks import AlertMessage, FilesSink, MqttSink
from tests.brokers import Mosquitto, Subscriber, mosquitto_path

ALERTS = [AlertMessage("forewarn/f/alerts/a/temperature", f'{{"id": "{n}", "sequence": 1}}') for n in range(3)]


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    if mosquitto_path() is None:
        pytest.skip("Mosquitto is not installed")
    one = Mosquitto()
    one.start()
    yield one
    one.close()


def test_a_broker_that_comes_back_gets_the_alerts(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_BROKER_PAUSE_S", 0.1)
    sink = MqttSink(Broker(broker.host, broker.port), "fleet")
    sink.write(ALERTS[:1], 0)
    broker.stop()
    writing = threading.Thread(target=sink.write, args=(ALERTS[1:], 1))
    writing.start()
    time.sleep(1.0)
    assert writing.is_alive()
    broker.start()
    with Subscriber(broker, "forewarn/f/alerts/#") as subscriber:
        writing.join(30)
        assert not writing.is_alive()
        sink.write(ALERTS[:1], 2)  # whoever subscribes anew may have missed the others
        subscriber.wait_for(lambda message: message.payload.decode() == ALERTS[0].payload)


def test_a_broker_that_stays_away_fails_the_micro_batch(monkeypatch: pytest.MonkeyPatch, broker: Mosquitto) -> None:
    monkeypatch.setattr(sinks, "_BROKER_WAIT_S", 0.3)
    monkeypatch.setattr(sinks, "_BROKER_PAUSE_S", 0.1)
    sink = MqttSink(Broker(broker.host, broker.port), "fleet")
    broker.stop()
    with pytest.raises(BrokerError, match="cannot be reached"):
        sink.write(ALERTS, 0)


def test_a_file_is_replaced_by_the_same_micro_batch_and_never_seen_in_part(tmp_path: Path) -> None:
    sink = FilesSink(tmp_path / "alerts")
    sink.write(ALERTS[:2], 7)
    sink.write(ALERTS, 7)
    (path,) = (tmp_path / "alerts").iterdir()
    assert path.name == "000000000007.jsonl"
    assert path.read_text().splitlines() == [alert.payload for alert in ALERTS]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "alerts").write_text("")
    with pytest.raises(ForewarnError, match=r"alerts/000000000000\.jsonl: cannot be written"):
        FilesSink(tmp_path / "alerts").write(ALERTS, 0)
