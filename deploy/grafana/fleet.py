"""The fleet at a glance: which devices to look at, and whether the daemons keep up."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.frame import board, choice
from deploy.grafana.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    Column,
    a_second,
    graph,
    number,
    of,
    painted,
    quantile,
    rows,
    stacked,
    within_step,
)

_SERIES: Final = ("instance", "device", "metric")
_WHICH: Final = ", ".join(_SERIES)
_RAISED: Final = of("forewarn_series_alert_timestamp_seconds")
_SILENCE: Final = f"time() - {of('forewarn_last_reading_timestamp_seconds')}"


def fleet() -> Dashboard:
    """The dashboard that Grafana opens with."""
    made = board("forewarn-fleet", "forewarn: the fleet", "Which devices to look at, and whether the daemons keep up.")
    made.with_variable(choice("instance", "Daemon", "forewarn_build_info", several=True))
    _now(made.with_row(Row("Now")))
    _to_look_at(made.with_row(Row("To look at")))
    _over_time(made.with_row(Row("Over time")))
    return made


def _now(made: Dashboard) -> None:
    once = "Each device is counted once, in the highest state of its series."
    for state, title in (("alert", "Devices in alert"), ("ok", "Devices ok"), ("warming_up", "Devices warming up")):
        counted = f"sum({of('forewarn_devices', state=state)})"
        made.with_panel(number(title, counted, text=once, steps=[(1, RED)] if state == "alert" else []))
    active = of("forewarn_alerts_active")
    made.with_panel(number("Active alerts", f"sum({active})", text="Raised and not yet cleared.", steps=[(1, ORANGE)]))
    made.with_panel(
        number(
            "Readings",
            f"sum({a_second('forewarn_readings_received_total')})",
            text="Received a second, used or not.",
            unit="cps",
        )
    )
    made.with_panel(
        number(
            "Lag",
            quantile(0.99, "forewarn_reading_latency_seconds"),
            text="99 % of the readings have their verdict within this time of their arrival.",
            unit="s",
            steps=[(1, ORANGE), (10, RED)],
        )
    )


def _to_look_at(made: Dashboard) -> None:
    alerts = [
        Column("Raised ago", f"max by ({_WHICH}, kind) (time() - {_RAISED})", "s"),
        *(
            Column(title, _beside_alert(f"forewarn_series_{title.lower()}"))
            for title in ("Value", "Expected", "Residual", "Score", "Threshold")
        ),
    ]
    text = "Active alerts, the newest first, of the series that are exposed one by one (metrics.max_devices)."
    made.with_panel(rows("In alert", (*_SERIES, "kind"), alerts, text=text, falling=False))
    made.with_panel(
        rows(
            "Highest scores",
            _SERIES,
            [
                _worst(
                    "Of threshold", f"{of('forewarn_series_score')} / {of('forewarn_series_threshold')}", "percentunit"
                )
            ],
            text="The score of the last reading as a share of its threshold: over 100 % it exceeds.",
            width=8,
        )
    )
    width = f"({of('forewarn_series_upper')} - {of('forewarn_series_lower')} > 0)"
    made.with_panel(
        rows(
            "Largest residuals",
            _SERIES,
            [_worst("Half bands", f"2 * abs({of('forewarn_series_residual')}) / {width}")],
            text="Distance from the expected value in half widths of the band that holds 95 % of the readings.",
            width=8,
        )
    )
    text = "How long ago the last accepted reading of a series arrived."
    made.with_panel(rows("Silent longest", _SERIES, [_worst("Silent for", _SILENCE, "s")], text=text, width=8))


def _beside_alert(metric: str) -> str:
    """What a metric says of the series of each active alert."""
    return f"max by ({_WHICH}, kind) (0 * {_RAISED} + on (job, {_WHICH}) group_left () {of(metric)})"


def _worst(title: str, expression: str, unit: str = "short") -> Column:
    return Column(title, f"topk(10, max by ({_WHICH}) ({expression}))", unit)


def _over_time(made: Dashboard) -> None:
    states = {"{{state}}": f"sum by (state) ({of('forewarn_devices')})"}
    devices = stacked(graph("Devices by state", states, text="Each counted once, in the highest state of its series."))
    for state, color in (("alert", RED), ("ok", GREEN), ("warming_up", BLUE)):
        painted(devices, state, color)
    made.with_panel(devices)
    active = {"{{kind}}": f"sum by (kind) ({of('forewarn_alerts_active')})"}
    made.with_panel(stacked(graph("Active alerts by kind", active, text="docs/alerts.md says what each kind means.")))
    raised = within_step("forewarn_alerts_total", type="raised")
    by_kind = {"{{kind}}": f"sum by (kind) ({raised})"}
    made.with_panel(stacked(graph("Alerts raised by kind", by_kind, text="Within each step of the graph."), bars=True))
    buckets = a_second("forewarn_reading_latency_seconds_bucket")
    lag = {"{{instance}}": f"histogram_quantile(0.99, sum by (instance, le) ({buckets}))"}
    text = "99 % of the readings have their verdict within this time of their arrival."
    made.with_panel(graph("Lag by daemon", lag, text=text, unit="s", width=12))
    waiting = {"{{instance}}": f"sum by (instance) ({of('forewarn_queue_depth', queue='inbox')})"}
    made.with_panel(graph("Waiting to be judged", waiting, text="Messages in the inbox.", width=12))
