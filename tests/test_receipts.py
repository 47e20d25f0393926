"""Receipts: a message that the broker sends again is known, and no other one is."""

from hypothesis import given
from hypothesis import strategies as st

from forewarn import receipts
from forewarn.inbox import Message
from forewarn.receipts import Receipts

SIZE = len(Receipts().of([Message("t", b"1", 0.0, retained=False, mid=1)]))


def message(mid: int, payload: bytes = b"1", *, topic: str = "t", again: bool = False) -> Message:
    return Message(topic, payload, float(mid), retained=False, mid=mid, repeated=again)


def known(*messages: Message) -> Receipts:
    one = Receipts()
    one.add(one.of(messages))
    return one


def test_a_message_is_known_by_its_number_its_content_and_that_the_broker_calls_it_a_repeat() -> None:
    one = known(message(5))
    assert one.has(message(5, again=True))
    assert not one.has(message(5))
    assert not one.has(message(6, again=True))
    assert not one.has(message(5, b"2", again=True))
    assert not one.has(message(5, topic="u", again=True))
    assert not one.has(message(5, b"\0001", topic="t", again=True))


def test_messages_of_qos_0_have_no_receipt() -> None:
    one = Receipts()
    assert one.of([message(0)]) == b""
    assert not one.has(message(0, again=True))


def test_a_number_that_is_used_again_stands_for_its_last_message() -> None:
    one = known(message(5), message(5, b"2"))
    assert not one.has(message(5, again=True))
    assert one.has(message(5, b"2", again=True))


def test_every_identifier_is_remembered() -> None:
    one = known(*(message(mid) for mid in range(1, 65_536)))
    assert all(one.has(message(mid, again=True)) for mid in range(1, 65_536))


def test_the_state_file_has_those_since_it_was_last_written_and_many_more_of_the_few() -> None:
    one = known(*(message(mid) for mid in range(1, 20_001)))
    assert len(one.keep()) == 20_000 * SIZE
    one.add(one.of(message(mid) for mid in range(20_001, 20_011)))
    few, other = one.keep(), Receipts()
    assert len(few) == receipts.LEAST_KEPT * SIZE
    other.add(few)
    oldest = 20_010 - receipts.LEAST_KEPT + 1
    assert [other.has(message(mid, again=True)) for mid in (oldest - 1, oldest, 20_010)] == [False, True, True]
    assert one.has(message(1, again=True)), "as long as the process lives"


def test_a_broker_without_our_session_begins_anew() -> None:
    one = known(message(5))
    one.forget()
    assert not one.has(message(5, again=True))
    assert one.keep() == b""


@given(st.lists(st.tuples(st.integers(1, 65_535), st.binary(max_size=5), st.text(max_size=3)), max_size=30))
def test_they_come_back_from_their_bytes(made: list[tuple[int, bytes, str]]) -> None:
    messages = [message(mid, payload, topic=topic) for mid, payload, topic in made]
    one, other = known(*messages), Receipts()
    other.add(one.keep())
    assert other.keep() == one.keep()
    last = {one.mid: one for one in messages}
    assert all(other.has(each._replace(repeated=True)) for each in last.values())


@given(st.binary(max_size=300))
def test_bytes_that_are_none_do_no_harm(noise: bytes) -> None:
    one = Receipts()
    one.add(noise)
    assert len(one.keep()) % SIZE == 0
