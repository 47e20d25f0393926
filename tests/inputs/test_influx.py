r"""The vectors follow the line protocol reference of InfluxDB's documentation (v2), section by section."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.core.readings import Rejection
from tests.inputs.payloads import SLOW_S, Vector, decode, decoder, filled, rejection, survive, times, took, values

POINT = "room,host=cold-2,floor=0 temperature=4.5,humidity=61i 1772345730250000000"
ESCAPED = (
    r"my\ room\,\ 2,ho\=st=a\ b,host=back\\slash\,\=x te\ mp\=1=1" + "\n"
    r'room,host=a text="say \"t=9\", or \\",value=2'
)
TELEGRAF = """\
# written by a collector
sensors,chip=coretemp,host=gw temp_input=41,temp_max=100 1772345730000000000

sensors,chip=nvme,host=gw temp_input=36.5 1772345730000000000
cpu,host=gw usage_idle=97.5,online=true 1772345730000000000
"""
VECTORS = [Vector("telegraf/gw", text.encode()) for text in (POINT, ESCAPED, TELEGRAF, 'a value=1,b=t,c="x" 1')]


def one(line: str) -> tuple[tuple[str, str], float]:
    ((key, value),) = values(decode(decoder("influx", topic="t/#"), "t/a", line)).items()
    return key, value


def test_the_fields_of_a_point_are_readings_at_its_time() -> None:
    found = decode(decoder("influx", topic="t/#"), "t/a", POINT)
    assert values(found) == {("cold-2", "temperature"): 4.5, ("cold-2", "humidity"): 61.0}
    assert times(found) == pytest.approx([1772345730.25] * 2, abs=1e-6)  # float seconds end there


def test_each_line_is_a_point_and_comments_and_blank_lines_are_none() -> None:
    found = decode(decoder("influx", topic="t/#", device="host.chip", metrics=("temp*",)), "t/a", TELEGRAF)
    assert values(found) == {
        ("gw:coretemp", "temp_input"): 41.0,
        ("gw:coretemp", "temp_max"): 100.0,
        ("gw:nvme", "temp_input"): 36.5,
    }
    assert [error.reason for error in found.rejected] == [Rejection.BAD_DEVICE]
    windows = decode(decoder("influx", topic="t/#"), "t/a", TELEGRAF.replace("\n", "\r\n"))
    assert len(windows.readings) == 4


@pytest.mark.parametrize(
    ("value", "number"),
    [("1.0", 1.0), ("1", 1.0), ("-1.5e+3", -1500.0), ("1i", 1.0), ("-12485903i", -12485903.0), ("7u", 7.0)],
)
def test_numbers_are_floats_integers_or_unsigned(value: str, number: float) -> None:
    assert one(f"m,host=a f={value}") == (("a", "f"), number)


@pytest.mark.parametrize(
    "value", [*"tTfF", *("true", "True", "TRUE", "false", "False", "FALSE"), '"5"', '""', '"a\nb"', '"a\\\nb"']
)
def test_switches_and_texts_are_no_readings(value: str) -> None:
    assert one(f"m,host=a x={value},y=1") == (("a", "y"), 1.0)
    assert decode(decoder("influx", topic="t/#"), "t/a", f"m,host=a x={value}\n") == ((), [], [])


def test_escapes_in_names_and_texts() -> None:
    found = decode(decoder("influx", topic="t/#"), "t/a", ESCAPED)
    assert values(found) == {("back\\slash,=x", "te mp=1"): 1.0, ("a", "room"): 2.0}
    assert one(r"my\ room\,\ 2,host=a value=1")[0] == ("a", "my room, 2")
    assert one(r"m,host=C:\temp,sensor=b f=1")[0] == ("C:\\temp", "f")
    assert one('m,host="a" "f"=1')[0] == ('"a"', '"f"')  # quotes are part of a name
    assert one("m,host=🍭 f=1")[0] == ("🍭", "f")


@pytest.mark.parametrize(
    ("tags", "device"),
    [(",host=b,device=a", "a"), (",id=d,host=b", "b"), (",id=d,sensor=c", "c"), (",zone=z,id=d", "d")],
)
def test_the_device_is_the_first_of_the_usual_tags(tags: str, device: str) -> None:
    assert one(f"m{tags} f=1")[0] == (device, "f")


def test_the_device_may_be_another_tag_or_a_level_of_the_topic() -> None:
    assert list(values(decode(decoder("influx", topic="t/#", device="zone"), "t/a", "m,zone=z f=1"))) == [("z", "f")]
    assert list(values(decode(decoder("influx", topic="t/{device}"), "t/a", "m,host=b f=1\nm f=2"))) == [("a", "f")]


def test_a_line_whose_tags_name_no_device_leaves_the_others() -> None:
    found = decode(decoder("influx", topic="t/#"), "t/a", "m,zone=z f=1,g=2\nm,host=a f=3")
    assert values(found) == {("a", "f"): 3.0}
    assert [error.reason for error in found.rejected] == [Rejection.BAD_DEVICE]
    assert rejection(decoder("influx", topic="t/#", device="a.b"), "t/a", "m,a=1 f=1") is Rejection.BAD_DEVICE


@pytest.mark.parametrize(
    ("time", "at"),
    [
        ("", None),
        (" 1772345730250000000", 1772345730.25),
        (" 1772345730250", 1772345730.25),
        (" 1772345730", 1772345730),
    ],
)
def test_a_time_is_known_by_its_size(time: str, at: float | None) -> None:
    (found,) = times(decode(decoder("influx", topic="t/#"), "t/a", f"m,host=a f=1{time}"))
    assert found is at is None or found == pytest.approx(at, abs=1e-6)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("21.5", Rejection.MALFORMED),
        ("m,host=a", Rejection.MALFORMED),
        ("m,host=a f", Rejection.MALFORMED),
        ("m,host=a f=", Rejection.MALFORMED),
        ("m,host= f=1", Rejection.MALFORMED),
        ("m,host f=1", Rejection.MALFORMED),
        ("m,host=a f=1,", Rejection.MALFORMED),
        ("m,host=a f=1 soon", Rejection.MALFORMED),
        ("m,host=a f=1 1 2", Rejection.MALFORMED),
        ('m,host=a f="x', Rejection.MALFORMED),
        ('m,host=a f="x"y', Rejection.MALFORMED),
        ("m,host=a f=1\nnonsense", Rejection.MALFORMED),
        ("m,host=a f=1 " + "9" * 400, Rejection.BAD_TIME),
        ("m,host=a f=x", Rejection.NOT_NUMBER),
        ("m,host=a f=1.5i", Rejection.NOT_NUMBER),
        ("m,host=a f=i", Rejection.NOT_NUMBER),
        ("m,host=a/b f=1", Rejection.BAD_DEVICE),
        (b"m,host=\xff f=1", Rejection.NOT_TEXT),
    ],
)
def test_a_message_that_cannot_be_used_has_its_reason(payload: bytes | str, reason: Rejection) -> None:
    assert rejection(decoder("influx", topic="t/#"), "t/a", payload) is reason


def test_only_temperatures_are_taken_by_default() -> None:
    assert list(values(decode(decoder("influx", topic="t/#", metrics=None), "t/a", POINT))) == [
        ("cold-2", "temperature")
    ]


NAMES = st.text(
    st.characters(exclude_characters="\n\r/+#", exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=8
)


def escaped(name: str) -> str:
    return "".join("\\" + c if c in ",= \\" else c for c in name)


@given(
    measurement=NAMES, host=NAMES, field=NAMES.filter(lambda name: name != "value"), value=st.floats(allow_nan=False)
)
def test_what_is_written_is_read(measurement: str, host: str, field: str, value: float) -> None:
    first = "\\#" if measurement[0] == "#" else ""
    line = f"{first}{escaped(measurement)},host={escaped(host)} {escaped(field)}={value!r}"
    assert one(line.strip("\t")) == ((host, field), value)


@settings(deadline=None)  # how long a payload takes is held below
@given(payload=st.binary(max_size=40), text=st.text(st.sampled_from(' \n\t\\",=#at19i-é'), max_size=60))
def test_no_payload_raises_anything_else(payload: bytes, text: str) -> None:
    source = decoder("influx", topic="t/#")
    survive(source, "t/a", payload)
    survive(source, "t/a", text.encode())
    survive(source, "t/a", b"m,host=a " + text.encode())


LONG = {
    "lines": filled(b"t,id=a t=1\n"),
    "lines without a device": filled(b"t v=1\n"),
    "lines that are no numbers": filled(b"t,id=a t=x\n"),
    "fields": filled(b"a=1", b"t,id=a ", b"", b","),
    "tags": filled(b",a=b", b"t", b" t=1"),
    "quotes": filled(b't a="\n'),
    "escapes": b"t" + b"\\," * 32_000,
    "backslashes": b"\\" * 65_000,
    "an open quote": b't a="' + b'\\"' * 32_000,
    "spaces": b"t" + b" " * 65_000,
    "blank lines": b"\n" * 65_000,
    "comments": b"#\n" * 32_000,
    "one name": b"a" * 65_000,
}


@pytest.mark.parametrize("name", LONG)
def test_the_longest_payload_takes_no_longer_than_50_ms(name: str) -> None:
    assert took(lambda: decoder("influx", topic="t/#"), "t/a", LONG[name]) < SLOW_S
