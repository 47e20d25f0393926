"""The queue of messages: what is dropped when, and what never is."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.inbox import MOST_BYTES, Drop, Inbox, Message


def message(i: int, mid: int = 0, payload: bytes = b"1") -> Message:
    return Message(str(i), payload, float(i), retained=False, mid=mid)


def topics(messages: Iterable[Message]) -> list[int]:
    return [int(one.topic) for one in messages]


@pytest.mark.parametrize(("drop", "kept"), [("oldest", [3, 4, 5]), ("newest", [0, 1, 2])])
def test_too_many_at_qos_0_are_dropped_by_the_policy_and_counted(drop: Drop, kept: list[int]) -> None:
    inbox = Inbox(3, drop)
    inbox.put([message(i) for i in range(6)])
    assert topics(inbox.take(10)) == kept
    assert (len(inbox), inbox.dropped) == (0, 3)


@pytest.mark.parametrize("drop", ["oldest", "newest"])
def test_qos_1_is_kept_whatever_comes_and_in_order(drop: Drop) -> None:
    inbox = Inbox(4, drop)
    inbox.put([message(i, mid=i if i % 3 == 1 else 0) for i in range(1, 16)])
    held = topics(inbox.take(100))
    assert held == sorted(held)
    assert set(held) >= {1, 4, 7, 10, 13}
    assert inbox.dropped == 15 - len(held)


def test_it_is_full_when_only_qos_1_is_left_and_twice_too_much() -> None:
    inbox = Inbox(3)
    inbox.put([message(i, mid=i) for i in range(1, 7)])
    assert not inbox.full
    inbox.put([message(7, mid=7)])
    assert inbox.full
    assert topics(inbox.take(1)) == [1]
    assert not inbox.full


def test_bytes_count_too() -> None:
    inbox = Inbox(1000)
    inbox.put([message(i, payload=bytes(MOST_BYTES // 4)) for i in range(6)])
    assert topics(inbox.take(10)) == [2, 3, 4, 5]
    assert inbox.dropped == 2


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=80),
    st.integers(1, 8),
    st.sampled_from(["oldest", "newest"]),
)
def test_nothing_is_lost_but_what_is_counted(steps: list[tuple[bool, int]], most: int, drop: Drop) -> None:
    inbox, taken, n_one = Inbox(most, drop), [], 0
    for i, (is_one, n) in enumerate(steps):
        inbox.put([message(i, mid=i + 1 if is_one else 0)])
        n_one += is_one
        taken += inbox.take(n)
        assert len(inbox) <= max(most, n_one)
    taken += inbox.take(1000)
    assert topics(taken) == sorted(topics(taken))
    assert len(taken) + inbox.dropped == len(steps)
    assert {int(m.topic) for m in taken if m.mid} == {i for i, (is_one, _) in enumerate(steps) if is_one}


def test_messages_of_qos_1_can_be_given_back_and_their_room_is_free_again() -> None:
    inbox = Inbox(3)
    inbox.put([message(i, mid=i if i < 6 else 0, payload=b"x" * (MOST_BYTES // 3)) for i in range(1, 8)])
    inbox.give_back()
    assert (len(inbox), inbox.dropped, inbox.full) == (0, 2, False)
    inbox.put([message(i, mid=i % 2) for i in range(3)])
    inbox.give_back()
    assert topics(inbox.take(10)) == [0, 2]
