from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError
from forewarn.inputs.nested import MAX_ENTRIES, leaves
from forewarn.inputs.seen import Seen
from forewarn.inputs.topics import MAX_NAME

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
)


def test_levels_are_joined_by_dots_in_the_order_of_the_document() -> None:
    document = {"soil": [{"t": 4}, {"t": "5.5"}], "air": {"t": None, "text": "dry", "on": True}, "b": 3.5, "c": {}}
    assert list(leaves(document)) == [("soil.0.t", 4), ("soil.1.t", "5.5"), ("air.t", None), ("b", 3.5)]
    assert list(leaves(7)) == [("", 7)]


def test_what_lies_too_deep_for_a_name_is_given_whole() -> None:
    document: object = 1
    for _ in range(200):
        document = {"a": document}
    ((name, rest),) = leaves(document)
    assert MAX_NAME < len(name) < MAX_NAME + 3
    assert isinstance(rest, dict)


def test_a_document_of_too_many_entries_is_malformed() -> None:
    assert len(list(leaves([0] * MAX_ENTRIES))) == MAX_ENTRIES
    assert list(leaves([[]] * MAX_ENTRIES)) == []
    with pytest.raises(PayloadError, match="malformed: more than 1000 entries"):
        list(leaves([0] * (MAX_ENTRIES + 1)))


@given(document=JSON)
def test_every_number_of_a_document_is_found_once(document: object) -> None:
    def numbers(value: object) -> Iterator[object]:
        if isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from numbers(inner)
        elif value is None or (isinstance(value, int) and not isinstance(value, bool)):
            yield value

    assert [value for _, value in leaves(document) if not isinstance(value, str)] == list(numbers(document))


def again(seen: Seen, *parts: str) -> bool:
    n = len(seen._known)
    try:
        seen.check(*parts)
    except PayloadError:
        assert len(seen._known) == n
        return True
    return False


def test_identifiers_are_known_again_for_so_many_messages() -> None:
    seen = Seen(most=3)
    assert [again(seen, part) for part in "abca"] == [False, False, False, True]
    assert [again(seen, part) for part in "da"] == [False, False]
    assert not again(seen, "x", "y")
    assert not again(seen, "xy")
    assert not again(seen, "x', 'y")
    assert again(seen, "x", "y")
    assert len(seen._known) == 3


def test_an_identifier_of_any_text_can_be_told() -> None:
    seen = Seen()
    seen.check("\ud800\n" * 1000)
    with pytest.raises(PayloadError) as caught:
        seen.check("\ud800\n" * 1000)
    assert caught.value.reason is Rejection.DUPLICATE
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
