"""Alerts in words: those that are active, and the latest changes."""

from collections.abc import Iterable, Sequence
from html import escape

from forewarn.core.alerts import Alert, AlertRaised, AlertUpdated, Severity
from forewarn.messages import TYPES, Phrasebook
from forewarn.page import document
from forewarn.page.changes import Change
from forewarn.page.drawn import Drawn
from forewarn.page.figures import link, moment, name

LISTED = 12


def by_slot(alerts: Iterable[Alert]) -> dict[int, list[Alert]]:
    """The alerts of each slot."""
    found: dict[int, list[Alert]] = {}
    for alert in alerts:
        found.setdefault(alert.slot, []).append(alert)
    return found


def active(alerts: Sequence[Alert], phrases: Phrasebook, now: float) -> str:
    """The active alerts, the critical and then the youngest ones first, as HTML."""
    if not alerts:
        return '<p class="ok">No alert is active.</p>'
    ordered = sorted(alerts, key=lambda alert: (alert.severity is not Severity.CRITICAL, -alert.raised_at))
    items = "".join(f"<li>{_active(alert, phrases, now)}</li>" for alert in ordered[:LISTED])
    left = len(alerts) - LISTED
    more = f'<p>{left:,} more: <a href="/?state=alert">devices with an alert</a>.</p>' if left > 0 else ""
    return f'<ul class="alerts">{items}</ul>{more}'


def _active(alert: Alert, phrases: Phrasebook, now: float) -> str:
    told = AlertRaised(alert) if alert.sequence == 1 else AlertUpdated(alert)
    began = alert.raised_at if alert.since_at is None else alert.since_at
    about = f"{escape(alert.kind.replace('_', ' '))}, since {moment(began, now)}"
    return (
        f'<p><b class="{_class(alert)}">{alert.severity}</b> '
        f'{link(alert.series, name(alert.series))} <span class="soft">{about}</span></p>'
        f"<p>{escape(phrases.sentence(told))}</p>"
    )


def _class(alert: Alert) -> str:
    return "alert" if alert.severity is Severity.CRITICAL else "warning"


def changes(newest: Sequence[Change], now: float) -> str:
    """Changes of alerts as a table, as HTML."""
    if not newest:
        return '<p class="soft">No alert has changed since the daemon started.</p>'
    lines = "".join(f"<tr>{_change(change, now)}</tr>" for change in newest)
    head = "".join(f'<th scope="col">{title}</th>' for title in ("time, UTC", "change", "kind", "device", "what"))
    return (
        '<div class="wide" tabindex="0" role="group" aria-label="Changes of alerts">'
        f'<table class="text"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _change(change: Change, now: float) -> str:
    alert, kind = change.event.alert, TYPES[type(change.event)]
    ended = kind == "cleared"
    severe = "ok" if ended else _class(alert)
    return (
        f'<td>{moment(alert.at, now)}</td><td class="{severe}">{kind}{"" if ended else f", {alert.severity}"}</td>'
        f"<td>{escape(alert.kind.replace('_', ' '))}</td><td>{link(alert.series, name(alert.series))}</td>"
        f"<td>{escape(change.sentence)}</td>"
    )


def listed(newest: Sequence[Change], alerts: Sequence[Alert], phrases: Phrasebook, now: float) -> Drawn:
    """The page of alerts in pieces."""
    count = f"({len(alerts):,}) " if alerts else ""
    parts = {"alerts": active(alerts, phrases, now), "changes": changes(newest, now)}
    return Drawn(f"{count}Alerts – forewarn", parts)  # noqa: RUF001 - a dash


def page(drawn: Drawn) -> bytes:
    """The page of alerts as a document."""
    body = (
        f"{document.section('alerts', 'Active', drawn.parts['alerts'])}"
        f"{document.section('changes', 'Latest changes', drawn.parts['changes'])}"
    )
    header = '<nav aria-label="Pages"><a href="/">All devices</a></nav><h1>Alerts</h1>'
    return document.document(drawn.title, header, body)
