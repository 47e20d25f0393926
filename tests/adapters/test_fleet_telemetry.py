"""The metrics of a fleet job: what they count, and what is exposed of it."""

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
from prometheus_client.parser import text_string_to_metric_families

from forewarn import __version__
from forewarn.adapters.fleet_telemetry import ALERTS, CLOCK, READINGS, REJECTED, FleetTelemetry
from forewarn.core.alerts import Kind, Severity
from forewarn.core.readings import Outcome, Rejection, status_name
from forewarn.messages import TYPES
from tests.deploy.fleet_job import counts_of_one_batch, filled_fleet
from tests.deploy.sources import CARD, filled

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
SHA256 = "ab" * 32


def samples(source: FleetTelemetry) -> Samples:
    text = source.exposition()[0].decode()
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    by_labels = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in found}
    assert len(by_labels) == len(found), "a sample is exposed twice"
    return by_labels


def value(source: FleetTelemetry, name: str, **labels: str) -> float:
    return samples(source)[f"forewarn_fleet_{name}", tuple(sorted(labels.items()))]


def done(source: FleetTelemetry, batch: int = 0, seconds: float = 1.0, **counts: int) -> None:
    source.batch_done(batch, counts, {}, seconds)


def test_nothing_is_missing_before_the_first_micro_batch_but_what_nobody_knows_yet() -> None:
    before, after = samples(FleetTelemetry()), samples(filled_fleet())
    open_ended = {"forewarn_fleet_model_info", "forewarn_fleet_last_arrival_timestamp_seconds"}
    assert {name for name, _ in after.keys() - before.keys()} == open_ended
    assert before.keys() <= after.keys()
    counted = {name: n for (name, _), n in before.items() if name.startswith("forewarn_fleet_") and n}
    assert counted == {"forewarn_fleet_build_info": 1, "forewarn_fleet_batch": -1}
    assert value(FleetTelemetry(), "build_info", version=__version__) == 1


@pytest.mark.parametrize("outcome", Outcome)
def test_a_reading_is_counted_by_its_outcome_and_a_rejected_one_by_its_reason_besides(outcome: Outcome) -> None:
    source = FleetTelemetry()
    source.batch_done(0, {READINGS + status_name(outcome): 3}, {}, 1.0)
    name = status_name(outcome)
    if outcome in (Outcome.SCORED, Outcome.WARMING_UP):
        assert value(source, "readings_total", outcome=name) == 3
        assert value(source, "readings_total", outcome="rejected") == 0
    else:
        assert value(source, "readings_total", outcome="rejected") == 3
        assert value(source, "rejections_total", reason=name) == 3
    counted = {labels: n for (of, labels), n in samples(source).items() if of == "forewarn_fleet_readings_total"}
    assert sum(counted.values()) == 3


@pytest.mark.parametrize("reason", Rejection)
def test_a_message_that_is_no_reading_is_counted_by_the_reason(reason: Rejection) -> None:
    source = FleetTelemetry()
    source.batch_done(0, {REJECTED + reason: 2}, {}, 1.0)
    source.batch_done(1, {REJECTED + reason: 1}, {}, 1.0)
    assert value(source, "rejections_total", reason=reason.value) == 3
    assert value(source, "readings_total", outcome="rejected") == 3


def test_the_daemon_and_a_fleet_name_outcomes_reasons_and_models_alike() -> None:
    daemon: Samples = {}
    for family in text_string_to_metric_families(filled().exposition()[0].decode()):
        daemon |= {(sample.name, tuple(sorted(sample.labels.items()))): 0 for sample in family.samples}
    fleet = {(name.replace("forewarn_fleet_", "forewarn_"), labels) for name, labels in samples(filled_fleet())}
    shared = (
        *("forewarn_readings_total", "forewarn_rejections_total", "forewarn_alerts_total", "forewarn_model_info"),
        *("forewarn_reloads_total", "forewarn_evictions_total", "forewarn_restamped_total"),
        "forewarn_messages_skipped_total",
    )
    for name in shared:
        of_fleet = {labels for of, labels in fleet if of == name}
        assert of_fleet
        assert of_fleet == {labels for of, labels in daemon if of == name}, name


@pytest.mark.parametrize(("kind_of_change", "kind", "severity"), [*product(TYPES.values(), Kind, Severity)])
def test_a_message_about_an_alert_is_counted_by_type_kind_and_severity(
    kind_of_change: str, kind: Kind, severity: Severity
) -> None:
    source = FleetTelemetry()
    source.batch_done(0, {f"{ALERTS}{kind_of_change}:{kind}:{severity}": 2}, {}, 1.0)
    labels = {"type": kind_of_change, "kind": kind.value, "severity": severity.value}
    assert value(source, "alerts_total", **labels) == 2
    assert sum(n for (name, _), n in samples(source).items() if name == "forewarn_fleet_alerts_total") == 2


def test_the_other_counts_have_metrics_of_their_own() -> None:
    source = FleetTelemetry()
    done(source, skipped=1, restamped=2, evicted=3)
    done(source, skipped=10, restamped=20, evicted=30)
    assert value(source, "messages_skipped_total") == 11
    assert value(source, "restamped_total") == 22
    assert value(source, "evictions_total") == 33


def test_a_count_that_has_no_metric_is_an_error_and_not_lost() -> None:
    for name in (READINGS + "other", ALERTS + "raised:other:warning", "other"):
        with pytest.raises((KeyError, ValueError)):
            FleetTelemetry().batch_done(0, {name: 1}, {}, 1.0)


def test_levels_are_those_that_each_bucket_said_last() -> None:
    source = FleetTelemetry()
    source.batch_done(0, {}, {0: {"series": 5, "waiting": 2, "active": 1}, 1: {"series": 7, "waiting": 4}}, 1.0)
    assert [value(source, name) for name in ("series", "readings_waiting", "alerts_active")] == [12, 6, 1]
    source.batch_done(1, {}, {1: {"series": 8, "waiting": 0, "active": 3}}, 1.0)
    assert [value(source, name) for name in ("series", "readings_waiting", "alerts_active")] == [13, 2, 4]


def test_the_last_arrival_is_that_of_the_bucket_that_heard_of_the_latest() -> None:
    source = FleetTelemetry()
    source.batch_done(0, {}, {0: {CLOCK: 2_000_500}, 1: {CLOCK: 1_000_000}, 2: {"series": 1}}, 1.0)
    assert value(source, "last_arrival_timestamp_seconds") == 2000.5


def test_the_duration_of_micro_batches_is_a_histogram_of_all_of_them() -> None:
    source = FleetTelemetry()
    for batch, seconds in enumerate((0.2, 4.0, 4.5, 1000.0)):
        done(source, batch, seconds)
    assert value(source, "batch") == 3
    assert value(source, "batch_duration_seconds_count") == 4
    assert value(source, "batch_duration_seconds_sum") == pytest.approx(1008.7)
    by_bound = {bound: value(source, "batch_duration_seconds_bucket", le=bound) for bound in ("0.25", "5.0", "600.0")}
    assert by_bound == {"0.25": 1, "5.0": 3, "600.0": 3}
    assert value(source, "batch_duration_seconds_bucket", le="+Inf") == 4


def test_the_models_are_those_that_judge_now_and_one_of_two_names_is_there_once() -> None:
    source = FleetTelemetry()
    other = replace(CARD, version="2")
    source.models_loaded([(CARD, SHA256), (CARD, SHA256)])
    source.models_loaded([(other, "cd" * 32), (other, "cd" * 32)])
    (labels,) = (dict(labels) for name, labels in samples(source) if name == "forewarn_fleet_model_info")
    assert (labels["version"], labels["sha256"], labels["unit"]) == ("2", "cd" * 32, CARD.unit)


def test_a_model_with_half_of_a_surrogate_pair_in_its_name_does_not_end_scraping() -> None:
    source = FleetTelemetry()
    source.models_loaded([(replace(CARD, name="lone \udc80"), SHA256)])
    assert rb'name="lone \\udc80"' in source.exposition()[0]


def test_reloads_are_counted_by_their_result() -> None:
    source = FleetTelemetry()
    for outcome in ("taken", "refused", "refused"):
        source.reloaded(outcome)
    assert [value(source, "reloads_total", result=result) for result in ("taken", "refused")] == [1, 2]


def test_a_whole_micro_batch_adds_up() -> None:
    source, counts = FleetTelemetry(), counts_of_one_batch()
    source.batch_done(7, counts, {}, 1.0)
    said = Counter(dict.fromkeys(("readings", "rejections", "alerts"), 0))
    for (name, _), n in samples(source).items():
        said[name.removeprefix("forewarn_fleet_").removesuffix("_total")] += int(n)
    assert said["readings"] == sum(n for name, n in counts.items() if name.startswith((READINGS, REJECTED)))
    assert said["alerts"] == sum(n for name, n in counts.items() if name.startswith(ALERTS))
    assert value(source, "readings_total", outcome="rejected") == said["rejections"] > 0


def test_the_process_of_the_driver_is_there_too() -> None:
    assert samples(FleetTelemetry())["process_start_time_seconds", ()] > 0


def test_every_metric_has_a_help_text() -> None:
    text = filled_fleet().exposition()[0].decode()
    helped = dict(re.findall(r"^# HELP (\w+) (.+)$", text, re.MULTILINE))
    assert set(helped) == set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    assert all(len(words) > 10 for words in helped.values())


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt-get install -y prometheus")
@pytest.mark.parametrize("source", [FleetTelemetry(), filled_fleet()], ids=["at the start", "at work"])
def test_promtool_finds_nothing_to_say(source: FleetTelemetry) -> None:
    said = subprocess.run(
        ["promtool", "check", "metrics"], input=source.exposition()[0], capture_output=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
