"""CloudEvents envelopes and MQTT 5 properties of alerts.

Held against https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md, its formats/json-format.md and
bindings/mqtt-protocol-binding.md: the required attributes, the type of each, the content type of the structured mode.
"""

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.core.alerts import AlertCleared, AlertRaised, AlertUpdated
from forewarn.core.patterns import Choice
from forewarn.core.readings import SeriesKey
from forewarn.envelope import AlertProperties, Properties, cloud_event
from forewarn.messages import ModelTold, Phrasebook
from tests.test_messages import MODEL, PHRASES, VALIDATORS, alert

SCHEMAS = Path(__file__).parents[1] / "docs" / "schema"
EVENTS = replace(PHRASES, cloudevents=True)
URI_REFERENCE = r"^[A-Za-z0-9._~%!$&'()*+,;=@-]+(/[A-Za-z0-9._~%!$&'()*+,;=:@-]+)*$"  # RFC 3986, path-noscheme
EVENT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "pattern": URI_REFERENCE},
        "type": {"enum": ["forewarn.alert.raised", "forewarn.alert.updated", "forewarn.alert.cleared"]},
        "subject": {"type": "string", "minLength": 1},
        "time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"type": "string", "pattern": "^urn:[a-z0-9][a-z0-9-]{0,31}:."},  # RFC 8141
        "data": {"type": "object"},
    },
}
ALERT_PROPERTIES = AlertProperties("gw")


def event_of(change: AlertRaised | AlertUpdated | AlertCleared, phrases: Phrasebook = EVENTS) -> dict[str, Any]:
    """The event of an alert, which is as the specification says."""
    event: dict[str, Any] = json.loads(phrases.alert(change).payload)
    jsonschema.Draft202012Validator(EVENT).validate(event)
    VALIDATORS["alert"].validate(event["data"])
    return event


def test_an_alert_in_an_envelope_is_the_same_alert() -> None:
    raised = AlertRaised(alert(sequence=3, at=1767270600.25, raised_at=1767270600.25))
    event = event_of(raised)
    plain = PHRASES.alert(raised)
    assert event.pop("data") == json.loads(plain.payload)
    assert EVENTS.alert(raised).topic == plain.topic
    assert event == {
        "specversion": "1.0",
        "id": "0123456789abcdef-3",
        "source": "forewarn/gw",
        "type": "forewarn.alert.raised",
        "subject": "freezer-3/temperature",
        "time": "2026-01-01T12:30:00.250Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:forewarn:alert:1",
    }


def test_the_schema_that_an_event_names_is_that_of_the_alert() -> None:
    schema = json.loads((SCHEMAS / "alert.schema.json").read_text("utf-8"))
    assert event_of(AlertRaised(alert()))["dataschema"] == schema["$id"]


@pytest.mark.parametrize(
    ("change", "name"), [(AlertRaised, "raised"), (AlertUpdated, "updated"), (AlertCleared, "cleared")]
)
def test_each_step_is_a_type_and_each_message_an_id_of_its_own(change: type[AlertRaised], name: str) -> None:
    first, second = (event_of(change(alert(sequence=n))) for n in (1, 2))
    assert first["type"] == f"forewarn.alert.{name}"
    assert first["id"] != second["id"]
    assert event_of(change(alert(sequence=1))) == first, "the same message again is the same event"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_a_device_says_the_time_is_one_of_rfc_3339_or_left_out(at: float) -> None:
    event = cloud_event("forewarn/gw", json.loads(PHRASES.alert(AlertRaised(alert())).payload) | {"at": at})
    jsonschema.Draft202012Validator(EVENT).validate(event)
    if "time" in event:
        assert datetime.fromisoformat(event["time"]).timestamp() == pytest.approx(at, abs=1e-3)
    else:
        assert not -6.2e10 < at < 2.5e11


@pytest.mark.parametrize("root", ["forewarn/büro 1", "a:b/c", "x/100 %", "x/?", 'x/"<>', "冷蔵庫/1"])
def test_any_name_of_an_instance_is_a_uri_reference(root: str) -> None:
    event = event_of(AlertRaised(alert()), Phrasebook(root, Choice(ModelTold(MODEL, "°C")), {}, cloudevents=True))
    assert re.fullmatch(URI_REFERENCE, event["source"])


@given(device=st.text(min_size=1), metric=st.text(min_size=1))
def test_any_name_is_the_subject_as_it_is(device: str, metric: str) -> None:
    document = json.loads(PHRASES.alert(AlertRaised(alert())).payload) | {"device": device, "metric": metric}
    assert cloud_event("forewarn/gw", document)["subject"] == f"{device}/{metric}"


# -- properties -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phrases", "content_type"),
    [(PHRASES, "application/json"), (EVENTS, "application/cloudevents+json; charset=utf-8")],
)
def test_the_properties_say_what_is_inside(phrases: Phrasebook, content_type: str) -> None:
    payload = phrases.alert(AlertCleared(alert(series=SeriesKey("d", "t")))).payload
    assert ALERT_PROPERTIES.of(payload, 2000.0) == Properties(
        content_type,
        (
            ("instance", "gw"),
            ("schema", "forewarn.alert/1"),
            ("kind", "residual"),
            ("type", "cleared"),
            ("severity", "warning"),
        ),
        None,
        None,
    )


@pytest.mark.parametrize("phrases", [PHRASES, EVENTS])
@pytest.mark.parametrize(
    ("now", "left"),
    [(1000.5, 600), (1000.0, 600), (1001.5, 599), (1001.6, 598), (1599.4, 1), (1599.6, 0), (1600.5, 0), (9e9, 0)],
)
def test_an_alert_expires_so_long_after_the_arrival_of_its_reading(phrases: Phrasebook, now: float, left: int) -> None:
    payload = phrases.alert(AlertRaised(alert(received_at=1000.5))).payload
    assert AlertProperties("gw", expiry_s=600).of(payload, now).expiry_s == left


def test_a_response_topic_is_told_where_there_is_one() -> None:
    payload = PHRASES.alert(AlertRaised(alert())).payload
    assert AlertProperties("gw", response_topic="desk/answers").of(payload, 0.0).response_topic == "desk/answers"


@pytest.mark.parametrize("payload", ["", "{", "[]", "null", "5", "{}", '{"specversion": "1.0"}'])
def test_what_a_damaged_file_held_is_sent_all_the_same(payload: str) -> None:
    properties = AlertProperties("gw", expiry_s=60).of(payload, 1e9)
    assert properties.user == (("instance", "gw"),)
    assert properties.expiry_s == 60
