"""The vectors are the messages of Eclipse Sparkplug 3.0.0, "Payloads", with values of ours.

They are written here field by field (https://protobuf.dev/programming-guides/encoding), not by what reads them.
"""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.decoder import Decoded, Decoder
from forewarn.inputs.dialect import Presence, Request
from forewarn.inputs.sparkplug import Sparkplug
from tests.inputs.payloads import SLOW_S, Vector, decode, decoder, filled, rejection, survive, times, took, values

INT8, INT16, INT32, INT64, UINT8, UINT32, UINT64, FLOAT, DOUBLE, BOOL, STRING, DATE = (
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
)
NODE, OVEN = "spBv1.0/Plant 1/{}/line-3", "spBv1.0/Plant 1/{}/line-3/oven"
AT_MS = 1_772_345_730_250
AT = 1772345730.25


def varint(number: int) -> bytes:
    low = bytes([number & 127])
    return low if number < 128 else bytes([low[0] | 128]) + varint(number >> 7)


def whole(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def block(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def metric(
    name: str = "", datatype: int = 0, value: float | bool | str | None = None, *, alias: int | None = None,
    at: int = AT_MS, null: bool = False, historical: bool = False, long: bool = False,
) -> bytes:  # fmt: skip
    """One metric; an integer is in two's complement of its field, as most write it."""
    data = block(1, name.encode()) if name else b""
    data += whole(2, alias) if alias is not None else b""
    data += whole(3, at) if at else b""
    data += whole(4, datatype) if datatype else b""
    data += (whole(5, 1) if historical else b"") + (whole(7, 1) if null else b"")
    data += block(9, block(1, b"unit"))  # properties, which nothing here reads
    if isinstance(value, bool):
        data += whole(14, value)
    elif isinstance(value, str):
        data += block(15, value.encode())
    elif isinstance(value, float):
        data += b"\x65" + struct.pack("<f", value) if datatype == FLOAT else b"\x69" + struct.pack("<d", value)
    elif value is not None:
        data += whole(11, value % 2**64) if long else whole(10, value % 2**32)
    return data


def message(*metrics: bytes, seq: int | None = 0, at: int = AT_MS) -> bytes:
    numbers = whole(1, at) if at else b""
    return numbers + b"".join(block(2, one) for one in metrics) + (whole(3, seq) if seq is not None else b"")


def nbirth(*metrics: bytes, death: int = 7) -> bytes:
    control = (
        metric("Node Control/Rebirth", BOOL, value=False),
        metric("Node Control/Scan Rate", INT64, 3000, long=True),
    )
    return message(metric("bdSeq", INT64, death, long=True), *control, *metrics)


def ndeath(death: int | None = 7) -> bytes:
    return message(*([metric("bdSeq", UINT64, death, long=True)] if death is not None else []), seq=None)


SUPPLY = metric("Supply Voltage", FLOAT, 12.5)
WARM = metric("Zones/1/Temperature", INT16, -5, alias=1)
DBIRTH = message(WARM, metric("Door", BOOL, value=True, alias=2), metric("Recipe", STRING, "bread", alias=3), seq=1)
VECTORS = [
    Vector(NODE.format("NBIRTH"), nbirth(SUPPLY)),
    Vector(OVEN.format("DBIRTH"), DBIRTH),
    Vector(OVEN.format("DDATA"), message(metric(value=-6, alias=1), seq=2)),
    Vector(NODE.format("NDATA"), message(metric("Supply Voltage", DOUBLE, 12.0), seq=3)),
    Vector(OVEN.format("DDEATH"), message(seq=4)),
    Vector(NODE.format("NDEATH"), ndeath()),
]


def sparkplug(**given: Any) -> Decoder:  # noqa: ANN401 - what a setting may be
    return decoder("sparkplug", **given)


def born(**given: Any) -> Decoder:  # noqa: ANN401 - the same
    source = sparkplug(**given)
    decode(source, NODE.format("NBIRTH"), nbirth(SUPPLY))
    assert decode(source, OVEN.format("DBIRTH"), DBIRTH).others == [Presence("Plant 1:line-3:oven", online=True)]
    return source


def data(source: Decoder, *metrics: bytes, seq: int | None = 2) -> Decoded:
    return decode(source, OVEN.format("DDATA"), message(*metrics, seq=seq))


def requests(decoded: Decoded) -> list[str]:
    return [other.topic for other in decoded.others if isinstance(other, Request)]


# -- births and data -------------------------------------------------------------------------------------------------


def test_births_and_data_of_node_and_device_are_readings() -> None:
    source = sparkplug()
    found = [decode(source, topic, payload) for topic, payload in VECTORS[:4]]
    assert [values(one) for one in found] == [
        {("Plant 1:line-3", "Supply Voltage"): 12.5},
        {("Plant 1:line-3:oven", "Zones:1:Temperature"): -5.0},
        {("Plant 1:line-3:oven", "Zones:1:Temperature"): -6.0},
        {("Plant 1:line-3", "Supply Voltage"): 12.0},
    ]
    assert all(times(one) == [AT] for one in found)
    assert [one.others for one in found[2:]] == [[], []]
    assert not any(one.rejected for one in found)


def test_a_metric_s_own_time_counts_before_that_of_the_message() -> None:
    source = born()
    assert times(data(source, metric(value=1, alias=1, at=AT_MS + 500))) == [AT + 0.5]
    assert times(data(source, metric(value=1, alias=1, at=0), seq=3)) == [AT]
    bare = decode(source, OVEN.format("DDATA"), message(metric(value=1, alias=1, at=0), seq=4, at=0))
    assert times(bare) == [None]


@pytest.mark.parametrize(
    ("datatype", "value", "long", "number"),
    [
        (INT8, -5, False, -5.0), (INT8, 251, False, -5.0), (INT16, 65_531, False, -5.0), (INT16, 5, False, 5.0),
        (INT32, -5, False, -5.0), (INT32, 2**31 - 1, False, 2**31 - 1), (INT64, -5, True, -5.0),
        (INT64, -(2**63), True, -(2.0**63)), (INT32, -5, True, -5.0), (UINT8, 251, False, 251.0),
        (UINT32, 2**32 - 5, False, 2**32 - 5.0), (UINT64, 2**64 - 2**12, True, 2**64 - 2.0**12),
        (DOUBLE, -1.25, False, -1.25), (FLOAT, -1.25, False, -1.25),
    ],
)  # fmt: skip
def test_numbers_of_every_type(datatype: int, value: float, long: bool, number: float) -> None:
    source = sparkplug()
    found = decode(source, NODE.format("NBIRTH"), nbirth(metric("t", datatype, value, alias=9, long=long)))
    assert values(found) == {("Plant 1:line-3", "t"): number}
    kind = datatype if isinstance(value, float) else 0  # which field a float is in
    again = decode(source, NODE.format("NDATA"), message(metric("", kind, value, alias=9, long=long), seq=1))
    assert values(again) == {("Plant 1:line-3", "t"): number}


def test_switches_texts_dates_and_controls_are_no_readings() -> None:
    source = sparkplug()
    kinds = [
        metric("a", BOOL, value=True),
        metric("b", STRING, "x"),
        metric("c", DATE, AT_MS, long=True),
        metric("d", STRING, null=True),
    ]
    assert not decode(source, NODE.format("NBIRTH"), nbirth(*kinds)).readings
    again = [
        metric("a", 0, value=True),
        metric("c", 0, AT_MS, long=True),
        metric("Node Control/Scan Rate", 0, 1000, long=True),
    ]
    assert decode(source, NODE.format("NDATA"), message(*again, seq=1)) == ((), [], [])


def test_null_is_missing_and_a_historical_value_is_an_old_reading() -> None:
    source = born()
    found = data(
        source, metric(alias=1, null=True), metric(value=-7, alias=1, historical=True), metric(value=-6, alias=1)
    )
    assert [error.reason for error in found.rejected] == [Rejection.MISSING_VALUE]
    assert [(reading.values[0], reading.seed) for reading in found.readings] == [(-7.0, True), (-6.0, False)]


def test_only_temperatures_are_taken_by_default_in_the_unit_of_the_input() -> None:
    source = sparkplug(metrics=None, unit="°F")
    assert not decode(source, NODE.format("NBIRTH"), nbirth(SUPPLY)).readings
    assert list(values(decode(source, OVEN.format("DBIRTH"), DBIRTH)).values()) == [pytest.approx(-185 / 9)]


# -- what no birth has explained -------------------------------------------------------------------------------------


def test_an_alias_without_a_birth_is_rejected_and_asks_for_one() -> None:
    source = sparkplug()
    found = data(source, metric(value=1, alias=1), metric(value=1.5, alias=2), metric("t", DOUBLE, 4.0))
    assert values(found) == {("Plant 1:line-3:oven", "t"): 4.0}
    assert [error.reason for error in found.rejected] == [Rejection.UNKNOWN_ALIAS]
    assert requests(found) == ["spBv1.0/Plant 1/NCMD/line-3"]
    request = found.others[0]
    assert isinstance(request, Request)
    wanted = block(1, b"Node Control/Rebirth") + whole(3, AT_MS) + whole(4, BOOL) + whole(14, 1)
    assert request.payload == whole(1, AT_MS) + block(2, wanted)


def test_an_integer_whose_type_is_not_known_is_never_guessed() -> None:
    found = data(sparkplug(), metric("t", 0, -5))
    assert not found.readings
    assert [error.reason for error in found.rejected] == [Rejection.UNKNOWN_ALIAS]
    assert values(data(sparkplug(), metric("t", INT16, -5))) == {("Plant 1:line-3:oven", "t"): -5.0}


def test_a_rebirth_is_asked_for_once_until_the_node_is_born() -> None:
    source = sparkplug()
    asked = [requests(data(source, metric("t", DOUBLE, 1.0), seq=None)) for _ in range(3)]
    assert [len(one) for one in asked] == [1, 0, 0]
    assert not requests(decode(source, OVEN.format("DBIRTH"), DBIRTH))
    decode(source, NODE.format("NBIRTH"), nbirth())
    assert len(requests(data(source, metric(value=1.5, alias=1), seq=1))) == 1
    assert len(requests(decode(source, "spBv1.0/a/NDATA/b", message()))) == 1


def test_it_is_asked_for_again_after_a_thousand_messages() -> None:
    source = sparkplug()
    asked = [len(requests(data(source, metric("t", DOUBLE, 1.0), seq=None))) for _ in range(2001)]
    assert [n for n, one in enumerate(asked) if one] == [0, 1000, 2000]


def test_a_gap_in_the_sequence_asks_for_a_rebirth_and_its_values_count() -> None:
    source = born()
    assert not requests(data(source, metric(value=1, alias=1), seq=2))
    found = data(source, metric(value=1, alias=1), seq=4)
    assert values(found)
    assert len(requests(found)) == 1
    decode(source, NODE.format("NBIRTH"), nbirth())
    decode(source, OVEN.format("DBIRTH"), DBIRTH)
    for seq in [*range(2, 256), 0, 1]:
        assert not requests(data(source, metric(value=1, alias=1), seq=seq))


def test_a_birth_replaces_what_an_earlier_one_said() -> None:
    source = born()
    decode(source, OVEN.format("DBIRTH"), message(metric("Pressure", UINT8, 251, alias=1), seq=2))
    assert values(data(source, metric(value=250, alias=1), seq=3)) == {("Plant 1:line-3:oven", "Pressure"): 250.0}
    decode(source, NODE.format("NBIRTH"), nbirth())
    assert data(source, metric(value=250, alias=1), seq=1).rejected


# -- deaths ----------------------------------------------------------------------------------------------------------


def test_births_and_deaths_tell_who_is_there() -> None:
    source = born()
    birth = decode(source, NODE.format("NBIRTH"), nbirth())
    assert birth.others == [Presence("Plant 1:line-3", online=True)]
    decode(source, OVEN.format("DBIRTH"), DBIRTH)
    death = decode(source, OVEN.format("DDEATH"), message(seq=2))
    assert death == ((), [], [Presence("Plant 1:line-3:oven", online=False)])
    assert data(source, metric(value=1, alias=1), seq=3).rejected


def test_a_node_takes_its_devices_with_it_and_what_they_said() -> None:
    source = born()
    death = decode(source, NODE.format("NDEATH"), ndeath())
    assert death.others == [Presence("Plant 1:line-3", online=False), Presence("Plant 1:line-3:oven", online=False)]
    assert data(source, metric(value=1, alias=1)).rejected


def test_a_death_of_an_earlier_birth_is_ignored() -> None:
    source = born()
    assert decode(source, NODE.format("NDEATH"), ndeath(6)) == ((), [], [])
    assert values(data(source, metric(value=1, alias=1)))
    assert decode(source, NODE.format("NDEATH"), ndeath(None)).others
    assert decode(source, NODE.format("NDEATH"), ndeath(7)).others == [Presence("Plant 1:line-3", online=False)]


# -- topics, bounds and hostile payloads -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "topic", ["spBv1.0/STATE/scada", "spBv1.0/g/NCMD/n", "spBv1.0/g/DCMD/n/d", "site/spBv1.0/STATE/scada"]
)
def test_commands_and_states_are_skipped(topic: str) -> None:
    assert decode(sparkplug(topic="#"), topic, b'{"online": true}') == ((), (), ())


@pytest.mark.parametrize(
    "topic",
    ["spBv1.0/g", "spBv1.0/g/NDATA", "spBv1.0/g/DDATA/n", "spBv1.0/g/NDATA/n/d", "spBv1.0/g/X/n", "spAv1.0/g/NDATA/n"],
)
def test_other_topics_are_malformed(topic: str) -> None:
    assert rejection(sparkplug(topic="#"), topic, message()) is Rejection.MALFORMED


def test_a_namespace_below_others_is_asked_there() -> None:
    found = decode(sparkplug(topic="#"), "site/spBv1.0/g/NDATA/n", message(metric(value=1, alias=1)))
    assert requests(found) == ["site/spBv1.0/g/NCMD/n"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"21.5", Rejection.MALFORMED),
        (b'{"online": true}', Rejection.MALFORMED),
        (message(SUPPLY) + block(4, b"SPBV1.0_COMPRESSED") + block(5, b"x"), Rejection.MALFORMED),
        (message(block(1, b"\xff") + whole(4, INT8) + whole(10, 1), seq=2), Rejection.NOT_TEXT),
        (message(metric("t" * 129, DOUBLE, 1.0), seq=2), Rejection.BAD_DEVICE),
    ],
)
def test_a_message_that_cannot_be_used_has_its_reason(payload: bytes, reason: Rejection) -> None:
    source = born()
    with pytest.raises(PayloadError) as caught:
        decode(source, OVEN.format("DDATA"), payload)
    assert caught.value.reason is reason


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forewarn.inputs.sparkplug._MOST_NODES", 5)
    monkeypatch.setattr("forewarn.inputs.sparkplug._MOST_KNOWN", 40)
    source = sparkplug()
    dialect = source._sources[0].dialect
    assert isinstance(dialect, Sparkplug)

    def size() -> int:
        return sum(len(known) + 1 for node in dialect._nodes.values() for known in node.metrics.values())

    for n in range(20):
        decode(source, f"spBv1.0/g/NDATA/n{n}", message())
    assert list(dialect._nodes) == [f"g:n{n}" for n in range(15, 20)]
    many = [metric(f"m{i}", DOUBLE, 1.0, alias=i) for i in range(9)]
    for n in range(20):
        decode(source, f"spBv1.0/g/NBIRTH/b{n}", message(*many))
        assert size() <= 40
    for n in range(20):
        decode(source, f"spBv1.0/g/DBIRTH/b19/d{n}", message(*many))
        assert size() <= 40
    assert values(decode(source, "spBv1.0/g/DDATA/b19/d19", message(metric("", DOUBLE, 2.0, alias=3))))


KINDS = st.sampled_from([topic for topic, _ in VECTORS])
METRICS = st.builds(
    metric,
    st.sampled_from(["", "t", "bdSeq", "a/b", "\0"]),
    st.integers(0, 22),
    st.none() | st.booleans() | st.integers() | st.floats(width=32) | st.text(max_size=3),
    alias=st.none() | st.integers(0, 3),
    at=st.integers(0, 2**64 - 1),
    null=st.booleans(),
    historical=st.booleans(),
    long=st.booleans(),
)


@settings(deadline=None)
@given(
    sent=st.lists(st.tuples(KINDS, st.lists(METRICS, max_size=3), st.none() | st.integers(0, 300)), max_size=6),
    payload=st.binary(max_size=40),
    kind=KINDS,
)
def test_no_payload_raises_anything_else(
    sent: list[tuple[str, list[bytes], int | None]], payload: bytes, kind: str
) -> None:
    source = sparkplug()
    for topic, metrics, seq in sent:
        survive(source, topic, message(*metrics, seq=seq))
    survive(source, kind, payload)
    survive(source, kind, message(payload))


LONG = {
    "empty": filled(block(2, b"")),
    "aliases": filled(block(2, whole(2, 1) + b"\x65\x00\x00\x00\x00")),
    "values": filled(block(2, b"\x0a\x01t\x65\x00\x00\x00\x00")),
    "births": filled(block(2, b"\x0a\x01t\x10\x01\x20\x09")),
    "names": filled(block(2, b"\x0a\x03///\x20\x09\x65\x00\x00\x00\x00")),
    "deep": b"\x12" * 65_000,
}


@pytest.mark.parametrize("topic", [NODE.format("NBIRTH"), OVEN.format("DDATA"), NODE.format("NDEATH")])
@pytest.mark.parametrize("name", LONG)
def test_the_longest_payload_takes_no_longer_than_50_ms(name: str, topic: str) -> None:
    assert took(sparkplug, topic, LONG[name]) < SLOW_S
