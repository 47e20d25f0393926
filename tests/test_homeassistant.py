"""Discovery messages: their form, their ids, their templates, and who is told of when."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.core.alerts import Alert, Kind, Severity
from forewarn.core.engine import Engine
from forewarn.core.patterns import Choice
from forewarn.core.readings import SeriesKey
from forewarn.core.rules import Rules
from forewarn.homeassistant import (
    IS_HEARD,
    IS_PROBLEM,
    MOST_METRICS,
    WORST_ALERT,
    Discovery,
    components,
    identifier,
)
from forewarn.inbox import Message
from forewarn.messages import ModelTold, Outgoing, Phrasebook
from tests.core.streams import batch, stream
from tests.discovery_schema import TOPIC, VALIDATOR
from tests.forecasters import HalfTrend
from tests.test_messages import MODEL, alert

PHRASES = Phrasebook(
    "forewarn/gateway-1", Choice(ModelTold(MODEL, "")), {"temperature": "°C", "humidity": "%", "count": ""}
)
FREEZER = SeriesKey("freezer-3", "temperature")
STATE = "forewarn/gateway-1/state/freezer-3/temperature"
BIRTH = "homeassistant/status"


def discovery(most: int = 1000) -> Discovery:
    return Discovery("homeassistant", birth_topic=BIRTH, version="0.1.0", most=most)


def checked(message: Outgoing) -> dict[str, Any]:
    """The document of a discovery message that is as the documentation of Home Assistant says."""
    assert re.fullmatch(TOPIC, message.topic)
    assert (message.qos, message.retain) == (1, True)
    document: dict[str, Any] = json.loads(message.payload)
    VALIDATOR.validate(document)
    return document


def told(of: Discovery, most: int = 1000, phrases: Phrasebook = PHRASES) -> list[dict[str, Any]]:
    return [checked(message) for message in of.due(phrases, most)]


def names(messages: list[dict[str, Any]]) -> list[str]:
    return [message["dev"]["name"] for message in messages]


# -- the form -------------------------------------------------------------------------------------------------------

AVAILABLE = [{"t": "forewarn/gateway-1/status"}]
HEARD = [*AVAILABLE, {"t": STATE, "val_tpl": IS_HEARD}]


def test_a_device_is_one_message_with_four_entities_of_each_series() -> None:
    home = discovery()
    home.add(FREEZER)
    (message,) = home.due(PHRASES, 5)
    assert message.topic == "homeassistant/device/forewarn_gateway-1/freezer-3/config"
    number = {"p": "sensor", "stat_cla": "measurement", "sug_dsp_prc": 2, "avty": HEARD, "avty_mode": "all"}
    each = {"stat_t": STATE, "qos": 1}
    unique = "forewarn_gateway-1_freezer-3_temperature"
    assert checked(message) == {
        "dev": {"ids": ["forewarn_gateway-1_freezer-3"], "name": "freezer-3", "mf": "forewarn", "mdl": "test 1"},
        "o": {"name": "forewarn", "sw": "0.1.0"},
        "avty": AVAILABLE,
        "cmps": {
            "temperature_problem": {
                "p": "binary_sensor",
                "dev_cla": "problem",
                "name": "temperature problem",
                "uniq_id": f"{unique}_problem",
                "val_tpl": IS_PROBLEM,
                "json_attr_t": STATE,
                "json_attr_tpl": WORST_ALERT,
                **each,
            },
            "temperature_expected": {
                "name": "temperature expected",
                "uniq_id": f"{unique}_expected",
                "val_tpl": "{{ value_json.expected }}",
                "unit_of_meas": "°C",
                "dev_cla": "temperature",
                **number,
                **each,
            },
            "temperature_residual": {
                "name": "temperature residual",
                "uniq_id": f"{unique}_residual",
                "val_tpl": "{{ value_json.residual }}",
                "unit_of_meas": "°C",
                **number,
                **each,
            },
            "temperature_score": {
                "name": "temperature score",
                "uniq_id": f"{unique}_score",
                "val_tpl": "{{ value_json.score }}",
                **number,
                **each,
            },
        },
    }


@pytest.mark.parametrize(
    ("unit", "of_expected"),
    [
        ("°C", {"unit_of_meas": "°C", "dev_cla": "temperature"}),
        ("°F", {"unit_of_meas": "°F", "dev_cla": "temperature"}),
        ("K", {"unit_of_meas": "K", "dev_cla": "temperature"}),
        ("C", {"unit_of_meas": "C"}),  # Home Assistant would refuse the class with this unit
        ("%", {"unit_of_meas": "%"}),
        ("", {}),
    ],
)
def test_a_unit_is_told_where_there_is_one_and_a_class_where_the_unit_fits(
    unit: str, of_expected: dict[str, str]
) -> None:
    found = components(Phrasebook("a/b", Choice(ModelTold(MODEL, unit)), {}), SeriesKey("d", "t"))
    of_unit = {name: {k: one[k] for k in ("unit_of_meas", "dev_cla") if k in one} for name, one in found.items()}
    assert of_unit == {
        "t_problem": {"dev_cla": "problem"},
        "t_expected": of_expected,
        "t_residual": {key: value for key, value in of_expected.items() if key != "dev_cla"},
        "t_score": {},
    }


def test_the_metrics_of_a_device_are_in_one_message_whenever_they_came() -> None:
    home = discovery()
    home.add(SeriesKey("a", "temperature"))
    assert len(told(home)[0]["cmps"]) == 4
    home.add(SeriesKey("a", "humidity"))
    (message,) = told(home)
    assert list(message["cmps"])[::4] == ["humidity_problem", "temperature_problem"]
    assert told(home) == []


def test_the_schema_finds_what_home_assistant_would_refuse() -> None:
    home = discovery()
    home.add(FREEZER)
    (good,) = told(home)
    VALIDATOR.validate(good)
    expected = good["cmps"]["temperature_expected"]
    for spoilt in (
        {**good, "dev": {"name": "x"}},
        {**good, "o": {}},
        {**good, "avty": [{"topic": "x"}]},
        {**good, "cmps": {"a b": expected}},
        {**good, "cmps": {"a": {**expected, "uniq_id": "a/b"}}},
        {**good, "cmps": {"a": {**expected, "unit_of_meas": "C"}}},
        {**good, "cmps": {"a": {**expected, "p": "thermometer"}}},
        {**good, "cmps": {"a": {**expected, "stat_t": "a/#"}}},
        {**good, "cmps": {"a": {key: value for key, value in expected.items() if key != "uniq_id"}}},
        {**good, "cmps": {"a": {**expected, "value_tpl": "x"}}},
    ):
        assert not VALIDATOR.is_valid(spoilt), spoilt


def test_the_longest_message_is_bounded() -> None:
    home = discovery()
    device = "冷" * 128
    for i in range(2 * MOST_METRICS):
        home.add(SeriesKey(device, "蔵" * 120 + f"{i:08}"))
    (message,) = home.due(PHRASES, 5)
    assert len(message.payload.encode()) < 700_000
    assert len(checked(message)["cmps"]) == 4 * MOST_METRICS


# -- ids ------------------------------------------------------------------------------------------------------------

NAME = st.text(st.characters(exclude_characters="/"), min_size=1, max_size=128) | st.text("ab-_ 0", min_size=1)
ALIKE = ["a", "A", "a-", "a_", "a b", "a-b", "a_b", "a__b", "ab", "-", "_", " ", "é", "e\u0301", "x" * 128, "x" * 127]


@given(st.lists(NAME, min_size=1, max_size=4), st.lists(NAME, min_size=1, max_size=4))
def test_no_two_names_have_the_same_id(one: list[str], other: list[str]) -> None:
    if any(0xD800 <= ord(c) < 0xE000 for c in "".join(one + other)):
        return  # no name has these
    assert re.fullmatch("[a-zA-Z0-9_-]+", identifier(*one))
    assert len(identifier(*one)) <= 65 * len(one)
    assert (identifier(*one) == identifier(*other)) == (one == other)


def test_names_that_look_alike_have_ids_of_their_own() -> None:
    names_ = {*ALIKE, *(identifier(name) for name in ALIKE)}  # and names that are ids of others
    assert len({identifier(name) for name in names_}) == len(names_)
    pairs = [identifier(one, other) for one in ALIKE for other in ALIKE]
    assert len(set(pairs)) == len(ALIKE) ** 2


def test_a_plain_name_is_its_own_id_and_any_other_can_be_recognised() -> None:
    assert identifier("forewarn", "gateway-1", "freezer-3") == "forewarn_gateway-1_freezer-3"
    assert re.fullmatch("fridge-temp-[0-9a-f]{16}", identifier("fridge_temp"))
    assert re.fullmatch("[0-9a-f]{16}", identifier("冷蔵庫"))
    assert identifier("fridge_temp") == identifier("fridge_temp")


# -- the templates --------------------------------------------------------------------------------------------------


def rendered(template: str, state: dict[str, Any]) -> str:
    """As Home Assistant renders it: sandboxed Jinja 2, the payload as `value_json`."""
    sandbox: Any = pytest.importorskip("jinja2.sandbox")
    text: str = sandbox.ImmutableSandboxedEnvironment().from_string(template).render(value_json=state)
    return text


def states(*alerts: Alert) -> dict[str, Any]:
    """The state of a series, as it is published, with these alerts."""
    engine = Engine(HalfTrend(), Rules())
    engine.ingest(batch(stream(1, n=60, n_device=1)))
    document: dict[str, Any] = json.loads(PHRASES.state(engine.fleet(), 0, list(alerts)).payload)
    return document


STUCK = alert(kind=Kind.STUCK, id="1" * 16)
SILENT = alert(kind=Kind.SILENT, id="2" * 16)
CRITICAL = alert(severity=Severity.CRITICAL, id="3" * 16)


@pytest.mark.parametrize(
    ("alerts", "problem", "available", "kind"),
    [
        ([], "OFF", "online", None),
        ([STUCK], "ON", "online", "stuck"),
        ([SILENT], "ON", "offline", "silent"),
        ([STUCK, CRITICAL], "ON", "online", "residual"),
        ([STUCK, SILENT, CRITICAL], "ON", "offline", "residual"),
    ],
)
def test_the_templates_read_the_state_that_is_published(
    alerts: list[Alert], problem: str, available: str, kind: str | None
) -> None:
    state = states(*alerts)
    assert rendered(IS_PROBLEM, state) == problem
    assert rendered(IS_HEARD, state) == available
    attributes = json.loads(rendered(WORST_ALERT, state))
    assert attributes.get("kind") == kind
    if kind:
        assert set(attributes) == {"id", "kind", "severity", "raised_at", "alerts"}
        assert sorted(one["id"] for one in attributes["alerts"]) == sorted(one.id for one in alerts)
    else:
        assert attributes == {}


def test_a_number_that_is_not_there_is_unknown() -> None:
    found = components(PHRASES, FREEZER)
    templates = [found[f"temperature_{name}"]["val_tpl"] for name in ("expected", "residual", "score")]
    state = states() | {"expected": None, "residual": None, "score": 0.0}
    assert [rendered(template, state) for template in templates] == ["None", "None", "0.0"]
    state |= {"expected": 3.5, "residual": -0.25}
    assert [rendered(template, state) for template in templates] == ["3.5", "-0.25", "0.0"]


# -- who is told of when ---------------------------------------------------------------------------------------------


def test_a_series_is_told_of_once_until_something_asks_again() -> None:
    home = discovery()
    for _ in range(3):
        assert home.add(FREEZER)
    assert names(told(home)) == ["freezer-3"]
    assert home.add(FREEZER)
    assert told(home) == []
    home.renew()
    assert names(told(home)) == ["freezer-3"]


def test_no_more_at_once_than_is_asked_for() -> None:
    home = discovery()
    for i in range(25):
        home.add(SeriesKey(f"d{i:02}", "t"))
    rounds = [names(told(home, 10)) for _ in range(4)]
    assert [len(names_) for names_ in rounds] == [10, 10, 5, 0]
    assert [name for names_ in rounds for name in names_] == [f"d{i:02}" for i in range(25)]


def test_there_is_room_for_so_many_series_and_for_others_once_some_are_gone() -> None:
    home = discovery(most=3)
    keys = [SeriesKey(device, metric) for device in "ab" for metric in ("s", "t")]
    assert [home.add(key) for key in keys] == [True, True, True, False]
    assert [len(message["cmps"]) for message in told(home)] == [8, 4]
    home.remove(PHRASES, keys[0])
    assert home.add(keys[3])
    assert home.add(keys[1]), "one that is known needs no room"
    assert not home.add(keys[0])


def test_the_last_series_takes_its_device_with_it() -> None:
    home = discovery()
    home.add(FREEZER)
    told(home)
    assert home.remove(PHRASES, FREEZER) == [
        Outgoing("homeassistant/device/forewarn_gateway-1/freezer-3/config", "", retain=True)
    ]
    home.renew()
    assert told(home) == []
    assert home.remove(PHRASES, FREEZER) == []
    home.add(FREEZER)
    assert names(told(home)) == ["freezer-3"], "it came back"


def test_a_series_that_goes_before_it_was_told_of_is_not_told_of() -> None:
    home = discovery()
    home.add(FREEZER)
    home.remove(PHRASES, FREEZER)
    assert told(home) == []


def test_one_series_of_several_is_taken_away_and_then_left_out() -> None:
    home = discovery()
    home.add(SeriesKey("a", "s"))
    home.add(SeriesKey("a", "t"))
    (whole,) = told(home)
    (removal,) = (checked(message) for message in home.remove(PHRASES, SeriesKey("a", "s")))
    gone = {key: {"p": "binary_sensor" if key == "s_problem" else "sensor"} for key in whole["cmps"] if key[0] == "s"}
    rest = {key: one for key, one in whole["cmps"].items() if key[0] == "t"}
    assert removal["cmps"] == gone | rest
    (after,) = told(home)
    assert after["cmps"] == rest


def message(topic: str, payload: bytes = b"online") -> Message:
    return Message(topic, payload, 0.0, retained=False)


def test_a_birth_is_no_reading_and_has_every_device_told_of_again() -> None:
    home = discovery()
    home.add(FREEZER)
    told(home)
    reading = message("sensors/a/t", b"online")
    assert home.without_births([reading]) == [reading]
    assert home.without_births([message(BIRTH, b"offline"), reading, message(BIRTH, b"")]) == [reading]
    assert told(home) == []
    assert home.without_births([reading, message(BIRTH)]) == [reading]
    assert names(told(home)) == ["freezer-3"]


def test_where_it_is_off_nothing_is_told_and_every_message_may_be_a_reading() -> None:
    home = Discovery("homeassistant", birth_topic=None, version="0.1.0", most=0)
    assert home.add(FREEZER)
    assert home.without_births([message(BIRTH)]) == [message(BIRTH)]
    home.renew()
    assert told(home) == []
    assert home.remove(PHRASES, FREEZER) == []
