from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.wire import LONGEST_OTHER, Inflow, OversizedError, Publish

MOST = 300
PINGRESP = b"\xd0\x00"


def packet(first: int, body: bytes) -> bytes:
    length, encoded = len(body), b""
    while True:
        length, digit = divmod(length, 128)
        encoded += bytes([digit | (128 if length else 0)])
        if not length:
            return bytes([first]) + encoded + body


def publish(message: Publish, *, five: bool, properties: bytes = b"") -> bytes:
    body = len(message.topic).to_bytes(2, "big") + message.topic
    body += message.mid.to_bytes(2, "big") if message.mid else b""
    body += bytes([len(properties)]) + properties if five else b""
    return packet(0x30 | 8 * message.dup | (2 if message.mid else 0) | message.retain, body + message.payload)


messages = st.builds(
    Publish,
    st.binary(max_size=200),
    st.one_of(st.binary(max_size=50), st.binary(min_size=250, max_size=700)),
    st.integers(0, 65_535),
    st.booleans(),
    st.booleans(),
    properties=st.just(b""),
)


@given(
    five=st.booleans(),
    parts=st.lists(st.one_of(messages, st.just(None)), max_size=12),
    cuts=st.lists(st.integers(0, 4000), max_size=30),
    properties=st.binary(max_size=100),
)
def test_every_message_comes_out_whole_and_in_order_however_the_stream_is_cut(
    five: bool, parts: list[Publish | None], cuts: list[int], properties: bytes
) -> None:
    stream = b"".join(PINGRESP if part is None else publish(part, five=five, properties=properties) for part in parts)
    inflow = Inflow(five=five, most=MOST)
    publishes, others = [], []
    for start, stop in pairwise([0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]):
        more, rest = inflow.feed(stream[start:stop])
        publishes += more
        others += rest
    expected = [part for part in parts if part is not None]
    kept = properties if five else b""
    assert publishes == [part._replace(payload=part.payload[: MOST + 1], properties=kept) for part in expected]
    assert others == [PINGRESP] * parts.count(None)


def test_of_a_very_long_payload_only_the_beginning_is_ever_kept() -> None:
    inflow = Inflow(five=False, most=MOST)
    stream = publish(Publish(b"t", b"x" * 50_000_000, 7, retain=False), five=False) + publish(
        Publish(b"u", b"1", 0, retain=False), five=False
    )
    got, kept = [], 0
    for start in range(0, len(stream), 65_536):
        got += inflow.feed(stream[start : start + 65_536])[0]
        kept = max(kept, len(inflow._rest))
    assert got == [Publish(b"t", b"x" * (MOST + 1), 7, retain=False), Publish(b"u", b"1", 0, retain=False)]
    assert kept < 300_000


@given(five=st.booleans(), data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_bytes_that_are_no_mqtt_are_never_an_error_and_never_lost(five: bool, data: bytes, cuts: list[int]) -> None:
    inflow = Inflow(five=five, most=MOST)
    for start, stop in pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
        try:
            found = inflow.feed(data[start:stop])[0]
        except OversizedError:
            return
        for message in found:
            assert message.topic + message.payload in data or len(message.topic) + len(message.payload) == 0


def test_another_packet_is_bounded() -> None:
    whole = packet(0x90, bytes(LONGEST_OTHER))
    assert Inflow(five=True, most=MOST).feed(whole) == ([], [whole])
    with pytest.raises(OversizedError, match="1048577 bytes"):
        Inflow(five=True, most=MOST).feed(packet(0x90, bytes(LONGEST_OTHER + 1))[:10])


def test_a_malformed_packet_goes_to_paho_with_everything_behind_it() -> None:
    qos_2 = b"\x34\x07\x00\x01t\x00\x01ab"
    for bad in (b"\x30\xff\xff\xff\xff\x01", b"\x30\x01\x00", b"\x30\x03\x00\x09t", qos_2):
        assert Inflow(five=False, most=MOST).feed(bad + PINGRESP) == ([], [bad + PINGRESP])
