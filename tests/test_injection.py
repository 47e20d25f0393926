"""Devices whose names are made to do harm: what they reach, from the message to topics, metrics, log and pages."""

import csv
import io
import json
import logging
import re
import unicodedata
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from forewarn.adapters.telemetry import Telemetry
from forewarn.core.alerts import SeriesEvicted
from forewarn.core.engine import Engine
from forewarn.core.patterns import Choice
from forewarn.core.readings import Batch, Rejection, SeriesKey
from forewarn.core.rules import Rules
from forewarn.errors import PayloadError
from forewarn.homeassistant import MOST_METRICS, Discovery
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Input
from forewarn.inputs.topics import TopicPattern
from forewarn.logs import _TextFormatter
from forewarn.messages import ModelTold, Outgoing, Phrasebook
from forewarn.report.page import render
from forewarn.report.used import Used
from tests.backtests import history_file, judged
from tests.discovery_schema import TOPIC, VALIDATOR
from tests.forecasters import HalfTrend, card

ROOT = "forewarn/default"
REFUSED = {
    "other topic": "../../status",
    "two levels": "a/b",
    "one level": "+",
    "all levels": "#",
    "wildcard inside": "a+b",
    "NUL": "a\0b",
    "empty": "",
    "200 characters": "x" * 200,
    "line end": "a\nforewarn_forged 1",
    "return": "a\rb",
    "escape": "\x1b[2J",
    "C1 control": "a\x9bb",
    "right-to-left override": "a\u202eb",
    "isolate": "a\u2066b",
    "zero width": "a\u200bb",
    "byte order mark": "\ufeffa",
    "soft hyphen": "a\u00adb",
    "tag": "a\U000e0041",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "lone surrogate": "a\ud800",
    "private": "a\ue000",
    "unassigned": "a\u0378",
}
HARMLESS = (
    *(
        "<script>alert(1)<",
        "'><img src=x onerror=alert(1)>",
        "&lt;script&gt;",
        "<title><style>",
        "javascript:alert(1)",
    ),
    *(
        '"} forewarn_forged 1',
        'a",metric="b',
        "a\\",
        "a\\n",
        "a\\u202e",
        "{device}",
        "%s %d {0}",
        "$SYS",
        "..",
        "status",
    ),
    *("%2e%2e%2fstatus", "a b", " ", "é", "e\u0301", "冷蔵庫", "0", "-1", "null", "NaN", "=HYPERLINK(1)", "x" * 128),
)
SEPARATE = "'\"></title></style></svg><|;`$(reboot)"


def decoder() -> Decoder:
    """Names from the topic, and names from the payload."""
    inputs = [
        Input(TopicPattern("sensors/{device}/{metric}")),
        Input(TopicPattern("gateway"), "json", device=("id",), values={"temperature": ("v",)}),
    ]
    return Decoder(inputs, card(), max_payload_bytes=65_536)


def of_payload(name: str) -> bytes:
    return json.dumps({"id": name, "v": 1.0}).encode()


@pytest.mark.parametrize("what", REFUSED)
def test_a_name_that_could_reach_elsewhere_becomes_no_reading(what: str) -> None:
    name = REFUSED[what]
    with pytest.raises(PayloadError) as caught:
        decoder().decode("gateway", of_payload(name))
    assert caught.value.reason is Rejection.BAD_DEVICE
    assert str(caught.value).isprintable()
    for topic in (f"sensors/{name}/temperature", f"sensors/a/{name}"):
        with pytest.raises(PayloadError) as caught:
            decoder().decode(topic, b"1")
        assert caught.value.reason in (Rejection.BAD_DEVICE, Rejection.NO_ROUTE)
        assert str(caught.value).isprintable()


def readings(name: str) -> Batch:
    """What a device of that name says, with a spike at the end; decoded as it would be."""
    values = [*(20 + 0.1 * np.sin(np.arange(300))), 90.0, 90.0, 90.0]
    payloads = [json.dumps({"id": name, "v": value}).encode() for value in values]
    decoded = [decoder().decode("gateway", payload).readings[0] for payload in payloads]
    at = 1.7e9 + 60.0 * np.arange(len(values), dtype=np.float64)
    return Batch([one.key for one in decoded], at, at, np.array([one.values for one in decoded]))


def published(names: tuple[str, ...]) -> tuple[dict[str, list[Outgoing]], Engine, Telemetry]:
    """Everything that is published of devices of these names."""
    engine = Engine(HalfTrend(), Rules(detector="residual"))
    telemetry = Telemetry(version="0", fleet=engine.fleet, max_devices=1000)
    phrases = Phrasebook(ROOT, Choice(ModelTold({"name": "m", "version": "1", "sha256": "0"}, "°C")), {})
    out: dict[str, list[Outgoing]] = {}
    for name in names:
        batch = readings(name)
        verdicts = engine.ingest(batch)
        telemetry.ingested(verdicts, np.zeros(len(batch)))
        said = out.setdefault(name, [])
        for event in verdicts.events:
            assert not isinstance(event, SeriesEvicted)
            telemetry.event(event)
            said.append(phrases.alert(event))
        said += [phrases.forecast(batch, 0, verdicts, row) for row in range(len(batch))]
        slot = verdicts.slot[-1:]
        said += [phrases.state(engine.fleet(slot), 0, engine.alerts(int(slot[0]))), phrases.no_state(batch.keys[0])]
    return out, engine, telemetry


def test_what_passes_is_published_below_its_own_name_and_nowhere_else() -> None:
    out, _, _ = published(HARMLESS)
    owner: dict[str, str] = {}
    for name, messages in out.items():
        assert {message.topic.split("/")[2] for message in messages} == {"alerts", "state", "forecast"}
        for message in messages:
            *root, branch, device, metric = message.topic.split("/")
            assert "/".join(root) == ROOT
            assert branch in ("alerts", "state", "forecast")
            assert (device, metric) == (name, "temperature")
            assert not set(message.topic) & set("+#\0")
            assert owner.setdefault(message.topic, name) == name, "two devices share a topic"
            if message.payload:
                assert json.loads(message.payload)["device"] == name


TEMPLATES = (
    *(
        '"}}{{ states() }}',
        "{% for i in range(9**9) %}",
        "{{ value_json }}",
        "{%- raw %}",
        "'",
        '","p":"lock',
        "~",
        "a~",
    ),
    *("a_b", "a-b", "homeassistant", "config", "device", "\\"),
)


def discovered(names: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """For each name the topic and the payload of what Home Assistant is told of a device with that name."""
    phrases = Phrasebook(ROOT, Choice(ModelTold({"name": "m", "version": "1"}, "°C")), {})
    home = Discovery("homeassistant", birth_topic=None, version="0", most=len(names) + 1)
    told = {}
    for name in names:
        assert home.add(SeriesKey(name, name))
        (message,) = home.due(phrases, 5)
        told[name] = {"topic": message.topic, "payload": message.payload}
    return told


def test_no_name_gets_into_a_template_or_into_an_id_of_home_assistant() -> None:
    """https://www.home-assistant.io/integrations/mqtt/#discovery-topic has the characters of ids."""
    told = discovered((*HARMLESS, *TEMPLATES))
    plain = json.loads(discovered(("a",))["a"]["payload"])["cmps"]
    templates = [[value for key, value in one.items() if key.endswith("tpl")] for one in plain.values()]
    ids: set[str] = set()
    for name, each in told.items():
        document = json.loads(each["payload"])
        VALIDATOR.validate(document)
        found = re.fullmatch(TOPIC, each["topic"])
        assert found
        assert (found["prefix"], found["node"]) == ("homeassistant", "forewarn_default")
        assert document["dev"]["name"] == name
        assert set(document) == {"dev", "o", "avty", "cmps"}
        state = f"{ROOT}/state/{name}/{name}"
        for component in document["cmps"].values():
            assert {component["stat_t"], component.get("json_attr_t", state)} == {state}
            topics = [one["t"] for one in component.get("avty", document["avty"])]
            assert topics in ([f"{ROOT}/status"], [f"{ROOT}/status", state])
            assert component["name"].startswith(f"{name} ")
        assert [[v for k, v in one.items() if k.endswith("tpl")] for one in document["cmps"].values()] == templates
        made = {found["object"], *document["dev"]["ids"], *(one["uniq_id"] for one in document["cmps"].values())}
        assert len(made) == 6
        assert not made & ids, f"{name!r} shares an id with another device"
        ids |= made


def test_metrics_that_are_made_up_fill_no_message() -> None:
    home = Discovery("homeassistant", birth_topic=None, version="0", most=10_000)
    assert sum(home.add(SeriesKey("a", f"m{i}")) for i in range(10_000)) == MOST_METRICS


def test_what_passes_is_one_label_of_the_metrics_and_forges_none() -> None:
    _, engine, telemetry = published(HARMLESS)
    text = telemetry.exposition()[0].decode()
    families = list(text_string_to_metric_families(text))
    plain = text_string_to_metric_families(published(("freezer",))[2].exposition()[0].decode())
    assert {family.name for family in families} == {family.name for family in plain}
    shown = [sample for family in families for sample in family.samples if "device" in sample.labels]
    assert {sample.labels["device"] for sample in shown} == set(HARMLESS)
    assert all(set(sample.labels) - {"kind"} == {"device", "metric"} for sample in shown)
    values = [sample for sample in shown if sample.name == "forewarn_series_value"]
    assert len(values) == len(engine.fleet().keys) == len(HARMLESS)
    assert "forewarn_forged" not in {family.name for family in families}


@pytest.mark.parametrize("name", [*HARMLESS, *REFUSED.values()])
def test_no_name_makes_a_line_of_the_log_or_moves_the_cursor(name: str) -> None:
    record = logging.makeLogRecord({"msg": "%s: %s", "args": ("bad_device", repr(name)), "levelno": 30})
    plain = logging.makeLogRecord({"msg": "%s", "args": (name,), "levelno": 30})
    assert _TextFormatter().format(record).isprintable()
    assert _TextFormatter().format(plain).replace("\n", "").isprintable()


def _page_of(names: tuple[str, ...], folder: Path) -> str:
    lines = history_file(folder, n=120, devices="ab", spikes=(100,)).read_text("utf-8").splitlines()
    rows = [lines[0].split(",")]
    for name in names:
        rows += [[at, name, value] for at, device, value in (line.split(",") for line in lines[1:]) if device == "a"]
    rows[1:] = sorted(rows[1:], key=lambda row: row[0])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path = folder / "<b>h.csv"
    path.write_text(text.getvalue(), "utf-8")
    return render(judged(path), Used([("model", names[0])], [("alerts.threshold", names[1], names[2])]))


def assert_tame(page: str) -> None:
    """Nothing in a page runs or leads elsewhere."""
    body = page.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', "")
    root = ET.fromstring(re.sub(r"<meta [^>]*>", "", body))  # noqa: S314 - our own text
    tags = {element.tag for element in root.iter()}
    assert not tags & {"script", "img", "iframe", "object", "embed", "link", "a", "form", "base", "foreignObject"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not [name for name in attributes if name.startswith("on") or name in ("href", "src", "action")]


def test_the_page_of_a_backtest_shows_names_as_text(tmp_path: Path) -> None:
    names = tuple(name.strip() for name in (*HARMLESS, SEPARATE) if name.strip() and name not in ("null", "NaN"))
    page = _page_of(names, tmp_path)
    assert_tame(page)
    assert "&lt;script&gt;" in page


def test_the_report_of_a_training_shows_names_as_text(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from forewarn_training.cli import main  # noqa: PLC0415 - needs the training extra

    device, column = "</svg><script>alert(1)</script>", "<b onload=x>"
    at = [f"2026-01-01T{i // 60:02}:{i % 60:02}:00" for i in range(600)]
    lines = [f"{moment},{device},{20 + np.sin(i / 9):.3f}" for i, moment in enumerate(at)]
    path = tmp_path / "h.csv"
    path.write_text("\n".join([f"timestamp,device,{column}", *lines]), "utf-8")
    quick = ["--epochs", "1", "--units", "4", "--n-step", "8", "--horizon", "2", "--unit", "<i>"]
    assert main(["fit", "--data", str(path), "--out", str(tmp_path / "m.onnx"), "--name", "<u>", *quick]) == 0
    page = (tmp_path / "m.html").read_text("utf-8")
    assert "&lt;script&gt;" in page
    assert_tame(page)


@given(st.text(st.characters(exclude_categories=[]), min_size=1, max_size=20))
def test_any_name_is_one_level_one_label_and_one_line_or_no_reading(name: str) -> None:
    try:
        (reading,) = decoder().decode("gateway", of_payload(name)).readings
    except PayloadError:
        return
    assert reading.key == SeriesKey(name, "temperature")
    assert not set(name) & set("/+#\0")
    assert not {unicodedata.category(c) for c in name} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert name.encode().decode() == name
