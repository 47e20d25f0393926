"""The daemons themselves: whether they keep up, what they cannot use, and what they need."""

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
    timeline,
    within_step,
)

_JOB: Final = "forewarn"
_CONNECTION: Final = {"0": ("away", RED), "1": ("connected", GREEN)}
_FILE: Final = {"0": ("written", GREEN), "1": ("failing", RED)}
_SHARES: Final = {"50 %": 0.5, "95 %": 0.95, "99 %": 0.99}


def daemon() -> Dashboard:
    """The view of an operator."""
    made = board("forewarn-daemon", "forewarn: the daemon", "Whether the daemons keep up, and what they need.")
    made.with_variable(choice("instance", "Daemon", "forewarn_build_info", several=True))
    started = f"sum by (instance) (changes({of('process_start_time_seconds', job=_JOB)}[1m]))"
    made.annotation(annotation("Restarts", started, color=RED, title="{{instance}} restarted"))
    reloaded = f"sum by (instance, result) (increase({of('forewarn_reloads_total')}[1m]))"
    made.annotation(annotation("Reloads", reloaded, color=ORANGE, title="{{instance}}: reload {{result}}"))
    _now(made.with_row(Row("Now")))
    _readings(made.with_row(Row("Readings")))
    _work(made.with_row(Row("Work and queues")))
    _connection(made.with_row(Row("Broker and state file")))
    _model(made.with_row(Row("Model and settings")))
    _process(made.with_row(Row("Process")))
    return made


def _now(made: Dashboard) -> None:
    connected = f"min({of('forewarn_mqtt_connected')})"
    text = "Whether every chosen daemon is connected."
    made.with_panel(number("Broker", connected, text=text, names=_CONNECTION))
    failing = f"max({of('forewarn_state_failing')})"
    text = "Whether the state file can be written; while it cannot, a restart loses what came since."
    made.with_panel(number("State file", failing, text=text, names=_FILE))
    received = f"sum({a_second('forewarn_readings_received_total')})"
    made.with_panel(number("Readings", received, text="Received a second, used or not.", unit="cps"))
    rejected = f"sum({a_second('forewarn_readings_total', outcome='rejected')}) / {received}"
    text = "Share of the readings that could not be used."
    made.with_panel(number("Rejected", rejected, text=text, unit="percentunit", steps=[(0.1, ORANGE)]))
    lag = quantile(0.99, "forewarn_reading_latency_seconds")
    text = "99 % of the readings have their verdict within this time of their arrival."
    made.with_panel(number("Lag", lag, text=text, unit="s", steps=[(1, ORANGE), (10, RED)]))
    dropped = f"sum({within_step('forewarn_dropped_total')})"
    made.with_panel(number("Dropped", dropped, text="Messages dropped from a full queue just now.", steps=[(1, RED)]))


def _readings(made: Dashboard) -> None:
    outcomes = {"{{outcome}}": f"sum by (outcome) ({a_second('forewarn_readings_total')})"}
    made.with_panel(stacked(graph("Readings by outcome", outcomes, text="A second.", unit="cps")))
    reasons = {"{{reason}}": f"sum by (reason) ({a_second('forewarn_rejections_total')})"}
    text = "A second. docs/metrics.md says what to do about each reason."
    made.with_panel(stacked(graph("Rejections by reason", reasons, text=text, unit="cps")))
    others = {
        "sent again": f"sum({a_second('forewarn_redelivered_total')})",
        "no readings by design": f"sum({a_second('forewarn_messages_skipped_total')})",
        "time set to arrival": f"sum({a_second('forewarn_restamped_total')})",
    }
    text = "A second: messages sent again at QoS 1, messages that are no readings, readings whose clock was ahead."
    made.with_panel(graph("Other messages", others, text=text, unit="cps"))


def _work(made: Dashboard) -> None:
    for title, histogram, text, unit in (
        ("From arrival to verdict", "forewarn_reading_latency_seconds", "Quantiles of the readings.", "s"),
        ("Call of the model", "forewarn_inference_duration_seconds", "Time of one call, however many windows.", "s"),
        ("Batches", "forewarn_batch_readings", "Readings judged together.", "short"),
    ):
        lines = {shown: quantile(share, histogram) for shown, share in _SHARES.items()}
        made.with_panel(graph(title, lines, text=text, unit=unit))
    waiting = {"{{queue}}": f"sum by (queue) ({of('forewarn_queue_depth')})"}
    text = "The inbox: to be judged. The outbox: to be acknowledged by the broker."
    made.with_panel(graph("Messages that wait", waiting, text=text))
    dropped = {"{{queue}}": f"sum by (queue) ({within_step('forewarn_dropped_total')})"}
    made.with_panel(graph("Messages dropped", dropped, text="Within each step of the graph, from a full queue."))
    calls = f"sum({a_second('forewarn_inference_duration_seconds_count')})"
    windows = {
        "windows a second": f"sum({a_second('forewarn_forecasts_total')})",
        "windows in a call": f"sum({a_second('forewarn_forecasts_total')}) / {calls}",
    }
    made.with_panel(graph("Forecasts", windows, text="Windows that a forecast was made from."))


def _connection(made: Dashboard) -> None:
    by_daemon = "{{instance}}"
    connected = of("forewarn_mqtt_connected")
    text = "Of each daemon."
    made.with_panel(timeline("Connection to the broker", connected, legend=by_daemon, names=_CONNECTION, text=text))
    failing = of("forewarn_state_failing")
    text = "Whether it can be written, with the journal in it."
    made.with_panel(timeline("State file by daemon", failing, legend=by_daemon, names=_FILE, text=text))
    messages = {
        "published a second": f"sum({a_second('forewarn_messages_published_total')})",
        "reconnects": f"sum({within_step('forewarn_mqtt_reconnects_total')})",
    }
    text = "Alerts, states, forecasts and status; connections after the first one within each step of the graph."
    made.with_panel(graph("Publishing", messages, text=text).height(6))


def _model(made: Dashboard) -> None:
    card = ("instance", "name", "version", "target", "unit", "n_step", "horizon", "sha256")
    loaded = Column("Loaded", f"max by ({', '.join(card)}) ({of('forewarn_model_info')})", names={"1": ("yes", GREEN)})
    made.with_panel(rows("Models", card, [loaded], text="What makes the forecasts.", width=16, height=6))
    reloads = {"{{instance}} {{result}}": f"sum by (instance, result) ({within_step('forewarn_reloads_total')})"}
    text = "Of settings or model, within each step of the graph. The log says why one was refused."
    made.with_panel(graph("Reloads", reloads, text=text).height(6))
    build = ("instance", "version", "python")
    since = f"time() - {of('process_start_time_seconds', job=_JOB)}"
    versions = [
        Column("Runs for", f"max by (instance) ({since})", "s"),
        Column("Running", f"max by ({', '.join(build)}) ({of('forewarn_build_info')})", names={"1": ("yes", GREEN)}),
    ]
    made.with_panel(rows("Daemons", build, versions, text="Which forewarn runs, and for how long.", width=16, height=6))
    series = {
        "{{instance}} not exposed": f"sum by (instance) ({of('forewarn_series_omitted')})",
        "{{instance}} evicted": f"sum by (instance) ({within_step('forewarn_evictions_total')})",
    }
    text = "Not exposed: over metrics.max_devices. Evicted within each step of the graph: over limits.max_devices."
    made.with_panel(graph("Series over a limit", series, text=text).height(6))


def _process(made: Dashboard) -> None:
    cpu = {"{{instance}}": a_second("process_cpu_seconds_total", job=_JOB)}
    made.with_panel(graph("Processor", cpu, text="Share of one core.", unit="percentunit"))
    memory = {"{{instance}}": of("process_resident_memory_bytes", job=_JOB)}
    made.with_panel(graph("Memory", memory, text="Resident.", unit="bytes").min(0))
    files = {"{{instance}}": of("process_open_fds", job=_JOB)}
    made.with_panel(graph("Open file descriptors", files).min(0))
