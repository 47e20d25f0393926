"""A page in pieces, and what of them is new since the last look."""

import json
from typing import NamedTuple

_RETRY_MS = 2000  # after which a browser whose stream has ended begins another one


class Drawn(NamedTuple):
    """A page.

    Attributes:
        title: of the document.
        parts: the HTML inside each element, by its id.
        order: the ids of the rows of its table, from top to bottom; they are parts too.
    """

    title: str
    parts: dict[str, str]
    order: tuple[str, ...] = ()


def event(before: Drawn | None, now: Drawn) -> bytes:
    """What changed, as one server-sent event (WHATWG HTML, 9.2); b"" where nothing did."""
    body: dict[str, object] = {}
    if before is None or before.title != now.title:
        body["title"] = now.title
    if before is None or before.order != now.order:
        body["order"] = now.order
    known = {} if before is None else before.parts
    parts = {name: html for name, html in now.parts.items() if known.get(name) != html}
    if parts:
        body["parts"] = parts
    if not body:
        return b""
    retry = f"retry: {_RETRY_MS}\n" if before is None else ""
    return f"{retry}data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
