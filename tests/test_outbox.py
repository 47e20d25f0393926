"""The outbox: order, bounds, and what becomes of letters that are not taken or not acknowledged."""

from hypothesis import given
from hypothesis import strategies as st

from forewarn import outbox
from forewarn.adapters.journal import Letter
from forewarn.messages import Outgoing
from forewarn.outbox import Outbox


def outgoing(n: int, start: int = 0) -> list[Outgoing]:
    return [Outgoing(f"t/{i}", str(i)) for i in range(start, start + n)]


def send(box: Outbox, first_mid: int = 1) -> list[int]:
    """Hand over what is due; the ids."""
    sent = []
    for mid, letter in enumerate(box.due(), first_mid):
        box.sent(letter, mid)
        sent.append(letter.id)
    return sent


def test_letters_are_sent_in_their_order_and_kept_until_they_are_acknowledged() -> None:
    box = Outbox(10)
    assert [letter.topic for letter in box.add(outgoing(3))] == ["t/0", "t/1", "t/2"]
    assert (len(box), box.n_unsent) == (3, 3)
    assert send(box) == [1, 2, 3]
    assert (len(box), box.n_unsent) == (3, 0)
    box.acknowledged([2])
    assert [letter.id for letter in box] == [1, 3]
    assert (box.take_delivered(), box.take_delivered()) == ([2], [])
    box.acknowledged([2, 77])  # not of these
    assert box.take_delivered() == []
    assert box.add(outgoing(1))[0].id == 4


def test_a_letter_that_does_not_fit_is_dropped_and_counted() -> None:
    box = Outbox(2)
    assert [letter.topic for letter in box.add(outgoing(5))] == ["t/0", "t/1"]
    assert (len(box), box.dropped) == (2, 3)
    send(box)
    box.acknowledged([1])
    assert [letter.id for letter in box.add(outgoing(2, 5))] == [3]
    assert (len(box), box.dropped) == (2, 4)


def test_a_letter_that_nobody_needs_any_more_is_counted_and_forgotten() -> None:
    box = Outbox(10)
    box.add(outgoing(3))
    for letter in box.due():
        if letter.id == 2:
            box.expire(letter)
        else:
            box.sent(letter, letter.id)
    assert ([letter.id for letter in box], box.dropped, box.take_delivered()) == ([1, 3], 1, [2])


def test_a_letter_that_is_not_taken_is_the_next_one_again() -> None:
    box = Outbox(10)
    box.add(outgoing(3))
    due = box.due()
    box.sent(next(due), 1)
    box.sent(next(due), None)
    assert send(box, 2) == [2, 3]


def test_only_so_many_are_under_way() -> None:
    box = Outbox(1000)
    box.add(outgoing(outbox.UNDER_WAY + 5))
    assert len(send(box)) == outbox.UNDER_WAY
    assert send(box) == []
    box.acknowledged([1, 2])
    assert send(box, 10_000) == [outbox.UNDER_WAY + 1, outbox.UNDER_WAY + 2]


def test_letters_of_before_come_first_and_their_numbers_are_not_given_again() -> None:
    box = Outbox(10)
    box.load([Letter(7, "old", "", retain=True), Letter(9, "older", "", retain=False)])
    assert box.add(outgoing(1))[0].id == 10
    assert send(box) == [7, 9, 10]


STEPS = st.lists(st.tuples(st.sampled_from(["add", "send", "refuse", "acknowledge"]), st.integers(1, 4)), max_size=60)


@given(STEPS, st.integers(1, 12))
def test_every_letter_is_kept_sent_in_order_or_counted_whatever_happens(
    steps: list[tuple[str, int]], most: int
) -> None:
    box = Outbox(most)
    n_given = mid = 0
    under_way: list[int] = []
    sent: list[int] = []
    delivered: list[int] = []
    for step, n in steps:
        if step == "add":
            box.add(outgoing(n, n_given))
            n_given += n
        elif step == "acknowledge":
            box.acknowledged(under_way[:n])
            del under_way[:n]
            delivered += box.take_delivered()
        else:
            for letter, _ in zip(box.due(), range(n), strict=False):
                mid += 1
                box.sent(letter, None if step == "refuse" else mid)
                if step == "refuse":
                    break
                under_way.append(mid)
                sent.append(letter.id)
        assert len(box) <= most
    assert sent == sorted(set(sent))
    assert delivered == sent[: len(delivered)]
    assert len(box) + len(delivered) + box.dropped == n_given
    assert [letter.id for letter in box] == sorted(letter.id for letter in box)
