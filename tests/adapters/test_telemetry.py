"""The metrics: what they count, what they expose under hostile names, and that docs/metrics.md is their page."""

import math
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from forewarn.adapters.telemetry import Telemetry
from forewarn.core.alerts import AlertCleared, AlertRaised, AlertUpdated, Kind, Severity
from forewarn.core.readings import Fleet, Outcome, Rejection, SeriesKey, SeriesState
from tests.deploy.sources import CARD, alert, filled, fleet_of, verdicts_of, work

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def telemetry(fleet: Fleet | None = None, max_devices: int = 10) -> Telemetry:
    found = fleet_of(()) if fleet is None else fleet
    return Telemetry(version="0", fleet=lambda: found, max_devices=max_devices)


def samples(source: Telemetry) -> Samples:
    text = source.exposition()[0].decode()
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    by_labels = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in found}
    assert len(by_labels) == len(found), "a sample is exposed twice"
    return by_labels


def value(source: Telemetry, name: str, **labels: str) -> float:
    return samples(source)[name, tuple(sorted(labels.items()))]


def total(source: Telemetry, name: str) -> float:
    return sum(v for (found, _), v in samples(source).items() if found == name)


def shown(source: Telemetry) -> list[str]:
    return [dict(labels)["device"] for name, labels in samples(source) if name == "forewarn_series_value"]


# -- the page --------------------------------------------------------------------------------------------------------


def test_the_page_and_the_exposition_are_equal() -> None:
    text = filled().exposition()[0].decode()
    exposed = {}
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        labels = re.findall(rf"^{name}(?:_bucket)?{{(.*)}} ", text, re.MULTILINE)
        exposed[name] = kind, {label for line in labels for label in re.findall(r'(\w+)="', line)} - {"le"}
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(documented) == len(rows)
    assert documented == exposed


def test_the_page_says_every_label_value_that_is_not_a_name_from_outside() -> None:
    open_ended = {
        "device",
        "metric",
        "version",
        "python",
        "name",
        "target",
        "unit",
        "n_step",
        "horizon",
        "sha256",
        "le",
    }
    closed = {v for _, labels in samples(filled()) for label, v in labels if label not in open_ended}
    assert len(closed) > 20
    assert closed <= set(re.findall(r"`(\w+)`", PAGE))


def test_the_page_explains_every_reason_of_a_rejection_and_no_other() -> None:
    section = PAGE.partition("### Reasons of a rejection")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == {reason.value for reason in Rejection}


def test_every_metric_has_a_help_text() -> None:
    text = filled().exposition()[0].decode()
    helped = dict(re.findall(r"^# HELP (\w+) (.+)$", text, re.MULTILINE))
    assert set(helped) == set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    assert all(len(words) > 10 for words in helped.values())


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt-get install -y prometheus")
@pytest.mark.parametrize("source", [telemetry(), filled()], ids=["at the start", "at work"])
def test_promtool_finds_nothing_to_say(source: Telemetry) -> None:
    said = subprocess.run(
        ["promtool", "check", "metrics"], input=source.exposition()[0], capture_output=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")


def test_counts_of_a_version_with_fewer_outcomes_go_on_and_add_up() -> None:
    source = telemetry()
    fewer = [5, 3, 1, 0, 0, 2]
    source.take_counts(source.counts() | {"received": 11, "outcomes": fewer})
    source.ingested(verdicts_of([Outcome.FAILED]), np.zeros(1))
    assert value(source, "forewarn_readings_received_total") == total(source, "forewarn_readings_total") == 12
    assert value(source, "forewarn_rejections_total", reason="duplicate") == 2
    assert value(source, "forewarn_rejections_total", reason="failed") == 1


# -- readings --------------------------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.sampled_from(Rejection), st.lists(st.sampled_from(Outcome), max_size=20)), max_size=10))
def test_outcomes_add_up_to_what_was_received_and_reasons_to_the_rejected(
    happened: Sequence[Rejection | list[Outcome]],
) -> None:
    source = telemetry()
    for one in happened:
        if isinstance(one, Rejection):
            source.rejected(one)
        else:
            source.ingested(verdicts_of(one), np.zeros(len(one)))
    received = sum(1 if isinstance(one, Rejection) else len(one) for one in happened)
    assert value(source, "forewarn_readings_received_total") == received
    assert total(source, "forewarn_readings_total") == received
    tallies = source.tallies()
    assert (tallies.received, sum(tallies.rejected.values())) == (received, total(source, "forewarn_rejections_total"))
    rejected = value(source, "forewarn_readings_total", outcome="rejected")
    assert total(source, "forewarn_rejections_total") == rejected


def test_a_reason_counts_whether_the_decoder_or_the_engine_found_it() -> None:
    source = telemetry()
    source.rejected(Rejection.NOT_FINITE)
    source.ingested(verdicts_of([Outcome.NOT_FINITE, Outcome.SCORED, Outcome.DUPLICATE]), np.zeros(3))
    assert value(source, "forewarn_rejections_total", reason="not_finite") == 2
    assert value(source, "forewarn_rejections_total", reason="duplicate") == 1
    assert value(source, "forewarn_rejections_total", reason="not_json") == 0
    told = {reason: n for reason, n in source.tallies().rejected.items() if n}
    assert told == {Rejection.NOT_FINITE: 2, Rejection.DUPLICATE: 1}


@given(st.lists(st.lists(st.floats(0, 20) | st.sampled_from([0.001, 0.0025, 1.0, 10.0]), max_size=30), max_size=5))
def test_the_latency_histogram_is_that_of_prometheus_own_client(batches: list[list[float]]) -> None:
    source, registry = telemetry(), CollectorRegistry()
    bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
    oracle = Histogram("forewarn_reading_latency_seconds", "-", buckets=bounds, registry=registry)
    for batch in batches:
        source.ingested(verdicts_of([Outcome.SCORED] * len(batch)), np.array(batch))
        for latency in batch:
            oracle.observe(latency)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    expected = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}
    found = samples(source)
    compared = [key for key in expected if not key[0].endswith("_created")]
    assert len(compared) == len(bounds) + 3
    assert {key: found[key] for key in compared} == pytest.approx({key: expected[key] for key in compared})


def test_batches_and_calls_of_the_model_are_counted_by_size_and_time() -> None:
    source = telemetry()
    for size in (1, 3, 300):
        source.ingested(verdicts_of([Outcome.SCORED] * size), np.zeros(size))
        source.inferred(size, 0.002)
    assert value(source, "forewarn_batch_readings_bucket", le="1.0") == 1
    assert value(source, "forewarn_batch_readings_bucket", le="4.0") == 2
    assert value(source, "forewarn_batch_readings_sum") == 304
    assert value(source, "forewarn_forecasts_total") == 304
    assert value(source, "forewarn_inference_duration_seconds_bucket", le="0.001") == 0
    assert value(source, "forewarn_inference_duration_seconds_bucket", le="0.0025") == 3


def test_a_clock_that_was_set_back_gives_no_negative_latency() -> None:
    source = telemetry()
    source.ingested(verdicts_of([Outcome.SCORED, Outcome.SCORED]), np.array([-5.0, 0.5]))
    assert value(source, "forewarn_reading_latency_seconds_sum") == 0.5
    assert value(source, "forewarn_reading_latency_seconds_bucket", le="0.001") == 1


def test_a_scrape_in_the_midst_of_the_work_sees_whole_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    source, done = telemetry(), threading.Event()

    def go_on() -> None:
        while not done.wait(0.0001):
            work(source)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns in the midst of everything
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        seen = [source.exposition() for _ in range(50)]
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)
    for exposition in seen:
        monkeypatch.setattr(source, "exposition", lambda exposition=exposition: exposition)
        assert total(source, "forewarn_readings_total") == value(source, "forewarn_readings_received_total")
        assert value(source, "forewarn_reading_latency_seconds_count") == (value(source, "forewarn_batch_readings_sum"))


# -- alerts and the connection ---------------------------------------------------------------------------------------


def test_an_alert_is_active_from_raise_to_clear() -> None:
    source = telemetry()
    source.event(AlertRaised(alert()))
    source.event(AlertRaised(alert(SeriesKey("other", "m"))))
    source.event(AlertUpdated(alert(severity=Severity.CRITICAL)))
    assert value(source, "forewarn_alerts_active", kind="residual") == 2
    source.event(AlertCleared(alert(severity=Severity.CRITICAL)))
    assert value(source, "forewarn_alerts_active", kind="residual") == 1
    labels = {"kind": "residual", "severity": "critical"}
    assert value(source, "forewarn_alerts_total", **labels, type="updated") == 1
    assert value(source, "forewarn_alerts_total", **labels, type="raised") == 0


def test_an_alert_of_a_restored_state_is_active_and_was_not_raised_again() -> None:
    source = telemetry()
    source.resumed([alert(kind=Kind.SILENT)])
    assert value(source, "forewarn_alerts_active", kind="silent") == 1
    assert total(source, "forewarn_alerts_total") == 0
    source.event(AlertCleared(alert(kind=Kind.SILENT)))
    assert value(source, "forewarn_alerts_active", kind="silent") == 0


def test_a_series_that_is_shown_tells_each_of_its_active_alerts_and_when_it_was_raised() -> None:
    lone, left_out = SeriesKey("\udc80", "m"), SeriesKey("left out", "m")
    source = telemetry(fleet_of([lone, left_out]), max_devices=1)
    source.resumed([replace(alert(lone, Kind.SILENT), raised_at=7.0)])
    source.event(AlertRaised(replace(alert(lone), raised_at=8.0)))
    source.event(AlertUpdated(replace(alert(lone, severity=Severity.CRITICAL), raised_at=8.0, at=9.0)))
    source.event(AlertRaised(alert(left_out)))
    assert alerts_of(source) == {("\\udc80", "silent"): 7.0, ("\\udc80", "residual"): 8.0}
    source.event(AlertCleared(alert(lone)))
    assert alerts_of(source) == {("\\udc80", "silent"): 7.0}


def alerts_of(source: Telemetry) -> dict[tuple[str, str], float]:
    found = [(dict(labels), v) for (name, labels), v in samples(source).items() if "series_alert" in name]
    return {(labels["device"], labels["kind"]): v for labels, v in found}


def test_every_closed_label_value_is_there_before_anything_happened() -> None:
    source = telemetry()
    assert total(source, "forewarn_alerts_total") == 0
    names = [name for name, _ in samples(source)]
    assert names.count("forewarn_alerts_total") == len(Kind) * len(Severity) * 3
    assert names.count("forewarn_rejections_total") == len(Rejection)
    assert names.count("forewarn_devices") == len(SeriesState)


def test_a_reconnect_is_a_connection_after_the_first() -> None:
    source = telemetry()
    assert value(source, "forewarn_mqtt_connected") == 0
    seen = []
    for is_connected in (False, True, True, False, False, True):
        source.connected(is_connected)
        seen.append((value(source, "forewarn_mqtt_connected"), value(source, "forewarn_mqtt_reconnects_total")))
    assert seen == [(0, 0), (1, 0), (1, 0), (0, 0), (0, 0), (1, 1)]


def test_the_outbox_is_told() -> None:
    source = telemetry()
    source.queue("outbox", 4, 0)
    source.queue("outbox", 2, 12)
    assert value(source, "forewarn_queue_depth", queue="outbox") == 2
    assert value(source, "forewarn_dropped_total", queue="outbox") == 12
    assert source.tallies().queues == {"outbox": (2, 12)}


# -- series ----------------------------------------------------------------------------------------------------------


def test_a_series_shows_its_row_of_the_fleet_and_nothing_where_the_row_has_nothing() -> None:
    keys = [SeriesKey("a", "t"), SeriesKey("b", "t")]  # warming up, ok
    fleet = fleet_of(keys)
    source = telemetry(fleet)
    for name in ("value", "expected", "lower", "upper", "residual", "score", "threshold", "state"):
        found = value(source, f"forewarn_series_{name}", device="b", metric="t")
        assert found == float(getattr(fleet, name)[1]), name
    arrived = value(source, "forewarn_last_reading_timestamp_seconds", device="a", metric="t")
    assert arrived == fleet.received_at[0]
    assert ("forewarn_series_expected", (("device", "a"), ("metric", "t"))) not in samples(source)
    assert not any(math.isnan(v) for v in samples(source).values())


def test_a_device_is_counted_once_in_the_highest_state_of_its_series() -> None:
    # States go round: warming up, ok, alert.
    keys = [SeriesKey(d, m) for d, m in (("a", "1"), ("b", "1"), ("a", "2"), ("a", "3"), ("c", "1"), ("d", "1"))]
    source = telemetry(fleet_of(keys))
    counts = {state: value(source, "forewarn_devices", state=state) for state in ("warming_up", "ok", "alert")}
    assert counts == {"warming_up": 0, "ok": 2, "alert": 2}


def test_over_the_cap_the_series_known_longest_are_shown_and_the_others_counted() -> None:
    keys = [SeriesKey(name, "m") for name in "abc"]
    fleets = iter([fleet_of(keys[:2]), fleet_of([keys[2], *keys[:2]]), fleet_of([keys[2], keys[1]]), fleet_of(keys)])
    source = Telemetry(version="0", fleet=lambda: next(fleets), max_devices=2)
    assert shown(source) == ["a", "b"]
    assert shown(source) == ["a", "b"]
    assert shown(source) == ["b", "c"]  # a was evicted
    found = samples(source)  # a is back, as the newest
    assert found["forewarn_series_omitted", ()] == 1
    assert ("forewarn_series_value", (("device", "a"), ("metric", "m"))) not in found


def test_a_cap_of_zero_shows_no_series() -> None:
    source = telemetry(fleet_of([SeriesKey("a", "m")]), max_devices=0)
    assert shown(source) == []
    assert value(source, "forewarn_series_omitted") == 1


_NAMES = st.text(st.characters(codec=None, categories=None), max_size=8)


@given(st.lists(st.builds(SeriesKey, _NAMES, _NAMES), max_size=6, unique=True))
def test_any_name_gives_an_exposition_that_says_it_again(keys: list[SeriesKey]) -> None:
    source = telemetry(fleet_of(keys))
    found = samples(source)
    devices = [dict(labels) for name, labels in found if name == "forewarn_series_value"]
    expected = {tuple(part.encode("utf-8", "backslashreplace").decode() for part in key) for key in keys}
    assert {(labels["device"], labels["metric"]) for labels in devices} == expected
    assert value(source, "forewarn_series_omitted") == len(keys) - len(expected)


def test_a_lone_surrogate_and_the_text_of_its_escape_are_one_series_and_the_other_is_counted() -> None:
    source = telemetry(fleet_of([SeriesKey("\udc80", "m"), SeriesKey("\\udc80", "m")]))
    assert shown(source) == ["\\udc80"]
    assert value(source, "forewarn_series_omitted") == 1


def test_the_model_is_told_with_the_hash_of_its_file() -> None:
    source = telemetry()
    assert total(source, "forewarn_model_info") == 0
    source.models_loaded([(CARD, "cd" * 32)])
    (labels,) = [dict(labels) for name, labels in samples(source) if name == "forewarn_model_info"]
    assert labels == {
        "name": "starter",
        "version": "1",
        "target": "value",
        "unit": "°C",
        "n_step": "30",
        "horizon": "1",
        "sha256": "cd" * 32,
    }


def test_two_of_them_share_nothing() -> None:
    first, second = telemetry(), telemetry()
    work(first)
    assert value(second, "forewarn_readings_received_total") == 0
    assert value(second, "forewarn_alerts_active", kind="residual") == 0
