"""What tests of the page ask of its HTML."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

_VOID = {"meta", "link", "input"}
_ADDRESSES = ("/", "/device?", "/alerts", "#devices", "data:image/svg+xml,")


def tree(html: str) -> ET.Element:
    """A piece of HTML as a tree: that it parses as XML is most of the check."""
    closed = re.sub(rf"<({'|'.join(_VOID)})\b([^>]*)>", r"<\1\2/>", html)
    closed = re.sub(r"<(script|style)>.*?</\1>", r"<\1/>", closed, flags=re.DOTALL)
    for flag in ("data-part", "data-view", "selected"):
        closed = re.sub(rf"(<[^>]*?\s){flag}(?=[\s>])", rf'\1{flag}=""', closed)
    return ET.fromstring(f"<html>{closed.removeprefix('<!doctype html>').strip()}</html>")  # noqa: S314 - our own text


def texts(html: str) -> list[str]:
    """What a reader sees, cut at the elements."""
    return [text.strip() for text in tree(html).itertext() if text.strip()]


def assert_tame(html: str) -> None:
    """Nothing runs but the page's own script, nothing is loaded, no link leads elsewhere, nothing can be sent.

    Judged as a browser reads it, with the standard library's parser of HTML.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert not reader.tags & {"img", "iframe", "object", "embed", "base", "foreignobject", "audio", "video", "use"}
    assert reader.scripts <= 1
    for name, value in reader.attributes:
        assert not name.startswith("on"), name
        assert name not in ("style", "src", "srcdoc", "action", "formaction", "xlink:href") or value == "/", name
        if name == "href":
            assert value.startswith(_ADDRESSES) and not value.startswith("//"), value  # noqa: PT018 - of one address
        if name == "method":
            assert value.lower() == "get"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.scripts += tag == "script"
        self.attributes += [(name, value or "") for name, value in attrs]
