"""What of a page is new since the last look."""

import json

from forewarn.page.drawn import Drawn, event


def body(data: bytes) -> dict[str, object]:
    text = data.decode()
    assert text.endswith("\n\n")
    (line,) = [line for line in text.split("\n") if line.startswith("data: ")]
    found: dict[str, object] = json.loads(line.removeprefix("data: "))
    return found


FIRST = Drawn("(1) a", {"s1": "<td>1</td>", "s2": "<td>2\n\r\u2028é</td>", "health": "ok"}, ("s1", "s2"))


def test_the_first_event_has_everything_and_says_when_to_come_again() -> None:
    data = event(None, FIRST)
    assert data.startswith(b"retry: ")
    assert body(data) == {"title": "(1) a", "order": ["s1", "s2"], "parts": FIRST.parts}


def test_nothing_new_is_no_event() -> None:
    assert event(FIRST, FIRST) == b""


def test_an_event_has_what_changed_alone() -> None:
    changed = FIRST._replace(parts={**FIRST.parts, "s1": "<td>3</td>"})
    assert body(event(FIRST, changed)) == {"parts": {"s1": "<td>3</td>"}}
    assert b"retry" not in event(FIRST, changed)
    moved = FIRST._replace(title="b", order=("s2", "s1"))
    assert body(event(FIRST, moved)) == {"title": "b", "order": ["s2", "s1"]}


def test_a_row_that_comes_into_view_is_told_whole() -> None:
    small = FIRST._replace(parts={"s1": FIRST.parts["s1"], "health": "ok"}, order=("s1",))
    assert body(event(small, FIRST)) == {"order": ["s1", "s2"], "parts": {"s2": FIRST.parts["s2"]}}
    assert body(event(FIRST, small)) == {"order": ["s1"]}
