"""The link and the plain client with a broker that says what no real one does."""

import contextlib
import itertools
import random
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forewarn.adapters.mqtt import client as client_module
from forewarn.adapters.mqtt import connecting
from forewarn.adapters.mqtt import link as link_module
from forewarn.adapters.mqtt.client import MqttClient
from forewarn.adapters.mqtt.link import LastWill, MqttLink
from forewarn.adapters.mqtt.session import READ_BYTES, Broker, BrokerError
from forewarn.demo.broker import HOST, free_port
from forewarn.inbox import Inbox
from tests import raw_broker as raw
from tests.brokers import Mosquitto
from tests.links import Links, Version, address, busy, connected, lines, own, turning
from tests.raw_broker import Peer, RawBroker

# -- the bytes of a connection --------------------------------------------------------------------------------------


def stream(five: bool) -> tuple[bytes, list[tuple[str, bytes, bool]], list[int]]:
    """Packets of all lengths of length, what they say, and the identifiers to acknowledge."""
    sizes = [0, 1, 2, 100, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 16_376, 16_390, 70_000, 3]
    data, said, mids = b"", [], []
    for i, size in enumerate(sizes):
        topic, payload = f"in/{i}/ä", bytes([i]) * size
        mid = i + 1 if i % 3 else 0
        data += raw.publish(topic.encode(), payload, mid=mid, retain=i % 4 == 0, five=five)
        if i % 5 == 0:
            data += raw.packet(raw.PINGRESP, b"")
        said.append((topic, payload, i % 4 == 0))
        mids += [mid] if mid else []
    return data, said, mids


@pytest.mark.parametrize("five", [True, False])
@given(st.lists(st.one_of(st.integers(1, 40), st.integers(1, 70_000)), max_size=300))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_means_the_same_wherever_it_is_cut(five: bool, link: Links, sizes: list[int]) -> None:
    data, said, mids = stream(five)
    acknowledged: list[int] = []

    def script(peer: Peer) -> None:
        peer.welcome()
        peer.send(data, sizes)
        acknowledged.extend(peer.expect(raw.PUBACK).mid for _ in mids)
        peer.send(raw.publish(b"in/end", b"", five=five))
        peer.stay()

    with RawBroker(script, five=five) as broker:
        mine = link(broker, protocol="5" if five else "3.1.1")
        messages = turning(mine, lambda got: bool(got) and got[-1].topic == "in/end")
        assert [(m.topic, m.payload, m.retained) for m in messages[:-1]] == said
        assert acknowledged == mids
        mine.close(1.0)


def test_a_stream_that_comes_byte_by_byte_is_read(link: Links) -> None:
    data, said, mids = stream(five=True)
    data = data[:4000]

    def script(peer: Peer) -> None:
        peer.welcome()
        peer.send(data, itertools.repeat(1, len(data)))
        peer.stay()

    with RawBroker(script) as broker:
        messages = turning(link(broker), lambda got: len(got) >= 17)
        assert [(m.topic, m.payload, m.retained) for m in messages] == said[:17]
    assert mids


def test_a_message_is_acknowledged_only_at_the_turn_after_it_was_handed_over(link: Links) -> None:
    acknowledged = threading.Event()

    def script(peer: Peer) -> None:
        peer.welcome()
        peer.send(raw.publish(b"in/x", b"1", mid=7))
        assert peer.expect(raw.PUBACK).mid == 7
        acknowledged.set()
        peer.stay()

    with RawBroker(script) as broker:
        mine = link(broker)
        turning(mine, lambda got: len(got) == 1)
        assert not acknowledged.wait(0.1)
        mine.turn(0.0)
        assert acknowledged.wait(5.0)


def test_a_message_of_a_connection_that_is_over_is_not_acknowledged_on_the_next(link: Links) -> None:
    goodbye = [raw.publish(b"in/x", b"1", mid=7) + raw.packet(raw.DISCONNECT, b"\x8b\0")]
    seen: list[raw.Packet] = []

    def script(peer: Peer) -> None:
        if goodbye:
            peer.welcome()
            peer.send(goodbye.pop())
            peer.linger()
        answers = {raw.CONNECT: raw.packet(raw.CONNACK, b"\0\0\0"), raw.SUBSCRIBE: raw.publish(b"in/x", b"2", mid=9)}
        while True:
            seen.append(peer.read())
            peer.send(answers.get(seen[-1].kind, b""))

    with RawBroker(script) as broker:
        mine = link(broker)
        messages = turning(mine, lambda _: bool(seen) and seen[-1].kind == raw.PUBACK and seen[-1].mid == 9)
    assert [m.payload for m in messages] == [b"1", b"2"]
    assert [p.kind for p in seen] == [raw.CONNECT, raw.SUBSCRIBE, raw.PUBACK]


def test_a_topic_that_is_no_text_is_handed_over_without_its_name(link: Links) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.send(raw.publish(b"in/\xff\xfe", b"1", mid=7) + raw.publish(b"in/x", b"2"))
        peer.stay()

    with RawBroker(script) as broker:
        mine = link(broker)
        messages = turning(mine, lambda got: len(got) == 2)
        assert [(m.topic, m.payload) for m in messages] == [("", b"1"), ("in/x", b"2")]
        assert mine.connects == 1


# -- brokers that misbehave -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answers", ["nothing", "CONNACK alone", "nothing and hangs up"])
def test_a_broker_that_does_not_let_us_in_is_told_once_and_left_for_one_that_does(
    answers: str, link: Links, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connecting, "ANSWER_S", 0.2)
    good = threading.Event()

    def script(peer: Peer) -> None:
        if good.is_set():
            peer.welcome()
            peer.stay()
        if answers == "CONNACK alone":
            peer.accept()
        if answers != "nothing and hangs up":
            peer.linger()

    with RawBroker(script) as broker:
        mine = link(broker)
        turning(mine, lambda _: broker.connections >= 3)
        assert busy(mine, 0.5) < 30
        (line,) = lines(caplog)
        assert line.startswith(f"broker 127.0.0.1:{broker.port} ")
        assert ("hangs up" in answers) == ("ends the connection" in line)
        good.set()
        connected(mine)
        assert busy(mine, 0.5) <= 2


GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request",
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    b"\x15\x03\x01\x00\x02\x02\x16",
    b"\x20\x02\x00",
    b"\x20\x00",
    b"\x20\x03\x00\x00\x05",
    b"\x20\x06\x00\x00\x03\x21\x00\x00",
    b"\x20\x03\x00\x77\x00",
    b"\x30\xff\xff\xff\xff\xff",
    b"\x30\x02\xff\xff",
    b"\x36\x05\x00\x01a\x00\x00",
    b"\xff" * 100,
    b"\x00" * 100,
]
AFTER = [
    raw.packet(kind, body)
    for kind in range(16)
    for body in (b"", b"\0", b"\0\1", b"\0\1\0", b"\0\1\xff\xff", b"\xff" * 9)
]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_whatever_a_broker_says_the_link_lives_and_finds_a_good_one(protocol: Version, link: Links) -> None:
    five = protocol == "5"
    chance = random.Random(11)
    random_bytes = [chance.randbytes(chance.randrange(1, 200)) for _ in range(60)]
    welcomed = [*AFTER, *random_bytes, raw.publish(b"", b"x", five=five), raw.publish(b"a\0b", b"x", five=five)]
    remarks = iter([(said, False) for said in [*GARBAGE, *random_bytes]] + [(said, True) for said in welcomed])

    def script(peer: Peer) -> None:
        remark = next(remarks, None)
        if remark is None:
            peer.welcome()
            peer.stay()
            return
        said, at_the_end = remark
        if at_the_end:
            peer.welcome()
        else:
            peer.expect(raw.CONNECT)
        peer.send(said)
        peer.connection.settimeout(0.02)
        peer.linger()

    connecting.BACKOFF_FIRST_S = connecting.BACKOFF_MOST_S = 1e-3  # the fixture of the link puts them back
    with RawBroker(script, five=five) as broker:
        mine = link(broker, protocol=protocol)
        turns, ends_at = 0, time.monotonic() + 30
        while not mine.subscribed or broker.connections <= len(GARBAGE) + len(random_bytes) + len(welcomed):
            mine.turn(0.05)
            turns += 1
            assert time.monotonic() < ends_at, broker.connections
        assert turns < 20 * broker.connections
        assert busy(mine, 0.3) <= 2


def test_an_exception_below_a_turn_ends_the_connection_and_nothing_else(
    link: Links, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.stay()

    with RawBroker(script) as broker:
        mine = connected(link(broker))
        with monkeypatch.context() as broken:

            def fail() -> None:
                raise KeyError("paho")

            broken.setattr(mine._client, "loop_misc", fail)
            assert mine.turn(0.0) == []
        assert not mine.subscribed
        assert len(lines(caplog)) == 1
        assert "KeyError('paho')" in lines(caplog)[0]
        connected(mine)
        assert mine.connects == 2


def test_a_subscription_that_is_refused_is_told(link: Links, caplog: pytest.LogCaptureFixture) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        mid = peer.expect(raw.SUBSCRIBE).mid
        peer.send(raw.packet(raw.SUBACK, mid.to_bytes(2, "big") + b"\0\1\x87"))
        peer.stay()

    with RawBroker(script) as broker:
        connected(link(broker, "a/#", "b/#"))
        assert lines(caplog) == [f"broker 127.0.0.1:{broker.port} refuses the subscription to b/#: Not authorized"]


def test_a_broker_that_answers_no_ping_is_left(link: Links, caplog: pytest.LogCaptureFixture) -> None:
    pinged = threading.Event()

    def script(peer: Peer) -> None:
        peer.welcome()
        peer.expect(raw.PINGREQ)
        pinged.set()
        peer.linger()

    with RawBroker(script) as broker:
        mine = connected(link(broker, keepalive_s=1))
        turning(mine, lambda _: not mine.subscribed)
        assert pinged.is_set()
        assert len(lines(caplog)) == 1


def test_a_broker_whose_messages_keep_coming_is_not_left_for_its_silence_on_pings(link: Links) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.expect(raw.PINGREQ)
        for i in range(8):
            peer.send(raw.publish(b"in/a", str(i).encode()))
            time.sleep(0.3)
        peer.linger()

    with RawBroker(script) as broker:
        mine = connected(link(broker, keepalive_s=1))
        turning(mine, lambda messages: len(messages) == 8)
        assert mine.subscribed


def test_an_inbox_that_is_given_is_the_one_that_is_used() -> None:
    inbox = Inbox(3)
    link = MqttLink(
        Broker(HOST, free_port()),
        client_id="test",
        subscriptions=["in/#"],
        qos=0,
        last_will=LastWill("status", "offline"),
        max_unacknowledged=1,
        max_payload_bytes=1,
        inbox=inbox,
    )
    assert link.inbox is inbox
    link.close(0.0)


@pytest.mark.parametrize(("most", "said"), [(7, 7), (20_000, 4096)])
def test_a_broker_is_told_how_many_messages_may_be_under_way(most: int, said: int, link: Links) -> None:
    found: list[int] = []

    def script(peer: Peer) -> None:
        properties = peer.expect(raw.CONNECT).body[10:]  # after name, version, flags and keepalive (section 3.1.2)
        assert properties[0] == 1 + 2
        assert properties[1] == 0x21  # Receive Maximum
        found.append(int.from_bytes(properties[2:4], "big"))
        peer.linger()

    with RawBroker(script) as broker:
        turning(link(broker, inbox=Inbox(most)), lambda _: bool(found))
    assert found == [said]


def test_mosquitto_has_no_more_under_way_than_may_wait(link: Links) -> None:
    """Until the first acknowledgement: version 2.0.11 forgets it then, whoever the client is."""
    broker = own("mosquitto")
    with contextlib.closing(broker):
        broker.start()
        mine = connected(link(broker, inbox=Inbox(5)))
        mine._at_once = 1
        with MqttClient(address(broker)) as client:
            for i in range(60):
                client.publish("in/x", str(i), qos=1)
            client.flush()
        time.sleep(0.1)
        messages = turning(mine, bool)
        assert len(messages) + len(mine.inbox) == 5
        messages += turning(mine, lambda more: len(messages) + len(more) == 60)
    assert [message.payload for message in messages] == [str(i).encode() for i in range(60)]


def test_less_is_handed_over_at_once_where_the_work_on_it_takes_long(link: Links) -> None:
    mine = link(SimpleNamespace(host=HOST, port=free_port()))
    for worked_s, at_once in ((0.15, 1024), (9.0, 512), (0.05, 512), (0.0, 1024), (0.0, 2048), (0.0, 2048)):
        mine._handed_over_at = time.monotonic() - worked_s
        mine._pace()
        assert mine._at_once == at_once
    for _ in range(20):
        mine._handed_over_at = time.monotonic() - 1.0
        mine._pace()
    assert mine._at_once == 16


@pytest.mark.parametrize(("worked_s", "reads"), [(0.0, 3), (0.1, 11), (9.0, 64)])
def test_reading_what_never_ends_takes_no_longer_than_the_work_on_it(
    worked_s: float, reads: int, link: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, came = 0.0, 0

    def receive() -> bytes:
        nonlocal now, came
        now, came = now + 0.01, came + 1
        return raw.publish(b"in/a", bytes(READ_BYTES - 10))[:READ_BYTES]

    def script(peer: Peer) -> None:
        peer.welcome()
        peer.stay()

    with RawBroker(script) as broker:
        mine = connected(link(broker))
        with monkeypatch.context() as endless:
            endless.setattr(mine._client, "receive", receive)
            endless.setattr(link_module, "time", SimpleNamespace(monotonic=lambda: now))
            mine._worked_s = worked_s
            mine._receive()
        assert came == reads


def test_neither_an_answer_nor_another_try_is_waited_for_longer_than_a_keepalive(
    link: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "BACKOFF_MOST_S", 30.0)
    mine = link(SimpleNamespace(host=HOST, port=free_port()), keepalive_s=5)
    for _ in range(10):
        mine._connecting._next_try_at = 0.0
        assert not mine._connection(0.05)
        assert 0.0 < mine._connecting.pause_s <= 5.0
        assert mine._connecting.ended(5.0)
        assert mine._connecting._answer_by - time.monotonic() <= 5.0
    assert mine._connecting._backoff_s == 5.0


def test_two_links_of_one_name_do_not_chase_each_other_without_end(link: Links, mosquitto: Mosquitto) -> None:
    connecting.BACKOFF_FIRST_S, connecting.BACKOFF_MOST_S = (
        0.05,
        30.0,
    )  # the fixture of the link puts them back
    first, second = link(mosquitto), link(mosquitto)
    ends_at = time.monotonic() + 2.0
    while time.monotonic() < ends_at:
        first.turn(0.01)
        second.turn(0.01)
    assert first.connects + second.connects < 15


def test_the_reason_that_a_broker_gives_for_its_goodbye_is_told(link: Links, caplog: pytest.LogCaptureFixture) -> None:
    enough = threading.Event()

    def script(peer: Peer) -> None:
        peer.welcome()
        enough.wait(5)
        peer.send(raw.packet(raw.DISCONNECT, b"\x8e\0"))
        peer.linger()

    with RawBroker(script) as broker:
        mine = connected(link(broker))
        enough.set()
        turning(mine, lambda _: not mine.subscribed)
        assert lines(caplog) == [f"connection to 127.0.0.1:{broker.port} lost: Session taken over"]


# -- publishing -----------------------------------------------------------------------------------------------------


def test_nothing_is_published_before_the_broker_has_answered(link: Links) -> None:
    seen: list[raw.Packet] = []
    answer = threading.Event()

    def script(peer: Peer) -> None:
        seen.append(peer.read())
        answer.wait(5)
        peer.send(raw.packet(raw.CONNACK, b"\0\0\0"))
        seen.extend(peer.read() for _ in range(12))

    with RawBroker(script) as broker:
        mine = link(broker)
        for i in range(10):
            mine.publish("out", f"{i}", qos=1, retain=False)
            mine.publish("out", "lost", qos=0, retain=False)
            mine.turn(0.02)
        answer.set()
        turning(mine, lambda _: len(seen) >= 12)
    assert mine.dropped == 10
    assert seen[0].kind == raw.CONNECT
    assert sorted(p.kind for p in seen[1:12]) == [raw.PUBLISH] * 10 + [raw.SUBSCRIBE]
    assert [p.body[-1:] for p in seen if p.kind == raw.PUBLISH] == [b"%d" % i for i in range(10)]


def test_no_more_is_under_way_than_a_broker_must_allow(link: Links) -> None:
    published: list[int] = []
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.welcome()
        for i in range(200):
            if i == 20:
                go_on.wait(5)
                peer.send(b"".join(raw.packet(raw.PUBACK, mid.to_bytes(2, "big")) for mid in published))
            published.append(peer.expect(raw.PUBLISH).mid)
            if i >= 20:
                peer.send(raw.packet(raw.PUBACK, published[-1].to_bytes(2, "big")))
        peer.stay()

    with RawBroker(script) as broker:
        mine = link(broker)
        for i in range(100):
            mine.publish("out", f"{i}", qos=1, retain=False)
        connected(mine)
        for i in range(100, 200):
            mine.publish("out", f"{i}", qos=1, retain=False)
        for _ in range(10):
            mine.turn(0.02)
        assert len(published) == 20
        assert not mine._client.want_write()
        peek = mine._client._inflight_messages
        go_on.set()
        turning(mine, lambda _: mine.unacknowledged == 0)
        assert peek == 20
        assert len(published) == len(set(published)) == 200


def test_what_does_not_fit_is_dropped_and_counted(link: Links) -> None:
    class Nobody:
        host, port = "127.0.0.1", free_port()

    mine = link(Nobody(), waiting=10)
    for i in range(25):
        mine.publish("out", f"{i}", qos=1, retain=False)
    mine.publish("out", "x", qos=0, retain=False)
    assert (mine.unacknowledged, mine.dropped) == (10, 16)


def test_a_broker_that_stops_reading_costs_no_memory(link: Links) -> None:
    resume = threading.Event()

    def script(peer: Peer) -> None:
        peer.welcome()
        resume.wait(10)
        peer.stay()

    with RawBroker(script) as broker:
        mine = connected(link(broker, waiting=50))
        for _ in range(2000):
            mine.publish("out", "x" * 50_000, qos=0, retain=False)
        assert mine.dropped > 1000
        assert len(mine._client._out_packet) <= 51
        assert busy(mine, 0.3) <= 2
        resume.set()
        turning(mine, lambda _: not mine._client.want_write())
        assert mine.connects == 1


# -- waking and closing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["connected", "nobody there", "woken before"])
def test_a_wake_ends_the_wait_of_a_turn(state: str, link: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.stay()

    with RawBroker(script) as broker:
        mine = connected(link(broker))
        if state == "nobody there":
            monkeypatch.setattr(mine._connecting, "_next_try_at", time.monotonic() + 60)
            mine._client._sock_close()
        if state == "woken before":
            mine.wake()
        else:
            threading.Timer(0.1, mine.wake).start()
        started_at = time.monotonic()
        assert mine.turn(20.0) == []
        assert time.monotonic() - started_at < 5.0
        assert busy(mine, 0.2) <= 2


def test_wakes_never_block_and_may_come_too_late(link: Links) -> None:
    class Nobody:
        host, port = "127.0.0.1", free_port()

    mine = link(Nobody())
    for _ in range(300_000):
        mine.wake()
    mine.turn(0.0)
    assert mine.close(0.1)
    mine.wake()
    assert mine.close(0.1)


def test_a_close_sends_what_waits_says_goodbye_and_complains_of_nothing(
    link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[raw.Packet] = []

    def script(peer: Peer) -> None:
        peer.welcome()
        while True:
            seen.append(peer.read())
            if seen[-1].kind == raw.PUBLISH:
                peer.send(raw.packet(raw.PUBACK, seen[-1].mid.to_bytes(2, "big")))

    with RawBroker(script) as broker:
        mine = connected(link(broker))
        for i in range(30):
            mine.publish("out", f"{i}", qos=1, retain=False)
        assert mine.close(5.0)
        ends_at = time.monotonic() + 5
        while len(seen) < 31 and time.monotonic() < ends_at:
            time.sleep(0.01)
    assert [p.kind for p in seen] == [raw.PUBLISH] * 30 + [raw.DISCONNECT]
    assert lines(caplog) == []


def test_a_close_while_connecting_leaves_no_connection_behind(link: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.welcome()
        peer.linger()

    with RawBroker(script) as broker:
        mine = link(broker)
        connect = mine._client.connect

        def connect_slowly(*to: Any, **how: Any) -> None:  # noqa: ANN401 - as they come
            go_on.wait(5)
            connect(*to, **how)

        monkeypatch.setattr(mine._client, "connect", connect_slowly)
        mine.turn(0.0)
        thread = mine._connecting._thread
        assert thread is not None
        assert mine.close(0.0)
        go_on.set()
        thread.join(5)
        assert mine._client.socket() is None


def test_a_close_waits_no_longer_than_it_may(link: Links) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.linger()

    with RawBroker(script) as broker:
        mine = connected(link(broker))
        mine.publish("out", "x", qos=1, retain=False)
        started_at = time.monotonic()
        assert not mine.close(0.2)
        assert time.monotonic() - started_at < 2.0
        assert mine.unacknowledged == 1


# -- the plain client -----------------------------------------------------------------------------------------------


def test_a_client_says_which_broker_does_not_answer_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_S", 0.3)
    port = free_port()

    def refusal(broker: Broker, **more: Any) -> str:  # noqa: ANN401 - any argument
        with pytest.raises(BrokerError) as caught, MqttClient(broker, **more):
            pass
        return str(caught.value)

    assert refusal(Broker("127.0.0.1", port)) == (
        f"broker 127.0.0.1:{port} cannot be reached ([Errno 111] Connection refused): "
        "is it running, is the address right?"
    )
    assert refusal(Broker("no.such.host.invalid")).startswith("broker no.such.host.invalid:1883 cannot be reached (")
    assert refusal(Broker("a" * 300)).startswith("broker " + "a" * 300 + ":1883 cannot be reached (")

    def says(answer: bytes, **more: Any) -> str:  # noqa: ANN401 - any argument
        def script(peer: Peer) -> None:
            peer.expect(raw.CONNECT)
            peer.send(answer)
            if more:
                mid = peer.expect(raw.SUBSCRIBE).mid
                peer.send(raw.packet(raw.SUBACK, mid.to_bytes(2, "big") + b"\0\x87"))
            peer.linger()

        with RawBroker(script) as broker:
            return refusal(address(broker), **more).replace(f"127.0.0.1:{broker.port}", "IT")

    assert says(b"").startswith("broker IT gives no answer within 0.3 s (if it knows no MQTT 5: set ")
    assert says(b"\x20\x03\x00\x86\x00") == "broker IT refuses the connection: Bad user name or password"
    assert says(b"\x20\x02\x00\x01") == (
        'broker IT refuses the connection: Unsupported protocol version (set mqtt.protocol = "3.1.1")'
    )
    assert says(b"\x20\x03\x00\x00\x00", subscriptions=["a"]) == (
        "broker IT refuses the subscription to a: Not authorized"
    )


def test_a_client_whose_connection_is_lost_says_so() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.expect(raw.PUBLISH)

    def publish_for(client: MqttClient, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            client.publish("out", "x")
            client.flush()

    with (
        RawBroker(script) as broker,
        MqttClient(address(broker)) as client,
        pytest.raises(BrokerError, match=f"^broker 127.0.0.1:{broker.port}: connection lost"),
    ):
        publish_for(client, 5.0)


def test_a_password_is_in_no_representation() -> None:
    assert "hunter2" not in f"{Broker('h', 1, 'me', 'hunter2')!r} {Broker('h', 1, 'me', 'hunter2')}"
