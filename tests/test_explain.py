"""`forewarn explain`, as it is called."""

import re
import shlex
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from forewarn.cli import main

ROOT = Path(__file__).parents[1]
SETTINGS = """
instance = "gw"
[units]
temperature = "°C"
[[inputs]]
topic = "s/{device}/temperature"
metric = "temperature"
unit = "°F"
[[inputs]]
topic = "j/{device}"
dialect = "json"
time = "at"
[inputs.values]
temperature = "t"
humidity = "h"
"""


@pytest.fixture
def explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> "Explained":
    path = tmp_path / "forewarn.toml"
    path.write_text(SETTINGS)
    return Explained(path, capsys)


class Explained:
    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.capsys = path, capsys

    def __call__(self, *words: str) -> tuple[int, list[str]]:
        code = main(["explain", "--config", str(self.path), *words])
        return code, self.capsys.readouterr().out.splitlines()


def test_a_reading_is_followed_to_the_topic_of_its_alerts(explained: Explained) -> None:
    code, lines = explained("s/fridge/temperature", "39.2")
    assert code == 0
    assert lines == [
        "message   's/fridge/temperature', 4 bytes: 39.2",
        "input 1   s/{device}/temperature (number) has the topic",
        "says      fridge temperature = 39.2",
        "reading   fridge temperature 4 °C at its arrival; alerts on forewarn/gw/alerts/fridge/temperature",
    ]


def test_a_message_with_one_value_is_a_reading_and_a_rejection(explained: Explained) -> None:
    code, lines = explained("j/a", '{"t": 4.5, "at": 1767225600, "h": null}')
    assert code == 0
    assert lines[1:] == [
        "input 1   s/{device}/temperature (number) has not the topic",
        "input 2   j/{device} (json) has the topic",
        "says      a temperature = 4.5 at 2026-01-01T00:00:00.000+00:00",
        "says      a humidity = None at 2026-01-01T00:00:00.000+00:00",
        "reading   a temperature 4.5 °C at 2026-01-01T00:00:00.000+00:00; alerts on forewarn/gw/alerts/a/temperature",
        "rejected  missing_value: 'humidity': there is no value",
    ]


@pytest.mark.parametrize(
    ("topic", "payload", "why"),
    [
        ("elsewhere", "1", "rejected  no_route: 'elsewhere'"),
        ("s/a/temperature", "warm", "rejected  not_number: b'warm' is no number"),
        ("j/a", "{", "rejected  not_json: Expecting property name"),
        ("s/a\x1b/temperature", "1", r"rejected  bad_device: 'a\x1b'"),
    ],
)
def test_what_is_no_reading_says_why_and_exits_with_1(explained: Explained, topic: str, payload: str, why: str) -> None:
    code, lines = explained(topic, payload)
    assert code == 1
    assert lines[-1].startswith(why)
    assert all(line.isprintable() for line in lines)


def test_a_retained_reading_begins_a_window(explained: Explained) -> None:
    assert "as the first of a window" in explained("--retained", "s/a/temperature", "1")[1][-1]


def test_the_example_of_the_page_is_what_is_printed(explained: Explained) -> None:
    readme, page = (ROOT / "README.md").read_text("utf-8"), (ROOT / "docs" / "inputs.md").read_text("utf-8")
    (settings,) = re.findall(r"cat > forewarn.toml <<'END'\n(.*?)END\n", readme, re.DOTALL)
    explained.path.write_text(settings)
    (command, shown) = re.findall(r"\$ (forewarn explain .*?)\n(.*?)```", page, re.DOTALL)[0]
    *_, topic, payload = shlex.split(command)
    assert explained(topic, payload) == (0, shown.splitlines())


def test_a_payload_from_standard_input_is_taken_as_it_is(explained: Explained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"\xff\xfe")))
    code, lines = explained("s/a/temperature", "-")
    assert code == 1
    assert lines[0] == r"message   's/a/temperature', 2 bytes: \xff\xfe"
