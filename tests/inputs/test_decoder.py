import json
import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forewarn.core.card import ModelCard
from forewarn.core.readings import OUTCOME_REJECTION, Rejection, SeriesKey
from forewarn.errors import PayloadError
from forewarn.inputs import decoder, json_paths
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Input
from forewarn.inputs.feeds import Reading
from forewarn.inputs.topics import TopicPattern
from tests.forecasters import card

NUMBERS = Input(TopicPattern("n/{device}/{metric}"))
JSON = Input(
    TopicPattern("j/{device}/{metric}"), dialect="json", values={"": ("data", "v")}, time=("at",), retained="live"
)
SEVERAL = Input(
    TopicPattern("s/+"),
    dialect="json",
    device=("meta", "id"),
    values={"humidity": ("list", "1", "h"), "temperature": ("t",)},
)
KEPT_OUT = Input(TopicPattern("k/{device}/{metric}"), retained="ignore")
ONE = card()
TWO = card(features=("temperature", "humidity"))
SECOND = ModelCard("two", "1", TWO.features, target="humidity", n_step=4, horizon=1, created_at="2026-01-01T00:00:00Z")
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=40)


def reads(
    of: ModelCard = ONE, inputs: Sequence[Input] = (NUMBERS, JSON, SEVERAL, KEPT_OUT), most: int = 65_536
) -> Decoder:
    return Decoder(inputs, of, max_payload_bytes=most)


def rejected(source: Decoder, topic: str, payload: bytes, *, retained: bool = False) -> Rejection:
    with pytest.raises(PayloadError) as caught:
        source.decode(topic, payload, retained)
    text = str(caught.value)
    assert text.isprintable(), "a device writes into the log"
    assert len(text) < 400
    return caught.value.reason


# -- what becomes a reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "value"),
    [(b"21.5", 21.5), (b" -3\n", -3.0), (b"1e3", 1000.0), (b"+.5", 0.5), (b"nan", math.nan), (b"1e400", math.inf)],
)
def test_a_bare_number_is_a_reading_at_its_arrival(payload: bytes, value: float) -> None:
    (reading,) = reads().decode("n/freezer/temperature", payload).readings
    assert reading[:2] == (SeriesKey("freezer", "temperature"), None)
    assert reading.values == pytest.approx((value,), nan_ok=True)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b'{"data": {"v": 21.5}, "at": 5}', 21.5),
        (b'{"data": {"v": 7}, "at": 5}', 7.0),
        (b'{"data": {"v": " 7.5 "}, "at": 5}', 7.5),
        (b'{"data": {"v": NaN}, "at": 5}', math.nan),
        (b'{"data": {"v": -Infinity}, "at": 5}', -math.inf),
        (b'{"data": {"v": 1e400}, "at": 5}', math.inf),
        (b'{"data": {"v": 1}, "data": {"v": 2}, "at": 5}', 2.0),
        (b'\xef\xbb\xbf{"data": {"v": 3}, "at": 5}', 3.0),
        ('{"data": {"v": 4, "ü": "\\ud800"}, "at": "1970-01-01T00:00:05Z"}'.encode(), 4.0),
    ],
)
def test_a_path_into_json_leads_to_the_value_and_its_time(payload: bytes, value: float) -> None:
    (reading,) = reads().decode("j/freezer/temperature", payload).readings
    assert reading[:2] == (SeriesKey("freezer", "temperature"), 5.0)
    assert reading.values == pytest.approx((value,), nan_ok=True)


def test_several_metrics_of_one_message_are_series_of_their_own() -> None:
    payload = b'{"meta": {"id": 17}, "t": 4.5, "list": [0, {"h": "61"}]}'
    assert reads().decode("s/gateway", payload).readings == (
        Reading(SeriesKey("17", "humidity"), None, (61.0,)),
        Reading(SeriesKey("17", "temperature"), None, (4.5,)),
    )


@pytest.mark.parametrize(
    ("humidity", "reason"),
    [("null", Rejection.MISSING_VALUE), ('"wet"', Rejection.NOT_NUMBER), ("[1]", Rejection.NOT_NUMBER)],
)
@pytest.mark.parametrize("retained", [False, True])
def test_a_value_that_is_not_there_takes_no_other_with_it(humidity: str, reason: Rejection, retained: bool) -> None:
    payload = f'{{"meta": {{"id": "f"}}, "t": 4.5, "list": [0, {{"h": {humidity}}}]}}'.encode()
    readings, (error,), _ = reads().decode("s/gateway", payload, retained)
    assert readings == (Reading(SeriesKey("f", "temperature"), None, (4.5,), retained),)
    assert error.reason is reason
    assert "'humidity'" in str(error)


@pytest.mark.parametrize(("model", "target"), [(TWO, "temperature"), (SECOND, "humidity")])
def test_a_model_of_several_features_gets_them_from_one_message_in_its_order(model: ModelCard, target: str) -> None:
    payload = b'{"meta": {"id": "f"}, "list": [0, {"h": 61}], "t": 4.5}'
    assert reads(model).decode("s/gateway", payload).readings == (Reading(SeriesKey("f", target), None, (4.5, 61.0)),)


def test_the_first_input_whose_pattern_matches_has_the_message() -> None:
    narrow = Input(TopicPattern("n/freezer/+"), metric="narrow", dialect="json", device=("id",), values={"": ("v",)})
    payload = b'{"id": "x", "v": 1}'
    assert rejected(reads(inputs=(NUMBERS, narrow)), "n/freezer/t", payload) is Rejection.NOT_NUMBER
    both = reads(inputs=(narrow, NUMBERS))
    assert both.decode("n/freezer/t", payload).readings == (Reading(SeriesKey("x", "narrow"), None, (1.0,)),)
    assert both.decode("n/room/t", b"2").readings == (Reading(SeriesKey("room", "t"), None, (2.0,)),)


def test_a_retained_message_is_a_reading_only_where_its_input_says_so() -> None:
    assert rejected(reads(), "k/freezer/t", b"1", retained=True) is Rejection.RETAINED
    (live,) = reads().decode("j/freezer/t", b'{"data": {"v": 1}, "at": 5}', retained=True).readings
    assert not live.seed
    for topic, payload, n in (("n/freezer/t", b"1", 1), ("s/x", b'{"meta":{"id":"a"},"t":1,"list":[0,{"h":2}]}', 2)):
        assert [reading.seed for reading in reads().decode(topic, payload, retained=True).readings] == [True] * n
        assert [reading.seed for reading in reads().decode(topic, payload).readings] == [False] * n


# -- what does not ---------------------------------------------------------------------------------------------------


class Bad(NamedTuple):
    """A message that is no reading."""

    topic: str
    payload: bytes
    reason: Rejection
    model: ModelCard = ONE
    retained: bool = False


def nested(depth: int) -> bytes:
    return ('{"data": {"v": ' + "[" * depth + "]" * depth + '}, "at": 5}').encode()


BAD_NAMES: list[object] = [
    *(None, True, 1.5, [], {}, 10**300, "", "a/b", "../../status", "#", "+", "a\0", "\ud800", "x" * 300),
    *("\u202eabc", "a\nb", "\x1b[31m"),
]
BAD = [
    Bad("elsewhere/x", b"1", Rejection.NO_ROUTE),
    Bad("", b"1", Rejection.NO_ROUTE),
    Bad("n/x", b"1", Rejection.NO_ROUTE),
    Bad("$SYS/broker/uptime", b"1", Rejection.NO_ROUTE),
    Bad("elsewhere/\x1b[2J\r\nERROR forged", b"1", Rejection.NO_ROUTE),
    Bad("n/a/b", b"1" * 65_537, Rejection.TOO_LARGE),
    Bad("j/a/b", b'"' + b"x" * 10_000_000 + b'"', Rejection.TOO_LARGE),
    Bad("n/a\r\nb/t", b"1", Rejection.BAD_DEVICE),
    Bad("n//t", b"1", Rejection.BAD_DEVICE),
    Bad("n/a/", b"1", Rejection.BAD_DEVICE),
    Bad("n/" + "x" * 300 + "/t", b"1", Rejection.BAD_DEVICE),
    Bad("n/a/" + "x" * 60_000, b"1", Rejection.BAD_DEVICE),
    Bad("n/a\0/t", b"1", Rejection.BAD_DEVICE),
    Bad("n/a#/t", b"1", Rejection.BAD_DEVICE),
    Bad("n/a/\u202egnp.exe", b"1", Rejection.BAD_DEVICE),
    *(
        Bad("s/g", json.dumps({"meta": {"id": name}, "t": 1, "list": [0, {"h": 1}]}).encode(), Rejection.BAD_DEVICE)
        for name in BAD_NAMES
    ),
    Bad("s/g", b'{"t": 1, "list": [0, {"h": 1}]}', Rejection.BAD_DEVICE),
    Bad("n/a/t", b"", Rejection.NOT_NUMBER),
    Bad("n/a/t", b"warm", Rejection.NOT_NUMBER),
    Bad("n/a/t", b"1_000", Rejection.NOT_NUMBER),
    Bad("n/a/t", b"0x10", Rejection.NOT_NUMBER),
    Bad("n/a/t", b"4,5", Rejection.NOT_NUMBER),
    Bad("n/a/t", b"1\0", Rejection.NOT_NUMBER),
    Bad("n/a/t", b"\xff\xfe1\x00", Rejection.NOT_NUMBER),
    Bad("n/a/t", "٣".encode(), Rejection.NOT_NUMBER),
    Bad("n/a/t", b'{"v": 1}', Rejection.NOT_NUMBER),
    Bad("n/a/t", b"\x1b[2Jforged\n", Rejection.NOT_NUMBER),
    Bad("j/a/t", b'{"data": {"v": true}, "at": 5}', Rejection.NOT_NUMBER),
    Bad("j/a/t", b'{"data": {"v": [1]}, "at": 5}', Rejection.NOT_NUMBER),
    Bad("j/a/t", b'{"data": {"v": {}}, "at": 5}', Rejection.NOT_NUMBER),
    Bad("j/a/t", b'{"data": {"v": "1_0"}, "at": 5}', Rejection.NOT_NUMBER),
    Bad("j/a/t", b'{"data": {"v": "\\ud800"}, "at": 5}', Rejection.NOT_NUMBER),
    Bad("j/a/t", b'{"data": {"v": %d}, "at": 5}' % 10**400, Rejection.NOT_NUMBER),
    Bad("j/a/t", nested(200), Rejection.NOT_NUMBER),
    Bad("j/a/t", b'{"data": {"v": null}, "at": 5}', Rejection.MISSING_VALUE),
    Bad("j/a/t", b'{"data": {"w": 1}, "at": 5}', Rejection.MISSING_VALUE),
    Bad("j/a/t", b'{"data": 1, "at": 5}', Rejection.MISSING_VALUE),
    Bad("j/a/t", b'{"data.v": 1, "at": 5}', Rejection.MISSING_VALUE),
    Bad("s/g", b'{"meta": {"id": "f"}, "list": []}', Rejection.MISSING_VALUE),
    Bad("s/g", b'{"meta": {"id": "f"}, "list": [0, {"h": true}]}', Rejection.NOT_NUMBER),
    Bad("s/g", b'{"meta": {"id": "f"}, "t": 4.5, "list": [0, {"h": "-"}]}', Rejection.NOT_NUMBER, TWO),
    Bad("s/g", b'{"meta": {"id": "f"}, "t": 4.5, "list": [0]}', Rejection.MISSING_VALUE, TWO),
    Bad("n/a/temperature", b"1", Rejection.MISSING_VALUE, TWO),
    Bad("j/a/temperature", b'{"data": {"v": 1}, "at": 5}', Rejection.MISSING_VALUE, TWO),
    Bad("j/a/t", b'{"data": {"v": 1}}', Rejection.BAD_TIME),
    Bad("j/a/t", b'{"data": {"v": 1}, "at": null}', Rejection.BAD_TIME),
    Bad("j/a/t", b'{"data": {"v": 1}, "at": true}', Rejection.BAD_TIME),
    Bad("j/a/t", b'{"data": {"v": 1}, "at": "soon"}', Rejection.BAD_TIME),
    Bad("j/a/t", b'{"data": {"v": 1}, "at": NaN}', Rejection.BAD_TIME),
    Bad("j/a/t", b"", Rejection.NOT_JSON),
    Bad("j/a/t", b"{", Rejection.NOT_JSON),
    Bad("j/a/t", b"{'data': 1}", Rejection.NOT_JSON),
    Bad("j/a/t", b"[" * 60_000, Rejection.NOT_JSON),
    Bad("j/a/t", nested(30_000), Rejection.NOT_JSON),
    Bad("j/a/t", b'{"data": {"v": ' + b"9" * 5000 + b'}, "at": 5}', Rejection.NOT_JSON),
    Bad("j/a/t", b'{"a":"\x1b"}', Rejection.NOT_JSON),
    Bad("j/a/t", b"\xff\xfe{\x00}\x00", Rejection.NOT_TEXT),
    Bad("j/a/t", '{"data": {"v": 1}, "at": 5}'.encode("utf-16"), Rejection.NOT_TEXT),
    Bad("j/a/t", b'{"data": {"v": "\xc3"}, "at": 5}', Rejection.NOT_TEXT),
    Bad("j/a/t", b'"\xed\xa0\x80"', Rejection.NOT_TEXT),
    Bad("k/a/t", b"1", Rejection.RETAINED, retained=True),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.reason}-{bad.topic[:20]!r}-{bad.payload[:30]!r}")
def test_a_message_that_is_no_reading_has_the_reason(bad: Bad) -> None:
    assert rejected(reads(bad.model), bad.topic, bad.payload, retained=bad.retained) is bad.reason


def test_every_reason_of_the_decoder_was_produced() -> None:
    of_the_decoder = set(Rejection) - set(OUTCOME_REJECTION.values()) | {Rejection.RETAINED}
    of_the_decoder -= {Rejection.MALFORMED, Rejection.UNKNOWN_ALIAS}  # of other dialects
    assert {bad.reason for bad in BAD} == of_the_decoder


def test_utf_16_without_a_mark_is_text_but_no_json() -> None:
    assert rejected(reads(), "j/a/t", '{"data": {"v": 1}}'.encode("utf-16-le")) is Rejection.NOT_JSON


def test_a_payload_that_is_too_large_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(_: bytes) -> object:
        raise AssertionError("it was")

    monkeypatch.setattr(json_paths, "parse_json", parse)
    assert rejected(reads(most=10), "j/a/t", b"[1, 2, 3, 4]") is Rejection.TOO_LARGE
    with pytest.raises(AssertionError, match="it was"):
        reads(most=12).decode("j/a/t", b"[1, 2, 3, 4]")


@pytest.mark.parametrize("depth", range(900, 1010, 3))
def test_nesting_at_the_edge_of_what_python_reads_is_rejected(depth: int) -> None:
    for payload in (nested(depth), nested(depth).replace(b'"at": 5', b'"at": ' + b"[" * depth + b"]" * depth)):
        assert rejected(reads(), "j/a/t", payload) in (Rejection.NOT_NUMBER, Rejection.NOT_JSON, Rejection.BAD_TIME)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "v", "at", "t"]), inner),
    max_leaves=12,
)
PAYLOADS = st.one_of(
    st.binary(max_size=60),
    ANY_JSON.map(lambda document: json.dumps(document).encode()),
    st.builds(
        lambda value, at, name: json.dumps({"data": {"v": value}, "at": at, "meta": {"id": name}, "t": value}).encode(),
        ANY_JSON, ANY_JSON, ANY_JSON,
    ),
    st.floats().map(lambda number: repr(number).encode()),
    ANY_JSON.map(lambda document: json.dumps(document).encode("utf-16")),
    st.binary(max_size=8).map(lambda raw: struct.pack(">Q", len(raw)) + raw),
)  # fmt: skip
TOPICS = st.one_of(
    ANY_TEXT,
    st.builds(lambda root, a, b: f"{root}/{a}/{b}", st.sampled_from("njs"), ANY_TEXT, ANY_TEXT),
    st.sampled_from(["n/a/t", "j/a/t", "s/g"]),
)


@given(topic=TOPICS, payload=PAYLOADS, retained=st.booleans(), model=st.sampled_from([ONE, TWO, SECOND]))
@example(topic="j/a/t", payload=b'{"data": {"v": 1e309}, "at": 1e309}', retained=False, model=ONE)
@example(topic="j/a/t", payload=b'{"data": {"v": 1}, "at": "0001-01-01T00:00:00+23:59"}', retained=False, model=ONE)
def test_whatever_comes_is_readings_or_one_reason(topic: str, payload: bytes, retained: bool, model: ModelCard) -> None:
    readings: Sequence[Reading] = ()
    others: Sequence[PayloadError] = ()
    reason = None
    try:
        readings, others, _ = reads(model).decode(topic, payload, retained)
    except PayloadError as error:
        reason, text = error.reason, str(error)
    held = model in (TWO, SECOND) and topic.endswith(("/temperature", "/humidity"))
    assert held or bool(readings) != (reason in set(Rejection))
    assert reason is None or text.isprintable()
    assert all(error.reason in set(Rejection) and str(error).isprintable() for error in others)
    assert len(readings) + len(others) <= 2
    for key, at, values, seed in readings:
        assert seed == (retained and not topic.startswith(("j", "k")))
        assert all(isinstance(name, str) and 1 <= len(name) <= 128 for name in key)
        assert at is None or math.isfinite(at)
        assert len(values) == len(model.features)
        assert all(type(value) is float for value in values)


# -- what forewarn publishes itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize("retained", [False, True])
def test_what_is_below_our_own_prefix_is_neither_a_reading_nor_rejected(retained: bool) -> None:
    source = Decoder(
        [Input(TopicPattern("#"), "json", device=("device",), metric="x", values={"": ("value",)}, retained="live")],
        ONE,
        max_payload_bytes=1000,
        own_prefix="site/forewarn",
    )
    payload = b'{"device": "a", "value": 1}'
    for topic in ("site/forewarn/gw/state/a/x", "site/forewarn/other/forecast/a/x", "site/forewarn/x"):
        assert source.decode(topic, payload, retained) == ((), (), ())
    for topic in ("site/forewarn", "site/forewarner/a", "site", "forewarn/gw/state/a/x"):
        assert len(source.decode(topic, payload, retained).readings) == 1
    assert "site/forewarn/x" not in source._routes


# -- what is remembered of topics ------------------------------------------------------------------------------------


def test_topics_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "MAX_TOPICS", 10)
    source = reads()
    for i in range(35):
        assert source.decode(f"n/d{i % 12}/t", b"1").readings[0].key.device == f"d{i % 12}"
        assert len(source._routes) <= 10


def test_topics_that_are_rejected_or_long_take_no_memory() -> None:
    anything = reads(inputs=[Input(TopicPattern("{device}/{metric}/#"))])
    anything.decode("a/b/" + "x" * 60_000, b"1")
    for topic in ("a\0/b", "x" * 60_000 + "/b", "$SYS/b"):
        rejected(anything, topic, b"1")
    assert anything._routes == {}


def test_a_rejection_holds_nothing_of_the_ones_before_it() -> None:
    source = reads()

    def length() -> int:
        with pytest.raises(PayloadError) as caught:
            source.decode("n/a\0/t", b"1")
        trace, n = caught.value.__traceback__, 0
        while trace is not None:
            trace, n = trace.tb_next, n + 1
        return n

    assert [length() for _ in range(50)] == [length()] * 50
