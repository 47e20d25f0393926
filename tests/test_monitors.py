"""`[[monitors]]`: from settings to models, and what the commands say of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from forewarn.adapters.onnx_forecaster import STARTER
from forewarn.adapters.recorder import Recorder
from forewarn.cli import main
from forewarn.core.engine import Engine, Monitor
from forewarn.core.patterns import Choice, SeriesPattern
from forewarn.core.readings import Batch, Outcome, SeriesKey
from forewarn.core.rules import Rules, Threshold
from forewarn.core.verdicts import Verdicts
from forewarn.errors import ModelError, SettingsError
from forewarn.homeassistant import Discovery
from forewarn.messages import ModelTold, Phrasebook
from forewarn.monitors import Models, load_models, signature
from forewarn.recording import Recording
from forewarn.settings import Settings, effective, load
from forewarn.wiring import inputs_of, parts_of
from tests.daemons import TINY
from tests.forecasters import HalfTrend, card

PAIR = TINY.with_name("pair.onnx")
ANY = '[[inputs]]\ntopic = "s/{device}/{metric}"\n'
FREEZER, ROOM = SeriesKey("freezer-1", "temperature"), SeriesKey("room", "temperature")

Written = Callable[[str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(text: str) -> Path:
        path = tmp_path / "forewarn.toml"
        path.write_text(text)
        return path

    return write


def models(settings: Settings) -> Models:
    return load_models(settings, inputs_of(settings.inputs))


def test_a_file_is_loaded_once_however_many_name_it_and_by_whatever_path(written: Written, tmp_path: Path) -> None:
    (tmp_path / "link.onnx").symlink_to(TINY)
    paths = [TINY, TINY.parent / ".." / "models" / "tiny.onnx", tmp_path / "link.onnx", STARTER, "starter"]
    tables = "".join(f'[[monitors]]\ndevice = "{i}"\nmodel = "{path}"\n' for i, path in enumerate(paths))
    found = models(load(written(f"{tables}[[monitors]]\ndevice = 'none'\n{ANY}")).settings)
    assert [model.path for model in found.every] == [STARTER, TINY]
    chosen = [model for _, model, _ in found.monitors]
    assert chosen == [found.every[1]] * 3 + [found.rest] * 3
    engine = found.engine()
    assert len(engine._groups) == 2  # those of one model and equal rules judge together
    assert engine.card_of(SeriesKey("2", "t")).name == "tiny"
    assert found.of(SeriesKey("none", "t")) is found.rest is found.of(SeriesKey("other", "t"))


def test_what_a_monitor_does_not_say_is_as_for_all_others(written: Written) -> None:
    text = """
    [alerts]
    detector = "residual"
    sensitivity = 0.5
    raise_within = 5
    overrides = [{ device = "a", threshold = 3.0 }]
    [faults]
    stuck = false
    [[monitors]]
    device = "a*"
    alerts = { threshold = 7.0, raise_after = 4 }
    [[monitors]]
    metric = "m"
    alerts = { detector = "tail", overrides = [] }
    faults = { silent = false }
    """
    settings = load(written(text)).settings
    rest, first, second = settings.rules(), *(settings.rules(one) for one in settings.monitors)
    assert (rest.threshold, rest.raise_after, rest.sensitivity) == (Threshold(), 1, 0.5)
    assert (first.threshold, first.raise_after, first.raise_within) == (Threshold(7.0), 4, 5)
    assert (first.detector, first.overrides, first.stuck, first.silent) == ("residual", rest.overrides, False, True)
    assert (second.detector, second.overrides, second.sensitivity) == ("tail", (), 0.5)
    assert (second.stuck, second.silent) == (False, False)
    shown = dict(effective(settings))["monitors"]
    assert shown[1]["metric"] == "m"
    assert shown[1]["faults"] == {"stuck": False, "silent": False}
    assert "critical_ratio" not in shown[0]["alerts"]
    assert Settings(monitors=[{"device": "a"}]).rules(Settings(monitors=[{}]).monitors[0]) == Rules()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("alerts = { sensitivty = 1.0 }", "monitors.0.alerts.sensitivty; did you mean sensitivity?"),
        ("alerts = { sensitivity = 99.0 }", "monitors.0.alerts.sensitivity: "),
        ("alerts = { raise_after = 3 }", "monitors.0.alerts: raise_after 3 of the last raise_within 1 can never be"),
        ("alerts = 5", "monitors.0.alerts: a table is needed"),
        ("modle = 'x'", "monitors.0.modle; did you mean model?"),
        ("model = ''", "monitors.0.model: "),
    ],
)
def test_a_monitor_that_cannot_be_used_is_told_with_its_place(written: Written, table: str, says: str) -> None:
    path = written(f"{ANY}[[monitors]]\n{table}\n")
    with pytest.raises(SettingsError) as error:
        load(path)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{path}: ")
    assert says in line


FIXED = '[[inputs]]\ntopic = "s/{device}/t"\nmetric = "temperature"\n'
VALUES = '[[inputs]]\ntopic = "v/{device}"\ndialect = "json"\n[inputs.values]\ntemperature = "t"\n%s'
ZIGBEE = '[[inputs]]\ndialect = "zigbee2mqtt"\n'


@pytest.mark.parametrize(
    ("inputs", "table", "says"),
    [
        (
            ANY,
            "metric = 'humidity'",
            f"{PAIR} judges temperature, which metric = 'humidity' does not match: give metric",
        ),
        (FIXED, "", f"{PAIR} needs humidity, which no [[inputs]] gives: let one of them have it"),
        (VALUES % "", "metric = 'temp*'", f"{PAIR} needs humidity, which no [[inputs]] gives"),
        (ZIGBEE, "", f"{PAIR} needs humidity, which no [[inputs]] gives"),
        (f'{ZIGBEE}metrics = ["*hum*"]\n', "", f"{PAIR} needs temperature, which no [[inputs]] gives"),
        (ANY, "", ""),
        (FIXED + FIXED.replace("/t", "/h").replace("temperature", "humidity"), "metric = 't*'", ""),
        (VALUES % 'humidity = "h"\n', "", ""),
        (f'{ZIGBEE}metrics = ["Humidity", "temperature"]\n', "", ""),
        (FIXED + ZIGBEE.rstrip() + '\nmetrics = ["*hum*"]\n', "", ""),
    ],
)
def test_features_that_nothing_feeds_are_told_at_the_start(
    written: Written, inputs: str, table: str, says: str
) -> None:
    text = f"{inputs}[[monitors]]\n[[monitors]]\n{table}\nmodel = '{PAIR}'\n"
    settings = load(written(text)).settings
    if not says:
        assert len(parts_of(settings, lambda _n, _s: None).models.every) == 2
        return
    with pytest.raises(SettingsError) as error:
        parts_of(settings, lambda _n, _s: None)
    assert str(error.value).startswith(f"monitors.1: {says}")


def test_a_model_that_is_missing_or_none_is_told_with_its_monitor(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(f"{ANY}[[monitors]]\nmodel = 'starter'\n[[monitors]]\nmodel = '{tmp_path}/gone.onnx'\n")
    for command in (["check"], ["run"], ["backtest", "--data", "x.csv"]):
        assert main([*command, "--config", str(path)]) == 78
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"forewarn: monitors.1: {tmp_path}/gone.onnx: ")
    (tmp_path / "gone.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"^monitors.1: \S+gone.onnx: "):
        models(load(path).settings)


def test_every_file_is_watched(written: Written, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copy(TINY, tmp_path / f"{name}.onnx")
    settings = load(written("".join(f"[[monitors]]\nmodel = '{tmp_path}/{name}.onnx'\n" for name in "aab"))).settings
    before = signature(settings)
    assert len(before) == 3
    assert None not in before
    (tmp_path / "b.onnx").write_bytes(b"other")
    now = signature(settings)
    assert [was == is_ for was, is_ in zip(before, now, strict=True)] == [True, True, False]
    (tmp_path / "a.onnx").unlink()
    assert signature(settings)[1] is None


def test_explain_and_check_say_which_model_judges_what(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(f"{ANY}[[monitors]]\ndevice = 'freezer-*'\nmodel = '{PAIR}'\n[[monitors]]\ndevice = 'x'\n")
    assert main(["explain", "--config", str(path), "s/room/temperature", "20"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"judged by {STARTER}"
    assert main(["explain", "--config", str(path), "s/freezer-1/temperature", "20"]) == 1
    assert "the model needs humidity in the same message" in capsys.readouterr().out
    assert main(["explain", "--config", str(path), "s/freezer-1/humidity", "20"]) == 1
    assert "skipped" in capsys.readouterr().out
    assert main(["check", "--config", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("model:")] == [
        f"model: {model}, golden sample agrees" for model in (STARTER, PAIR)
    ]
    assert lines[-3:] == [
        f"judged by {PAIR}: device freezer-*, metric *",
        f"judged by {STARTER}: device x, metric *",
        f"judged by {STARTER}: all others",
    ]


def test_readings_of_other_features_are_recorded_apart(tmp_path: Path) -> None:
    pair = card(features=("temperature", "hum/idity"))
    cards = Choice(card(), [(SeriesPattern("freezer-*", "*"), pair)])
    shares: list[int] = []

    def recorder(place: Path, n: int, features: tuple[str, ...]) -> Recorder:
        shares.append(n)
        return Recorder(tmp_path / place, 1_000_000, features)

    recording = Recording(cards, recorder)
    at = np.array([1.7e9, 1.7e9 + 1, 1.7e9 + 2])
    verdicts = Verdicts.blank(3)
    verdicts.outcome[:] = [Outcome.SCORED, Outcome.WARMING_UP, Outcome.DUPLICATE]
    recording.write(Batch([FREEZER, ROOM, ROOM], at, at, np.array([[4.0, 40.0], [20.0, 0.0], [21.0, 0.0]])), verdicts)
    recording.close()
    assert shares == [2, 2]
    texts = {str(file.parent.relative_to(tmp_path)): file.read_text().splitlines() for file in tmp_path.rglob("*.csv")}
    assert {place: lines[0] for place, lines in texts.items()} == {
        ".": "timestamp,device,temperature",
        "temperature+hum%2Fidity": "timestamp,device,temperature,hum/idity",
    }
    assert [lines[1].split(",", 1)[1] for _, lines in sorted(texts.items())] == ["room,20.0", "freezer-1,4.0,40.0"]
    assert {len(lines) for lines in texts.values()} == {2}


def test_what_is_told_of_a_series_is_of_its_own_model() -> None:
    far, near = card(n_step=6, horizon=5), card(horizon=2)
    pattern = SeriesPattern("freezer-*", "*")
    engine = Engine(HalfTrend(near), Rules(), [Monitor("freezer-*", "*", HalfTrend(far), Rules())])
    told = [ModelTold({"name": name, "version": "1"}, unit) for name, unit in (("far", "K"), ("near", "°C"))]
    phrases = Phrasebook("forewarn/x", Choice(told[1], [(pattern, told[0])]), {"humidity": "%"})
    for i in range(60):
        values = np.array([[4.0 + i % 3], [20.0 + i % 2]])
        engine.ingest(Batch([FREEZER, ROOM], np.full(2, 1.7e9 + i), np.full(2, 1.7e9 + i), values))
    fleet = engine.fleet()
    states = [json.loads(phrases.state(fleet, row, []).payload) for row in range(2)]
    assert [(len(one["path"]), len(one["path_80"]), len(one["path_95"])) for one in states] == [(5, 5, 5), (2, 2, 2)]
    assert [one["unit"] for one in states] == ["K", "°C"]
    assert phrases.unit_of(SeriesKey("freezer-1", "humidity")) == "%"
    assert [phrases.model_of(key)["name"] for key in (FREEZER, ROOM)] == ["far", "near"]
    discovery = Discovery("homeassistant", birth_topic=None, version="0", most=9)
    for key in (FREEZER, ROOM, SeriesKey("room", "humidity")):
        discovery.add(key)
    bodies = [json.loads(outgoing.payload) for outgoing in discovery.due(phrases, 9)]
    assert [body["dev"]["mdl"] for body in bodies] == ["far 1", "near 1"]
