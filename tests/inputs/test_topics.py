import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.topics import MAX_NAME, TopicPattern, checked_name

LEVEL = st.sampled_from(["", "a", "b", "a b", "$SYS", "ä", "sensors"])
TOPICS = st.lists(LEVEL, min_size=1, max_size=5).map("/".join)
FILTERS = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(st.one_of(LEVEL, st.just("+")), min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool) | st.just("#")
REFUSED = {
    "empty": "",
    "a slash": "a/b",
    "a way up": "../../status",
    "a multi-level wildcard": "#",
    "a single-level wildcard": "a+",
    "NUL": "a\0b",
    "too long": "x" * (MAX_NAME + 1),
    "300 characters": "ä" * 300,
    "a line feed": "a\nb",
    "a line separator": "a\u2028b",
    "a paragraph separator": "a\u2029b",
    "an escape sequence": "\x1b[31mred",
    "a C1 control": "a\x9b",
    "a right-to-left override": "a\u202egpj",
    "a zero-width space": "a\u200bb",
    "a byte order mark": "\ufeffa",
    "a lone surrogate": "a\ud800",
    "a private character": "\ue000",
    "not a character": "\uffff",
}


@given(pattern=FILTERS, topic=TOPICS)
def test_matching_is_that_of_mqtt(pattern: str, topic: str) -> None:
    if topic:
        assert (TopicPattern(pattern).match(topic) is not None) == topic_matches_sub(pattern, topic)


@pytest.mark.parametrize(
    ("pattern", "topic", "names"),
    [  # MQTT 5.0, section 4.7, and the names on top of it
        ("sport/tennis/player1/#", "sport/tennis/player1", {}),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", {}),
        ("sport/#", "sport", {}),
        ("#", "a/b/c", {}),
        ("#", "$SYS/broker/clients", None),
        ("+/monitor/Clients", "$SYS/monitor/Clients", None),
        ("{device}/monitor/Clients", "$SYS/monitor/Clients", None),
        ("$SYS/monitor/{device}", "$SYS/monitor/Clients", {"device": "Clients"}),
        ("sport/tennis/+", "sport/tennis/player1/ranking", None),
        ("sport/+", "sport", None),
        ("sport/+", "sport/", {}),
        ("sport/tennis", "sport/", None),
        ("+/+", "/finance", {}),
        ("/+", "/finance", {}),
        ("+", "/finance", None),
        ("ACCOUNTS", "Accounts", None),
        ("s/{device}/{metric}", "s/freezer-3/temperature", {"device": "freezer-3", "metric": "temperature"}),
        ("sensors/{device}/{metric}", "sensors//", {"device": "", "metric": ""}),
        ("sensors/{device}/{metric}", "sensors/a/b/c", None),
        ("+/{metric}/x/{device}", "a/b/x/d", {"device": "d", "metric": "b"}),
        ("{device}/#", "a/b/c", {"device": "a"}),
        ("{device}/#", "a", {"device": "a"}),
    ],
)  # fmt: skip
def test_a_topic_gives_its_names(pattern: str, topic: str, names: dict[str, str] | None) -> None:
    match = TopicPattern(pattern).match(topic)
    assert (match and match.names) == names
    assert match is None or match.text == topic


@pytest.mark.parametrize(
    ("pattern", "topic", "rest"),
    [
        ("a/#", "a/b/c", ("b", "c")),
        ("a/#", "a", ()),
        ("#", "a/b", ("a", "b")),
        ("+/{device}/+/#", "tele/plug/SENSOR/x/y", ("tele", "SENSOR", "x", "y")),
        ("{device}/{metric}", "a/b", ()),
        ("a/+/c", "a//c", ("",)),
    ],
)
def test_a_topic_gives_the_levels_that_wildcards_stand_for(pattern: str, topic: str, rest: tuple[str, ...]) -> None:
    match = TopicPattern(pattern).match(topic)
    assert match is not None
    assert match.rest == rest


@pytest.mark.parametrize(
    ("pattern", "reaches"),
    [
        ("#", True),
        ("site/#", True),
        ("site/forewarn/#", True),
        ("+/+/{device}/{metric}", True),
        ("site/forewarn/{device}", True),
        ("site/{device}/{metric}", True),
        ("{device}/{metric}", False),
        ("site/forewarn", False),
        ("site/{device}/x/#", True),
        ("site/sensors/{device}/{metric}", False),
        ("sites/#", False),
    ],
)
def test_a_pattern_reaches_below_a_prefix_where_a_topic_there_matches(pattern: str, reaches: bool) -> None:
    source = TopicPattern(pattern)
    assert source.reaches_below("site/forewarn") == reaches
    topics = [f"site/forewarn/{rest}" for rest in ("gw", "gw/status", "x/y", "x", "gw/state/a/b")]
    assert any(source.match(topic) is not None for topic in topics) == reaches


def test_a_pattern_subscribes_with_wildcards_for_its_names() -> None:
    assert TopicPattern("a/{device}/+/{metric}/#").subscription == "a/+/+/+/#"


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "1 to 65,535 bytes"),
        ("a\0b", "without NUL"),
        ("x" * 65_536, "1 to 65,535 bytes"),
        ("a/{divice}", "none of {device} and {metric}"),
        ("{device}/{device}", "each at most once"),
        ("a/{}", "none of {device} and {metric}"),
        ("a/x{device}", "a whole level"),
        ("a/{device", "a whole level"),
        ("a/#/b", "at the end only"),
        ("a/b#", "# for all that follow"),
        ("a+/b", "+ stands for a whole level"),
        ("$share/group/sensors/{device}", "shared subscription"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused_and_says_why(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        TopicPattern(pattern)


@given(st.text(max_size=30))
def test_a_pattern_is_read_or_refused(text: str) -> None:
    try:
        pattern = TopicPattern(text)
    except ValueError:
        return
    assert topic_matches_sub(pattern.subscription, text.replace("+", "x").replace("#", "x")) or text.startswith("$")


@pytest.mark.parametrize("what", REFUSED)
def test_a_name_that_could_reach_elsewhere_or_confuse_a_reader_is_refused(what: str) -> None:
    with pytest.raises(PayloadError) as caught:
        checked_name(REFUSED[what])
    assert caught.value.reason is Rejection.BAD_DEVICE
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["freezer-3", "a b", "Kühlraum 3", "冷蔵庫", "..", "$SYS", "x" * MAX_NAME, "🧊"])
def test_a_name_that_harms_nobody_is_kept(name: str) -> None:
    assert checked_name(name) is name


@given(st.text(st.characters(exclude_categories=[]), max_size=140))
def test_whatever_passes_is_one_printable_level_of_a_topic(name: str) -> None:
    try:
        checked_name(name)
    except PayloadError:
        return
    assert 1 <= len(name) <= MAX_NAME
    assert all(c.isprintable() or unicodedata.category(c) == "Zs" for c in name)
    assert len(name.splitlines()) == 1
    assert not set(name) & set("/+#\0")
    assert topic_matches_sub("forewarn/default/state/+/temperature", f"forewarn/default/state/{name}/temperature")


@pytest.mark.parametrize(
    ("pattern", "topic", "levels"),
    [
        ("home/z2m/#", "home/z2m/kitchen/fridge", ["kitchen", "fridge"]), ("home/z2m/#", "home/z2m", []),
        ("{device}/tele/+", "plug/tele/SENSOR", ["plug", "tele", "SENSOR"]), ("a/+/b", "a/x/b", ["x", "b"]),
        ("a/b", "a/b", ["a", "b"]),
    ],
)  # fmt: skip
def test_what_a_pattern_leaves_open_are_the_levels_from_its_first_wildcard_on(
    pattern: str, topic: str, levels: list[str]
) -> None:
    source = TopicPattern(pattern)
    match = source.match(topic)
    assert match is not None
    assert source.below(match) == levels
