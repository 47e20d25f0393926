"""The vectors follow the examples of CloudEvents 1.0.2: JSON format (section 3.2) and MQTT binding (3.1.4, 3.2.4)."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.core.readings import Rejection
from forewarn.inputs.decoder import Decoder
from forewarn.wire import Inflow
from tests.inputs.payloads import SLOW_S, Vector, decode, decoder, filled, rejection, survive, times, took, values
from tests.inputs.test_properties import packed

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "type": "com.example.dairy.temperature",
    "source": "/dairy/cold-rooms/room-2",
    "subject": None,
    "id": "C234-1234-1234",
    "time": "2026-03-01T06:15:30Z",
    "comexampleothervalue": 5,
    "datacontenttype": "application/json",
    "data": {"reading": {"celsius": 4.5, "humidity": 61}, "serial": "r2-07", "at": 1772345000},
}
AT = 1772345730.0
USER = [("specversion", "1.0"), ("type", "com.example.dairy.temperature"), ("source", "/dairy/r-2"), ("id", "1")]


def event(**changed: object) -> bytes:
    return json.dumps({key: value for key, value in {**EVENT, **changed}.items() if value is not ...}).encode()


def binary(kind: str | None = "application/json; charset=utf-8", **user: str) -> bytes:
    given = {"UserProperty": list({**dict(USER), **user}.items())}
    return packed(**given, **({"ContentType": kind} if kind else {}))


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def events(**given: Any) -> Decoder:  # noqa: ANN401 - what a setting may be
    return decoder("cloudevents", topic="e/#", **given)


VECTORS = [
    Vector("e/a", event()),
    Vector("e/a", event(data=4.5, id="2")),
    Vector("e/a", event(data=..., data_base64="NC41", datacontenttype="text/plain", id="3")),
    Vector("e/a", event(data='<much wow="xml"/>', datacontenttype="application/xml", id="4")),
]

# -- structured ------------------------------------------------------------------------------------------------------


def test_the_numbers_of_the_data_are_readings_at_the_time_of_the_event() -> None:
    found = decode(events(), "e/a", event())
    assert values(found) == {
        ("room-2", "reading.celsius"): 4.5,
        ("room-2", "reading.humidity"): 61.0,
        ("room-2", "at"): 1772345000.0,
    }
    assert times(found) == [AT] * 3


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({"data": 4.5}, 4.5),
        ({"data": "4.5", "datacontenttype": "text/plain"}, 4.5),
        ({"data": 4.5, "datacontenttype": ...}, 4.5),
        ({"data": ..., "data_base64": "NC41", "datacontenttype": "text/plain"}, 4.5),
        ({"data": ..., "data_base64": "NC41", "datacontenttype": ...}, 4.5),
        ({"data": ..., "data_base64": "NC41", "datacontenttype": "application/vnd.x+json"}, 4.5),
    ],
)
def test_a_bare_number_has_the_last_part_of_the_type_as_its_metric(changed: dict[str, object], value: float) -> None:
    found = decode(events(metrics=None), "e/a", event(**changed))
    assert values(found) == {("room-2", "temperature"): value}


def test_paths_lead_into_the_event() -> None:
    source = events(
        values={"t": "data.reading.celsius", "x": "comexampleothervalue"}, time="data.at", device="data.serial"
    )
    found = decode(source, "e/a", event())
    assert values(found) == {("r2-07", "t"): 4.5, ("r2-07", "x"): 5.0}
    assert times(found) == [1772345000.0] * 2
    assert rejection(source, "e/a", event(id="2", data={"serial": "a"})) is Rejection.BAD_TIME
    one = decode(events(value="data.reading.celsius"), "e/a", event())
    assert values(one) == {("room-2", "temperature"): 4.5}
    named = decode(decoder("cloudevents", topic="e/{device}/{metric}", value="data.at"), "e/a/b", event())
    assert values(named) == {("a", "b"): 1772345000.0}
    told = decode(events(value="data.at", metric="since"), "e/a", event())
    assert values(told) == {("room-2", "since"): 1772345000.0}


@pytest.mark.parametrize(
    ("changed", "device"),
    [
        ({}, "room-2"),
        ({"subject": "room/7"}, "room:7"),
        ({"subject": ""}, "room-2"),
        ({"source": "https://dairy.example/r/3/"}, "3"),
        ({"source": "urn:uuid:6e8bc430"}, "urn:uuid:6e8bc430"),
    ],
)
def test_the_device_is_the_subject_or_the_end_of_the_source(changed: dict[str, object], device: str) -> None:
    assert list(values(decode(events(value="data.at"), "e/a", event(**changed)))) == [(device, "temperature")]


def test_the_arrival_counts_without_a_time() -> None:
    for time in (None, ...):
        assert times(decode(events(value="data.at"), "e/a", event(time=time))) == [None]
    assert rejection(events(), "e/a", event(time="soon")) is Rejection.BAD_TIME


def test_an_event_that_comes_twice_is_read_once() -> None:
    source = events()
    assert decode(source, "e/a", event()).readings
    assert rejection(source, "e/a", event()) is Rejection.DUPLICATE
    assert rejection(source, "e/b", event(data=1)) is Rejection.DUPLICATE
    assert decode(source, "e/a", event(id="2")).readings
    assert decode(source, "e/a", event(source="/b")).readings


@pytest.mark.parametrize(
    "kind", ["application/cloudevents+json; charset=utf-8", "application/json", "Application/CloudEvents"]
)
def test_a_structured_event_may_say_so(kind: str) -> None:
    assert decode(events(), "e/a", event(), packed(ContentType=kind)).readings


def test_attributes_beside_a_structured_event_do_not_count() -> None:
    found = decode(events(value="data.at"), "e/a", event(), binary("application/cloudevents+json"))
    assert list(values(found)) == [("room-2", "temperature")]


# -- binary ----------------------------------------------------------------------------------------------------------


def test_a_binary_event_has_its_attributes_in_user_properties() -> None:
    found = decode(events(value="data.celsius"), "e/a", b'{"celsius": 4.5}', binary(time="2026-03-01T06:15:30Z"))
    assert values(found) == {("r-2", "temperature"): 4.5}
    assert times(found) == [AT]


@pytest.mark.parametrize("kind", ["application/json", None, "text/plain", "application/octet-stream"])
def test_a_binary_event_may_be_a_bare_number(kind: str | None) -> None:
    source = events(metrics=None)
    assert values(decode(source, "e/a", b"4.5", binary(kind))) == {("r-2", "temperature"): 4.5}
    assert rejection(source, "e/a", b"4.5", binary(kind)) is Rejection.DUPLICATE


def test_a_binary_event_is_read_from_its_packet() -> None:
    properties = binary("text/plain")
    body = b"\x00\x03e/a" + varint(len(properties)) + properties + b"4.5"
    (publish,), _ = Inflow(five=True, most=100).feed(b"\x30" + varint(len(body)) + body)
    found = decode(events(metrics=None), publish.topic.decode(), publish.payload, publish.properties)
    assert values(found) == {("r-2", "temperature"): 4.5}


def test_binary_events_that_cannot_be_used_have_their_reason() -> None:
    assert rejection(events(), "e/a", b"4.5", binary(id="")) is Rejection.MALFORMED
    assert rejection(events(), "e/a", b"4.5", b"\x03\x00") is Rejection.MALFORMED
    assert rejection(events(), "e/a", b"<a/>", binary("text/xml")) is Rejection.NOT_NUMBER
    assert rejection(events(), "e/a", b"\x01avro", binary("application/cloudevents+avro")) is Rejection.MALFORMED


# -- what is no event ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"4.5", Rejection.MALFORMED),
        (b"[]", Rejection.MALFORMED),
        (b'{"temperature": 4.5}', Rejection.MALFORMED),
        (event(specversion="0.3"), Rejection.MALFORMED),
        (event(id=7), Rejection.MALFORMED),
        (event(source=""), Rejection.MALFORMED),
        (event(data=..., data_base64="N"), Rejection.MALFORMED),
        (event(data=..., data_base64="eyJhIjogMX0=", datacontenttype=...), Rejection.NOT_NUMBER),  # {"a": 1}
        (event(data="<a/>", datacontenttype="application/xml"), Rejection.NOT_NUMBER),
        (event(data=...), Rejection.MISSING_VALUE),
        (event(data=None), Rejection.MISSING_VALUE),
        (event(data=[0] * 1001), Rejection.MALFORMED),
        (event(source="/", data=1), Rejection.BAD_DEVICE),
        (b"{", Rejection.NOT_JSON),
    ],
)
def test_what_is_no_event_has_its_reason(payload: bytes, reason: Rejection) -> None:
    assert rejection(events(), "e/a", payload) is reason


def test_a_text_is_no_reading() -> None:
    assert decode(events(), "e/a", event(data="I'm just a string", datacontenttype=...)) == ((), [], [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)  # how long a payload takes is held below
@given(
    changed=st.dictionaries(st.sampled_from([*EVENT, "data_base64"]), JSON),
    payload=st.binary(max_size=40),
    properties=st.binary(max_size=40),
    any_=JSON,
)
def test_no_payload_raises_anything_else(
    changed: dict[str, object], payload: bytes, properties: bytes, any_: object
) -> None:
    for source in (events(), events(value="data.a", time="data.b", device="subject")):
        survive(source, "e/a", payload, properties)
        survive(source, "e/a", json.dumps(any_).encode(), binary(None))
        survive(source, "e/a", payload, binary("application/json") + properties)
        survive(source, "e/a", event(**changed))


LONG = {
    "values": filled(b"1", event(data=0)[:-2] + b"[", b"]}", b","),
    "base64": event(data=..., data_base64="MTEx" * 16_000, datacontenttype="text/plain"),
    "deep": event(data=0)[:-2] + b'{"a":' * 13_000,
    "subject": event(subject="/" * 65_000),
}


@pytest.mark.parametrize("name", LONG)
def test_the_longest_payload_takes_no_longer_than_50_ms(name: str) -> None:
    assert took(events, "e/a", LONG[name]) < SLOW_S


def test_the_most_properties_take_no_longer_than_50_ms() -> None:
    assert took(events, "e/a", b"1", b"\x26\x00\x00\x00\x00" * 13_000) < SLOW_S
