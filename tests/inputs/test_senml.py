"""The vectors are the examples of RFC 8428 (section 5.1), and our own for what these have not."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.decoder import Decoder
from tests.inputs.payloads import (
    ARRIVED_AT,
    SLOW_S,
    Vector,
    decode,
    decoder,
    filled,
    rejection,
    survive,
    times,
    took,
    values,
)

BOX = "urn:dev:ow:10e2073a01080063"

# Section 5.1.1 to 5.1.6, and 5.1.7's first.
SINGLE = '[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]'
SEVERAL = """[
  {"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},
  {"n":"current","u":"A","v":1.2}
]"""
TIMES = """[
  {"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
  {"n":"current","t":-5,"v":1.2}, {"n":"current","t":-4,"v":1.3}, {"n":"current","t":-3,"v":1.4},
  {"n":"current","t":-2,"v":1.5}, {"n":"current","t":-1,"v":1.6}, {"n":"current","v":1.7}
]"""
MOBILE = """[
  {"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":20},
  {"u":"lon","v":24.30621}, {"u":"lat","v":60.07965},
  {"t":60,"v":20.3}, {"u":"lon","t":60,"v":24.30622}, {"u":"lat","t":60,"v":60.07965},
  {"t":120,"v":20.7}, {"u":"lon","t":120,"v":24.30623}, {"u":"lat","t":120,"v":60.07966},
  {"u":"%EL","t":150,"v":98},
  {"t":180,"v":21.2}, {"u":"lon","t":180,"v":24.30628}, {"u":"lat","t":180,"v":60.07967}
]"""
RESOLVED = """[
  {"n":"urn:dev:ow:10e2073a01080063","u":"%RH","t":1.320067464e+09,"v":20},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lon","t":1.320067464e+09,"v":24.30621},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lat","t":1.320067464e+09,"v":60.07965},
  {"n":"urn:dev:ow:10e2073a01080063","u":"%RH","t":1.320067524e+09,"v":20.3},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lon","t":1.320067524e+09,"v":24.30622},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lat","t":1.320067524e+09,"v":60.07965},
  {"n":"urn:dev:ow:10e2073a01080063","u":"%RH","t":1.320067584e+09,"v":20.7},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lon","t":1.320067584e+09,"v":24.30623},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lat","t":1.320067584e+09,"v":60.07966},
  {"n":"urn:dev:ow:10e2073a01080063","u":"%EL","t":1.320067614e+09,"v":98},
  {"n":"urn:dev:ow:10e2073a01080063","u":"%RH","t":1.320067644e+09,"v":21.2},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lon","t":1.320067644e+09,"v":24.30628},
  {"n":"urn:dev:ow:10e2073a01080063","u":"lat","t":1.320067644e+09,"v":60.07967}
]"""
TYPES = """[
  {"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},
  {"n":"label","vs":"Machine Room"}, {"n":"open","vb":false}, {"n":"nfv-reader","vd":"aGkgCg"}
]"""
COLLECTION = """[
  {"bn":"2001:db8::2/","bt":1.320078429e+09,"n":"temperature","u":"Cel","v":25.2},
  {"n":"humidity","u":"%RH","v":30},
  {"bn":"2001:db8::1/","n":"temperature","u":"Cel","v":12.3},
  {"n":"humidity","u":"%RH","v":67}
]"""
ACTUATOR = """[
  {"bn":"urn:dev:ow:10e2073a01080063:"},
  {"n":"temp","u":"Cel","v":23.1}, {"n":"heat","u":"/","v":1}, {"n":"fan","u":"/","v":0}
]"""
EXAMPLES = (SINGLE, SEVERAL, TIMES, MOBILE, RESOLVED, TYPES, COLLECTION, ACTUATOR)
VECTORS = [Vector("s/a", text.encode()) for text in EXAMPLES]


def senml(**given: Any) -> Decoder:  # noqa: ANN401 - what a setting may be
    return decoder("senml", topic="s/+", **given)


def one(text: str, **given: Any) -> tuple[tuple[str, str], float]:  # noqa: ANN401 - the same
    ((key, value),) = values(decode(senml(**given), "s/a", text)).items()
    return key, value


# -- the examples of the RFC -----------------------------------------------------------------------------------------


def test_a_single_data_point_is_a_temperature_of_the_device_at_its_arrival() -> None:
    found = decode(senml(), "s/a", SINGLE)
    assert values(found) == {(BOX, "temperature"): 23.1}
    assert times(found) == [None]


def test_base_and_own_name_are_device_and_metric() -> None:
    assert values(decode(senml(), "s/a", SEVERAL)) == {(BOX, "voltage"): 120.1, (BOX, "current"): 1.2}
    assert values(decode(senml(), "s/a", TYPES)) == {(BOX, "temp"): 23.1}
    assert values(decode(senml(), "s/a", ACTUATOR)) == {(BOX, "temp"): 23.1, (BOX, "heat"): 1.0, (BOX, "fan"): 0.0}


def test_times_are_added_to_the_base_time() -> None:
    found = decode(senml(), "s/a", TIMES)
    assert [reading.values[0] for reading in found.readings] == [120.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    assert times(found) == pytest.approx([1276020076.001 + t for t in (0, -5, -4, -3, -2, -1, 0)], abs=1e-6)


def test_a_pack_and_its_resolved_form_say_the_same() -> None:
    pack, resolved = (decode(senml(), "s/a", text).readings for text in (MOBILE, RESOLVED))
    assert pack == resolved
    assert {reading.key.metric for reading in pack} == {"humidity", "lon", "lat", "battery"}
    assert len(pack) == 13


def test_a_base_time_lasts_longer_than_a_base_name() -> None:
    found = decode(senml(), "s/a", COLLECTION)
    assert values(found) == {
        ("2001:db8::2", "temperature"): 25.2,
        ("2001:db8::2", "humidity"): 30.0,
        ("2001:db8::1", "temperature"): 12.3,
        ("2001:db8::1", "humidity"): 67.0,
    }
    assert times(found) == [1320078429.0] * 4


# -- what they have not ----------------------------------------------------------------------------------------------


def test_cbor_is_told_where_to_go() -> None:
    with pytest.raises(PayloadError, match='dialect = "senml-cbor" reads it'):
        decode(senml(), "s/a", b"\x81\xa0")


@pytest.mark.parametrize("t", [-5, 2.0**28 - 1])
def test_a_time_below_2_to_the_28_is_relative_to_the_arrival(t: float) -> None:
    assert times(decode(senml(), "s/a", f'[{{"n":"a/t","v":1,"t":{t}}}]')) == [ARRIVED_AT + t]
    assert times(decode(senml(), "s/a", '[{"n":"a/t","v":1,"t":268435456}]')) == [2.0**28]


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ('"n":"urn:dev:ow:264437f5000000ed_humidity"', ("urn:dev:ow:264437f5000000ed", "humidity")),
        ('"n":"urn:dev:ow:264437f5000000ed:humidity"', ("urn:dev:ow:264437f5000000ed", "humidity")),
        ('"bn":"urn:dev:ow:","n":"264437f5000000ed","u":"%RH"', ("urn:dev:ow:264437f5000000ed", "humidity")),
        ('"n":"hall/rack/inlet"', ("hall:rack", "inlet")),
        ('"bn":"hall/","n":"rack/inlet"', ("hall:rack", "inlet")),
        ('"bn":"rack-7:","n":"inlet"', ("rack-7", "inlet")),
        ('"bn":"rack-7","n":"inlet"', ("rack-7", "inlet")),
        ('"n":"rack-7:inlet","u":"K"', ("rack-7:inlet", "temperature")),
        ('"n":"rack-7","u":"m/s"', ("rack-7", "m_s")),
        ('"n":"rack-7"', ("rack-7", "value")),
    ],
)
def test_device_and_metric_come_from_the_resolved_name(record: str, key: tuple[str, str]) -> None:
    assert one(f'[{{{record},"v":1}}]')[0] == key


def test_the_topic_and_the_setting_name_what_a_record_does_not() -> None:
    source = decoder("senml", topic="s/{device}", metric="inlet")
    assert list(values(decode(source, "s/rack", '[{"n":"x","v":1}]'))) == [("rack", "inlet")]
    assert list(values(decode(source, "s/rack", '[{"n":"a/t","v":1}]'))) == [("rack", "t")]


def test_a_base_value_is_added() -> None:
    assert one('[{"bn":"a/","bv":20},{"n":"t","v":1.5}]')[1] == 21.5
    assert one('[{"bn":"a/","bv":20},{"n":"t","v":1e400}]')[1] == float("inf")


@pytest.mark.parametrize(
    ("unit", "value"), [("Cel", 20.0), ("K", -253.15), ("F", 20.0), ("C", 20.0), ("%RH", 20.0), ("Far", -20 / 3)]
)
def test_units_are_those_of_the_registry_where_f_is_farad(unit: str, value: float) -> None:
    assert one(f'[{{"n":"a/temperature","u":"{unit}","v":20}}]')[1] == pytest.approx(value)
    assert one(f'[{{"bn":"a/","bu":"{unit}"}},{{"n":"temperature","v":20}}]')[1] == pytest.approx(value)
    assert one('[{"bn":"a/","bu":"K"},{"n":"t","u":"F","v":20}]', unit="K")[1] == 20.0


def test_one_record_that_cannot_be_used_leaves_the_others() -> None:
    found = decode(senml(), "s/a", '[{"bn":"a/","n":"t","v":1},{"n":"u","v":"wet"},{"n":"w","v":1,"t":"x"}]')
    assert values(found) == {("a", "t"): 1.0}
    assert [error.reason for error in found.rejected] == [Rejection.NOT_NUMBER, Rejection.BAD_TIME]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ('{"n":"a","v":1}', Rejection.MALFORMED),
        ("[1]", Rejection.MALFORMED),
        ('[{"n":"a/t","v":1},{"n":"a/t","v":2,"must_":1}]', Rejection.MALFORMED),
        ('[{"bver":11,"n":"a/t","v":1}]', Rejection.MALFORMED),
        ('[{"bver":"5","n":"a/t","v":1}]', Rejection.MALFORMED),
        ('[{"bn":7,"n":"a/t","v":1}]', Rejection.MALFORMED),
        ('[{"n":"a/t","v":1', Rejection.NOT_JSON),
        ("[" + "{}," * 2000 + "{}]", Rejection.MALFORMED),
        ('[{"n":"a/t","v":1,"bt":NaN}]', Rejection.BAD_TIME),
        ('[{"n":"a/t","v":null}]', Rejection.MISSING_VALUE),
        ('[{"n":"a/t","v":true}]', Rejection.NOT_NUMBER),
        ('[{"n":"a/t","v":1,"bv":"x"}]', Rejection.NOT_NUMBER),
        ('[{"v":1}]', Rejection.BAD_DEVICE),
    ],
)
def test_a_pack_that_cannot_be_used_has_its_reason(payload: str, reason: Rejection) -> None:
    assert rejection(senml(), "s/a", payload) is reason


def test_unknown_labels_are_ignored_and_what_is_no_number_skipped() -> None:
    assert one('[{"n":"a/t","v":1,"l":[1],"ut":9}]')[1] == 1.0
    assert decode(senml(), "s/a", '[{"n":"a/t","s":7},{"n":"a/x","vs":"on"}]') == ((), [], [])


def test_only_temperatures_are_taken_by_default() -> None:
    assert list(values(decode(senml(metrics=None), "s/a", COLLECTION))) == [
        ("2001:db8::2", "temperature"),
        ("2001:db8::1", "temperature"),
    ]


# -- hostile payloads ------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b_"]), inner, max_size=2),
    max_leaves=4,
)
LABELS = st.sampled_from(["bn", "bt", "bu", "bv", "bver", "n", "u", "v", "vs", "s", "t", "x", "y_"])


@settings(deadline=None)  # how long a payload takes is held below
@given(payload=st.binary(max_size=60))
def test_no_bytes_raise_anything_else(payload: bytes) -> None:
    survive(senml(), "s/a", payload)


@settings(deadline=None)  # how long a payload takes is held below
@given(pack=st.lists(st.dictionaries(LABELS, JSON, max_size=4), max_size=3) | JSON)
def test_no_pack_raises_anything_else(pack: object) -> None:
    survive(senml(), "s/a", json.dumps(pack).encode())


MANY = b'{"v":1},' * 1999
LONG = {
    "readings": b'[{"bn":"a/t","v":1},' + MANY[:-1] + b"]",
    "rejections": b"[" + MANY + b"{}]",
    "records": filled(b'{"v":1}', b'[{"bn":"a/t","v":1},', b"]", b","),
    "names": filled(b'{"n":"\\u0001","v":1}', b"[", b"]", b","),
    "times": filled(b'{"v":1,"t":""}', b'[{"bn":"a/t"},', b"]", b","),
    "empty": filled(b"{}", b"[", b"]", b","),
    "deep": b"[" * 65_536,
    "name": b'[{"v":1,"n":"' + b"/" * 65_000 + b'"}]',
    "urn": b'[{"v":1,"n":"urn:dev:a:' + b":" * 65_000 + b'"}]',
}


@pytest.mark.parametrize("name", LONG)
def test_the_longest_payload_takes_no_longer_than_50_ms(name: str) -> None:
    assert took(senml, "s/a", LONG[name]) < SLOW_S
