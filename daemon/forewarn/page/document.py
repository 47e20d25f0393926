"""The HTML document around a page, and what a browser is told: nothing but the page itself may run or be loaded."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from types import MappingProxyType

from forewarn.charts import STYLE

REFRESH_S = 10  # without JavaScript
_CSS = STYLE + files("forewarn.page").joinpath("page.css").read_text("utf-8")
_JS = files("forewarn.page").joinpath("page.js").read_text("utf-8")
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='none' "
    "stroke='%230072b2' stroke-width='2' d='M1 10h3l2-7 4 11 2-4h3'/%3E%3C/svg%3E"
)
_STATUS = '<p id="link" role="status" class="soft"><noscript>Loaded anew every {} seconds.</noscript></p>'


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": f"default-src 'none'; style-src {_hash(_CSS)}; script-src {_hash(_JS)}; "
        "img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
)
"""Of every page. The style and the script are named by their hashes, so no other one runs."""


def document(title: str, header: str, body: str, *, skip: tuple[str, str] | None = None, live: bool = True) -> bytes:
    """One HTML document.

    Args:
        title: of the document, text.
        header: HTML.
        body: HTML.
        skip: where a link leads that stands before everything, and its text.
        live: whether it is kept up to date.
    """
    over = f'<a class="skip" href="{skip[0]}">{skip[1]}</a>' if skip else ""
    refresh = f'<noscript><meta http-equiv="refresh" content="{REFRESH_S}"></noscript>' * live
    script = f"<script>{_JS}</script>" * live
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><link rel="icon" href="{_ICON}">'
        f"{refresh}<style>{_CSS}</style></head>\n<body>{over}<header>{header}"
        f"{_STATUS.format(REFRESH_S) * live}</header>\n<main>{body}</main>\n{script}</body></html>\n"
    ).encode()


def section(name: str, title: str, part: str) -> str:
    """A part with a heading of its own."""
    return (
        f'<section aria-labelledby="{name}-title"><h2 id="{name}-title">{escape(title)}</h2>'
        f'<div id="{name}" data-part>{part}</div></section>'
    )
