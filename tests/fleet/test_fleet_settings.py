import pickle
import re
from pathlib import Path

import pytest

from forewarn.core.rules import Rules
from forewarn.errors import SettingsError
from forewarn.fleet.settings import FleetSettings
from forewarn.settings import load
from tests.fleet.configs import NUMBERS, loaded, text

SECRET = "hunter2"  # noqa: S105 - what must never be shown
KAFKA = '[fleet.kafka.options]\n"kafka.bootstrap.servers" = "k:9092"\nsubscribe = "t"\n'


def refused(folder: Path, **given: object) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(folder, **given)
    return str(caught.value)


def test_a_file_of_the_daemon_becomes_one_of_a_fleet_with_one_more_table(tmp_path: Path) -> None:
    common = f'instance = "plant"\n[alerts]\nsensitivity = 0.5\n[faults]\nsilent_min_s = 45.0\n{NUMBERS}'
    (tmp_path / "daemon.toml").write_text(common)
    (tmp_path / "fleet.toml").write_text(f'{common}[fleet]\nfolder = "/f"\n')
    daemon = load(tmp_path / "daemon.toml").settings
    fleet = FleetSettings.model_validate({**daemon.model_dump(exclude_unset=True), "fleet": {"folder": "/f"}})
    assert fleet.instance == "plant"
    assert fleet.inputs == daemon.inputs
    for name in (name for name in Rules.__slots__ if name != "max_series"):
        assert getattr(fleet.rules(), name) == getattr(daemon.rules(), name)


@pytest.mark.parametrize(
    ("table", "content"), [("state", 'path = "x"'), ("record", 'folder = "x"'), ("homeassistant", "enabled = true")]
)
def test_tables_that_only_the_daemon_has_are_refused(tmp_path: Path, table: str, content: str) -> None:
    said = refused(tmp_path, rest=f"{NUMBERS}[{table}]\n{content}\n")
    assert f"[{table}] is for the daemon" in said
    assert "leave it out" in said


@pytest.mark.parametrize("dialect", ["zigbee2mqtt", "shelly", "homie", "sparkplug"])
def test_dialects_that_remember_are_refused(tmp_path: Path, dialect: str) -> None:
    said = refused(tmp_path, rest=f'{NUMBERS}[[inputs]]\ndialect = "{dialect}"\n')
    assert f'inputs.1: dialect "{dialect}" is not for a fleet' in said


def test_values_that_are_left_out_need_memory_and_are_refused(tmp_path: Path) -> None:
    given = '[[inputs]]\ndialect = "ttn"\nabsent_is_zero = ["temperature"]\n'
    assert "inputs.0: absent_is_zero is not for a fleet" in refused(tmp_path, rest=given)
    assert loaded(tmp_path, rest='[[inputs]]\ndialect = "ttn"\n').inputs[0].dialect == "ttn"


def test_a_fleet_without_inputs_or_folder_is_refused(tmp_path: Path) -> None:
    assert "at least one [[inputs]]" in refused(tmp_path, rest="")
    path = tmp_path / "none.toml"
    path.write_text(f"[fleet]\nbuckets = 3\n{NUMBERS}")
    from forewarn.fleet.settings import load_fleet  # noqa: PLC0415 - beside the one that writes the file

    with pytest.raises(SettingsError, match=r"fleet\.folder"):
        load_fleet(path)


@pytest.mark.parametrize(
    ("fleet", "rest", "problem"),
    [
        ('source = "kafka"', "", "kafka.bootstrap.servers"),
        ('alerts = ["kafka"]', "", "kafka.bootstrap.servers"),
        ('source = "kafka"', KAFKA.replace("subscribe", "startingOffsets"), "subscribe or subscribePattern"),
        ('source = "kafka"\nlanding = "/l"', KAFKA, 'landing is for source = "landing"'),
        ("alerts = []", "", "alerts"),
        ("buckets = 0", "", "buckets"),
        ("lateness_s = -1.0", "", "lateness_s"),
        ("lateness_s = inf", "", "lateness_s"),
        ("trigger_s = nan", "", "trigger_s"),
        ("away_s = 0.0", "", "away_s"),
        ("", '[fleet.kafka]\nmqtt_topic = "header:"\n', "mqtt_topic"),
    ],
)
def test_what_cannot_work_is_refused_by_name(tmp_path: Path, fleet: str, rest: str, problem: str) -> None:
    assert problem in refused(tmp_path, fleet=fleet, rest=NUMBERS + rest)


@pytest.mark.parametrize("topic", ["key", "topic", "header:mqtt"])
def test_kafka_with_servers_and_a_topic_is_taken(tmp_path: Path, topic: str) -> None:
    rest = f'{NUMBERS}{KAFKA}[fleet.kafka]\nmqtt_topic = "{topic}"\n'
    found = loaded(tmp_path, fleet='source = "kafka"\nalerts = ["files", "kafka"]', rest=rest).fleet
    assert (found.source, found.kafka.mqtt_topic, found.kafka.options["subscribe"]) == ("kafka", topic, "t")


@pytest.mark.parametrize(
    ("most", "buckets", "each"), [(1_000_000, 64, 19_548), (1, 1, 18), (1, 64, 17), (100, 1, 141), (64, 64, 18)]
)
def test_each_bucket_has_its_share_of_the_series_and_some_more(
    tmp_path: Path, most: int, buckets: int, each: int
) -> None:
    settings = loaded(tmp_path, fleet=f"max_series = {most}\nbuckets = {buckets}")
    assert settings.fleet.series_per_bucket == settings.rules().max_series == each
    assert buckets * each >= 1.25 * most


def test_the_cap_of_a_bucket_holds_for_the_rules_of_monitors_too(tmp_path: Path) -> None:
    rest = f'{NUMBERS}[[monitors]]\ndevice = "a"\nfaults = {{ silent_min_s = 77.0 }}\n'
    settings = loaded(tmp_path, fleet="max_series = 100\nbuckets = 1", rest=rest)
    rules = settings.rules(settings.monitors[0])
    assert (rules.max_series, rules.silent_min_s) == (141, 77.0)


def test_messages_land_in_the_folder_where_nothing_else_is_said(tmp_path: Path) -> None:
    assert loaded(tmp_path).fleet.inbox == tmp_path / "fleet" / "landing"
    assert loaded(tmp_path, fleet='landing = "/l"').fleet.inbox == Path("/l")


@pytest.mark.parametrize(
    ("fleet", "rest", "nearest"),
    [
        ("bucket = 3", "", "buckets"),
        ("", "[fleet.kafka]\nalert_topik = 'x'\n", "alert_topic"),
        ("latenes_s = 3", "", "lateness_s"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(tmp_path: Path, fleet: str, rest: str, nearest: str) -> None:
    assert re.search(rf"did you mean \S*{nearest}", refused(tmp_path, fleet=fleet, rest=NUMBERS + rest))


def test_a_variable_sets_what_the_file_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWARN_FLEET__BUCKETS", "7")
    assert loaded(tmp_path, fleet="buckets = 3").fleet.buckets == 7


def test_executors_are_given_no_password(tmp_path: Path) -> None:
    rest = f"""{NUMBERS}
    [mqtt]
    host = "broker"
    username = "u-{SECRET}"
    password = "{SECRET}"
    [fleet.kafka.options]
    "kafka.bootstrap.servers" = "k:9092"
    subscribe = "t"
    "kafka.sasl.jaas.config" = "password={SECRET}"
    [fleet.kafka.alert_options]
    "kafka.ssl.key.password" = "{SECRET}"
    [fleet.spark]
    "spark.hadoop.fs.s3a.secret.key" = "{SECRET}"
    """
    settings = loaded(tmp_path, fleet='source = "kafka"', rest=rest)
    assert SECRET in settings.fleet.kafka.options["kafka.sasl.jaas.config"]
    shipped = settings.for_executors()
    assert SECRET.encode() not in pickle.dumps(shipped)
    again = pickle.loads(pickle.dumps(shipped))  # noqa: S301 - our own
    for one in (shipped, again):
        assert SECRET not in repr(one) + one.model_dump_json() + repr(one.model_dump())
        assert one.mqtt.password is None
        assert one.rules() == settings.rules()
        assert (one.inputs, one.units, one.model) == (settings.inputs, settings.units, settings.model)
        assert (one.fleet.folder, one.fleet.buckets) == (settings.fleet.folder, settings.fleet.buckets)
    assert settings.mqtt.password is not None  # the driver still has it


def test_the_text_of_these_tests_is_a_whole_file(tmp_path: Path) -> None:
    assert text(tmp_path).count("[fleet]") == 1
