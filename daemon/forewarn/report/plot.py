"""A plain look at the course of a backtest: of each series what came, what was expected, the alerts and the score.

Rules that hold here:

- A chart has at most two points in each pixel column, the smallest and the largest: a year takes no more than a week.
- A page has at most `MOST_CHARTS` charts of readings, so that it stays within some megabytes: series with most alerts
  come first, and the parts of a long one are left out before another series is.
"""

import math
from html import escape

import numpy as np

from forewarn.backtest import Backtest
from forewarn.charts import LOW, Line, line_chart, page
from forewarn.core.alerts import Alert
from forewarn.core.readings import Slots
from forewarn.findings import Labelled, moment
from forewarn.report.pictures import alerts_by_slot, device_of, most_alerts, readings, with_gaps

MOST_CHARTS = 40
_MOST_PARTS = 12
_PER_PART = 1000  # readings of a part at least: fewer can be told apart in one chart
_STYLE = """
.course{margin:.5rem 0 1.5rem}.course figure{margin:0}.course figcaption{font-weight:400}
.course figure+figure figcaption{display:none}summary{cursor:pointer;font-weight:600}
@media(max-width:42rem){.course{overflow-x:auto}.course figure.page{overflow-x:visible;width:44rem}}
"""


def plot(result: Backtest, labelled: Labelled | None = None) -> str:
    """The page as HTML."""
    slots, alerts = most_alerts(result), alerts_by_slot(result)
    drawn = slots[:MOST_CHARTS]
    parts = min(_MOST_PARTS, MOST_CHARTS // len(drawn) - 1) if drawn else 0
    series = [_series(result, labelled, slot, alerts.get(slot, []), parts) for slot in drawn]
    body = [_about(result, len(slots) - len(drawn)), *series]
    return page(f"Course of {result.history.path.name}", "\n".join(body), style=_STYLE)


def _about(result: Backtest, n_left_out: int) -> str:
    more = f" {n_left_out:,} more series, which have fewer alerts, are not drawn." if n_left_out else ""
    return (
        f"<p>{len(result.history):,} readings of {escape(result.history.target)}, {len(result.alerts):,} alerts. The "
        "band holds about 95 % of a series' recent readings; a dot is where an alert was raised. Below, the score of "
        f"each reading and what it has to exceed.{more}</p>"
    )


def _series(result: Backtest, labelled: Labelled | None, slot: int, alerts: list[Alert], most_parts: int) -> str:
    rows = result.rows_of(slot)
    name = device_of(result, slot)
    told = "1 alert" if len(alerts) == 1 else f"{len(alerts):,} alerts"
    whole = _course(result, labelled, rows, alerts, f"{len(rows):,} readings, {told}")
    n_part = min(most_parts, len(rows) // _PER_PART)
    if n_part < 2:
        return f"<h2>{escape(name)}</h2>\n{whole}"
    charts = []
    at = result.history.at[rows]
    edges = np.linspace(at[0], at[-1], n_part + 1)
    edges[-1] = math.inf
    for begin_at, end_at in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        mine = rows[(at >= begin_at) & (at < end_at)]
        if len(mine):
            some = [alert for alert in alerts if begin_at <= alert.at < end_at]
            first, last = (moment(result.history.at[row]) for row in (mine[0], mine[-1]))
            charts.append(_course(result, labelled, mine, some, f"{first} to {last}"))
    parts = f"<details><summary>{escape(name)} in {len(charts)} parts</summary>{''.join(charts)}</details>"
    return f"<h2>{escape(name)}</h2>\n{whole}{parts}"


def _course(result: Backtest, labelled: Labelled | None, rows: Slots, alerts: list[Alert], title: str) -> str:
    """Readings above their scores, over the same time."""
    above = readings(result, labelled, rows, alerts, title=title, forecast=True)
    at, verdicts = result.history.at[rows], result.verdicts
    score = np.where(result.counted[rows], verdicts.anomaly_score[rows], 0.0)
    lines = [
        Line("score", *with_gaps(at, score, result.rules.max_gap)),
        Line("threshold", at, verdicts.threshold[rows]),
    ]
    below = line_chart("score", lines, x_is_time=True, size=LOW)
    return f'<div class="course">{above}{below}</div>\n'
