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


def test_a_reading_that_is_later_than_the_bound_is_out_of_order_also_in_one_delivery() -> None:
    rows = calm(40)
    late = rows.pop(20)
    for delay, status in ((9.9, "warming_up"), (20.0, "out_of_order")):
        given_rows = merged([*rows, late._replace(received_at=late.at + delay)])
        for cuts in ([], [row.received_at for row in given_rows]):
            found = story(bucket(10.0), parts(given_rows, [], cuts))
            (row,) = [row for row in found.rows if float(row[1]) == late.at]
            assert (row[4] == "out_of_order") == (status == "out_of_order")


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
