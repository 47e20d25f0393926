"""The vectors have the fields of The Things Stack's documentation (Data Formats, and MQTT Server for the topics)."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.core.readings import Rejection
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.ttn import TheThingsStack
from tests.inputs.payloads import SLOW_S, Vector, decode, decoder, filled, rejection, survive, times, took, values

TOPIC = "v3/cold-rooms@dairy/devices/room-2/up"
MESSAGE: dict[str, Any] = {
    "end_device_ids": {
        "device_id": "room-2",
        "application_ids": {"application_id": "cold-rooms"},
        "dev_eui": "0004A30B001C0530",
        "dev_addr": "00BCB929",
    },
    "correlation_ids": ["gs:uplink:01HX0000000000000000000001", "as:up:01HX0000000000000000000002"],
    "received_at": "2026-03-01T06:15:32.014773143Z",
}
UPLINK: dict[str, Any] = {
    "session_key_id": "AXA50tHUGUucuzS/bCGMNw==",
    "f_cnt": 17,
    "f_port": 2,
    "frm_payload": "gkHe",
    "decoded_payload": {"temperature": 4.5, "humidity": 61, "door": "shut"},
    "rx_metadata": [{"gateway_ids": {"gateway_id": "gtw1"}, "rssi": -35, "snr": 5.2}],
    "settings": {"frequency": "868300000", "time": "2026-03-01T06:15:30.787Z"},
    "received_at": "2026-03-01T06:15:31.789585559Z",
}
JOIN = {**MESSAGE, "join_accept": {"session_key_id": "AXBSH1Pk6Z0G166RlH16CQ=="}}
DOWN = {**MESSAGE, "downlink_ack": {"f_port": 15, "f_cnt": 1, "confirmed": True}}
WITHOUT_TIME = {"frequency": "868300000"}


def message(**changed: object) -> bytes:
    uplink = {key: value for key, value in {**UPLINK, **changed}.items() if value is not ...}
    return json.dumps({**MESSAGE, "uplink_message": uplink}).encode()


VECTORS = [
    Vector(TOPIC, message()),
    Vector(TOPIC, message(decoded_payload={"humidity": 60}, f_cnt=18, settings=WITHOUT_TIME)),
    Vector(TOPIC, json.dumps(JOIN).encode()),
]


def test_the_decoded_values_of_an_uplink_are_readings_at_the_time_of_the_gateway() -> None:
    found = decode(decoder("ttn", metrics=None), TOPIC, message())
    assert values(found) == {("room-2", "temperature"): 4.5}
    assert times(found) == [pytest.approx(1772345730.787, abs=1e-3)]


def test_without_a_gateway_that_has_the_time_the_servers_have_it() -> None:
    both = decode(decoder("ttn", metrics=None), TOPIC, message(settings=WITHOUT_TIME))
    assert times(both) == [pytest.approx(1772345731.789585, abs=1e-3)]
    outer = decode(decoder("ttn", metrics=None), TOPIC, message(settings=..., received_at=...))
    assert times(outer) == [pytest.approx(1772345732.014773, abs=1e-3)]


def test_the_device_may_be_another_path_or_a_level_of_the_topic() -> None:
    for source, name in (
        (decoder("ttn", device="end_device_ids.dev_eui"), "0004A30B001C0530"),
        (decoder("ttn", topic="v3/{device}/devices/+/up"), "cold-rooms@dairy"),
    ):
        assert {device for device, _ in values(decode(source, TOPIC, message()))} == {name}


# -- what is zero is left out ----------------------------------------------------------------------------------------


def sent(source: Decoder, count: int, port: int = 2, **payload: float) -> tuple[dict[str, float], list[Rejection]]:
    found = decode(source, TOPIC, message(f_cnt=count, f_port=port or ..., decoded_payload=payload))
    return {metric: value for (_, metric), value in values(found).items()}, [e.reason for e in found.rejected]


def test_a_metric_that_is_left_out_is_missing() -> None:
    source = decoder("ttn")
    assert sent(source, 1, temperature=0.5, humidity=60) == ({"temperature": 0.5, "humidity": 60.0}, [])
    assert sent(source, 2, humidity=60) == ({"humidity": 60.0}, [Rejection.MISSING_VALUE])
    assert sent(source, 3, humidity=60) == ({"humidity": 60.0}, [Rejection.MISSING_VALUE])
    assert rejection(source, TOPIC, message(f_cnt=4, decoded_payload={})) is Rejection.MISSING_VALUE


def test_it_is_zero_where_the_input_says_so_for_a_device_that_sent_it_before() -> None:
    source = decoder("ttn", absent_is_zero=("temperature",))
    assert sent(source, 1, humidity=60) == ({"humidity": 60.0}, [])
    assert sent(source, 2, temperature=0.5) == ({"temperature": 0.5}, [Rejection.MISSING_VALUE])
    assert sent(source, 3, humidity=60) == ({"humidity": 60.0, "temperature": 0.0}, [])
    assert sent(source, 4) == ({"temperature": 0.0}, [Rejection.MISSING_VALUE])


def test_each_port_of_a_device_has_a_payload_of_its_own() -> None:
    source = decoder("ttn", absent_is_zero=("temperature",))
    sent(source, 1, temperature=0.5)
    assert sent(source, 2, port=0, battery=3.1) == ({"battery": 3.1}, [])
    assert sent(source, 3, port=0, temperature=0.5) == ({"temperature": 0.5}, [Rejection.MISSING_VALUE])


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forewarn.inputs.ttn._MOST_PORTS", 3)
    source = decoder("ttn")
    for count in range(10):
        sent(source, count, port=count + 1, **{f"m{i}": i for i in range(50)}, **{"x" * 129: 1})
    dialect = source._sources[0].dialect
    assert isinstance(dialect, TheThingsStack)
    assert [(port, len(told)) for (_, port), told in dialect._told.items()] == [("8", 32), ("9", 32), ("10", 32)]
    assert sent(source, 11, port=1) == ({}, [])


# -- what is no reading ----------------------------------------------------------------------------------------------


def test_a_frame_that_comes_twice_is_read_once() -> None:
    source = decoder("ttn")
    assert decode(source, TOPIC, message()).readings
    assert rejection(source, TOPIC, message()) is Rejection.DUPLICATE
    assert decode(source, TOPIC, message(f_cnt=18)).readings
    assert decode(source, TOPIC, message(f_cnt=...)).readings
    assert decode(source, TOPIC, message(session_key_id="another")).readings


def test_without_a_session_the_server_s_identifier_counts() -> None:
    source = decoder("ttn")
    assert decode(source, TOPIC, message(session_key_id=...)).readings
    assert rejection(source, TOPIC, message(session_key_id=..., f_cnt=18)) is Rejection.DUPLICATE
    unnamed = json.dumps({**MESSAGE, "correlation_ids": ["gs:x"], "uplink_message": {**UPLINK, "session_key_id": 1}})
    assert decode(source, TOPIC, unnamed).readings
    assert decode(source, TOPIC, unnamed).readings


@pytest.mark.parametrize("other", [JOIN, DOWN, {**MESSAGE, "location_solved": {}}, {**MESSAGE, "uplink_message": []}])
def test_other_messages_are_skipped(other: object) -> None:
    assert decode(decoder("ttn", topic="v3/#"), "v3/a@b/devices/c/join", json.dumps(other)) == ((), [], [])


def test_a_device_without_a_formatter_is_told_from_a_frame_without_a_payload() -> None:
    assert rejection(decoder("ttn"), TOPIC, message(decoded_payload=...)) is Rejection.MISSING_VALUE
    assert decode(decoder("ttn"), TOPIC, message(decoded_payload=..., frm_payload=...)) == ((), [], [])


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"[]", Rejection.MALFORMED),
        (b"up", Rejection.NOT_JSON),
        (message(settings={"time": "soon"}), Rejection.BAD_TIME),
        (message().replace(b'"device_id": "room-2"', b'"device_id": "room/2"'), Rejection.BAD_DEVICE),
        (message().replace(b'"device_id": "room-2"', b'"device_id": null'), Rejection.BAD_DEVICE),
        (message(decoded_payload=[1] * 1001), Rejection.MALFORMED),
    ],
)
def test_a_message_that_cannot_be_used_has_its_reason(payload: bytes, reason: Rejection) -> None:
    assert rejection(decoder("ttn"), TOPIC, payload) is reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)  # how long a payload takes is held below
@given(uplink=st.dictionaries(st.sampled_from(list(UPLINK)), JSON), payload=st.binary(max_size=40), any_=JSON)
def test_no_payload_raises_anything_else(uplink: dict[str, object], payload: bytes, any_: object) -> None:
    source = decoder("ttn", absent_is_zero=("a",))
    survive(source, TOPIC, payload)
    survive(source, TOPIC, json.dumps(any_).encode())
    survive(source, TOPIC, message(**uplink))
    survive(source, TOPIC, json.dumps({**MESSAGE, "correlation_ids": any_, "uplink_message": uplink}).encode())


START = b'{"end_device_ids":{"device_id":"a"},"uplink_message":{"decoded_payload":'
LONG = {
    "values": filled(b"1", START + b'{"t":[', b"]}}}", b","),
    "names": filled(b"null", START + b'{"\\u0001":[', b"]}}}", b","),
    "identifiers": filled(b'"x"', b'{"uplink_message":{"decoded_payload":{}},"correlation_ids":[', b"]}", b","),
    "deep": START + b'{"a":' * 13_000,
}


@pytest.mark.parametrize("name", LONG)
def test_the_longest_payload_takes_no_longer_than_50_ms(name: str) -> None:
    assert took(lambda: decoder("ttn"), TOPIC, LONG[name]) < SLOW_S
