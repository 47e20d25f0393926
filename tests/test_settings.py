import json
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from forewarn.core.readings import SeriesKey
from forewarn.core.rules import Limits, Override, Rules, Threshold
from forewarn.errors import SettingsError
from forewarn.settings import Loaded, Settings, effective, load
from forewarn.settings.judging import AlertSettings, FaultSettings, LimitOverride
from forewarn.wiring import inputs_of, topics_of

SECRET = "hunter2"  # noqa: S105 - what must never be shown
INPUT = '[[inputs]]\ntopic = "sensors/{device}/{metric}"\n'


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("FOREWARN_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)


class Sources:
    """A settings file, variables and credentials of one test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = folder / "forewarn.toml"
        self.credentials = folder / "credentials"
        self._monkeypatch = monkeypatch

    def toml(self, text: str | bytes) -> "Sources":
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self

    def variables(self, **values: str) -> "Sources":
        for name, value in values.items():
            self._monkeypatch.setenv(name, value)
        return self

    def credential(self, name: str, text: str | bytes) -> "Sources":
        self.credentials.mkdir(exist_ok=True)
        (self.credentials / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        self._monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(self.credentials))
        return self

    def load(self) -> Loaded:
        return load(self.file if self.file.exists() else None)

    def problems(self, hidden: str = SECRET) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            self.load()
        lines = str(caught.value).split("\n")
        assert all(line and line.isprintable() and len(line) < 600 for line in lines)
        assert hidden not in str(caught.value)
        return [line.replace(str(self.file), "FILE").replace(str(self.credentials), "DIR") for line in lines]


@pytest.fixture
def given_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    return Sources(tmp_path, monkeypatch)


# -- where values come from ------------------------------------------------------------------------------------------


def test_without_anything_the_defaults_count() -> None:
    loaded = load(None)
    assert loaded.settings == Settings()
    assert loaded.origin("mqtt.host") == "default"


def test_credentials_beat_variables_which_beat_the_file_which_beats_the_defaults(given_by: Sources) -> None:
    given_by.toml('instance = "file"\n[mqtt]\nhost = "file"\nusername = "file"\npassword = "file"\n')
    given_by.variables(FOREWARN_MQTT__USERNAME="variable", FOREWARN_MQTT__PASSWORD="variable", forewarn_mqtt__port="1")  # noqa: S106
    loaded = given_by.credential("mqtt__password", f"{SECRET}\n").load()
    mqtt = loaded.settings.mqtt
    assert (mqtt.host, mqtt.username, mqtt.port, mqtt.keepalive_s) == ("file", "variable", 1, 30)
    assert mqtt.password is not None
    assert mqtt.password.get_secret_value() == SECRET
    origins = {key: loaded.origin(f"mqtt.{key}") for key in ("host", "username", "password", "port", "keepalive_s")}
    assert origins == {
        "host": str(given_by.file),
        "username": "environment",
        "password": "credentials",
        "port": "environment",
        "keepalive_s": "default",
    }


def test_a_variable_gives_tables_and_lists_as_json_and_single_keys_below_them(given_by: Sources) -> None:
    topic = "a/{device}/{metric}"
    given_by.toml(f'units = {{ temperature = "°F", humidity = "%" }}\n{INPUT}').variables(
        FOREWARN_INPUTS=json.dumps([{"topic": topic}]),
        FOREWARN_UNITS__TEMPERATURE="°C",
        FOREWARN_ALERTS__OVERRIDES='[{"threshold": 3}]',
        FOREWARN_METRICS='{"port": 1, "enabled": false}',
        FOREWARN_METRICS__PORT="2",
    )
    settings = given_by.load().settings
    assert [one.topic for one in settings.inputs] == [topic]
    assert settings.units == {"temperature": "°C", "humidity": "%"}
    assert settings.alerts.overrides[0].threshold == 3.0
    assert (settings.metrics.port, settings.metrics.enabled) == (2, False)


def test_a_file_with_a_byte_order_mark_is_read(given_by: Sources) -> None:
    assert given_by.toml(b'\xef\xbb\xbfinstance = "gw"\r\n').load().settings.instance == "gw"


def test_files_of_the_credentials_directory_that_are_not_ours_are_left_alone(given_by: Sources) -> None:
    given_by.credential("tls.key", b"\xff\xfe\x00").credential("big", b"x" * 20_000_000)
    (given_by.credentials / "folder").mkdir()
    assert given_by.load().settings == Settings()


def test_a_credentials_directory_that_is_not_there_gives_nothing(given_by: Sources) -> None:
    assert given_by.variables(CREDENTIALS_DIRECTORY="/nowhere/at/all").load().settings == Settings()


def test_only_the_line_end_of_a_credential_is_cut_off(given_by: Sources) -> None:
    password = given_by.credential("mqtt__password", " a b \r\n").load().settings.mqtt.password
    assert password is not None
    assert password.get_secret_value() == " a b "


def test_a_credential_whose_name_ends_in_file_is_that_file(given_by: Sources) -> None:
    given_by.toml("[mqtt]\ntls = true\ncert_file = '/etc/forewarn/client.crt'\n")
    mqtt = given_by.credential("mqtt__key_file", b"\xff" * 100_000).load().settings.mqtt
    assert mqtt.key_file == given_by.credentials / "mqtt__key_file"
    assert mqtt.cert_file == Path("/etc/forewarn/client.crt")


def test_the_user_name_may_be_a_credential_too(given_by: Sources) -> None:
    assert given_by.credential("mqtt__username", "gateway\n").load().settings.mqtt.username == "gateway"


def test_secrets_are_masked_wherever_settings_are_shown(given_by: Sources) -> None:
    settings = given_by.toml(f'[mqtt]\npassword = "{SECRET}"').load().settings
    shown = dict(effective(settings))
    assert shown["mqtt.password"] == "**********"
    assert SECRET not in f"{shown} {settings} {settings!r} {settings.mqtt!r} {settings.model_dump()}"
    assert (shown["mqtt.port"], shown["units"], shown["state.path"]) == (1883, {}, None)


# -- what is said of bad ones ----------------------------------------------------------------------------------------

TOML_PROBLEMS = {
    "instence = 1": "FILE: there is no setting instence; did you mean instance?",
    '"in\\nstance\\u001b[31m" = 1': r"FILE: there is no setting in\nstance\x1b[31m; did you mean instance?",
    "zzz = 1": "FILE: there is no setting zzz; there are instance, model, units, mqtt, inputs, alerts, faults, ",
    "_env_file = 'x'": "FILE: there is no setting _env_file; there are instance,",
    "__pydantic_self__ = 1": "FILE: there is no setting __pydantic_self__; there are",
    f"[mqtt]\npasword = '{SECRET}'": "FILE: there is no setting mqtt.pasword; did you mean password?",
    f"[mqtt]\npassword = ['{SECRET}']": "FILE: mqtt.password: Input should be a valid string",
    f"[mqtt]\npassword = {{ is = '{SECRET}' }}": "FILE: mqtt.password: Input should be a valid string",
    f"mqtt = 'mqtt://me:{SECRET}@host'": "FILE: mqtt: a table is needed",
    f"[mqtt]\nhost = 'mqtt://me:{SECRET}@host'": "FILE: mqtt.host: the name or address alone is needed, without mqtt://",
    "[mqtt]\nhost = ''": "FILE: mqtt.host: String should have at least 1 character",
    "[mqtt]\nport = 70000": "FILE: mqtt.port: Input should be less than or equal to 65535 (it is 70000)",
    "[mqtt]\nport = 'x\\n'": r"FILE: mqtt.port: Input should be a valid integer, unable to parse string as an integer "
    r"(it is 'x\\n')",
    "[mqtt]\nqos = 2": "FILE: mqtt.qos: Input should be 0 or 1 (it is 2)",
    "[mqtt]\ntls = 1.5": "FILE: mqtt.tls: Input should be a valid boolean",
    "[mqtt]\nca_file = '/ca.crt'": "FILE: mqtt: ca_file is for TLS: it needs tls = true",
    "[mqtt]\ntls = true\nkey_file = '/a'": "FILE: mqtt: key_file is the key of a client certificate: it needs",
    "[metrics]\nclient_ca_file = '/ca.crt'": "FILE: metrics: client_ca_file is for TLS: it needs cert_file",
    "[metrics]\nusername = 'a'": "FILE: metrics: username and password_hash belong together",
    "[metrics]\nusername = 'a:b'": "FILE: metrics.username: String should match pattern",
    f"[metrics]\nusername = 'a'\npassword_hash = '{SECRET}'": "FILE: metrics.password_hash: it is no hash of "
    "`forewarn hash-password`",
    "[mqtt]\nprotocol = '4'": "FILE: mqtt.protocol: Input should be '5' or '3.1.1' (it is '4')",
    "[publish]\nformat = 'cloudevent'": "FILE: publish.format: Input should be 'forewarn' or 'cloudevents'",
    "[publish]\nalert_expiry_s = 0": "FILE: publish.alert_expiry_s: Input should be greater than or equal to 1",
    "[publish]\nresponse_topic = 'answers/#'": "FILE: publish.response_topic: '#' is no name",
    "[publish]\nresponse_topic = '$SYS/x'": "FILE: publish.response_topic: topics that begin with $ are",
    "[inputs]\ntopic = 'x'": "FILE: inputs: a list is needed; of tables, each begins with the name in double brackets",
    "inputs = ['x']": "FILE: inputs.0: a table is needed (it is 'x')",
    "[[inputs]]\ndialect = 'json'": "FILE: inputs.0.topic is needed",
    "[[inputs]]\ntopic = '{device}/{metric}'\ntpic = 'a'": "FILE: there is no setting inputs.0.tpic; did you mean",
    "[[alerts.overrides]]\nthreshold = 1\ndevise = 'x'": "FILE: there is no setting alerts.overrides.0.devise; did you "
    "mean device?",
    "[[alerts.overrides]]\nthreshold = 0": "FILE: alerts.overrides.0.threshold: Input should be greater than 0",
    "units = 5": "FILE: units: a table is needed (it is 5)",
    "[units]\ntemperature = 5": "FILE: units.temperature: Input should be a valid string (it is 5)",
    "instance = 2026-01-31": "FILE: instance: Input should be a valid string",
    "instance = 'a/b'": "FILE: instance: 'a/b' is no name: 1 to 128 characters without / + # and control characters",
    "[publish]\nprefix = ''": "FILE: publish.prefix: '' is no name",
    "[publish]\nprefix = 'site/'": "FILE: publish.prefix: '' is no name",
    "[publish]\nprefix = 'site/#'": "FILE: publish.prefix: '#' is no name",
    "[publish]\nprefix = '$SYS/forewarn'": "FILE: publish.prefix: topics that begin with $ are the broker's own",
    "[alerts]\ncritical_ratio = inf": "FILE: alerts.critical_ratio: Input should be a finite number (it is inf)",
    "[alerts]\nclear_ratio = nan": "FILE: alerts.clear_ratio: Input should be less than or equal to 1 (it is nan)",
    "[alerts]\nraise_after = 3": "FILE: alerts: raise_after 3 of the last raise_within 1 can never be",
    "[alerts]\nthreshold_mode = 'absolute'": 'FILE: alerts: threshold_mode = "absolute" needs a threshold, in the unit',
    "[state]\nsave_every_s = 0": "FILE: state.save_every_s: Input should be greater than 0 (it is 0)",
    "[limits]\nmax_devices = 0": "FILE: limits.max_devices: Input should be greater than or equal to 1 (it is 0)",
    "instance = 'a'\nmqtt =\n": "FILE: is no TOML: Invalid value (at line 2, column 7)",
    "instance = 'a'\ninstance = 'b'\n": "FILE: is no TOML: Cannot overwrite a value (at line 2,",
    "port = " + "9" * 5000: "FILE: is no TOML: Exceeds the limit (4300 digits)",
    "a = " + "[" * 20_000: "FILE: is no TOML: maximum recursion depth exceeded",
    "a = '" + "x" * 100_000: "FILE: is no TOML: ",
}


@pytest.mark.parametrize("text", TOML_PROBLEMS, ids=lambda text: text[:40])
def test_a_file_that_cannot_be_used_is_one_line_with_its_name_and_the_key(given_by: Sources, text: str) -> None:
    (line,) = given_by.toml(text).problems()
    assert line.startswith(TOML_PROBLEMS[text])


INPUT_PROBLEMS = {
    'topic = "a/{device}/{metric}"\nvalue = "v"': "value is not for number: it is for dialect json",
    'topic = "a/{device}/{metric}"\ntime = "t"': "time is not for number: it is for dialect json",
    'topic = "a/{device}"\nvalues = {t = "v"}': "values is not for number: it is for dialect json",
    'topic = "a/{device}/{metric}"\ndialect = "json"': 'dialect "json" needs either value = "path" or a table',
    'topic = "a/{device}"\ndialect = "json"\nvalue = "v"\nvalues = {t = "v"}': 'dialect "json" needs either value',
    'topic = "a/+/{metric}"': "the device comes either from {device} in the topic or from a path device",
    'topic = "a/{device}/{metric}"\ndialect = "json"\nvalue = "v"\ndevice = "d"': "the device comes either from",
    'topic = "a/{device}"': "the metric comes from {metric} in the topic, from metric = … or from [inputs.values]",
    'topic = "a/{device}/{metric}"\nmetric = "t"': "the metric comes from {metric} in the topic, from metric",
    'topic = "a/{device}/{metric}"\ndialect = "json"\nvalues = {t = "v"}': "the metric comes from {metric}",
    'topic = "a/#/{device}"\nmetric = "t"': "topic 'a/#/{device}': + stands for a whole level and # for all",
    'topic = ""': "topic '': 1 to 65,535 bytes",
    'topic = "a/{device}"\nmetric = "a/b"': ".metric: 'a/b' is no name",
    'topic = "a/{device}"\ndialect = "json"\nvalues = {"a/b" = "v"}': ".values.a/b.[key]: 'a/b' is no name",
    'topic = "a/{device}"\ndialect = "json"\nvalues = {t = ""}': ".values.t: String should have at least 1 character",
    'topic = "a/+"\nmetric = "t"\ndialect = "json"\nvalue = "v"\ndevice = ""': ".device: String should have at least 1",
    'topic = "a/{device}"\nmetric = "t"\ndialect = "json"\nvalue = ""': ".value: String should have at least 1",
    'topic = "a/{device}"\nmetric = "t"\ndialect = "json"\nvalue = "v"\ntime = ""': ".time: String should have at",
    'dialect = "zigbee2mqtt"\nvalue = "v"': "value is not for zigbee2mqtt: it is for dialect json",
    'dialect = "zigbee2mqtt"\nmetric = "t"': "metric is not for zigbee2mqtt: it is for dialect number, json",
    'dialect = "zigbee2mqtt"\nmetrics = []': ".metrics: Tuple should have at least 1 item",
    'topic = "a/{device}/{metric}"\ndialect = "xml"': ".dialect: there is no dialect 'xml'; there are number, json",
    'topic = "a/{device}/{metric}"\nretained = true': ".retained: Input should be 'ignore', 'seed' or 'live'",
}


@pytest.mark.parametrize("text", INPUT_PROBLEMS)
def test_an_input_whose_keys_do_not_agree_is_told_with_its_place(given_by: Sources, text: str) -> None:
    (line,) = given_by.toml(f"{INPUT}[[inputs]]\n{text}").problems()
    place, says = re.fullmatch(r"FILE: inputs\.1(.*?): (.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]
    assert f"{place}: {says}".startswith(INPUT_PROBLEMS[text]) or says.startswith(INPUT_PROBLEMS[text])


def test_a_dialect_has_its_own_topics_which_can_be_others(given_by: Sources) -> None:
    given_by.toml(
        '[[inputs]]\ndialect = "zigbee2mqtt"\n[[inputs]]\ndialect = "zigbee2mqtt"\ntopic = "z/#"\nmetrics = ["a*"]\n'
        '[[inputs]]\ndialect = "shelly"\n[[inputs]]\ndialect = "shelly"\ntopic = "home/#"\n'
    )
    settings = given_by.load().settings
    assert topics_of(settings) == ["zigbee2mqtt/#", "z/#", "shellies/#", "+/events/rpc", "+/online", "home/#"]
    assert [one.metrics for one in inputs_of(settings.inputs)][:3] == [("*temperature*",), ("a*",), ("*temperature*",)]


VARIABLE_PROBLEMS = {
    ("FOREWARN_MQT__HOST", "x"): "environment variable FOREWARN_MQT__HOST: there is no setting mqt.host; did you",
    ("FOREWARN_MQTT__HOSTT", "x"): "environment variable FOREWARN_MQTT__HOSTT: there is no setting mqtt.hostt; did",
    ("FOREWARN_MQTT__HOST__X", "x"): "environment variable FOREWARN_MQTT__HOST__X: there is no setting mqtt.host.x: mq",
    ("FOREWARN_INSTANCE__X", "x"): "environment variable FOREWARN_INSTANCE__X: there is no setting instance.x: inst",
    ("FOREWARN_INPUTS__0__TOPIC", "x"): "environment variable FOREWARN_INPUTS__0__TOPIC: there is no setting",
    ("FOREWARN_", "x"): "environment variable FOREWARN_: there is no setting ; there are instance",
    ("FOREWARN__MQTT__HOST", "x"): "environment variable FOREWARN__MQTT__HOST: there is no setting _mqtt.host; did you",
    ("FOREWARN_INPUTS", "{bad"): "environment: FOREWARN_INPUTS…: is no JSON, as which a variable gives a whole table",
    ("FOREWARN_MQTT", SECRET): "environment: FOREWARN_MQTT…: is no JSON",
    ("FOREWARN_ALERTS__OVERRIDES", "x"): "environment: FOREWARN_ALERTS…: is no JSON",
    ("FOREWARN_INPUTS", "[" * 100_000): "environment: FOREWARN_…: is no JSON",
    ("FOREWARN_INPUTS", '[{"tpic": 1, "topic": "{device}/{metric}"}]'): "environment: there is no setting inputs.0.tp",
    ("FOREWARN_UNITS", "[]"): "environment: units: a table is needed",
    ("FOREWARN_ALERTS__THRESHOLD", "x"): "environment: alerts.threshold: Input should be a valid number, unable",
    ("FOREWARN_INSTANCE", "\udcff"): r"environment: instance: '\udcff' is no name",
}  # fmt: skip


@pytest.mark.parametrize("variable", VARIABLE_PROBLEMS, ids=lambda variable: f"{variable[0]}={variable[1][:20]!r}")
def test_a_variable_that_cannot_be_used_is_one_line_with_its_name(given_by: Sources, variable: tuple[str, str]) -> None:
    (line,) = given_by.variables(**dict([variable])).problems()
    assert line.startswith(VARIABLE_PROBLEMS[variable])


CREDENTIAL_PROBLEMS = {
    "mqtt__pasword": "credential DIR/mqtt__pasword: there is no setting mqtt.pasword; did you mean password?",
    "mqtt_password": "credential DIR/mqtt_password: did you mean mqtt__password?",
    "mqtt.password": "credential DIR/mqtt.password: did you mean mqtt__password?",
    "MQTT-Password": "credential DIR/MQTT-Password: did you mean mqtt__password?",
    "mqtt__password__x": "credential DIR/mqtt__password__x: there is no setting mqtt.password.x: mqtt.password is one",
    "mqtt": "credentials: mqtt: a table is needed",
}


@pytest.mark.parametrize("name", CREDENTIAL_PROBLEMS)
def test_a_credential_with_a_wrong_name_is_told(given_by: Sources, name: str) -> None:
    (line,) = given_by.credential(name, SECRET).problems()
    assert line.startswith(CREDENTIAL_PROBLEMS[name])


def test_a_credential_that_cannot_be_read_is_told(given_by: Sources) -> None:
    path = given_by.credential("mqtt__password", b"\xff").credentials / "mqtt__password"
    assert given_by.problems() == ["credential DIR/mqtt__password: is no UTF-8 text"]
    path.write_bytes(b"x" * 70_000)
    assert given_by.problems() == ["credential DIR/mqtt__password: is longer than 65536 bytes"]
    path.unlink()
    path.mkdir()
    assert given_by.problems() == ["credential DIR/mqtt__password: cannot be read (Is a directory)"]
    path.rmdir()
    path.symlink_to(path)
    assert given_by.problems() == ["credential DIR/mqtt__password: cannot be read (Too many levels of symbolic links)"]
    given_by.variables(CREDENTIALS_DIRECTORY=str(given_by.toml("").file))
    assert given_by.problems() == ["credentials directory FILE: cannot be read (Not a directory)"]


def test_a_file_that_cannot_be_read_is_told(given_by: Sources) -> None:
    for path, says in ((given_by.file, "No such file or directory"), (given_by.file.parent, "Is a directory")):
        with pytest.raises(SettingsError) as caught:
            load(path)
        assert str(caught.value) == f"{path}: cannot be read ({says}): give the settings file with --config"
    assert given_by.toml('instance = "gw"'.encode("utf-16")).problems()[0].startswith("FILE: is no TOML: 'utf-8' codec")


def test_each_of_several_problems_has_its_line_and_its_source(given_by: Sources) -> None:
    given_by.toml("instence = 1\n[alerts]\nraise_after = 3\n[mqtt]\nport = 0\n").variables(
        FOREWARN_ALERTS__RAISE_WITHIN="2", FOREWARN_LIMITS__MAX_QUEUE="-1"
    )
    assert sorted(given_by.problems()) == [
        "FILE and environment: alerts: raise_after 3 of the last raise_within 2 can never be",
        "FILE: mqtt.port: Input should be greater than or equal to 1 (it is 0)",
        "FILE: there is no setting instence; did you mean instance?",
        "environment: limits.max_queue: Input should be greater than or equal to 1 (it is '-1')",
    ]


KEYS = st.sampled_from(
    [
        *("instance", "model", "units", "mqtt", "inputs", "alerts", "faults", "metrics", "state", "publish", "limits"),
        *("host", "password", "topic", "dialect", "values", "overrides", "threshold", "path", "prefix", "max_devices"),
        *("_env_file", "__pydantic_self__", "self", "model_config", "x", "ä\n"),
    ]
)
LEAVES = st.one_of(st.booleans(), st.integers(), st.floats(), st.dates(), st.text(max_size=10), st.just("a/{device}"))
TABLES = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=4),
    lambda inner: st.dictionaries(KEYS, inner | LEAVES | st.lists(inner | LEAVES, max_size=3), max_size=5),
    max_leaves=10,
)
JSON_TEXTS = st.one_of(st.text(max_size=20), TABLES.map(lambda table: json.dumps(table, default=str)))
VARIABLES = st.dictionaries(
    st.builds("__".join, st.lists(KEYS.map(str.upper), min_size=1, max_size=3)).map("FOREWARN_{}".format),
    JSON_TEXTS.map(lambda text: text.replace("\0", "")),
    max_size=3,
)


def as_toml(value: Any) -> str:  # noqa: ANN401 - TOML is any of its types
    """A value in TOML; text as JSON writes it is TOML but for surrogates."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


@given(table=TABLES, variables=VARIABLES, credentials=st.dictionaries(KEYS, st.binary(max_size=20), max_size=2))
@examples(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_given_there_are_settings_or_printable_lines(
    tmp_path: Path, table: dict[str, Any], variables: dict[str, str], credentials: dict[str, bytes]
) -> None:
    for path in tmp_path.glob("credentials/*"):
        path.unlink()
    with pytest.MonkeyPatch.context() as monkeypatch:
        sources = Sources(tmp_path, monkeypatch)
        sources.toml("\n".join(f"{json.dumps(key)} = {as_toml(value)}" for key, value in table.items()))
        sources.variables(**variables)
        for name, content in credentials.items():
            sources.credential(name, content)
        try:
            settings = sources.load().settings
        except SettingsError:
            sources.problems(hidden="nothing")
        else:
            settings.rules()
            dict(effective(settings))


# -- what the core gets ----------------------------------------------------------------------------------------------


def test_every_setting_of_alerts_and_faults_reaches_the_rules() -> None:
    alerts = AlertSettings.model_validate(
        {
            "detector": "residual", "sensitivity": 0.5, "multivariate": False,
            "threshold_mode": "absolute", "threshold": 1.5, "clear_ratio": 0.25, "clear_after": 7, "raise_after": 4,
            "raise_within": 6, "critical_ratio": 3.5, "update_every_s": 12.0,
            "overrides": [
                {"device": "a*", "metric": "b", "threshold": 9, "threshold_mode": "absolute"}, {"threshold": 2}
            ],
        }
    )  # fmt: skip
    faults = FaultSettings(
        stuck=False, stuck_min_run=9, stuck_factor=8.0, silent=False, silent_factor=7.0, silent_min_s=6.0,
        unit_change=False, accept_after=30, limit_probability=0.9,
        overrides=(
            LimitOverride(device="a*", metric="b", low=-9.0, high=9.0, max_rate_per_s=1.0),
            LimitOverride(limit_below=1.0, limit_above=2.0),
        ),
    )  # fmt: skip
    limits = {"max_devices": 17, "max_future_s": 11.0, "max_gap": 5.0}
    units = {"temperature": "°C", "pressure": "hPa", "air": "degF"}
    rules = Settings.model_validate({"alerts": alerts, "faults": faults, "limits": limits, "units": units}).rules()
    assert rules == Rules(
        detector="residual",
        sensitivity=0.5,
        threshold=Threshold(1.5, absolute=True),
        overrides=(
            Override("a*", "b", Threshold(9.0, absolute=True)),
            Override("*", "*", Threshold(2.0, absolute=False)),
        ),
        raise_after=4, raise_within=6, clear_ratio=0.25, clear_after=7, critical_ratio=3.5, update_every_s=12.0,
        multivariate=False,
        stuck=False, stuck_min_run=9, stuck_factor=8.0, silent=False, silent_factor=7.0, silent_min_s=6.0,
        unit_change=False, accept_after=30, limit_probability=0.9,
        limits=(
            Limits("a*", "b", low=-9.0, high=9.0, max_rate_per_s=1.0),
            Limits("*", "*", limit_below=1.0, limit_above=2.0),
        ),
        other_units=frozenset({"pressure"}), max_gap=5.0, max_future_s=11.0, max_series=17,
    )  # fmt: skip
    defaults = Settings().rules()
    assert [field.name for field in fields(Rules) if getattr(rules, field.name) == getattr(defaults, field.name)] == []


def test_the_defaults_of_the_settings_are_those_of_the_rules() -> None:
    assert Settings().rules() == Rules()


def test_the_first_override_that_matches_wins() -> None:
    overrides = [
        {"device": "freezer-*", "threshold": 1.0},
        {"metric": "temperature", "threshold": 2.0, "threshold_mode": "absolute"},
    ]
    rules = Settings.model_validate({"alerts": {"overrides": overrides}}).rules()
    assert rules.threshold_of(SeriesKey("freezer-1", "temperature"), None) == Threshold(1.0, absolute=False)
    assert rules.threshold_of(SeriesKey("room", "temperature"), None) == Threshold(2.0, absolute=True)
    assert rules.threshold_of(SeriesKey("room", "humidity"), 5.0) == Threshold(5.0, absolute=False)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ({"device": "a"}, "at least one of low, high"),
        ({"low": 3.0, "high": 2.0}, "low 3 is not below high 2"),
        ({"limit_below": 5.0, "limit_above": 5.0}, "limit_below 5 is not below limit_above 5"),
    ],
)
def test_limits_that_say_nothing_or_contradict_themselves_are_refused(override: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        LimitOverride.model_validate(override)


def test_an_empty_state_path_is_none() -> None:
    assert Settings.model_validate({"state": {"path": ""}}).state.path is None
