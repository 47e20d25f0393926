import pytest

from forewarn.inputs import remembered
from forewarn.inputs.dialect import Presence
from tests.inputs.examples import Vector, decoder, said

TOPICS = "https://www.zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages.html"
BEHAVIOUR = "https://www.zigbee2mqtt.io/guide/configuration/mqtt.html"
AVAILABILITY = "https://www.zigbee2mqtt.io/guide/configuration/device-availability.html"

VECTORS = (
    # TOPICS: a document for each device, whose name may have levels
    Vector("zigbee2mqtt/fridge", b'{"temperature":4.31,"humidity":58.2}', (("fridge", "temperature", 4.31, None),)),
    Vector(
        "zigbee2mqtt/kitchen/fridge",
        b'{"battery":97,"device_temperature":21,"linkquality":120,"state":"ON","temperature":-3,"update":{"a":1}}',
        (("kitchen:fridge", "device_temperature", 21.0, None), ("kitchen:fridge", "temperature", -3.0, None)),
    ),
    Vector("zigbee2mqtt/0x00158d0001a2b3c4", b'{"temperature":null}', ("missing_value",)),
    Vector("zigbee2mqtt/remote", b'{"action":"single"}'),
    Vector("zigbee2mqtt/remote", b""),
    Vector("zigbee2mqtt/remote", b"21.5"),
    Vector("zigbee2mqtt/remote", b"single", ("not_json",)),
    # BEHAVIOUR: last_seen as ISO_8601, ISO_8601_local and epoch, and as no clock of ours understands it
    Vector(
        "zigbee2mqtt/fridge",
        b'{"last_seen":"2026-01-31T12:00:00.250Z","temperature":4.5}',
        (("fridge", "temperature", 4.5, 1769860800.25),),
    ),
    Vector(
        "zigbee2mqtt/fridge",
        b'{"last_seen":"2026-01-31T13:00:00+01:00","temperature":4.5}',
        (("fridge", "temperature", 4.5, 1769860800.0),),
    ),
    Vector(
        "zigbee2mqtt/fridge",
        b'{"last_seen":1769860800250,"temperature":4.5}',
        (("fridge", "temperature", 4.5, 1769860800.25),),
    ),
    Vector(
        "zigbee2mqtt/fridge",
        b'{"last_seen":"2026-01-31T12:00:00","temperature":4.5}',
        (("fridge", "temperature", 4.5, None),),
    ),
    Vector("zigbee2mqtt/fridge", b'{"last_seen":"today","temperature":4.5}', ("bad_time",)),
    # BEHAVIOUR: output: attribute
    Vector("zigbee2mqtt/hall/thermometer/temperature", b"19.75", (("hall:thermometer", "temperature", 19.75, None),)),
    Vector("zigbee2mqtt/hall/thermometer/temperature", b"", ("missing_value",)),
    Vector("zigbee2mqtt/hall/thermometer/temperature", b"\xff", ("not_number",)),
    Vector("zigbee2mqtt/hall/thermometer/state", b"ON"),
    # AVAILABILITY: as text and as JSON
    Vector("zigbee2mqtt/kitchen/fridge/availability", b"online", (Presence("kitchen:fridge", online=True),)),
    Vector(
        "zigbee2mqtt/kitchen/fridge/availability", b'{"state":"offline"}', (Presence("kitchen:fridge", online=False),)
    ),
    Vector("zigbee2mqtt/kitchen/fridge/availability", b'{"state":5}'),
    Vector("zigbee2mqtt/kitchen/fridge/availability", b""),
    # TOPICS: what is no reading
    Vector("zigbee2mqtt/bridge/state", b"online"),
    Vector("zigbee2mqtt/bridge/info", b'{"temperature":4}'),
    Vector("zigbee2mqtt/fridge/set", b'{"temperature":4}'),
    Vector("zigbee2mqtt/fridge/set/temperature", b"4"),
    Vector("zigbee2mqtt/fridge/get", b'{"temperature":""}'),
    Vector("zigbee2mqtt/fridge/get/temperature", b""),
    Vector("zigbee2mqtt", b'{"temperature":4}'),
)


@pytest.mark.parametrize("vector", VECTORS)
def test_messages_are_read_as_documented(vector: Vector) -> None:
    assert said(decoder("zigbee2mqtt"), vector.topic, vector.payload) == vector.says


def test_attributes_that_repeat_a_document_do_not_count_twice() -> None:
    source = decoder("zigbee2mqtt")
    attribute = ("zigbee2mqtt/fridge/temperature", b"4.25")
    assert said(source, *attribute) == (("fridge", "temperature", 4.25, None),)
    assert said(source, "zigbee2mqtt/fridge", b'{"temperature":4.25}') == (("fridge", "temperature", 4.25, None),)
    assert said(source, *attribute) == ()
    assert said(source, "zigbee2mqtt/room/temperature", b"4.25") == (("room", "temperature", 4.25, None),)


def test_devices_that_are_made_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MAX_REMEMBERED", 3)
    source = decoder("zigbee2mqtt")
    for number in range(9):
        said(source, f"zigbee2mqtt/n{number}", b'{"temperature":4}')
    known = [f"n{n}" for n in range(9) if not said(source, f"zigbee2mqtt/n{n}/temperature", b"4")]
    assert known == ["n6", "n7", "n8"]


def test_the_base_topic_can_be_another() -> None:
    source = decoder("zigbee2mqtt", topic="home/attic/z2m/#", metrics=["hum*"])
    said_of_it = said(source, "home/attic/z2m/bath", b'{"temperature":21,"humidity":70}')
    assert said_of_it == (("bath", "humidity", 70.0, None),)
    assert said(source, "home/attic/z2m/bridge/state", b"offline") == ()
