import numpy as np
import pytest

from forewarn.core.readings import SeriesState
from forewarn.states import StateFeed

WARMING_UP, OK, ALERT = SeriesState


def due(feed: StateFeed, states: dict[int, SeriesState], now: float) -> list[int]:
    slots = feed.due(np.array(list(states), np.int64), np.array(list(states.values()), np.uint8), now)
    return [int(slot) for slot in slots]


@pytest.fixture
def feed() -> StateFeed:
    return StateFeed(interval_s=60.0)


def test_a_series_is_told_once_it_has_warmed_up(feed: StateFeed) -> None:
    assert due(feed, {0: WARMING_UP, 5: OK, 200: ALERT}, 0.0) == [5, 200]
    assert due(feed, {0: WARMING_UP}, 1000.0) == []
    assert due(feed, {0: OK}, 1000.0) == [0]


def test_a_change_is_told_at_once_and_the_rest_once_in_an_interval(feed: StateFeed) -> None:
    assert due(feed, {0: OK, 1: OK}, 0.0) == [0, 1]
    assert due(feed, {0: OK, 1: ALERT}, 1.0) == [1]
    assert due(feed, {0: OK, 1: ALERT}, 59.0) == []
    assert due(feed, {0: OK, 1: ALERT}, 60.0) == [0]
    assert due(feed, {0: OK, 1: ALERT}, 61.0) == [1]
    assert due(feed, {0: OK, 1: OK}, 62.0) == [1]


def test_an_alert_that_ends_in_the_warm_up_does_not_stay_on_the_broker(feed: StateFeed) -> None:
    assert due(feed, {3: ALERT}, 0.0) == [3]
    assert due(feed, {3: WARMING_UP}, 1.0) == [3]
    assert due(feed, {3: WARMING_UP}, 1000.0) == []


def test_a_slot_with_a_new_series_starts_anew(feed: StateFeed) -> None:
    assert due(feed, {0: OK, 1: OK}, 0.0) == [0, 1]
    feed.reset(0)
    feed.reset(10_000)
    assert due(feed, {0: WARMING_UP, 1: OK}, 1.0) == []
    assert due(feed, {0: OK, 1: OK}, 2.0) == [0]


def test_after_a_new_connection_everything_is_told_anew(feed: StateFeed) -> None:
    due(feed, {0: OK, 1: ALERT, 2: WARMING_UP}, 0.0)
    feed.forget()
    assert due(feed, {0: OK, 1: ALERT, 2: WARMING_UP}, 1.0) == [0, 1]


def test_nothing_moved_means_nothing_is_due(feed: StateFeed) -> None:
    assert due(feed, {}, 0.0) == []


def test_a_state_that_changed_inside_is_renewed_at_once_and_a_series_never_told_leaves_nothing_behind() -> None:
    feed = StateFeed(60.0)
    slots, ok = np.array([0]), np.array([SeriesState.OK], np.uint8)
    assert feed.due(slots, ok, 0.0).tolist() == [0]
    assert feed.due(slots, ok, 1.0).tolist() == []
    feed.renew(0)
    assert feed.due(slots, ok, 2.0).tolist() == [0]
    assert feed.reset(0)
    assert not feed.reset(0)
    assert not feed.reset(99)


def test_what_was_published_before_a_restart_is_due_again_and_leaves_something_behind(feed: StateFeed) -> None:
    feed.resume(np.array([0, 7]), np.array([OK, WARMING_UP], np.uint8))
    assert due(feed, {0: WARMING_UP, 7: WARMING_UP}, 0.0) == [0], "the broker has another state of it"
    feed.resume(np.array([0]), np.array([OK], np.uint8))
    assert due(feed, {0: OK}, 1000.0) == [0]
    feed.resume(np.array([3]), np.array([OK], np.uint8))
    assert feed.reset(3)
    assert not feed.reset(7)
    feed.resume(np.array([], np.int64), np.array([], np.uint8))
