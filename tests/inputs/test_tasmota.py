import pytest

from forewarn.inputs.dialect import Presence
from tests.inputs.examples import Vector, decoder, said

MQTT = "https://tasmota.github.io/docs/MQTT/"
PROBES = "https://tasmota.github.io/docs/DS18x20/"
OPTIONS = "https://tasmota.github.io/docs/Commands/"  # SetOption52
ZIGBEE = "https://tasmota.github.io/docs/Zigbee/"

VECTORS = (
    # PROBES: one without an address, one with, several
    Vector(
        "tele/plug/SENSOR",
        b'{"Time":"2026-01-31T12:00:00","DS18B20":{"Temperature":4.7},"TempUnit":"C"}',
        (("plug:DS18B20", "Temperature", 4.7, None),),
    ),
    Vector(
        "tele/plug/SENSOR",
        b'{"Time":"2026-01-31T12:00:00","DS18B20":{"Id":"3C01B5561234","Temperature":4.7},"TempUnit":"C"}',
        (("plug:DS18B20:3C01B5561234", "Temperature", 4.7, None),),
    ),
    Vector(
        "tele/plug/SENSOR",
        b'{"Time":"2026-01-31T12:00:00","DS18B20-1":{"Id":"3C01B5560001","Temperature":23.9},'
        b'"DS18B20-2":{"Id":"3C01B5561234","Temperature":4.8},"TempUnit":"C"}',
        (
            ("plug:DS18B20:3C01B5560001", "Temperature", 23.9, None),
            ("plug:DS18B20:3C01B5561234", "Temperature", 4.8, None),
        ),
    ),
    # MQTT: without a unit; a probe that does not answer; other objects and switches beside it
    Vector(
        "tele/plug/SENSOR",
        b'{"Time":"2026-01-31T12:00:00","AM2301":{"Temperature":20.5,"Humidity":41.0,"DewPoint":6.9}}',
        (("plug:AM2301", "Temperature", 20.5, None),),
    ),
    Vector(
        "tele/plug/SENSOR", b'{"AM2301-04":{"Temperature":null,"Humidity":null},"TempUnit":"C"}', ("missing_value",)
    ),
    Vector(
        "tele/plug/SENSOR",
        b'{"Time":"2026-01-31T12:00:00","Switch1":"ON","ENERGY":{"Power":[1,2],"Total":3.5},'
        b'"ESP32":{"Temperature":51.1},"TempUnit":"C"}',
        (("plug:ESP32", "Temperature", 51.1, None),),
    ),
    # Fahrenheit, by TempUnit
    Vector(
        "tele/plug/SENSOR",
        b'{"Time":"2026-01-31T12:00:00","SHT3X":{"Temperature":50.0,"Humidity":50.0},"TempUnit":"F"}',
        (("plug:SHT3X", "Temperature", 10.0, None),),
    ),
    Vector(
        "tele/plug/SENSOR", b'{"SHT3X":{"Temperature":50.0},"TempUnit":5}', (("plug:SHT3X", "Temperature", 50.0, None),)
    ),
    # OPTIONS: a time with its offset, and the same before the clock was set
    Vector(
        "tele/plug/SENSOR",
        b'{"Time":"2026-01-31T13:00:00+01:00","SHT3X":{"Temperature":9.5},"TempUnit":"C"}',
        (("plug:SHT3X", "Temperature", 9.5, 1769860800.0),),
    ),
    Vector(
        "tele/plug/SENSOR",
        b'{"Time":"1970-01-01T01:00:07+01:00","SHT3X":{"Temperature":9.5},"TempUnit":"C"}',
        (("plug:SHT3X", "Temperature", 9.5, None),),
    ),
    Vector("tele/plug/SENSOR", b'{"Time":"noon","SHT3X":{"Temperature":9.5}}', ("bad_time",)),
    # ZIGBEE: a bridge, with its devices one level deeper
    Vector(
        "tele/bridge/SENSOR",
        b'{"ZbReceived":{"0x1A2B":{"Device":"0x1A2B","Name":"hall","Temperature":18.25,"LinkQuality":90}}}',
        (("bridge:ZbReceived:0x1A2B", "Temperature", 18.25, None),),
    ),
    # MQTT: last will, and what is no reading
    Vector("tele/plug/LWT", b"Online", (Presence("plug", online=True),)),
    Vector("tele/plug/LWT", b"Offline", (Presence("plug", online=False),)),
    Vector("tele/plug/LWT", b""),
    Vector("tele/plug/STATE", b'{"Time":"2026-01-31T12:00:00","Uptime":"0T01:00:13","Wifi":{"Temperature":4}}'),
    Vector("tele/plug/INFO1", b'{"Info1":{"Module":"Generic"}}'),
    Vector("tele/plug/SENSOR", b"[4.5]"),
    Vector("tele/plug/SENSOR", b"4.5 C", ("not_json",)),
)


@pytest.mark.parametrize("vector", VECTORS)
def test_messages_are_read_as_documented(vector: Vector) -> None:
    assert said(decoder("tasmota"), vector.topic, vector.payload) == vector.says


@pytest.mark.parametrize(
    ("pattern", "topic", "device"),
    [
        ("{device}/tele/+", "plug/tele/SENSOR", "plug"),
        ("home/{device}/tele/+", "home/plug/tele/SENSOR", "plug"),
        ("tele/cellar/{device}/SENSOR", "tele/cellar/plug/SENSOR", "plug"),
        ("tele/#", "tele/cellar/plug/SENSOR", "cellar:plug"),
        ("tele/{device}/+", "tele/a:b/SENSOR", "a%3Ab"),
    ],
)
def test_the_full_topic_can_be_another(pattern: str, topic: str, device: str) -> None:
    source = decoder("tasmota", topic=pattern)
    assert said(source, topic, b'{"BME280":{"Temperature":4.5}}') == ((f"{device}:BME280", "Temperature", 4.5, None),)
    if not pattern.endswith("SENSOR"):
        assert said(source, topic.replace("SENSOR", "LWT"), b"Offline") == (Presence(device, online=False),)


def test_only_temperatures_have_the_unit_of_temperatures() -> None:
    source = decoder("tasmota", metrics=["*"], unit="°F")
    payload = b'{"SHT3X":{"Temperature":50,"Humidity":50,"DewPoint":32},"Heap":50,"TempUnit":"F"}'
    assert said(source, "tele/plug/SENSOR", payload) == (
        ("plug:SHT3X", "Temperature", 10.0, None),
        ("plug:SHT3X", "Humidity", 50.0, None),
        ("plug:SHT3X", "DewPoint", 0.0, None),
        ("plug", "Heap", 50.0, None),
    )


def test_objects_that_are_nested_deeper_than_any_telemetry_are_left_out() -> None:
    deep = b'{"a":' * 500 + b'{"Temperature":4}' + b"}" * 500
    assert said(decoder("tasmota"), "tele/plug/SENSOR", deep) == ()
