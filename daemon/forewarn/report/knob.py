"""The section on the one knob: how many alerts there would have been at another sensitivity or threshold."""

import math
from html import escape

from forewarn.backtest import Backtest
from forewarn.charts import SMALL, Band, Line, line_chart, table
from forewarn.findings import Labelled
from forewarn.sensitivity import Step, curve, in_use, likely_counts, steps


def knob(result: Backtest, labelled: Labelled | None) -> str:
    """A chart and a table, the setting in use marked in both."""
    tail = result.rules.detector == "tail"
    settings = steps(result)
    chosen = next(i for i, one in enumerate(settings) if one.setting == in_use(result))
    header, rows = _of_tail(result, settings) if tail else _of_residual(result, settings)
    if labelled:
        header += [f"found of {len(labelled.findings)}", "false"]
        for row, one in zip(rows, settings, strict=True):
            row += [str(labelled.found_by(one.telling)), f"{int((one.raised & labelled.normal).sum()):,}"]
    about = _about_tail(result) if tail else _about_residual(result)
    return (
        f"<h2>How many alerts at which {'sensitivity' if tail else 'threshold'}</h2>\n<p>{escape(about)}</p>\n"
        f'<div class="knob">{_chart(result, settings, settings[chosen])}{table(header, rows, chosen=chosen)}</div>'
    )


def per_month(result: Backtest, n: int) -> str:
    """So many alerts, for a device and a month."""
    return short(n / result.device_months) if result.device_months else "-"


def short(number: float) -> str:
    """To three digits, whole from 100 on."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _of_tail(result: Backtest, settings: list[Step]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for one in settings:
        mean = one.expected * result.device_months
        low, high = likely_counts(mean)
        numbers = (short(mean), f"{low:,} to {high:,}", f"{one.n_alert:,}", per_month(result, one.n_alert))
        rows.append([f"{one.setting:g}", *numbers])
    return ["sensitivity", "expected", "by chance", "alerts", "per device-month"], rows


def _of_residual(result: Backtest, settings: list[Step]) -> tuple[list[str], list[list[str]]]:
    header = [_axis(result, settings[0]), "alerts", "per device-month"]
    return header, [[_threshold(s), f"{s.n_alert:,}", per_month(result, s.n_alert)] for s in settings]


def _threshold(one: Step) -> str:
    return f"{one.setting if math.isnan(one.threshold) else one.threshold:.3g}"


def _about_tail(result: Backtest) -> str:
    sensitivity, months = result.rules.sensitivity, result.device_months
    low, high = likely_counts(sensitivity * months)
    return (
        "The sensitivity is the number of alerts to expect of one device in one month when nothing is wrong. With "
        f"{sensitivity:g}, as used, that makes {short(sensitivity * months)} in these {short(months)} device-months, "
        f"and {low:,} to {high:,} in nine of ten such histories by chance alone. More than that are real events, or "
        "readings wilder than those that the judge was calibrated on: the charts below tell which. Sensor faults and "
        "limits do not depend on the sensitivity and are not counted here."
    )


def _about_residual(result: Backtest) -> str:
    rules = result.rules
    absolute = (
        "in the unit of the readings"
        if rules.threshold.absolute
        else "in multiples of the series' own recent mean error"
    )
    often = f", at {rules.raise_after} of {rules.raise_within} readings in a row" if rules.raise_within > 1 else ""
    return (
        f"An alert is raised where the reading is further from its forecast than the threshold, {absolute}{often}. "
        "This judge promises no number of alerts: choose the threshold by the alerts that it would have raised. Sensor "
        "faults and limits do not depend on it and are not counted here."
    )


def _chart(result: Backtest, settings: list[Step], chosen: Step) -> str:
    title, months = "Alerts per device and month", result.device_months
    if not months:
        return line_chart(title, [], size=SMALL)
    tail = result.rules.detector == "tail"
    scale = 1.0 if tail or math.isnan(chosen.threshold) else chosen.threshold  # from a setting to the axis
    points = curve(result, settings[0].setting, settings[-1].setting)
    x = [setting * scale for setting, _, _ in points]
    lines = [Line("measured", x, [n / months for _, _, n in points])]
    band = None
    if tail:
        lines.append(Line("expected", x, [expected for _, expected, _ in points]))
        ends = [likely_counts(expected * months) for _, expected, _ in points]
        least = [max(low, 0.5) / months for low, _ in ends]  # a logarithmic axis has no 0
        band = Band("by chance, 9 of 10", x, least, [max(high, 0.5) / months for _, high in ends])
    used = Line("in use", [chosen.setting * scale], [chosen.n_alert / months])
    return line_chart(title, lines, band=band, marks=used, x_label=_axis(result, chosen), log=True, size=SMALL)


def _axis(result: Backtest, chosen: Step) -> str:
    if result.rules.detector == "tail":
        return "sensitivity"
    if math.isnan(chosen.threshold):
        return "threshold, times its own"
    return f"threshold, {(result.unit or 'unit') if result.rules.threshold.absolute else 'errors'}"
