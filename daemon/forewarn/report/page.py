"""The page as a whole: what happened in a few numbers, then section by section; one self-contained HTML file."""

from collections import Counter
from html import escape

from forewarn.backtest import Backtest
from forewarn.charts import page, table
from forewarn.findings import Labelled, moment
from forewarn.messages import sentence, span
from forewarn.report.knob import knob, per_month, short
from forewarn.report.pictures import device_charts, strongest
from forewarn.report.used import Used

_LISTED = 200  # alerts that the table at the end has
_OPEN = 20  # rows of a table that need not be unfolded
_STYLE = """
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.75rem;margin:1.5rem 0}
.tiles div{background:var(--raised);border-radius:.4rem;padding:.6rem .9rem}
.tiles b{display:block;font-size:1.3rem;font-variant-numeric:tabular-nums}.tiles span{color:var(--soft);font-size:13px}
.pair{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,27rem),1fr));gap:0 2rem;align-items:start}
.pair>*{min-width:0}.soft{color:var(--soft)}figure p{margin:.1rem 0 .4rem}figure p.soft{font-size:13px}
summary{cursor:pointer;font-weight:600;margin:1rem 0}
.knob{display:grid;grid-template-columns:4fr 5fr;gap:0 2rem;align-items:center}
.knob>*{min-width:0}.knob th,.knob td{padding:.25rem .4rem}@media(max-width:42rem){.knob{display:block}}
"""
_MEANING = {
    "multivariate": "features that do not go together as in the training",
    "stuck": "equal readings for much longer than ever before",
    "range": "a reading that cannot have been measured",
    "rate": "a change faster than allowed",
    "unit_change": "readings that look like another unit",
    "limit": "a reading beyond a limit of yours",
    "forecast_limit": "a forecast beyond a limit of yours",
}


def render(result: Backtest, used: Used, labelled: Labelled | None = None) -> str:
    """The page as HTML."""
    body = [
        _tiles(result, labelled),
        knob(result, labelled),
        *([_windows(labelled)] if labelled else []),
        strongest(result, labelled),
        _faults(result),
        device_charts(result, labelled),
        _every_alert(result),
        _outcomes(result),
        _used(used),
    ]
    return page(f"Backtest of {result.history.path.name}", "\n".join(body), style=_STYLE)


def _tiles(result: Backtest, labelled: Labelled | None) -> str:
    n_judge = len(result.of_judge())
    tiles = [
        _counted(len(result.history), "reading"),
        _counted(len(result.starts) - 1, "device"),
        (short(result.device_months), "device-months"),
        _counted(n_judge, f"{result.judge} alert"),
        (per_month(result, n_judge), "of them per device-month"),
        (f"{len(result.alerts) - n_judge:,}", "other alerts"),
    ]
    if labelled:
        tiles += [
            (f"{labelled.n_found} of {len(labelled.findings)}", "labelled windows found"),
            (labelled.delay(), "median delay"),
            _counted(labelled.n_false, "false alert"),
            (f"{labelled.false_per_1000():.2f}", "of them per 1000 readings"),
            (f"{labelled.alarm_percent():.2f} %", "of normal readings in alarm"),
        ]
    tiles.append((f"{result.readings_per_s:,.0f}", "readings judged per second"))
    cells = "".join(f"<div><b>{escape(number)}</b><span>{escape(of)}</span></div>" for number, of in tiles)
    return f'<div class="tiles">{cells}</div>'


def _counted(n: int, thing: str) -> tuple[str, str]:
    return f"{n:,}", thing if n == 1 else f"{thing}s"


def _windows(labelled: Labelled) -> str:
    rows = [
        (
            moment(one.window.begin_at),
            moment(one.window.end_at),
            one.device,
            "missed" if one.row is None else "found",
            one.kind,
            "" if one.row is None else span(one.delay_s),
        )
        for one in labelled.findings
    ]
    more = f"<p>{labelled.n_empty} more have no reading that counts.</p>" if labelled.n_empty else ""
    header = ("from, UTC", "to", "device", "result", "by", "after")
    shown = table(header, rows, text=True) if rows else '<p class="soft">There are none: every alert is false.</p>'
    if len(rows) > _OPEN:
        shown = f"<details><summary>{labelled.n_found} of {len(rows)} found</summary>{shown}</details>"
    return f"<h2>Labelled windows</h2>\n{shown}{more}"


def _faults(result: Backtest) -> str:
    alerts = [event.alert for event in result.alerts if event.alert.kind != result.judge]
    rows = []
    for kind, n in Counter(str(alert.kind) for alert in alerts).most_common():
        those = [alert for alert in alerts if alert.kind == kind]
        n_device = len({alert.series.device for alert in those})
        first = f"{result.when(those[0])}, {those[0].series.device}"
        rows.append((kind, f"{n:,}", f"{n_device:,}", per_month(result, n), first, _MEANING.get(kind, "")))
    header = ("kind", "alerts", "devices", "per device-month", "the first", "what it is")
    shown = table(header, rows, text=True) if rows else ""
    note = "Silence is not judged in a backtest, since a file has no arrivals."
    return f'<h2>Other alerts</h2>\n{shown}<p class="soft">{"" if rows else "There are none. "}{note}</p>'


def _every_alert(result: Backtest) -> str:
    shown = result.alerts[:_LISTED]
    rows = [(result.when(event.alert), str(event.alert.kind), sentence(event, result.unit)) for event in shown]
    if not rows:
        return ""
    listed = table(("time", "kind", "what"), rows, text=True)
    if len(rows) > _OPEN:
        title = f"The first {len(rows)} of {len(result.alerts)}" if len(result.alerts) > _LISTED else f"All {len(rows)}"
        listed = f"<details><summary>{title}</summary>{listed}</details>"
    return f"<h2>Every alert in time</h2>\n{listed}"


def _outcomes(result: Backtest) -> str:
    n = len(result.history)
    rows = [(name.replace("_", " "), f"{count:,}", f"{100 * count / n:.2f} %") for name, count in result.outcomes()]
    n_probation = n - int(result.counted.sum())
    if n_probation:
        rows.append(("in probation", f"{n_probation:,}", f"{100 * n_probation / n:.2f} %"))
    return f"<h2>What became of the readings</h2>\n{table(('outcome', 'readings', 'share'), rows)}"


def _used(used: Used) -> str:
    settings = table(("setting", "value", "from"), used.settings, text=True)
    return (
        f"<h2>What was used</h2>\n{table(('name', 'value'), used.facts, text=True)}"
        f"<details><summary>Settings of the alerts</summary>{settings}</details>"
    )
