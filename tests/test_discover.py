"""`forewarn discover`: what it proposes for what came, and that what it proposes works."""

import json
import threading
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn import discover
from forewarn.cli import main
from forewarn.discover import Heard, Listener, propose, settings
from forewarn.settings import load
from tests.brokers import Mosquitto, Subscriber

NOW = 1767225600.0


def heard(*messages: tuple[str, object]) -> dict[str, Heard]:
    listener = Listener()
    for i, (topic, body) in enumerate(messages):
        listener.hear(topic, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW + 10.0 * i)
    return listener.topics


def inputs(topics: dict[str, Heard]) -> list[dict[str, object]]:
    text = settings(propose(topics), "a test", "127.0.0.1", 1883)
    return list(tomllib.loads(text).get("inputs", []))


def test_bare_numbers_have_their_device_where_the_topics_differ() -> None:
    topics = heard(*((f"sensors/f{i % 3}/{m}", b"4.1") for i in range(6) for m in ("temperature", "humidity")))
    assert inputs(topics) == [{"topic": "sensors/{device}/{metric}", "dialect": "number", "metrics": ["*temperature*"]}]


def test_numbers_without_a_temperature_among_them_are_all_taken() -> None:
    assert inputs(heard(("a/b/level", b"4.1"), ("a/c/level", b"3"))) == [
        {"topic": "a/{device}/{metric}", "dialect": "number"}
    ]


def test_documents_have_their_temperatures_and_their_time() -> None:
    body = {"at": NOW, "env": [{"temperature": "4.1", "rh": 60}], "battery": 97}
    assert inputs(heard(("site/a/up", body), ("site/b/up", body))) == [
        {
            "topic": "site/{device}/up",
            "dialect": "json",
            "time": "at",
            "values": {"temperature": "env.0.temperature"},
        }
    ]


def test_one_topic_for_all_has_the_device_from_the_document() -> None:
    assert inputs(heard(("readings", {"id": "a", "t": 4.1}), ("readings", {"id": "b", "t": 5}))) == [
        {"topic": "readings", "dialect": "json", "device": "id", "values": {"t": "t"}}
    ]


def test_a_dialect_is_known_by_its_topics_and_what_it_reads() -> None:
    topics = heard(
        ("zigbee2mqtt/bridge/state", {"state": "online"}),
        ("zigbee2mqtt/kitchen/fridge", {"temperature": 4.1, "battery": 97}),
        ("tele/plug/SENSOR", {"Time": "2026-01-01T00:00:00", "DS18B20": {"Temperature": 4.5}, "TempUnit": "C"}),
    )
    assert [one["dialect"] for one in inputs(topics)] == ["zigbee2mqtt", "tasmota"]
    (first, _) = propose(topics)
    assert {key.device for key in first.series} == {"kitchen:fridge"}


def test_what_is_no_reading_and_what_is_our_own_is_not_proposed() -> None:
    topics = heard(
        ("forewarn/gw/state/a/temperature", {"value": 4.1}),
        ("$SYS/broker/uptime", b"17"),
        ("door/lock", b"open"),
        ("log", {"message": "hello"}),
        ("homeassistant/device/a/config", {"name": "a"}),
        ("n/\x1b[2J/temperature", b"4"),
    )
    assert propose(topics) == []


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover, "MOST_TOPICS", 3)
    listener = Listener()
    for i in range(10):
        for j in range(9):
            listener.hear(f"a/{i}", b"%d" % j, NOW + j)
    assert list(listener.topics) == ["a/0", "a/1", "a/2"]
    assert listener.n_left_out == 63
    assert listener.topics["a/0"].payloads == [b"6", b"7", b"8"]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12),
            st.binary(max_size=30)
            | st.sampled_from(
                [
                    b'{"temperature": 4, "id": "x\\u001b"}',
                    b'{"\\ud800": {"t": 4}, "a/b": 1, "\\ud800t": 5, "": 6}',
                    b"4.5",
                ]
            ),
        ),
        max_size=6,
    )
)
def test_whatever_comes_gives_settings_that_can_be_loaded(messages: list[tuple[str, bytes]]) -> None:
    listener = Listener()
    for topic, payload in messages:
        listener.hear(topic, payload, NOW)
    text = settings(propose(listener.topics), "a test", "127.0.0.1", 1883)
    assert all(c.isprintable() or c == "\n" for c in text)
    tomllib.loads(text)


def test_what_it_writes_from_a_broker_can_be_checked_and_run(
    mosquitto: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "forewarn.toml"
    done = threading.Event()

    def publish() -> None:
        with Subscriber(mosquitto, "nothing") as publisher:
            while not done.wait(0.05):
                publisher.publish("cellar/f1/temperature", "4.5")
                publisher.publish("cellar/f2/temperature", "5.5")

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        where = f"127.0.0.1:{mosquitto.port}"
        assert main(["discover", "--connect", where, "--seconds", "1.5", "--out", str(out)]) == 0
    finally:
        done.set()
        thread.join()
    assert "2 devices (f1, f2), temperature" in out.read_text()
    (one,) = load(out).settings.inputs
    assert (one.topic, one.dialect) == ("cellar/{device}/{metric}", "number")
    assert main(["check", "--config", str(out), "--connect"]) == 0
    assert main(["explain", "--config", str(out), "cellar/f1/temperature", "4.5"]) == 0
    capsys.readouterr()
    begun = time.monotonic()
    assert main(["discover", "--connect", where, "--seconds", "0.3"]) == 1
    assert time.monotonic() - begun < 10.0
    assert "none of them could be read as readings" in capsys.readouterr().err
