"""The vectors have the fields of the event types in ChirpStack's documentation (Integrations, Event types, v4)."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.core.readings import Rejection
from tests.inputs.payloads import SLOW_S, Vector, decode, decoder, filled, rejection, survive, times, took, values

TOPIC = "application/7d1e7d0a-6a1c-4f3a-9f4e-0f5a2c9f1d11/device/24e124136b502217/event/up"
UPLINK: dict[str, Any] = {
    "deduplicationId": "8c4f0c0e-5b0e-4a55-8d1c-2d4f33b1a001",
    "time": "2026-03-01T06:15:30.250000125+00:00",
    "deviceInfo": {
        "tenantName": "Dairy",
        "applicationName": "Cold rooms",
        "deviceProfileName": "EM300-TH",
        "deviceName": "cold room 2",
        "devEui": "24e124136b502217",
        "tags": {"floor": "0"},
    },
    "devAddr": "00189440",
    "dr": 5,
    "fCnt": 1187,
    "fPort": 85,
    "data": "A2cuAARoaA==",
    "object": {"temperature": 4.6, "humidity": 52.0, "battery": None, "power": "mains", "door": False},
    "rxInfo": [{"gatewayId": "0016c001f153a14c", "rssi": -61, "snr": 9.5}],
    "txInfo": {"frequency": 868100000},
}
JOIN = {key: UPLINK[key] for key in ("deduplicationId", "time", "deviceInfo", "devAddr")}
VECTORS = [Vector(TOPIC, json.dumps(UPLINK).encode()), Vector(TOPIC, json.dumps(JOIN).encode())]
AT = 1772345730.25


def uplink(**changed: object) -> bytes:
    return json.dumps({key: value for key, value in {**UPLINK, **changed}.items() if value is not ...}).encode()


def test_the_decoded_values_of_an_uplink_are_readings_at_the_time_of_the_network() -> None:
    found = decode(decoder("chirpstack", metrics=None), TOPIC, uplink())
    assert values(found) == {("24e124136b502217", "temperature"): 4.6}
    assert times(found) == [pytest.approx(AT, abs=1e-3)]


def test_null_is_missing_and_texts_and_switches_are_no_readings() -> None:
    found = decode(decoder("chirpstack"), TOPIC, uplink())
    assert list(values(found)) == [("24e124136b502217", "temperature"), ("24e124136b502217", "humidity")]
    assert [error.reason for error in found.rejected] == [Rejection.MISSING_VALUE]


def test_nested_values_have_the_path_as_their_name() -> None:
    # What the Cayenne LPP codec gives for two thermometers.
    found = decode(decoder("chirpstack", metrics=None), TOPIC, uplink(object={"temperatureSensor": {"1": 25, "2": 4}}))
    assert {metric for _, metric in values(found)} == {"temperatureSensor.1", "temperatureSensor.2"}


def test_the_device_may_be_its_name_or_a_level_of_the_topic() -> None:
    for source in (
        decoder("chirpstack", device="deviceInfo.deviceName", metrics=None),
        decoder("chirpstack", device="deviceInfo.tags.floor", metrics=None),
        decoder("chirpstack", topic="application/+/device/{device}/event/up", metrics=None),
    ):
        (device,) = {device for device, _ in values(decode(source, TOPIC, uplink()))}
        assert device in ("cold room 2", "0", "24e124136b502217")
    assert rejection(decoder("chirpstack", device="deviceInfo.x"), TOPIC, uplink()) is Rejection.BAD_DEVICE


def test_an_uplink_that_comes_twice_is_read_once() -> None:
    source = decoder("chirpstack")
    assert decode(source, TOPIC, uplink()).readings
    assert rejection(source, TOPIC, uplink()) is Rejection.DUPLICATE
    assert decode(source, TOPIC, uplink(deduplicationId="another")).readings
    for _ in range(2):
        assert decode(source, TOPIC, uplink(deduplicationId=...)).readings


@pytest.mark.parametrize("event", ["join", "status", "ack", "txack", "log", "location", "integration"])
def test_other_events_and_commands_are_skipped(event: str) -> None:
    source = decoder("chirpstack", topic="application/#")
    assert decode(source, TOPIC.replace("up", event), json.dumps(JOIN)) == ((), (), ())
    assert decode(source, TOPIC.replace("event/up", "command/down"), "{}") == ((), (), ())
    assert decode(source, TOPIC, uplink()).readings


def test_a_device_without_a_codec_is_told_from_a_frame_without_a_payload() -> None:
    assert rejection(decoder("chirpstack"), TOPIC, uplink(object=...)) is Rejection.MISSING_VALUE
    assert decode(decoder("chirpstack"), TOPIC, uplink(object=..., data=...)) == ((), [], [])


def test_the_arrival_counts_where_the_network_gives_no_time() -> None:
    found = decode(decoder("chirpstack", metrics=None), TOPIC, uplink(time=...))
    assert times(found) == [None]
    assert rejection(decoder("chirpstack"), TOPIC, uplink(time="soon")) is Rejection.BAD_TIME


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"[]", Rejection.MALFORMED),
        (b"\x0a\x24binary protobuf", Rejection.NOT_JSON),
        (b"\xff", Rejection.NOT_TEXT),
        (uplink(deviceInfo={}), Rejection.BAD_DEVICE),
        (uplink(object=4.6), Rejection.BAD_DEVICE),
        (uplink(object={"a/b": 1}), Rejection.BAD_DEVICE),
    ],
)
def test_an_event_that_cannot_be_used_has_its_reason(payload: bytes, reason: Rejection) -> None:
    assert rejection(decoder("chirpstack"), TOPIC, payload) is reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)  # how long a payload takes is held below
@given(event=st.dictionaries(st.sampled_from(list(UPLINK)), JSON) | JSON, payload=st.binary(max_size=40))
def test_no_payload_raises_anything_else(event: object, payload: bytes) -> None:
    source = decoder("chirpstack")
    survive(source, TOPIC, payload)
    survive(source, TOPIC, json.dumps(event).encode())
    survive(source, TOPIC, uplink(object=event))


LONG = {
    "values": filled(b'"a":1', b'{"deviceInfo":{"devEui":"a"},"object":{', b"}}", b","),
    "names": filled(b"null", b'{"deviceInfo":{"devEui":"a"},"object":{"\\u0001":[', b"]}}", b","),
    "numbers": filled(b"1", b'{"deviceInfo":{"devEui":"a"},"object":{"t":[', b"]}}", b","),
    "deep": b'{"object":' + b'{"a":' * 13_000,
    "wide and deep": filled(b'{"a":' * 60 + b"1" + b"}" * 60, b'{"deviceInfo":{"devEui":"a"},"object":[', b"]}", b","),
    "identifier": b'{"deviceInfo":{"devEui":"a"},"object":{"t":1},"deduplicationId":"' + b"x" * 65_000 + b'"}',
}


@pytest.mark.parametrize("name", LONG)
def test_the_longest_payload_takes_no_longer_than_50_ms(name: str) -> None:
    assert took(lambda: decoder("chirpstack"), TOPIC, LONG[name]) < SLOW_S
