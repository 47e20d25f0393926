"""Charts of the report: the strongest alerts with what was around them, and the devices as a whole."""

import math
from html import escape

import numpy as np

from forewarn.axes import Size
from forewarn.backtest import Backtest
from forewarn.charts import SMALL, WIDE, Band, Line, Shades, line_chart
from forewarn.core.alerts import Alert, AlertRaised
from forewarn.core.readings import Floats, Slots
from forewarn.findings import Labelled
from forewarn.messages import sentence

STRONGEST = 10
_BEFORE, _AFTER = 120, 60  # readings around an alert
_DEVICES = 6


def strongest(result: Backtest, labelled: Labelled | None) -> str:
    """The alerts of the judge that went furthest past their threshold, the strongest first."""
    alerts = sorted(result.of_judge(), key=lambda alert: -alert.score / alert.threshold)
    if not alerts:
        return '<h2>The strongest alerts</h2>\n<p class="soft">There are none.</p>'
    cards = "".join(_card(result, labelled, n, alert) for n, alert in enumerate(alerts[:STRONGEST], 1))
    title = "The ten strongest alerts" if len(alerts) > STRONGEST else f"The {result.judge} alerts, the strongest first"
    return f'<h2>{title}</h2>\n<div class="pair">{cards}</div>'


def _card(result: Backtest, labelled: Labelled | None, n: int, alert: Alert) -> str:
    rows = result.rows_of(alert.slot)
    place = result.place_of(alert) - int(result.starts[alert.slot])
    chart = readings(
        result,
        labelled,
        rows[max(place - _BEFORE, 0) : place + _AFTER + 1],
        [alert],
        title=f"{n}. {alert.series.device}, {result.when(alert)}",
        size=SMALL,
    )
    facts = f"score {alert.score:.3g}, threshold {alert.threshold:.3g}"
    if labelled:
        facts += ", false" if labelled.normal[rows[place]] else ", in a labelled window"
    text = f'<p>{escape(sentence(AlertRaised(alert), result.unit))}</p><p class="soft">{escape(facts)}</p>'
    return chart.replace("</figcaption>", f"</figcaption>{text}", 1)


def device_charts(result: Backtest, labelled: Labelled | None) -> str:
    """The whole history of the devices that raised most alerts."""
    alerts, count = alerts_by_slot(result), most_alerts(result)
    charts = [
        readings(result, labelled, result.rows_of(slot), alerts.get(slot, []), title=device_of(result, slot))
        for slot in count[:_DEVICES]
    ]
    more = f'<p class="soft">{len(count) - _DEVICES} more devices are not drawn.</p>' if len(count) > _DEVICES else ""
    title = "The devices with most alerts" if more else "The readings"
    return f"<h2>{title}</h2>\n{''.join(charts)}{more}"


def alerts_by_slot(result: Backtest) -> dict[int, list[Alert]]:
    """The alerts of each series that has some."""
    alerts: dict[int, list[Alert]] = {}
    for event in result.alerts:
        alerts.setdefault(event.alert.slot, []).append(event.alert)
    return alerts


def most_alerts(result: Backtest) -> list[int]:
    """All slots, those with most alerts first."""
    alerts = alerts_by_slot(result)
    return sorted(range(len(result.starts) - 1), key=lambda slot: -len(alerts.get(slot, [])))


def device_of(result: Backtest, slot: int) -> str:
    """The name of a series' device."""
    return result.history.device[int(result.rows_of(slot)[0])]


def readings(
    result: Backtest,
    labelled: Labelled | None,
    rows: Slots,
    alerts: list[Alert],
    *,
    title: str,
    size: Size = WIDE,
    forecast: bool = False,
) -> str:
    """Readings of one series with the expected band, alerts as marks; with `forecast` what was expected is a line."""
    history, verdicts = result.history, result.verdicts
    at = history.at[rows]
    lines = [Line("reading", *with_gaps(at, history.values[rows, history.target_index], result.rules.max_gap), 0)]
    if forecast:  # below the readings, which hide it where it was right
        lines.insert(0, Line("forecast", *with_gaps(at, verdicts.expected[rows], result.rules.max_gap), 1))
    device = history.device[int(rows[0])]
    windows = [one.window for one in labelled.findings if one.device == device] if labelled else []
    spans = [(w.begin_at, w.end_at) for w in windows if w.end_at >= at[0] and w.begin_at <= at[-1]]
    return line_chart(
        title,
        lines,
        band=Band("expected", at, verdicts.lower[rows], verdicts.upper[rows]),
        marks=Line("alert", [a.at for a in alerts], [math.nan if a.value is None else a.value for a in alerts]),
        shades=Shades("labelled window", spans) if spans else None,
        y_label=result.unit,
        x_is_time=True,
        size=size,
    )


def with_gaps(at: Floats, value: Floats, max_gap: float) -> tuple[Floats, Floats]:
    """A NaN in every gap that is too long for a window to go on over it, so that no line is drawn there."""
    interval = np.diff(at)
    if not len(interval):
        return at, value
    before = np.flatnonzero(interval > max_gap * np.quantile(interval, 0.95)) + 1
    return np.insert(at, before, at[before - 1]), np.insert(value, before, np.nan)
