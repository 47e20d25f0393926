"""A fleet on Spark: whether its job keeps up, what it cannot use, and what it found."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.frame import annotation, board, choice
from deploy.grafana.panels import (
    GREEN,
    ORANGE,
    RED,
    Column,
    a_second,
    graph,
    number,
    of,
    quantile,
    rows,
    stacked,
    within_step,
)

_JOB: Final = "forewarn-fleet"
_BEHIND: Final = f"time() - {of('forewarn_fleet_last_arrival_timestamp_seconds')}"
_BEHIND_TEXT: Final = "How long ago the last message that was read arrived. It grows while nothing comes, too."
_DURATION: Final = "forewarn_fleet_batch_duration_seconds"
_ALL: Final = f"sum({a_second('forewarn_fleet_readings_total')})"
_SHARES: Final = {"50 %": 0.5, "95 %": 0.95, "99 %": 0.99}


def spark() -> Dashboard:
    """The view of an operator of a fleet job."""
    made = board("forewarn-spark", "forewarn: a fleet on Spark", "Whether the job keeps up, and what it found.")
    made.with_variable(choice("instance", "Job", "forewarn_fleet_build_info", several=True))
    started = f"sum by (instance) (changes({of('process_start_time_seconds', job=_JOB)}[1m]))"
    made.annotation(annotation("Restarts", started, color=RED, title="{{instance}} restarted"))
    reloaded = f"sum by (instance, result) (increase({of('forewarn_fleet_reloads_total')}[1m]))"
    made.annotation(annotation("Models", reloaded, color=ORANGE, title="{{instance}}: models {{result}}"))
    _now(made.with_row(Row("Now")))
    _readings(made.with_row(Row("Readings")))
    _alerts(made.with_row(Row("Alerts and series")))
    _work(made.with_row(Row("Micro-batches")))
    _models(made.with_row(Row("Models and jobs")))
    return made


def _now(made: Dashboard) -> None:
    steps = [(60.0, ORANGE), (300.0, RED)]
    made.with_panel(number("Behind", f"max({_BEHIND})", text=_BEHIND_TEXT, unit="s", steps=steps))
    made.with_panel(number("Readings", _ALL, text="A second, used or not.", unit="cps"))
    rejected = f"sum({a_second('forewarn_fleet_readings_total', outcome='rejected')}) / {_ALL}"
    text = "Share of the readings that could not be used."
    made.with_panel(number("Rejected", rejected, text=text, unit="percentunit", steps=[(0.1, ORANGE)]))
    active = f"sum({of('forewarn_fleet_alerts_active')})"
    made.with_panel(number("Active alerts", active, text="Raised and not yet cleared.", steps=[(1, ORANGE)]))
    series = f"sum({of('forewarn_fleet_series')})"
    made.with_panel(number("Series", series, text="Followed, in all buckets."))
    waiting = f"sum({of('forewarn_fleet_readings_waiting')})"
    text = "Readings held so that earlier ones can come, fleet.lateness_s each."
    made.with_panel(number("Waiting", waiting, text=text))


def _readings(made: Dashboard) -> None:
    outcomes = {"{{outcome}}": f"sum by (outcome) ({a_second('forewarn_fleet_readings_total')})"}
    made.with_panel(stacked(graph("Readings by outcome", outcomes, text="A second.", unit="cps")))
    reasons = {"{{reason}}": f"sum by (reason) ({a_second('forewarn_fleet_rejections_total')})"}
    text = "A second. docs/metrics.md says what to do about each reason."
    made.with_panel(stacked(graph("Rejections by reason", reasons, text=text, unit="cps")))
    others = {
        "no readings by design": f"sum({a_second('forewarn_fleet_messages_skipped_total')})",
        "time set to arrival": f"sum({a_second('forewarn_fleet_restamped_total')})",
    }
    text = "A second: messages that are no readings, and readings whose clock was ahead."
    made.with_panel(graph("Other messages", others, text=text, unit="cps"))


def _alerts(made: Dashboard) -> None:
    raised = within_step("forewarn_fleet_alerts_total", type="raised")
    by_kind = {"{{kind}}": f"sum by (kind) ({raised})"}
    made.with_panel(stacked(graph("Alerts raised by kind", by_kind, text="Within each step of the graph."), bars=True))
    active = {"{{instance}}": f"sum by (instance) ({of('forewarn_fleet_alerts_active')})"}
    made.with_panel(graph("Active alerts by job", active, text="Raised and not yet cleared.").min(0))
    series = {
        "followed": f"sum({of('forewarn_fleet_series')})",
        "evicted": f"sum({within_step('forewarn_fleet_evictions_total')})",
    }
    text = "Evicted within each step of the graph: a bucket had more series than its share of fleet.max_series."
    made.with_panel(graph("Series followed", series, text=text).min(0))


def _work(made: Dashboard) -> None:
    behind = {"{{instance}}": _BEHIND}
    made.with_panel(graph("Behind over time", behind, text=_BEHIND_TEXT, unit="s").min(0))
    lines = {shown: quantile(share, _DURATION) for shown, share in _SHARES.items()}
    text = "From reading the source to the sinks. Longer than fleet.trigger_s, the next one begins late."
    made.with_panel(graph("Duration of a micro-batch", lines, text=text, unit="s"))
    waiting = {"{{instance}}": f"sum by (instance) ({of('forewarn_fleet_readings_waiting')})"}
    made.with_panel(graph("Waiting for earlier ones", waiting, text="Readings held for fleet.lateness_s.").min(0))
    batches = {"{{instance}}": f"60 * {a_second(f'{_DURATION}_count')}"}
    made.with_panel(graph("Micro-batches a minute", batches, text="Done, those without any message included.").min(0))
    busy = {"{{instance}}": a_second(f"{_DURATION}_sum")}
    text = "Share of the time that a micro-batch was at work. Near 100 % the job has nothing left."
    made.with_panel(graph("Busy", busy, text=text, unit="percentunit").min(0))


def _models(made: Dashboard) -> None:
    card = ("instance", "name", "version", "target", "unit", "n_step", "horizon", "sha256")
    asked = f"max by ({', '.join(card)}) ({of('forewarn_fleet_model_info')})"
    loaded = Column("Loaded", asked, names={"1": ("yes", GREEN)})
    made.with_panel(rows("Models", card, [loaded], text="What makes the forecasts.", width=16, height=6))
    changed = f"sum by (instance, result) ({within_step('forewarn_fleet_reloads_total')})"
    text = "Changed model files, within each step of the graph. The log says why one was refused."
    made.with_panel(graph("Model files", {"{{instance}} {{result}}": changed}, text=text).height(6))
    since = f"time() - {of('process_start_time_seconds', job=_JOB)}"
    build = ("instance", "version")
    info = f"max by ({', '.join(build)}) ({of('forewarn_fleet_build_info')})"
    versions = [
        Column("Runs for", f"max by (instance) ({since})", "s"),
        Column("Running", info, names={"1": ("yes", GREEN)}),
    ]
    text = "Which forewarn runs, and since when its driver has."
    made.with_panel(rows("Jobs", build, versions, text=text, width=24, height=6))
