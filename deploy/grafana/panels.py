"""How a panel of the dashboards looks and asks, so that each dashboard says only what it shows.

Rules that hold here:

- Every query asks the data source that the variable `datasource` names, and only daemons that `instance` names.
- A table asks for one moment and aggregates by the labels that are its columns, so that no other label comes along:
  Grafana makes one row of the answers of several queries only where all labels that they share are equal.
- Names from outside may have any character: in a link they are percent-encoded.
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    MatcherConfig,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREY, GREEN, BLUE, ORANGE, RED = "text", "green", "blue", "orange", "red"
STATES: Final = {"0": ("warming up", BLUE), "1": ("ok", GREEN), "2": ("alert", RED)}
_DEVICE_VIEW: Final = "/d/forewarn-device?${__url_time_range}&${datasource:queryparam}" + "".join(
    f"&var-{label}=${{__data.fields.{label}:percentencode}}" for label in ("instance", "device", "metric")
)


class Column(NamedTuple):
    """A column of a table: its title, the expression of its values, and Grafana's name of their unit."""

    title: str
    expression: str
    unit: str = "short"
    names: Mapping[str, tuple[str, str]] = {}


def of(metric: str, **labels: str) -> str:
    """The series of a metric with these labels, of the chosen daemons."""
    matchers = "".join(f', {name}="{value}"' for name, value in labels.items())
    return f'{metric}{{instance=~"$instance"{matchers}}}'


def a_second(metric: str, **labels: str) -> str:
    """How fast a counter grows."""
    return f"rate({of(metric, **labels)}[$__rate_interval])"


def within_step(metric: str, **labels: str) -> str:
    """By how much a counter grows within a step of the graph."""
    return f"increase({of(metric, **labels)}[$__rate_interval])"


def quantile(share: float, histogram: str) -> str:
    """A quantile of a histogram over the chosen daemons."""
    return f"histogram_quantile({share}, sum by (le) ({a_second(f'{histogram}_bucket')}))"


def graph(
    title: str, lines: Mapping[str, str], *, text: str = "", unit: str = "short", width: int = 8
) -> timeseries.Panel:
    """Expressions over time, by what the legend says of each."""
    panel = timeseries.Panel().title(title).description(text).datasource(SOURCE).unit(unit).span(width).height(8)
    for place, (legend, expression) in zip(ascii_uppercase, lines.items(), strict=False):
        query = prometheus.Dataquery().ref_id(place).datasource(SOURCE).expr(expression)
        panel.with_target(query.legend_format(legend).range())
    below = common.VizLegendOptions().display_mode(looks.LegendDisplayMode.LIST).show_legend(True)
    panel.legend(below.placement(looks.LegendPlacement.BOTTOM).calcs([]))
    panel.tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
    panel.draw_style(looks.GraphDrawStyle.LINE).line_width(1).fill_opacity(0).span_nulls(False)
    return panel.show_points(looks.VisibilityMode.NEVER)


def stacked(panel: timeseries.Panel, *, bars: bool = False) -> timeseries.Panel:
    """Shares of a whole: on top of each other, and those that are 0 all the time not in the legend."""
    panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A")).min(0)
    panel.fill_opacity(80 if bars else 30)
    if bars:
        panel.draw_style(looks.GraphDrawStyle.BARS)
    zero = MatcherConfig("byValue", {"reducer": "allIsZero", "op": "gte", "value": 0})
    hidden = {"legend": True, "tooltip": True, "viz": False}
    return panel.with_override(zero, [DynamicConfigValue("custom.hideFrom", hidden)])


def painted(panel: timeseries.Panel, line: str, color: str, **custom: object) -> None:
    """Give one line a color, and more where it is named as in Grafana's JSON."""
    fixed = DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})
    panel.override_by_name(line, [fixed, *(DynamicConfigValue(f"custom.{name}", v) for name, v in custom.items())])


def number(
    title: str,
    expression: str,
    *,
    text: str,
    legend: str = "__auto",
    unit: str = "short",
    width: int = 4,
    steps: Sequence[tuple[float, str]] = (),
    names: Mapping[str, tuple[str, str]] | None = None,
) -> stat.Panel:
    """A number as it is now, in the color of the highest of `steps` that it reaches, or by its name in `names`."""
    panel = stat.Panel().title(title).description(text).datasource(SOURCE).unit(unit).span(width).height(4)
    query = prometheus.Dataquery().ref_id("A").datasource(SOURCE).expr(expression)
    panel.with_target(query.legend_format(legend).instant())
    panel.thresholds(_thresholds(steps)).mappings(_mappings(names or {}))
    panel.color_mode(looks.BigValueColorMode.VALUE).graph_mode(looks.BigValueGraphMode.NONE)
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))


def timeline(
    title: str, expression: str, *, legend: str, names: Mapping[str, tuple[str, str]], text: str, width: int = 8
) -> statetimeline.Panel:
    """A state over time, by its name in `names`."""
    panel = statetimeline.Panel().title(title).description(text).datasource(SOURCE).span(width).height(6)
    query = prometheus.Dataquery().ref_id("A").datasource(SOURCE).expr(expression)
    panel.with_target(query.legend_format(legend).range()).mappings(_mappings(names))
    panel.show_value(looks.VisibilityMode.AUTO).merge_values(True).fill_opacity(70).line_width(0)
    return panel.legend(common.VizLegendOptions().show_legend(False))


def rows(
    title: str,
    by: Sequence[str],
    columns: Sequence[Column],
    *,
    text: str,
    width: int = 24,
    height: int = 8,
    falling: bool = True,
) -> table.Panel:
    """A row for each combination of the labels `by`, sorted by the first of the columns; devices lead to their view."""
    panel = table.Panel().title(title).description(text).datasource(SOURCE).span(width).height(height).decimals(2)
    titles = {}
    for place, column in zip(ascii_uppercase, columns, strict=False):
        query = prometheus.Dataquery().ref_id(place).datasource(SOURCE).expr(column.expression)
        panel.with_target(query.format(PromQueryFormat.TABLE).instant())
        titles[f"Value #{place}" if len(columns) > 1 else "Value"] = column.title
        shown: list[DynamicConfigValue] = [DynamicConfigValue("unit", column.unit)]
        if column.names:
            shown.append(DynamicConfigValue("mappings", [m.to_json() for m in _mappings(column.names)]))
            shown.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        panel.override_by_name(column.title, shown)
    order = {name: place for place, name in enumerate((*by, *titles))}
    panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": titles}
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=options))
    if "device" in by:
        link = {"title": "Show ${__data.fields.device}", "url": _DEVICE_VIEW}
        panel.override_by_name("device", [DynamicConfigValue("links", [link])])
    return panel.sort_by([common.TableSortByFieldState().display_name(columns[0].title).desc(falling)])


def _thresholds(steps: Sequence[tuple[float, str]]) -> dashboard.ThresholdsConfig:
    first = Threshold(None, GREEN if steps else GREY)
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([first, *(Threshold(*s) for s in steps)])


def _mappings(names: Mapping[str, tuple[str, str]]) -> list[Any]:
    if not names:
        return []
    shown = enumerate(names.items())
    return [ValueMap({value: ValueMappingResult(text, color, index=at) for at, (value, (text, color)) in shown})]
