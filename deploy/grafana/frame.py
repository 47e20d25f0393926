"""What all dashboards share: their variables, their links to each other, and how they become JSON."""

import json
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana.panels import SOURCE

# That of Grafana 11.6 to 12.1, which compose.yaml starts; a newer one brings it up to its own as it loads the file.
SCHEMA_VERSION = 41


def board(uid: str, title: str, text: str) -> dashboard.Dashboard:
    """A dashboard without panels, with links to the others."""
    made = dashboard.Dashboard(title).uid(uid).description(text).tags(["forewarn"]).timezone("browser")
    made.time("now-1h", "now").refresh("15s").tooltip(DashboardCursorSync.CROSSHAIR)
    chosen = VariableOption(text="Prometheus", value="prometheus")
    made.with_variable(
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus").current(chosen)
    )
    others = dashboard.DashboardLink("forewarn").type(DashboardLinkType.DASHBOARDS).tags(["forewarn"])
    return made.link(others.keep_time(True))  # without the chosen daemons: one device is of one of them


def choice(name: str, title: str, series: str, *, several: bool = False) -> dashboard.QueryVariable:
    """A variable with the values of a label of these series; with `several`, all of them until some are chosen."""
    asked = f"label_values({series}, {name})"
    variable = dashboard.QueryVariable(name).label(title).datasource(SOURCE)
    variable.query({"query": asked, "refId": name}).definition(asked)
    variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.NATURAL_ASC)
    if several:
        variable.multi(True).include_all(True).all_value(".+").current(VariableOption(text="All", value="$__all"))
    return variable


def annotation(name: str, expression: str, *, color: str, title: str, text: str = "") -> dashboard.AnnotationQuery:
    """Marks on every graph for as long as the expression is above 0."""
    marks = dashboard.AnnotationQuery().name(name).datasource(SOURCE).expr(expression).icon_color(color)
    return marks.title_format(title).text_format(text).step("15s").enable(True)


def as_json(made: dashboard.Dashboard) -> str:
    """The file of a dashboard; its panels are numbered in their order."""
    built = made.build()
    built.schema_version = SCHEMA_VERSION
    for number, panel in enumerate(built.panels or (), start=1):
        panel.id_val = number
    whole: Any = json.loads(json.dumps(built, cls=JSONEncoder))
    for shown in (*whole["links"], *whole["annotations"].get("list", ())):
        shown.pop("placement", None)  # newer versions of the SDK know one value alone, which hides it in a menu
    return json.dumps(whole, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
