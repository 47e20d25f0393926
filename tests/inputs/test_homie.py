import json

import pytest

from forewarn.inputs import remembered
from forewarn.inputs.dialect import Presence
from tests.inputs.examples import Vector, decoder, said

FOUR = "https://homieiot.github.io/specification/spec-core-v4_0_0/"
FIVE = "https://homieiot.github.io/specification/"


def described(unit: str | None = "°C", **more: str) -> bytes:
    temperature = {"datatype": "float", "format": "-40:120"} | ({} if unit is None else {"unit": unit})
    nodes = {"fridge": {"name": "Fridge", "properties": {"temperature": temperature, "door": {"datatype": "boolean"}}}}
    return json.dumps({"homie": "5.0", "version": 3, "nodes": nodes, **more}).encode()


READING = (("cellar:fridge", "temperature", 4.5, None),)
# In order: each is read after those before it.
VECTORS = (
    # FOUR: attributes, then values
    Vector("homie/cellar/$homie", b"4.0.0"),
    Vector("homie/cellar/$name", b"Cellar"),
    Vector("homie/cellar/$nodes", b"fridge,freezer"),
    Vector("homie/cellar/fridge/$properties", b"temperature,door"),
    Vector("homie/cellar/fridge/temperature/$name", b"Fridge temperature"),
    Vector("homie/cellar/fridge/temperature/$settable", b"false"),
    Vector("homie/cellar/fridge/temperature/$unit", "°C".encode()),
    Vector("homie/cellar/fridge/temperature/$datatype", b"float"),
    Vector("homie/cellar/fridge/temperature", b"4.5", READING),
    Vector("homie/cellar/fridge/temperature", b"cold", ("not_number",)),
    Vector("homie/cellar/fridge/temperature", b""),
    Vector("homie/cellar/fridge/temperature/set", b"4.5"),
    Vector("homie/cellar/freezer/temperature/$datatype", b"float"),
    Vector("homie/cellar/freezer/temperature/$unit", "°F".encode()),
    Vector("homie/cellar/freezer/temperature", b"-4", (("cellar:freezer", "temperature", -20.0, None),)),
    Vector("homie/cellar/fridge/door/$datatype", b"boolean"),
    Vector("homie/cellar/fridge/door", b"false"),
    Vector("homie/$broadcast/alert", b"4"),
    Vector("homie/$broadcast/outside/temperature", b"4"),
    Vector("homie/$broadcast/outside/temperature", b"4"),
    Vector("homie", b""),
    # FOUR: the life of a device
    Vector("homie/cellar/$state", b"init"),
    Vector("homie/cellar/$state", b"ready", (Presence("cellar", online=True),)),
    Vector("homie/cellar/$state", b"alert", (Presence("cellar", online=True),)),
    Vector("homie/cellar/$state", b"sleeping", (Presence("cellar", online=True),)),
    Vector("homie/cellar/$state", b"disconnected", (Presence("cellar", online=False),)),
    Vector("homie/cellar/$state", b"lost", (Presence("cellar", online=False),)),
    Vector("homie/cellar/$state", b""),
    # FIVE
    Vector("homie/5/attic/$description", described("°F")),
    Vector("homie/5/attic/fridge/temperature", b"50", (("attic:fridge", "temperature", 10.0, None),)),
    Vector("homie/5/attic/fridge/temperature/$target", b"50"),
    Vector("homie/5/attic/fridge/temperature/set", b"50"),
    Vector("homie/5/attic/fridge/door", b"true"),
    Vector("homie/5/attic/$log/warn", b"4"),
    Vector("homie/5/attic/$alert/battery", b"8"),
    Vector("homie/5/$broadcast/security/alert", b"4"),
    Vector("homie/5/attic/$description", b""),
    Vector("homie/5/attic/$description", b"{", ("not_json",)),
    Vector(
        "homie/5/attic/$description", b'{"nodes": {"fridge": {"properties": {"a/b": {"unit": 5}}}}}', ("bad_device",)
    ),
    Vector("homie/5/attic/$state", b"ready", (Presence("attic", online=True),)),
)


def test_messages_are_read_as_documented() -> None:
    source = decoder("homie")
    for vector in VECTORS:
        assert (vector, said(source, vector.topic, vector.payload)) == (vector, vector.says)


@pytest.mark.parametrize("domain", ["homie", "homie/5"])
def test_a_value_that_comes_before_its_unit_is_left_out_and_no_later_one_is(domain: str) -> None:
    source = decoder("homie")
    topic = f"{domain}/cellar/fridge/temperature"
    assert said(source, topic, b"50", retained=True) == ()
    said(
        source, *((f"{topic}/$unit", b"F") if domain == "homie" else (f"{domain}/cellar/$description", described("°F")))
    )
    assert said(source, topic, b"50") == (("cellar:fridge", "temperature", 10.0, None),)


def test_a_device_that_describes_nothing_is_read_from_its_second_value_on() -> None:
    source = decoder("homie")
    assert said(source, "homie/cellar/fridge/temperature", b"4.4") == ()
    assert said(source, "homie/cellar/fridge/temperature", b"4.5") == READING


def test_only_what_was_retained_is_a_seed() -> None:
    source = decoder("homie")
    said(source, "homie/5/cellar/$description", described())
    for retained in (True, False):
        (reading,) = source.decode("homie/5/cellar/fridge/temperature", b"4.5", retained).readings
        assert reading.seed is retained


def test_the_children_of_a_root_that_is_lost_are_lost_until_it_is_back() -> None:
    source = decoder("homie", topic="site/5/#")  # the version may stand in the pattern
    for child in ("one", "two"):
        said(source, f"site/5/{child}/$description", described(root="bridge"))
        said(source, f"site/5/{child}/$state", b"ready")
    said(source, "site/5/two/$state", b"disconnected")
    assert said(source, "site/5/bridge/$state", b"lost") == (
        Presence("bridge", online=False), Presence("one", online=False), Presence("two", online=False),
    )  # fmt: skip
    assert said(source, "site/5/one/$state", b"ready") == (Presence("one", online=False),)
    said(source, "site/5/three/$state", b"ready")
    assert said(source, "site/5/three/$description", described(root="bridge")) == (Presence("three", online=False),)
    assert said(source, "site/5/bridge/$state", b"ready") == (
        Presence("bridge", online=True), Presence("one", online=True), Presence("two", online=False),
        Presence("three", online=True),
    )  # fmt: skip


def test_properties_that_are_made_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MAX_REMEMBERED", 2)
    source = decoder("homie")
    for number in range(5):
        said(source, f"homie/d/n{number}/temperature/$unit", b"F")
    assert [bool(said(source, f"homie/d/n{n}/temperature", b"50")) for n in (4, 3, 2)] == [True, True, False]
