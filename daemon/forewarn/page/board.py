"""The list of devices: alerts, then a table of the series, then the daemon's health."""

from collections.abc import Mapping
from html import escape

from forewarn.page import document
from forewarn.page.drawn import Drawn
from forewarn.page.health import Health
from forewarn.page.view import SORTS, Choice, View

_HEAD = ("device", "state", "last readings", "reading", "expected", "time, UTC")


def board(view: View, choice: Choice, rows: Mapping[str, str], sections: Mapping[str, str], health: Health) -> Drawn:
    """The list in pieces.

    Args:
        view: what is asked for.
        choice: what it shows.
        rows: cells of its rows by their ids, from top to bottom.
        sections: the HTML of `alerts` and `health`.
        health: of the daemon.
    """
    count = f"({health.active_alerts:,}) " if health.active_alerts else ""
    parts = {**sections, "counts": _counts(view, choice), "pager": _pager(view, choice), **rows}
    return Drawn(f"{count}forewarn {health.instance}", parts, tuple(rows))


def page(drawn: Drawn, view: View, instance: str) -> bytes:
    """The list as a document."""
    parts = drawn.parts
    rows = "".join(f'<tr id="{name}">{parts[name]}</tr>' for name in drawn.order)
    head = "".join(f'<th scope="col">{title}</th>' for title in _HEAD)
    body = (
        f"{document.section('alerts', 'Active alerts', parts['alerts'])}"
        '<p><a href="/alerts">The latest changes of alerts</a></p>'
        f'<section aria-labelledby="devices"><h2 id="devices" tabindex="-1">Devices</h2>{_form(view)}'
        f'<nav id="counts" data-part aria-label="State">{parts["counts"]}</nav>'
        '<table class="devices"><caption class="hidden">The last reading of each series beside what was expected of it'
        f'</caption><thead><tr>{head}</tr></thead><tbody id="rows">{rows}</tbody></table>'
        f'<nav id="pager" data-part aria-label="Pages">{parts["pager"]}</nav></section>'
        f"{document.section('health', 'Health', parts['health'])}"
    )
    header = f'<h1>forewarn <span class="soft">{escape(instance)}</span></h1>'
    return document.document(drawn.title, header, body, skip=("#devices", "To the devices"))


def _form(view: View) -> str:
    options = "".join(
        f'<option value="{sort}"{" selected" * (sort == view.sort)}>{text}</option>' for sort, text in SORTS.items()
    )
    return (
        '<form action="/" role="search"><label>Search <input type="search" name="q" autocomplete="off" '
        f'maxlength="128" value="{escape(view.text)}"></label>'
        f'<label>Order <select name="sort">{options}</select></label>'
        f'<input type="hidden" name="state" value="{view.state}"><noscript><button>Show</button></noscript></form>'
    )


def _counts(view: View, choice: Choice) -> str:
    counts = {"": sum(choice.counts.values()), **choice.counts}
    links = []
    for state, n in counts.items():
        current = ' aria-current="true"' if state == view.state else ""
        where = escape(view._replace(state=state, page=1).address())
        links.append(f'<a href="{where}" data-view{current}>{state.replace("_", " ") or "all"} <b>{n:,}</b></a>')
    return "".join(links)


def _pager(view: View, choice: Choice) -> str:
    if not choice.n:
        return "<p>No device matches.</p>" if view.text or view.state else "<p>No reading has come yet.</p>"
    if choice.n_page == 1:
        return ""
    links = []
    for page, text in ((choice.page - 1, "Previous"), (choice.page + 1, "Next")):
        if 1 <= page <= choice.n_page:
            links.append(f'<a href="{escape(view._replace(page=page).address())}" data-view>{text}</a>')
    return f"<span>Page {choice.page:,} of {choice.n_page:,}</span>{''.join(links)}"
