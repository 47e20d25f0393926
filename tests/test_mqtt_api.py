"""docs/mqtt-api.md is true: its examples are valid, and its tables have the fields of the schemas."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from forewarn.core.alerts import ABOUT, Alert, AlertRaised, Kind, Severity
from forewarn.core.card import ModelCard
from forewarn.core.readings import SeriesKey
from forewarn.envelope import cloud_event
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Input
from forewarn.inputs.feeds import Reading
from forewarn.inputs.topics import TopicPattern
from forewarn.messages import sentence
from tests.forecasters import card

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "mqtt-api.md").read_text("utf-8")
EXAMPLES: list[dict[str, Any]] = list(map(json.loads, re.findall(r"(?ms)^```json\n(.*?)^```", PAGE)))
SCHEMAS: dict[str, dict[str, Any]] = {
    name: json.loads((DOCS / "schema" / f"{name}.schema.json").read_text("utf-8"))
    for name in ("alert", "state", "forecast")
}


def of(name: str) -> list[dict[str, Any]]:
    return [example for example in EXAMPLES if example.get("schema", "").startswith(f"forewarn.{name}/")]


def rows(name: str) -> dict[str, list[str]]:
    """The cells of the table of a document's fields, by field."""
    table = PAGE.split(f"<!-- fields: {name} -->\n\n")[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {row[0].strip("`"): row for row in cells}


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_example_is_as_its_schema_says(name: str) -> None:
    assert of(name)
    for example in of(name):
        jsonschema.Draft202012Validator(SCHEMAS[name]).validate(example)
        assert list(example) == SCHEMAS[name]["required"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_table_has_every_field_in_its_order_and_says_which_may_be_null(name: str) -> None:
    table = rows(name)
    assert list(table) == SCHEMAS[name]["required"] == list(SCHEMAS[name]["properties"])
    for field, (_, _, null, meaning) in table.items():
        nullable = "null" in SCHEMAS[name]["properties"][field].get("type", ())
        assert (null != "never") == nullable, field
        assert meaning


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_table_names_every_member_of_an_enumeration(name: str) -> None:
    table = rows(name)
    for field, about in SCHEMAS[name]["properties"].items():
        for member in filter(None, about.get("enum", ())):
            assert f"`{member}`" in table[field][3], (field, member)


def test_the_sentence_of_the_example_is_the_one_of_its_numbers() -> None:
    (example,) = of("alert")
    numbers = {
        name: example[name] for name in ("value", "expected", "lower", "upper", "residual", "score", "threshold")
    }
    times = {name: example[name] for name in ("at", "received_at", "raised_at", "window_started_at")}
    series = SeriesKey(example["device"], example["metric"])
    about = {name: example[name] for name in ABOUT}
    kind, severity = Kind(example["kind"]), Severity(example["severity"])
    alert = Alert(example["id"], kind, severity, series, 0, **numbers, **times, **about)
    assert sentence(AlertRaised(alert), example["unit"]) == example["sentence"]
    assert example["residual"] == pytest.approx(example["value"] - example["expected"])


def test_the_event_of_the_page_is_the_one_of_its_alert() -> None:
    (example,) = (each for each in EXAMPLES if "specversion" in each)
    alert = {**example["data"], "type": "raised", "device": "freezer-3", "metric": "temperature", "at": 1767269400.0}
    event = cloud_event("forewarn/gateway-1", alert)
    assert list(event) == list(example)
    assert event | {"data": example["data"]} == example


def decoded(model: ModelCard, source: Input, topic: str, payload: str) -> list[Reading]:
    return list(Decoder([source], model, max_payload_bytes=1000).decode(topic, payload.encode()).readings)


def test_the_examples_of_readings_are_read_as_the_page_says() -> None:
    found = re.search(r"^(sensors/\S+) +(\S+)$", PAGE, re.MULTILINE)
    assert found
    number = Input(TopicPattern("sensors/{device}/{metric}"))
    assert decoded(card(), number, found[1], found[2]) == [Reading(SeriesKey("freezer-3", "temperature"), None, (4.1,))]
    (example,) = (each for each in EXAMPLES if not {"schema", "specversion"} & set(each))
    time, *values = re.findall(r'`(\w+) = "([\w.]+)"`', PAGE.split("## Readings")[1].split("```json")[0])
    paths = {metric: tuple(path.split(".")) for metric, path in values}
    source = Input(TopicPattern("a/{device}"), dialect="json", values=paths, time=(time[1],))
    assert decoded(card(), source, "a/d", json.dumps(example)) == [
        Reading(SeriesKey("d", "temperature"), 1769860800.0, (4.1,)),
        Reading(SeriesKey("d", "humidity"), 1769860800.0, (61.0,)),
    ]
