"""History and simulated fleets, sent to a broker as if live."""

import json
import threading
import time
from pathlib import Path

import pytest

from forewarn.adapters.mqtt.client import MqttClient
from forewarn.adapters.mqtt.session import Broker
from forewarn.errors import DataError, SettingsError
from forewarn.history import History, read_history
from forewarn.replay import Message, Pace, history_messages, publish, replay, simulation_messages, topic_of
from forewarn.simulate import FleetSpec, simulate
from tests.brokers import BrokerProcess, Subscriber


class Recorder:
    """A publisher that remembers, and a clock that a sleep moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sent: list[tuple[float, str, str]] = []
        self.flushed = 0

    def publish(self, topic: str, payload: bytes | str, qos: int = 0, retain: bool = False) -> None:  # noqa: ARG002 - the port's
        self.sent.append((self.now, topic, str(payload)))

    def flush(self) -> None:
        self.flushed = len(self.sent)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def history_of(tmp_path: Path, text: str, **options: object) -> History:
    path = tmp_path / "plant.csv"
    path.write_text(text)
    return read_history(path, **options)  # type: ignore[arg-type]


HOURLY = "time,value\n2026-01-01T00:00:00Z,1.5\n2026-01-01T01:00:00Z,\n2026-01-01T02:00:00Z,3.5\n"


def test_rows_become_json_with_value_and_time_and_those_without_a_number_are_left_out(tmp_path: Path) -> None:
    messages = list(history_messages(history_of(tmp_path, HOURLY)))
    assert [m.topic for m in messages] == ["sensors/plant/value"] * 2
    assert [json.loads(m.payload) for m in messages] == [
        {"value": 1.5, "time": 1767225600.0},
        {"value": 3.5, "time": 1767232800.0},
    ]


def test_several_features_share_a_message_and_plain_sends_the_target_alone(tmp_path: Path) -> None:
    text = "time,device,temperature,humidity\n1767225600,a,21.5,40\n1767225660,a,21.6,\n"
    history = history_of(tmp_path, text, features=["humidity", "temperature"], target="temperature")
    assert [json.loads(m.payload) for m in history_messages(history)] == [
        {"humidity": 40.0, "temperature": 21.5, "time": 1767225600.0},
        {"temperature": 21.6, "time": 1767225660.0},
    ]
    assert [m.payload for m in history_messages(history, plain=True)] == ["21.5", "21.6"]


def test_devices_in_one_file_are_merged_by_time_and_each_keeps_its_order(tmp_path: Path) -> None:
    text = "time,device,value\n10,a,1\n30,a,2\n20,a,3\n40,a,4\n10,b,5\n25,b,6\n"
    sent = [json.loads(m.payload)["value"] for m in history_messages(history_of(tmp_path, text))]
    assert sent == [1, 5, 6, 2, 3, 4]


def test_a_second_of_the_readings_takes_one_over_speed_and_speed_0_does_not_wait(tmp_path: Path) -> None:
    messages = list(history_messages(history_of(tmp_path, HOURLY)))
    for speed, expected in ((3600.0, [0.0, 2.0]), (0.0, [0.0, 0.0])):
        recorder = Recorder()
        n = publish(messages, recorder, speed=speed, sleep=recorder.sleep, clock=lambda r=recorder: r.now)  # type: ignore[misc]
        assert n == recorder.flushed == 2
        assert [now for now, _, _ in recorder.sent] == expected


def test_a_reading_older_than_the_one_before_is_sent_at_once() -> None:
    recorder = Recorder()
    messages = [Message(at, "t", str(at)) for at in (100.0, 160.0, 130.0, 190.0)]
    publish(messages, recorder, speed=60.0, sleep=recorder.sleep, clock=lambda: recorder.now)
    assert [now for now, _, _ in recorder.sent] == [0.0, 1.0, 1.0, 1.5]


def test_publishing_ends_when_the_sleep_says_so() -> None:
    recorder = Recorder()
    stop = threading.Event()
    stop.set()
    assert publish([Message(0.0, "t", "1"), Message(9.0, "t", "2")], recorder, speed=1.0, sleep=stop.wait) == 1


def test_restamped_readings_end_now_and_none_comes_from_the_future() -> None:
    for speed, took in ((0.0, 0.0), (1.0, 100.0), (10.0, 10.0)):
        shift = Pace(speed, restamp=True).shift(5000.0, 5100.0, now=90_000.0)
        assert 5100.0 + shift == 90_000.0 + took
        assert 5000.0 + shift <= 90_000.0
    assert Pace(1.0).shift(5000.0, 5100.0, now=90_000.0) == 0.0


def test_the_times_in_the_payloads_are_shifted_and_so_is_the_end_of_a_replay(tmp_path: Path) -> None:
    history = history_of(tmp_path, HOURLY)
    times = [json.loads(m.payload)["time"] for m in history_messages(history, shift_s=100.0)]
    assert times == [1767225700.0, 1767232900.0]
    fleet = simulate(FleetSpec(n_device=1, duration_s=600.0))
    times = [json.loads(m.payload)["time"] for m in simulation_messages(fleet, shift_s=100.0)]
    assert times == pytest.approx(fleet.at + 100.0, abs=1e-3)
    recorder = Recorder()
    replay(history, recorder, Pace(0.0, restamp=True))
    assert json.loads(recorder.sent[-1][2])["time"] == pytest.approx(time.time(), abs=60.0)


def test_more_readings_a_second_than_the_rate_are_never_sent() -> None:
    recorder = Recorder()
    messages = [Message(0.0, "t", str(i)) for i in range(1001)]
    publish(messages, recorder, speed=0.0, rate=100.0, sleep=recorder.sleep, clock=lambda: recorder.now)
    assert recorder.now == pytest.approx(10.0, abs=0.01)
    with pytest.raises(SettingsError, match="--rate"):
        Pace(rate=0.0)


@pytest.mark.parametrize("speed", [-1.0, float("nan"), float("inf")])
def test_a_speed_that_cannot_be_kept_is_refused(speed: float) -> None:
    with pytest.raises(SettingsError, match="--speed"):
        Pace(speed)


def test_a_topic_needs_the_device_and_names_that_fit_into_a_level() -> None:
    assert topic_of("plant/{device}/{metric}/up", "a", "temperature") == "plant/a/temperature/up"
    for template in ("sensors/{metric}", "sensors/+/{device}"):
        with pytest.raises(SettingsError, match="--topic"):
            topic_of(template, "a", "temperature")
    for device in ("a/b", "a#", ""):
        with pytest.raises(DataError, match="level of an MQTT topic"):
            topic_of("sensors/{device}/{metric}", device, "temperature")


def test_history_arrives_at_a_real_broker_complete_and_in_order(broker: BrokerProcess, tmp_path: Path) -> None:
    rows = "".join(f"{1767225600 + 60 * (i // 2)},{'ab'[i % 2]},{i}\n" for i in range(3000))
    history = history_of(tmp_path, "time,device,value\n" + rows)
    address = Broker(broker.host, broker.port, protocol="3.1.1")
    with Subscriber(broker, "replayed/#") as subscriber, MqttClient(address) as client:
        assert replay(history, client, Pace(0.0), topic="replayed/{device}/{metric}") == 3000
        messages = subscriber.wait_for_count(3000)
    assert [json.loads(m.payload)["value"] for m in messages] == list(range(3000))
    assert {m.topic for m in messages} == {"replayed/a/value", "replayed/b/value"}


def test_a_simulated_fleet_arrives_at_a_real_broker(broker: BrokerProcess) -> None:
    fleet = simulate(FleetSpec(n_device=3, duration_s=3600.0))
    address = Broker(broker.host, broker.port, protocol="3.1.1")
    with Subscriber(broker, "simulated/#") as subscriber, MqttClient(address) as client:
        replay(fleet, client, Pace(0.0), topic="simulated/{device}/{metric}")
        messages = subscriber.wait_for_count(len(fleet))
    expected = [m.payload for m in simulation_messages(fleet)]
    assert [m.payload.decode() for m in messages] == expected
    assert messages[0].topic.endswith("/temperature")
