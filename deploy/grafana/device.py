"""One series of one device: what came, what was expected, and why there is an alert or none."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models.common import BigValueTextMode

from deploy.grafana.frame import annotation, board, choice
from deploy.grafana.panels import BLUE, ORANGE, RED, STATES, Column, graph, number, painted, rows, timeline

_DEVICE: Final = '{instance="$instance", device="$device"}'
_SERIES: Final = '{instance="$instance", device="$device", metric="$metric"}'
_ALERTS: Final = f"forewarn_series_alert_timestamp_seconds{_SERIES}"


def device() -> Dashboard:
    """The view that the tables of devices lead to."""
    made = board("forewarn-device", "forewarn: one device", "What came of one series, and what was expected.")
    made.with_variable(choice("instance", "Daemon", "forewarn_build_info"))
    made.with_variable(choice("device", "Device", 'forewarn_series_state{instance="$instance"}'))
    made.with_variable(choice("metric", "Metric", f"forewarn_series_state{_DEVICE}"))
    made.annotation(annotation("Alerts", _ALERTS, color=RED, title="{{kind}}", text="{{device}} {{metric}}"))
    _now(made.with_row(Row("$device $metric")))
    _over_time(made.with_row(Row("Over time")))
    return made


def _now(made: Dashboard) -> None:
    text = "What the series is doing."
    made.with_panel(number("State", f"forewarn_series_state{_SERIES}", text=text, width=3, names=STATES))
    kinds = number(
        "Alerts", _ALERTS, text="The kinds of its active alerts.", legend="{{kind}}", width=3, steps=[(0, ORANGE)]
    )
    made.with_panel(kinds.text_mode(BigValueTextMode.NAME).no_value("none"))
    for name, text in (
        ("value", "The last accepted reading."),
        ("expected", "What had been forecast for it before it came."),
        ("residual", "Reading minus expected."),
        ("score", "How unusual the reading is, as it is compared with the threshold."),
        ("threshold", "A score above it exceeds."),
    ):
        made.with_panel(number(name.capitalize(), f"forewarn_series_{name}{_SERIES}", text=text, width=3))
    silence = f"time() - forewarn_last_reading_timestamp_seconds{_SERIES}"
    made.with_panel(number("Silent for", silence, text="Since the last accepted reading.", unit="s", width=3))


def _over_time(made: Dashboard) -> None:
    lines = {name: f"forewarn_series_{name}{_SERIES}" for name in ("lower", "upper", "expected", "value")}
    text = "The band holds about 95 % of the recent readings. Red marks: active alerts."
    band = graph("Reading, forecast and band", lines, text=text, width=24).height(10)
    hidden = {"legend": True, "tooltip": False, "viz": False}
    painted(band, "lower", BLUE, lineWidth=0, hideFrom=hidden)
    painted(band, "upper", BLUE, lineWidth=0, hideFrom=hidden, fillOpacity=15, fillBelowTo="lower")
    painted(band, "expected", BLUE)
    painted(band, "value", ORANGE, lineWidth=2)
    made.with_panel(band)
    residual = {"residual": f"forewarn_series_residual{_SERIES}"}
    text = (
        "Reading minus expected. One that stays on one side is a drift, or a model that needs training on this sensor."
    )
    made.with_panel(graph("Residual over time", residual, text=text, width=12).axis_centered_zero(True))
    compared = {name: f"forewarn_series_{name}{_SERIES}" for name in ("score", "threshold")}
    scores = graph("Score and threshold", compared, text="Above the threshold a reading exceeds.", width=12)
    painted(scores, "score", ORANGE)
    painted(scores, "threshold", RED, lineStyle={"fill": "dash", "dash": [8, 8]})
    made.with_panel(scores)
    states = f"forewarn_series_state{_DEVICE}"
    text = "Of all metrics of the device."
    made.with_panel(timeline("States", states, legend="{{metric}}", names=STATES, text=text, width=12))
    by = ("instance", "device", "metric")
    columns = [
        Column("State", f"max by ({', '.join(by)}) ({states})", names=STATES),
        *(
            Column(name.capitalize(), f"max by ({', '.join(by)}) (forewarn_series_{name}{_DEVICE})")
            for name in ("value", "expected", "residual", "score", "threshold")
        ),
    ]
    made.with_panel(rows("Metrics of the device", by, columns, text="As they are now.", width=12, height=6))
