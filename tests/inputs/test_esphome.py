import pytest

from forewarn.inputs.dialect import Presence
from tests.inputs.examples import Vector, decoder, said

MQTT = "https://esphome.io/components/mqtt.html"
SENSOR = "https://esphome.io/components/sensor/"

VECTORS = (
    # MQTT and SENSOR: <topic_prefix>/sensor/<object id>/state
    Vector("coldroom/sensor/fridge_temperature/state", b"4.6", (("coldroom", "fridge_temperature", 4.6, None),)),
    Vector("coldroom/sensor/freezer_temperature/state", b"-18", (("coldroom", "freezer_temperature", -18.0, None),)),
    Vector("coldroom/sensor/fridge_humidity/state", b"61.0"),
    Vector("coldroom/sensor/fridge_temperature/state", b"nan", ("missing_value",)),
    Vector("coldroom/sensor/fridge_temperature/state", b"None", ("missing_value",)),
    Vector("coldroom/sensor/fridge_temperature/state", b"", ("missing_value",)),
    Vector("coldroom/sensor/fridge_temperature/state", b"warm", ("not_number",)),
    # MQTT: birth and last will
    Vector("coldroom/status", b"online", (Presence("coldroom", online=True),)),
    Vector("coldroom/status", b"offline", (Presence("coldroom", online=False),)),
    Vector("printer/status", b'{"toner": "low"}'),
)


@pytest.mark.parametrize("vector", VECTORS)
def test_messages_are_read_as_documented(vector: Vector) -> None:
    assert said(decoder("esphome"), vector.topic, vector.payload) == vector.says


def test_a_prefix_of_several_levels_is_the_device() -> None:
    source = decoder("esphome", topic="home/#")
    assert said(source, "home/cellar/cold/sensor/temperature/state", b"4") == (
        ("cellar:cold", "temperature", 4.0, None),
    )
    assert said(source, "home/cellar/cold/status", b"offline") == (Presence("cellar:cold", online=False),)
    other = ("cold/debug", "cold/text_sensor/temperature/state", "cold/sensor/temperature/command")
    for topic in (*other, "sensor/temperature/state"):
        assert said(source, f"home/{topic}", b"4") == ()
    assert said(source, "home/status", b"offline") == ()


def test_fahrenheit_is_said_by_the_input() -> None:
    source = decoder("esphome", unit="°F")
    assert said(source, "cold/sensor/temperature/state", b"50") == (("cold", "temperature", 10.0, None),)
