import pytest

from forewarn.inputs.dialect import Presence
from tests.inputs.examples import Vector, decoder, said

GATEWAY = "https://zwave-js.github.io/zwave-js-ui/#/usage/setup?id=gateway"
MQTT = "https://zwave-js.github.io/zwave-js-ui/#/guide/mqtt"

SENSOR = "zwave/cellar/fridge/sensor_multilevel/endpoint_0"
READING = (("cellar:fridge", "Air_temperature", 4.5, 1769860800.25),)
VECTORS = (
    # GATEWAY: named topics, with time and value, the value alone, a whole value id
    Vector(f"{SENSOR}/Air_temperature", b'{"time":1769860800250,"value":4.5}', READING),
    Vector(f"{SENSOR}/Air_temperature", b"4.5", (("cellar:fridge", "Air_temperature", 4.5, None),)),
    Vector(
        f"{SENSOR}/Air_temperature",
        b'{"id":"8-49-0-Air temperature","nodeId":8,"commandClass":49,"commandClassName":"Multilevel Sensor",'
        b'"endpoint":0,"property":"Air temperature","propertyName":"Air temperature","type":"number","readable":true,'
        b'"writeable":false,"label":"Air temperature","unit":"\xc2\xb0F","value":50,"lastUpdate":1769860800250,'
        b'"nodeName":"fridge","nodeLocation":"cellar"}',
        (("cellar:fridge", "Air_temperature", 10.0, 1769860800.25),),
    ),
    Vector(f"{SENSOR}/Air_temperature", b'{"time":1769860800250}'),
    Vector(f"{SENSOR}/Air_temperature", b'{"time":1769860800250,"value":null}', ("missing_value",)),
    Vector(f"{SENSOR}/Air_temperature", b'{"time":"then","value":4.5}', ("bad_time",)),
    Vector(f"{SENSOR}/Humidity", b'{"time":1769860800250,"value":61}'),
    # GATEWAY: without a location, another endpoint, a node without a name
    Vector(
        "zwave/fridge/sensor_multilevel/endpoint_1/Air_temperature",
        b'{"time":1769860800250,"value":4.5}',
        (("fridge:1", "Air_temperature", 4.5, 1769860800.25),),
    ),
    Vector(
        "zwave/nodeID_8/sensor_multilevel/endpoint_0/Air_temperature",
        b'{"time":1769860800250,"value":4.5}',
        (("nodeID_8", "Air_temperature", 4.5, 1769860800.25),),
    ),
    # GATEWAY: topics of value ids; a node and a location that have the number of a class
    Vector("zwave/8/49/0/Air_temperature", b"4.5", (("8", "Air_temperature", 4.5, None),)),
    Vector("zwave/cellar/49/49/2/Air_temperature", b"4.5", (("cellar:49:2", "Air_temperature", 4.5, None),)),
    Vector("zwave/8/112/0/Temperature_unit", b"1"),
    # GATEWAY: status, in both forms; MQTT: what is no reading
    Vector(
        "zwave/cellar/fridge/status",
        b'{"time":1769860800250,"value":true,"status":"Alive","nodeId":8}',
        (Presence("cellar:fridge", online=True),),
    ),
    Vector(
        "zwave/cellar/fridge/status",
        b'{"time":1769860800250,"value":false,"status":"Asleep","nodeId":8}',
        (Presence("cellar:fridge", online=True),),
    ),
    Vector(
        "zwave/cellar/fridge/status",
        b'{"time":1769860800250,"value":false,"status":"Dead","nodeId":8}',
        (Presence("cellar:fridge", online=False),),
    ),
    Vector("zwave/cellar/fridge/status", b'{"time":1769860800250,"value":true,"status":"Unknown"}'),
    Vector("zwave/fridge/status", b'{"time":1769860800250,"value":false}', (Presence("fridge", online=False),)),
    Vector("zwave/cellar/fridge/status", b"true", (Presence("cellar:fridge", online=True),)),
    Vector("zwave/cellar/fridge/status", b"alive", ("not_json",)),
    Vector("zwave/cellar/fridge/lastActive", b'{"time":1769860800250,"value":1769860800250}'),
    Vector("zwave/cellar/fridge/nodeinfo", b'{"id":8,"temperature":4}'),
    Vector("zwave/cellar/fridge/configuration/endpoint_0/Temperature_reporting", b'{"time":1769860800250,"value":4}'),
    Vector("zwave/cellar/fridge/thermostat_setpoint/endpoint_0/setpoint/1/set", b'{"value":4}'),
    Vector(f"{SENSOR}/Air_temperature/set", b'{"value":4}'),
    Vector("zwave/_CLIENTS/ZWAVE_GATEWAY-cellar/api/getNodes", b'{"success":true}'),
    Vector("zwave/_CLIENTS/ZWAVE_GATEWAY-cellar/status", b'{"value":true}'),
    Vector("zwave/_EVENTS/ZWAVE_GATEWAY-cellar/node/sensor_multilevel/endpoint_0/temperature", b"4"),
    Vector("zwave", b"4"),
)  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS)
def test_messages_are_read_as_documented(vector: Vector) -> None:
    assert said(decoder("zwavejs"), vector.topic, vector.payload) == vector.says


def test_a_key_is_part_of_the_metric_and_a_switch_is_no_number() -> None:
    source = decoder("zwavejs", metrics=["*"])
    meter = ("zwave/plug/meter/endpoint_0/value/66049", b'{"time":1769860800250,"value":12.5}')
    assert said(source, *meter) == (("plug", "value:66049", 12.5, 1769860800.25),)
    assert said(source, "zwave/plug/battery/endpoint_0/isLow", b'{"time":1769860800250,"value":false}') == ()
    assert said(source, "zwave/plug/battery/endpoint_0/level", b"97") == (("plug", "level", 97.0, None),)


def test_fahrenheit_is_said_by_the_input() -> None:
    source = decoder("zwavejs", unit="°F", topic="home/zwave/#")
    topic = "home/zwave/fridge/sensor_multilevel/endpoint_0/Air_temperature"
    assert said(source, topic, b"50") == (("fridge", "Air_temperature", 10.0, None),)
