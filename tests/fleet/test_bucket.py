"""A bucket: what it says depends on the readings and on nothing else, such as where a delivery ends."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forewarn.core.alerts import AlertCleared, AlertRaised
from forewarn.core.engine import Engine, Monitor
from forewarn.core.readings import SeriesKey
from forewarn.fleet.bucket import Bucket, Delivery
from tests.core.streams import Row, stream
from tests.fleet.feeding import AT, LONG_S, RULES, Story, again, bucket, delivery, parts, silences, story
from tests.forecasters import HalfTrend, card
from tests.thorough import examples

POISON = 77.25  # no reading of `stream`, which has tenths
LATENESS = st.sampled_from([0.0, 0.7, 3.0, 10.0, 60.0, 600.0])
FRACTIONS = st.lists(st.floats(0.0, 1.0), max_size=12)


def calm(n: int, device: str = "d0", *, start: float = AT, step: float = 10.0, late: float = 0.0) -> list[Row]:
    key = SeriesKey(device, "temperature")
    return [Row(key, start + step * i, start + step * i + late, 4.0 + 0.1 * (i % 3)) for i in range(n)]


def merged(*streams: list[Row]) -> list[Row]:
    return sorted((row for rows in streams for row in rows), key=lambda row: row.received_at)


# -- where a delivery ends ------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10_000),
    lateness_s=LATENESS,
    at_arrivals=st.sets(st.integers(0, 299), max_size=8),
    between=FRACTIONS,
    gone=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 299)), max_size=3),
)
@settings(max_examples=examples(60), deadline=None)
def test_what_is_said_does_not_depend_on_where_deliveries_end(
    seed: int, lateness_s: float, at_arrivals: set[int], between: list[float], gone: list[tuple[int, int]]
) -> None:
    """After each delivery the bucket goes on as a new one, from its bytes."""
    rows = stream(seed, n=300, n_device=4)
    first, last = rows[0].received_at, rows[-1].received_at
    departures = sorted([(f"d{i}", rows[nth].received_at + 0.3) for i, nth in gone], key=lambda one: one[1])
    cuts = [*(rows[nth].received_at for nth in at_arrivals), *(first + part * (last - first) for part in between)]
    whole = story(bucket(lateness_s), parts(rows, departures, []))
    one, found = bucket(lateness_s), Story()
    for each in parts(rows, departures, cuts):
        found.note(one.take(each))
        one = again(one, lateness_s)
    found.note(one.wait(LONG_S))
    assert found.rows == whole.rows
    assert found.events == whole.events
    assert len(found.rows) == len(rows)
    assert one.n_waiting == 0


def test_the_streams_of_that_test_have_everything_that_deliveries_could_change() -> None:
    rows = stream(1, n=300, n_device=4)
    found = story(bucket(10.0), parts(rows, [("d1", rows[150].received_at + 0.3)], []))
    assert {name for name, _ in found.events} == {"AlertRaised", "AlertUpdated", "AlertCleared"}
    assert set(found.statuses) >= {"scored", "warming_up", "out_of_order", "from_future", "not_finite", "duplicate"}
    assert len(silences(found)) > 4


def test_without_waiting_a_bucket_says_what_the_engine_says_of_the_readings_as_they_came() -> None:
    rows = stream(2, n=300, n_device=4)
    quiet = replace(RULES, silent=False)
    found = story(bucket(0.0, engine=Engine(HalfTrend(), quiet)), parts(rows, [], [AT + 500.0]))
    verdicts = Engine(HalfTrend(), quiet).ingest(delivery(rows).batch)
    assert [row[0] for row in found.rows] == [str(row.key) for row in rows]
    assert [row[-2:] for row in found.rows] == [
        (None if np.isnan(score) else score, alert)
        for score, alert in zip(verdicts.anomaly_score.tolist(), verdicts.alert.tolist(), strict=True)
    ]
    assert len(found.events) == len(verdicts.events) > 0


# -- lateness -------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), cuts=FRACTIONS, lateness_s=st.sampled_from([3.0, 25.0, 100.0]))
@settings(max_examples=examples(25), deadline=None)
def test_readings_that_come_late_within_the_bound_are_judged_in_the_order_of_their_times(
    seed: int, cuts: list[float], lateness_s: float
) -> None:
    clean = merged(calm(60), calm(60, "d1", start=AT + 1.0))
    delay = np.random.default_rng(seed).uniform(0.0, lateness_s, len(clean)).tolist()
    late = [row._replace(received_at=row.at + one) for row, one in zip(clean, delay, strict=True)]
    late.sort(key=lambda row: row.received_at)
    first, last = late[0].received_at, late[-1].received_at
    found = story(bucket(lateness_s), parts(late, [], [first + part * (last - first) for part in cuts]))
    assert set(found.statuses) == {"scored", "warming_up"}
    times = [float(row[1]) for row in found.rows]
    assert times == sorted(times) == [row.at for row in clean]


def test_a_reading_that_is_later_than_the_bound_is_out_of_order_also_in_one_delivery() -> None:
    rows = calm(40)
    late = rows.pop(20)
    for delay, status in ((9.9, "warming_up"), (20.0, "out_of_order")):
        given_rows = merged([*rows, late._replace(received_at=late.at + delay)])
        for cuts in ([], [row.received_at for row in given_rows]):
            found = story(bucket(10.0), parts(given_rows, [], cuts))
            (row,) = [row for row in found.rows if float(row[1]) == late.at]
            assert (row[4] == "out_of_order") == (status == "out_of_order")


def test_of_two_readings_of_one_time_the_first_to_come_counts() -> None:
    rows = calm(30)
    twin = rows[20]._replace(received_at=rows[20].at + 5.0, value=9.0)
    for cuts in ([], [twin.at], [twin.received_at]):
        found = story(bucket(10.0), parts(merged(rows, [twin]), [], cuts))
        both = [row for row in found.rows if float(row[1]) == twin.at]
        assert [float(row[2]) for row in both] == [twin.at, twin.received_at]
        assert [row[4] == "duplicate" for row in both] == [False, True]


def test_nothing_is_judged_before_it_was_held_and_all_is_once_it_was() -> None:
    one = bucket(10.0)
    rows = calm(4)
    assert one.due_in_s == np.inf
    said = one.take(delivery(rows))
    assert [len(judged) for judged, _ in said.judged] == [3]
    assert (one.n_waiting, one.due_in_s, one.heard_at) == (1, 10.0, rows[-1].at)
    assert one.wait(9.9).judged == []
    assert one.due_in_s == pytest.approx(0.1)
    assert [len(judged) for judged, _ in one.wait(one.due_in_s + 1e-3).judged] == [1]
    assert (one.n_waiting, one.due_in_s) == (0, np.inf)


def test_a_clock_that_is_held_back_holds_the_readings_back() -> None:
    one = bucket(10.0)
    said = one.take(delivery(calm(10), last_at=AT + 50.0))
    assert sum(len(judged) for judged, _ in said.judged) == 5
    assert one.due_in_s == 10.0
    assert one.take(delivery([], first_at=AT + 20.0, last_at=AT + 40.0)).judged == []
    assert one.due_in_s == 10.0  # it never goes back
    assert sum(len(judged) for judged, _ in one.take(delivery([], last_at=AT + 100.0)).judged) == 5


def test_without_waiting_all_is_judged_even_where_the_clock_is_held_back() -> None:
    one = bucket(0.0)
    said = one.take(delivery(merged(calm(60), calm(60, "d1")), last_at=AT + 50.0))
    assert sum(len(judged) for judged, _ in said.judged) == 120
    assert one.n_waiting == 0


# -- silence --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lateness_s", [0.0, 10.0])
def test_silence_is_dated_at_a_whole_second_however_the_backlog_comes(lateness_s: float) -> None:
    rows = merged(calm(40, start=AT + 0.25), calm(200, "d1"), calm(99, start=AT + 1000.25))
    whole = story(bucket(lateness_s), parts(rows, [], []), wait_s=0.0)
    ((device, at),) = silences(whole)
    assert (device, at % 1.0) == ("d0", 0.0)
    assert 390.25 + 49.0 < at < 390.25 + 52.0
    for n in (1, 7, 50):
        assert story(bucket(lateness_s), parts(rows, [], [row.received_at for row in rows[::n]]), 0.0).events == (
            whole.events
        )


def test_a_series_that_begins_and_falls_silent_within_one_delivery_is_told() -> None:
    rows = merged(calm(30), calm(200, "d1"))
    assert [device for device, _ in silences(story(bucket(10.0), [delivery(rows)], wait_s=0.0))] == ["d0"]


def test_at_the_very_second_of_the_clock_silence_waits_for_what_comes_in_it() -> None:
    one = bucket(0.0)
    one.take(delivery(calm(60)))
    at = one._tick_at()
    assert one.take(delivery([], first_at=at - 1.0, last_at=at)).events == []
    assert one.due_in_s == 0.0
    same = again(one, 0.0)
    heard = Row(SeriesKey("d0", "temperature"), at, at, 4.0)
    assert same.take(delivery([heard])).events == []
    (event,) = one.wait(1e-3).events
    assert event.alert.at == at  # type: ignore[union-attr]


def test_silence_is_told_after_waiting_where_nothing_comes() -> None:
    one = bucket(10.0, away_s=120.0)
    said = one.take(delivery(merged(calm(60), calm(60, "d1"))))
    assert said.events == []
    assert [event for _ in range(3) for event in one.wait(10.0).events] == []
    one = again(one, 10.0, 120.0)
    events = one.wait(one.due_in_s + 1e-3).events
    assert [type(event) for event in events] == [AlertRaised, AlertRaised]
    assert {event.alert.at for event in events} == {AT + 590.0 + 51.0}  # type: ignore[union-attr]
    assert one.due_in_s == np.inf


def test_silence_is_not_counted_while_the_whole_fleet_was_away() -> None:
    before, after = calm(60), calm(3, start=AT + 5000.0)
    away = [delivery(before), delivery(after)]
    assert silences(story(bucket(10.0, away_s=120.0), away, wait_s=0.0)) == []
    assert silences(story(bucket(10.0, away_s=4500.0), away, wait_s=0.0)) == [("d0", 641.0)]
    # Others of the fleet were read meanwhile, so it is the device that was away.
    heard = [delivery([], first_at=AT + at, last_at=AT + at + 99.0) for at in np.arange(600.0, 5000.0, 100.0).tolist()]
    assert silences(story(bucket(10.0, away_s=120.0), [away[0], *heard, away[1]], wait_s=0.0)) == [("d0", 641.0)]


def test_who_stays_away_once_the_fleet_is_back_is_silent_from_then_on() -> None:
    rows = merged(calm(60), calm(60, "d1"))
    back = delivery(calm(30, "d1", start=AT + 5000.0))
    assert silences(story(bucket(10.0, away_s=120.0), [delivery(rows), back], wait_s=0.0)) == [("d0", 5051.0)]


def test_since_when_it_was_listened_is_kept() -> None:
    one = bucket(10.0, away_s=120.0)
    one.take(delivery(calm(60)))
    one.take(delivery(calm(1, "d1", start=AT + 5000.0)))
    (event,) = again(one, 10.0, 120.0).wait(70.0).events
    assert event.alert.at == AT + 5051.0  # type: ignore[union-attr]


def test_a_departure_is_told_at_its_time_and_held_as_long_as_readings() -> None:
    rows = calm(60)
    gone = ("d0", AT + 300.3)
    one = bucket(10.0)
    assert one.take(delivery(rows[:31], [gone])).events == []
    assert one.due_in_s == pytest.approx(AT + 300.0 + 10.0 - (AT + 300.3))
    one = again(one)
    (event,) = one.take(delivery([], last_at=AT + 310.4)).events
    assert (type(event), event.alert.at, event.alert.kind) == (AlertRaised, gone[1], "silent")  # type: ignore[union-attr]
    (event,) = one.take(delivery(rows[31:])).events
    assert type(event) is AlertCleared


def test_a_departure_comes_between_the_readings_before_and_after_it() -> None:
    rows = calm(60)
    early = ("d0", AT + 295.0)
    found = story(bucket(10.0), [delivery(rows, [("d0", AT + 405.0), early])], wait_s=0.0)
    assert silences(found) == [("d0", 295.0), ("d0", 405.0)]
    assert [name for name, _ in found.events] == ["AlertRaised", "AlertCleared"] * 2


# -- what is kept ---------------------------------------------------------------------------------------------------


def filled() -> Bucket:
    one = bucket(30.0)
    one.take(delivery(merged(calm(60), calm(90, "d1")), [("d1", AT + 889.0)]))
    assert one.n_waiting > 0
    assert len(one.engine.active()) == 1
    return one


def test_a_bucket_that_was_never_asked_is_kept_too() -> None:
    one = again(bucket())
    assert (one.heard_at, one.n_waiting, one.due_in_s) == (None, 0, np.inf)


def test_what_is_kept_is_the_same_after_it_was_read() -> None:
    one = filled()
    other = again(one, 30.0)
    assert (other.to_bytes(), other.heard_at, other.n_waiting) == (one.to_bytes(), one.heard_at, one.n_waiting)


@given(data=st.data())
@settings(max_examples=examples(300), deadline=None)
@example(data=None)
def test_damaged_bytes_are_refused_or_read_and_nothing_else_happens(data: Any) -> None:  # noqa: ANN401 - hypothesis'
    if data is None:  # numbers that no integer has
        damaged = _KEPT.replace(b'"n_waiting_byte": ', b'"n_waiting_byte": 1e99', 1)
    elif data.draw(st.booleans(), "cut"):
        damaged = _KEPT[: data.draw(st.integers(0, len(_KEPT) - 1))]
    else:
        flipped = bytearray(_KEPT)
        most = data.draw(st.sampled_from([200, 3000, len(_KEPT)]))  # the beginning is the densest
        for at in data.draw(st.lists(st.integers(0, most - 1), min_size=1, max_size=4)):
            flipped[at] ^= data.draw(st.integers(1, 255))
        damaged = bytes(flipped)
    one = bucket(30.0)
    try:
        one.restore(damaged)
    except ValueError:
        assert one.engine.n_series == 0
        assert (one.n_waiting, one.heard_at) == (0, None)


_KEPT = filled().to_bytes()


@pytest.mark.parametrize("n", [0, 1, 50, len(_KEPT) // 2, len(_KEPT) - 1])
def test_bytes_that_are_cut_off_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        bucket().restore(_KEPT[:n])


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b'"version": 1', b'"version": 9', "version 9"),
        (b'"clock"', b'"clack"', "no state of a bucket"),
        (b'"departures": [[', b'"departures": 4, "x": [[', "no state of a bucket"),
    ],
)
def test_a_state_of_another_kind_is_refused_by_name(old: bytes, new: bytes, text: str) -> None:
    assert old in _KEPT
    with pytest.raises(ValueError, match=text):
        bucket().restore(_KEPT.replace(old, new, 1))


def test_a_model_of_other_features_ends_the_alerts_and_they_are_told_next() -> None:
    wide = HalfTrend(card(features=("temperature", "humidity")))
    one = filled()
    other = again(one, 30.0, engine=Engine(HalfTrend(), RULES, [Monitor("d0", "*", wide, RULES)]))
    (event,) = other.wait(0.0).events
    assert (type(event), event.alert.series.device) == (AlertCleared, "d0")  # type: ignore[union-attr]
    assert other.engine.active() == ()
    assert other.wait(0.0).events == []
    with pytest.raises(ValueError, match="other features"):
        again(one, 30.0, engine=Engine(wide, RULES))


def test_held_readings_get_the_columns_of_a_wider_delivery() -> None:
    one = filled()
    n = one.n_waiting
    more = delivery(calm(2, "d1", start=AT + 900.0))
    wide = more.batch.values.repeat(2, axis=1)
    one.take(Delivery(replace(more.batch, values=wide), [], AT + 900.0, AT + 890.0))
    assert one.n_waiting == n + 2
    assert one._waiting is not None
    assert one._waiting.values[:, 1].tolist() == [0.0] * n + wide[:, 1].tolist()


# -- an engine that fails ----------------------------------------------------------------------------------------------


class BugError(Exception):
    """What nobody foresaw."""


def failing(place: str, when: Callable[..., bool] = lambda *_: True) -> Engine:
    engine = Engine(HalfTrend(), RULES)
    owner = engine._groups[0]._judges if place == "judge" else engine
    whole = getattr(owner, place)

    def part(*args: Any) -> Any:  # noqa: ANN401 - as it comes
        if when(*args):
            raise BugError
        return whole(*args)

    setattr(owner, place, part)
    return engine


def test_a_reading_at_which_the_engine_fails_is_said_to_have_failed_and_all_others_are_judged() -> None:
    rows = stream(5, n=300, n_device=4)
    poisoned = [row._replace(value=POISON) if i % 50 == 7 else row for i, row in enumerate(rows)]
    engine = failing("judge", lambda state, *_: (state["value"] == POISON).any())
    found = story(bucket(10.0, engine=engine), parts(poisoned, [], []))
    clean = story(bucket(10.0), parts([row for row in poisoned if row.value != POISON], [], []))
    usable = {"failed", "from_future", "out_of_order", "duplicate", "retained"}
    assert {row[4] for row in found.rows if np.frombuffer(row[3])[0] == POISON} <= usable
    assert "failed" in found.statuses
    assert [row for row in found.rows if np.frombuffer(row[3])[0] != POISON] == clean.rows
    assert found.events == clean.events


def test_a_search_for_silence_that_fails_neither_stops_the_bucket_nor_goes_on_for_ever() -> None:
    calls = 0

    def counted(*_: object) -> bool:
        nonlocal calls
        calls += 1
        return calls <= 2

    one = bucket(10.0, engine=failing("tick", counted))
    rows = merged(calm(30), calm(100, "d1"))
    said = one.take(delivery(rows))
    assert (calls, said.events) == (1, [])
    assert sum(len(judged) for judged, _ in said.judged) + one.n_waiting == len(rows)
    assert one.wait(1.0).events == []
    assert calls == 2
    (event,) = one.wait(1.0).events  # it works again
    assert event.alert.series.device == "d0"  # type: ignore[union-attr]


def test_a_departure_at_which_the_engine_fails_is_not_tried_again() -> None:
    one = bucket(0.0, engine=failing("lost"))
    said = one.take(delivery(calm(30), [("d0", AT + 100.5)]))
    assert (said.events, one.due_in_s < np.inf) == ([], True)
    assert one._departures == []
