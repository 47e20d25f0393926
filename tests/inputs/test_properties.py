"""What paho writes is read; MQTT 5.0, sections 2.2.2 and 3.3.2.3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as Written

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.properties import parse


def packed(**given: object) -> bytes:
    written = Written(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # the library's
    for name, value in given.items():
        setattr(written, name, value)
    data: bytes = written.pack()  # type: ignore[no-untyped-call]  # the same
    length = 1
    while data[length - 1] >= 0x80:
        length += 1
    return data[length:]


def test_content_type_and_user_properties_are_read_among_all_others() -> None:
    data = packed(
        PayloadFormatIndicator=1,
        MessageExpiryInterval=70_000,
        ContentType="application/json",
        ResponseTopic="a/b",
        CorrelationData=b"\x00\xff",
        SubscriptionIdentifier=70_000,
        TopicAlias=258,
        UserProperty=[("id", "é"), ("source", "/a"), ("id", "2")],
    )
    assert parse(data) == ("application/json", {"id": "2", "source": "/a"})
    assert parse(b"") == ("", {})


@pytest.mark.parametrize(
    "data",
    [
        b"\x03",
        b"\x03\x00",
        b"\x03\x00\x02a",
        b"\x03\x00\x01\xff",
        b"\x26\x00\x01a",
        b"\x26\x00\x01a\x00\x05b",
        b"\x02\x00\x00",
        b"\x0b\x80",
        b"\x0b",
        b"\x09\xff\xff",
        b"\x11\x00\x00\x00\x00",
    ],
)
def test_what_is_no_property_of_a_publish_is_malformed(data: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        parse(data)
    assert caught.value.reason is Rejection.MALFORMED


@given(data=st.binary(max_size=60))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for start in (b"", b"\x26\x00\x01a\x00\x01b", b"\x03\x00\x01x\x26"):
        try:
            parse(start + data)
        except PayloadError as error:
            text = str(error)
        else:
            text = ""
        assert text.isprintable()


@given(pairs=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=5), kind=st.text(max_size=9))
def test_what_is_written_is_read(pairs: list[tuple[str, str]], kind: str) -> None:
    data = b"".join(
        b"\x26" + b"".join(len(part.encode()).to_bytes(2, "big") + part.encode() for part in pair) for pair in pairs
    )
    content = b"\x03" + len(kind.encode()).to_bytes(2, "big") + kind.encode()
    assert parse(data + content) == (kind, dict(pairs))
