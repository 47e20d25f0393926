"""What the decoder does for every dialect: which metrics are taken, their unit, and features that come apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.core.readings import Rejection, SeriesKey
from forewarn.errors import PayloadError
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Input, joined
from forewarn.inputs.feeds import Reading
from forewarn.inputs.topics import TopicPattern
from forewarn.inputs.units import conversion
from tests.forecasters import card

ANY = TopicPattern("n/{device}/{metric}")
TWO = card(features=("temperature", "humidity"))


def decoder(source: Input, *, two: bool = False, units: dict[str, str] | None = None, devices: int = 10) -> Decoder:
    model = TWO if two else card()
    return Decoder([source], model, max_payload_bytes=100, units=units, hold_s=60.0, max_devices=devices)


@given(a=st.lists(st.text(":%/ab", max_size=4), min_size=1), b=st.lists(st.text(":%/ab", max_size=4), min_size=1))
def test_two_lists_of_levels_never_give_one_name(a: list[str], b: list[str]) -> None:
    assert (joined(*a) == joined(*b)) == (a == b)


def test_levels_are_joined_so_that_people_can_read_them() -> None:
    assert joined("kitchen", "fridge") == "kitchen:fridge"
    assert joined("a:b", "50%") == "a%3Ab:50%25"
    assert joined("alone:") == "alone%3A"


def test_only_the_metrics_that_are_asked_for_are_taken_and_case_does_not_matter() -> None:
    source = decoder(Input(ANY, metrics=("*temperature*", "rh")))
    assert source.decode("n/a/Air_Temperature", b"4").readings[0].key == SeriesKey("a", "Air_Temperature")
    assert source.decode("n/a/RH", b"4").readings
    assert source.decode("n/a/battery", b"4") == ((), [], [])


@pytest.mark.parametrize(
    ("unit", "wanted", "value"),
    [
        ("°F", None, 20.0), ("F", {"temperature": "°C"}, 20.0), ("Far", {"temperature": "K"}, 293.15),
        ("°F", {"temperature": "°F"}, 68.0), ("", {"temperature": "°C"}, 68.0), ("%", {"temperature": "°C"}, 68.0),
        ("°F", {"temperature": "%"}, 68.0),
    ],
)  # fmt: skip
def test_a_declared_unit_of_temperature_is_converted_to_the_one_that_is_wanted(
    unit: str, wanted: dict[str, str] | None, value: float
) -> None:
    (reading,) = decoder(Input(ANY, unit=unit), units=wanted).decode("n/a/temperature", b"68").readings
    assert reading.values == pytest.approx((value,))


def test_units_that_are_the_same_or_no_temperatures_are_not_converted() -> None:
    assert conversion("celsius", "°C") is None
    assert conversion("%", "°C") is None
    assert conversion("kelvin", "") is None


# -- several features from several messages --------------------------------------------------------------------------


def joint(devices: int = 10) -> Decoder:
    return decoder(Input(ANY), two=True, devices=devices)


def test_the_target_makes_the_reading_with_the_last_value_of_the_others() -> None:
    source = joint()
    assert source.decode("n/a/humidity", b"60", received_at=100.0).readings == ()
    assert source.decode("n/b/humidity", b"10", received_at=100.0).readings == ()
    assert source.decode("n/a/humidity", b"61", received_at=110.0).readings == ()
    wanted = (Reading(SeriesKey("a", "temperature"), None, (4.0, 61.0)),)
    assert source.decode("n/a/temperature", b"4", received_at=120.0).readings == wanted
    assert source.decode("n/a/temperature", b"5", received_at=170.0).readings[0].values == (5.0, 61.0)


@pytest.mark.parametrize("late", [False, True])
def test_a_value_that_is_missing_or_too_old_is_named(late: bool) -> None:
    source = joint()
    if late:
        source.decode("n/a/humidity", b"60", received_at=100.0)
    with pytest.raises(PayloadError, match="needs humidity in the same message, or within 60 s") as caught:
        source.decode("n/a/temperature", b"4", received_at=161.0)
    assert caught.value.reason is Rejection.MISSING_VALUE


def test_what_the_model_has_no_feature_for_is_rejected() -> None:
    with pytest.raises(PayloadError, match="the model needs temperature, humidity"):
        joint().decode("n/a/pressure", b"4")


def test_of_more_devices_than_are_followed_the_one_heard_of_longest_ago_is_forgotten() -> None:
    source = joint(devices=2)
    for device in "aba":
        source.decode(f"n/{device}/humidity", b"60", received_at=100.0)
    source.decode("n/c/humidity", b"60", received_at=100.0)
    assert source.decode("n/a/temperature", b"4", received_at=100.0).readings
    with pytest.raises(PayloadError):
        source.decode("n/b/temperature", b"4", received_at=100.0)


@given(levels=st.lists(st.text(":%ab", min_size=1, max_size=4), min_size=1), more=st.lists(st.text(":%ab"), min_size=1))
def test_what_is_joined_below_another_begins_with_its_name_and_nothing_else_does(
    levels: list[str], more: list[str]
) -> None:
    assert joined(*levels, *more).startswith(joined(*levels) + ":")
    assert not joined(levels[0] + "x", *levels[1:], *more).startswith(joined(*levels) + ":")
