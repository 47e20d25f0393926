import pytest

from forewarn.inputs.dialect import Presence
from tests.inputs.examples import Vector, decoder, said

GEN1 = "https://shelly-api-docs.shelly.cloud/gen1/"
NOTIFICATIONS = "https://shelly-api-docs.shelly.cloud/gen2/General/Notifications"
MQTT = "https://shelly-api-docs.shelly.cloud/gen2/ComponentsAndServices/Mqtt/"
TEMPERATURE = "https://shelly-api-docs.shelly.cloud/gen2/ComponentsAndServices/Temperature/"


def notified(params: str, method: str = "NotifyStatus") -> bytes:
    device = "shellyplusht-a1b2c3d4e5f6"
    return f'{{"src":"{device}","dst":"{device}/events","method":"{method}","params":{{{params}}}}}'.encode()


HT = "shellyplusht-a1b2c3d4e5f6"
VECTORS = (
    # GEN1: H&T, external probes of a Shelly 1, its own temperature
    Vector("shellies/shellyht-A1B2C3/sensor/temperature", b"4.62", (("shellyht-A1B2C3", "temperature", 4.62, None),)),
    Vector("shellies/shellyht-A1B2C3/sensor/humidity", b"58.0"),
    Vector("shellies/shellyht-A1B2C3/sensor/error", b"0"),
    Vector("shellies/s1-A1B2C3/ext_temperature/0", b"-18.5", (("s1-A1B2C3:0", "ext_temperature", -18.5, None),)),
    Vector("shellies/shelly1-A1B2C3/ext_temperature/0", b"999.0", ("missing_value",)),
    Vector("shellies/shelly1-A1B2C3/ext_temperature_f/0", b"-1.3"),
    Vector("shellies/shelly1-A1B2C3/ext_temperatures", b'{"0":{"hwID":"28ff","tC":-18.5,"tF":-1.3}}'),
    Vector("shellies/shelly1pm-A1B2C3/temperature", b"51.20", (("shelly1pm-A1B2C3", "temperature", 51.2, None),)),
    Vector("shellies/shelly1pm-A1B2C3/temperature", b"hot", ("not_number",)),
    Vector("shellies/shelly1pm-A1B2C3/temperature_f", b"124.16"),
    Vector("shellies/shelly1pm-A1B2C3/overtemperature", b"0"),
    Vector("shellies/shelly1pm-A1B2C3/relay/0", b"off"),
    Vector("shellies/shelly1pm-A1B2C3/relay/0/power", b"0.00"),
    Vector("shellies/shelly1pm-A1B2C3/online", b"true", (Presence("shelly1pm-A1B2C3", online=True),)),
    Vector("shellies/shelly1pm-A1B2C3/online", b"false", (Presence("shelly1pm-A1B2C3", online=False),)),
    Vector("shellies/announce", b'{"id":"shelly1pm-A1B2C3","mac":"00"}'),
    Vector("shellies/command", b"announce"),
    Vector("shellies", b""),
    # NOTIFICATIONS and TEMPERATURE
    Vector(
        f"{HT}/events/rpc",
        notified('"ts":1769860800.25,"temperature:0":{"id":0,"tC":4.5,"tF":40.1}'),
        ((f"{HT}:0", "temperature", 4.5, 1769860800.25),),
    ),
    Vector(
        f"{HT}/events/rpc",
        notified(
            '"ts":1769860800.25,"sys":{"uptime":3},"wifi":{"rssi":-60},"humidity:0":{"id":0,"rh":61.5},'
            '"temperature:0":{"id":0,"tC":4.5,"tF":40.1},"temperature:100":{"id":100,"tC":-18.0,"tF":-0.4}',
            "NotifyFullStatus",
        ),
        ((f"{HT}:0", "temperature", 4.5, 1769860800.25), (f"{HT}:100", "temperature", -18.0, 1769860800.25)),
    ),
    Vector(
        f"{HT}/events/rpc",
        notified('"ts":7.5,"switch:0":{"id":0,"apower":3.1,"output":true,"temperature":{"tC":45.5,"tF":113.9}}'),
        ((f"{HT}:0", "switch_temperature", 45.5, None),),
    ),
    Vector(f"{HT}/events/rpc", notified('"ts":1769860800.25,"temperature:0":{"id":0,"tF":50}'), (
        (f"{HT}:0", "temperature", 10.0, 1769860800.25),
    )),
    Vector(
        f"{HT}/events/rpc",
        notified('"temperature:0":{"id":0,"tC":null,"tF":null,"errors":["read"]}'),
        ("missing_value",),
    ),
    Vector(f"{HT}/events/rpc", notified('"temperature:0":[],"temperature":{"tC":4},"events":[{}]'), ()),
    Vector(f"{HT}/events/rpc", notified('"ts":1769860800,"temperature:0":{"tC":4}', "NotifyEvent"), ()),
    Vector(f"{HT}/events/rpc", notified('"ts":"soon","temperature:0":{"tC":4}'), ("bad_time",)),
    Vector(f"{HT}/events/rpc", b"[]"),
    # MQTT: last will, and a custom prefix below shellies/
    Vector(f"{HT}/online", b"false", (Presence(HT, online=False),)),
    Vector(f"{HT}/online", b"true", (Presence(HT, online=True),)),
    Vector(f"{HT}/online", b"maybe"),
    Vector(
        "shellies/cellar/fridge/status/temperature:100",
        b'{"id":100,"tC":4.5,"tF":40.1}',
        (("cellar:fridge:100", "temperature", 4.5, None),),
    ),
    Vector("shellies/cellar/fridge/status/sys", b'{"uptime":4,"temperature":4}'),
)  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS)
def test_messages_are_read_as_documented(vector: Vector) -> None:
    assert said(decoder("shelly"), vector.topic, vector.payload) == vector.says


def test_celsius_and_fahrenheit_of_one_reading_count_once_whatever_is_asked_for() -> None:
    source = decoder("shelly", metrics=["*"])
    both = notified('"ts":1769860800,"temperature:0":{"id":0,"tC":10.0,"tF":50.0},"humidity:0":{"id":0,"rh":61.5}')
    assert said(source, f"{HT}/events/rpc", both) == (
        (f"{HT}:0", "temperature", 10.0, 1769860800.0),
        (f"{HT}:0", "humidity", 61.5, 1769860800.0),
    )
    switch = notified('"switch:2":{"id":2,"apower":3.5,"output":true,"temperature":{"tC":45.5,"tF":113.9}}')
    wanted = ((f"{HT}:2", "switch_temperature", 45.5, None), (f"{HT}:2", "switch_apower", 3.5, None))
    assert said(source, f"{HT}/events/rpc", switch) == wanted


def test_a_status_that_repeats_a_notification_does_not_count_twice() -> None:
    source = decoder("shelly", topic="home/#")
    status = ("home/fridge/status/temperature:0", b'{"id":0,"tC":4.5,"tF":40.1}')
    assert said(source, *status) == (("fridge:0", "temperature", 4.5, None),)
    said(source, "home/fridge/events/rpc", notified('"ts":1769860800,"wifi":{"rssi":-60}'))
    assert said(source, *status) == ()
    assert said(source, status[0].replace("fridge", "hall"), status[1]) == (("hall:0", "temperature", 4.5, None),)


def test_a_gen1_thermometer_is_in_the_unit_of_its_input_and_an_external_probe_is_not() -> None:
    source = decoder("shelly", unit="°F")
    assert said(source, "shellies/a/sensor/temperature", b"50") == (("a", "temperature", 10.0, None),)
    assert said(source, "shellies/a/ext_temperature/1", b"50") == (("a:1", "ext_temperature", 50.0, None),)


def test_what_is_no_temperature_is_not_in_the_unit_of_the_input() -> None:
    source = decoder("shelly", unit="°F", metrics=["*"])
    assert said(source, "shellies/a/sensor/humidity", b"50") == (("a", "humidity", 50.0, None),)
    assert said(source, "shellies/a/ext_humidity/0", b"50") == (("a:0", "ext_humidity", 50.0, None),)
    assert said(source, f"{HT}/events/rpc", notified('"em:0":{"power":50}')) == ((f"{HT}:0", "em_power", 50.0, None),)
