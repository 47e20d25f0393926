"""The link and the plain client with real brokers."""

import logging
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from forewarn.adapters.mqtt.client import MqttClient
from forewarn.adapters.mqtt.session import Broker, BrokerError
from tests.brokers import BrokerProcess, Mosquitto, Subscriber
from tests.links import MOST, SPOKEN, Links, Version, address, connected, lines, need_mosquitto, own, turning


def test_a_link_hands_over_what_comes_and_publishes(spoken: tuple[BrokerProcess, Version], link: Links) -> None:
    broker, protocol = spoken
    mine = connected(link(broker, "a/+/b", "c/#", protocol=protocol))
    before = time.time()
    with Subscriber(broker, "link/ü", "link/plain") as other:
        for topic, payload in (("a/x/b", "1"), ("c", "2"), ("c/ä/b", "3"), ("not/mine", "4"), ("c/d", "")):
            other.publish(topic, payload)
        messages = turning(mine, lambda got: len(got) == 4)
        assert sorted((m.topic, m.payload, m.retained) for m in messages) == [
            ("a/x/b", b"1", False),
            ("c", b"2", False),
            ("c/d", b"", False),
            ("c/ä/b", b"3", False),
        ]
        arrivals = [m.received_at for m in messages]
        assert arrivals == sorted(set(arrivals))
        assert before <= arrivals[0] <= arrivals[-1] <= time.time() + 1
        mine.publish("link/ü", "once", qos=1, retain=False)
        mine.publish("link/plain", "twice", qos=0, retain=False)
        assert mine.unacknowledged == 1
        turning(mine, lambda _: mine.unacknowledged == 0)
        assert {(m.topic, m.payload) for m in other.wait_for_count(2)} == {
            ("link/ü", b"once"),
            ("link/plain", b"twice"),
        }
        assert mine.dropped == 0
        assert mine.close(1.0)


def test_retained_messages_are_told_apart(spoken: tuple[BrokerProcess, Version], link: Links) -> None:
    broker, protocol = spoken
    with Subscriber(broker, "unused") as other:
        other.publish("kept/old", "1", retain=True)
        mine = link(broker, "kept/#", protocol=protocol)
        (old,) = turning(mine, lambda got: len(got) == 1)
        other.publish("kept/old", "2", retain=True)
        (new,) = turning(mine, lambda got: len(got) == 1)
        assert (old.payload, old.retained, new.payload, new.retained) == (b"1", True, b"2", False)
        other.publish("kept/old", "", retain=True)


def test_a_link_that_breaks_leaves_its_last_will_and_one_that_is_closed_does_not(
    spoken: tuple[BrokerProcess, Version], link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    broker, protocol = spoken
    with Subscriber(broker, "+/status") as other:
        closed = connected(link(broker, protocol=protocol, name="closed"))
        closed.publish("closed/status", "online", qos=1, retain=True)
        assert closed.close(1.0)
        broken = connected(link(broker, protocol=protocol, name="broken"))
        broken.publish("broken/status", "online", qos=1, retain=True)
        turning(broken, lambda _: broken.unacknowledged == 0)
        sock = broken._client.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)
        other.wait_for(lambda m: m.topic == "broken/status" and m.payload == b"offline")
        turning(broken, lambda _: not broken.subscribed)
        assert not [m for m in other.messages if m.topic == "closed/status" and m.payload != b"online"]
        connected(broken)
        for topic in ("closed/status", "broken/status"):
            other.publish(topic, "", retain=True)
    assert len(lines(caplog)) == 1
    assert "lost" in lines(caplog)[0]


@pytest.mark.parametrize(("name", "protocol"), SPOKEN)
def test_a_broker_that_is_away_is_waited_for_and_what_waited_for_it_arrives(
    name: str, protocol: Version, link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker = own(name)
    mine = link(broker, protocol=protocol)
    for _ in range(10):
        assert mine.turn(0.05) == []
    for i in range(50):
        mine.publish("out", f"{i}", qos=1, retain=False)
    assert (mine.unacknowledged, mine.dropped, mine.subscribed) == (50, 0, False)
    (line,) = lines(caplog)
    assert line.startswith(f"broker 127.0.0.1:{broker.port} cannot be reached ([Errno 111] Connection refused)")
    try:
        for n in (50, 100):
            broker.start()
            with Subscriber(broker, "out") as other:
                turning(mine, lambda _: mine.subscribed and mine.unacknowledged == 0)
                sent = [m.payload.decode() for m in other.wait_for_count(50)]
                assert sorted(sent, key=int) == [str(i) for i in range(n - 50, n)]
                other.publish("in/x", f"{n}")
                assert [m.payload for m in turning(mine, lambda got: len(got) == 1)] == [f"{n}".encode()]
            if n == 50:
                broker.stop()
                turning(mine, lambda _: not mine.subscribed)
                for i in range(50, 100):
                    mine.publish("out", f"{i}", qos=1, retain=False)
                turning(mine, lambda _: True)
        assert mine.connects == 2
        assert mine.close(1.0)
    finally:
        broker.close()


@pytest.mark.parametrize("qos", [0, 1])
def test_large_messages_and_bursts_arrive_complete_and_in_order(qos: int, link: Links) -> None:
    broker = own("mosquitto")
    broker.start()
    try:
        mine = connected(link(broker))
        payloads = [b"%d" % i for i in range(3000)]
        payloads[100] = payloads[1500] = bytes(range(256)) * 800
        payloads[2999] = b"x" * (MOST + 100)
        with MqttClient(Broker(broker.host, broker.port)) as other:
            for i, payload in enumerate(payloads):
                other.publish(f"in/{i % 7}", payload, qos=qos)
            other.flush()
            messages = turning(mine, lambda got: len(got) == 3000)
        assert [m.payload for m in messages[:-1]] == payloads[:-1]
        assert len(messages[-1].payload) == MOST + 1
    finally:
        broker.close()


def test_a_wrong_password_is_told_once_and_tried_again(
    link: Links, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    need_mosquitto()
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "me", "right"], check=True, capture_output=True)
    passwords.chmod(0o644)
    tmp_path.chmod(0o755)
    broker = Mosquitto(["allow_anonymous false", f"password_file {passwords}", "user root"])
    broker.start()
    try:
        for protocol, says in (("5", "Not authorized"), ("3.1.1", "Not authorized")):
            caplog.clear()
            mine = link(broker, username="me", password="wrong", protocol=protocol)  # type: ignore[arg-type]  # noqa: S106
            ends_at = time.monotonic() + 0.5
            while time.monotonic() < ends_at:
                mine.turn(0.05)
            (line,) = lines(caplog)
            assert line.startswith(f"broker 127.0.0.1:{broker.port} refuses the connection: {says}; trying again")
            assert (mine.subscribed, mine.connects) == (False, 0)
        connected(link(broker, username="me", password="right"))  # noqa: S106
        with (
            pytest.raises(BrokerError, match="refuses the connection: Not authorized"),
            MqttClient(Broker(broker.host, broker.port, "me", "wrong")),
        ):
            pass
    finally:
        broker.close()


def test_a_client_publishes_and_listens(spoken: tuple[BrokerProcess, Version]) -> None:
    broker, protocol = spoken
    heard: list[tuple[str, bytes]] = []
    arrived = threading.Event()

    def listen(topic: str, payload: bytes) -> None:
        heard.append((topic, payload))
        if payload == b"bad":
            raise ValueError("a listener that fails")
        if len(heard) == 1202:
            arrived.set()

    with (
        MqttClient(address(broker, protocol), on_message=listen, subscriptions=["plain/#"]),
        MqttClient(address(broker, protocol), client_id="plain-publisher") as publisher,
    ):
        publisher.publish("plain/ä", b"bad", qos=1)
        for i in range(1200):
            publisher.publish("plain/x", f"{i}", qos=1)
        publisher.publish("plain/last", "end", qos=1)
        publisher.flush()
        assert arrived.wait(10)
    assert heard[0] == ("plain/ä", b"bad")
    assert sorted(heard[1:-1], key=lambda each: int(each[1])) == [("plain/x", b"%d" % i) for i in range(1200)]
