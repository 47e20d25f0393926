import json
import logging
import os
import re
import subprocess
import sys

import pytest

from forewarn import logs
from forewarn.logs import Complaints, Repeats


class Clock:
    """Monotonic seconds that a test moves."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logs, "time", clock)
    return clock


def logged(level: str, style: str = "text", **environment: str) -> list[str]:
    """What a process writes to standard error."""
    program = f"""
import logging
from forewarn.logs import start_logging
start_logging({level!r}, {style!r})
log = logging.getLogger("forewarn.x")
log.debug("a")
log.info("b")
log.warning("c\\nsecond line")
log.error("d")
"""
    command = [sys.executable, "-c", program]
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr.splitlines()


def test_lines_have_time_and_level_and_the_least_severe_are_left_out() -> None:
    (line,) = logged("error")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR   d", line)


def test_under_systemd_each_line_begins_with_its_priority() -> None:
    assert logged("debug", JOURNAL_STREAM="8:1") == ["<7>a", "<6>b", "<4>c", "<4>second line", "<3>d"]


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_traceback_has_neither_a_payload_nor_what_a_terminal_takes_for_more_than_text(style: str) -> None:
    program = f"""
from forewarn.logs import Complaints, start_logging
start_logging("info", {style!r})
try:
    raise ValueError("\\x1b[2J" + "x" * 100_000)
except ValueError as error:
    Complaints().add("poison", "detail", error)
"""
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
    assert "Traceback" in said
    assert "ValueError: " in said
    assert "\x1b" not in said
    assert 7_000 < len(said) < 9_000


def test_trouble_is_told_at_once_and_its_repeats_are_counted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    complaints.add("not_json", "first")
    complaints.add("no_route", "other")
    for i in range(10):
        complaints.add("not_json", f"repeat {i}")
    clock.now += 59.0
    complaints.flush()
    assert caplog.messages == ["not_json: first", "no_route: other"]
    clock.now += 2.0
    complaints.flush()
    assert caplog.messages[2:] == ["not_json: 10 more like this in 61 s"]


def test_trouble_that_goes_on_is_one_line_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for _ in range(600):
        complaints.add("not_json", "again")
        complaints.flush()
        clock.now += 1.0
    assert len(caplog.messages) == 10
    assert caplog.messages[1] == "not_json: 60 more like this in 60 s"


def test_trouble_that_was_over_for_a_minute_is_told_at_once_again(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    complaints = Complaints()
    complaints.add("not_json", "first")
    clock.now += 61.0
    complaints.flush()
    complaints.add("not_json", "anew")
    assert caplog.messages == ["not_json: first", "not_json: anew"]


def test_as_json_each_record_is_one_object_with_its_fields() -> None:
    lines = [json.loads(line) for line in logged("info", "json")]
    assert [(line["level"], line["logger"], line["message"]) for line in lines] == [
        ("info", "forewarn.x", "b"),
        ("warning", "forewarn.x", "c\nsecond line"),
        ("error", "forewarn.x", "d"),
    ]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", lines[0]["time"])
    assert [line[:10] for line in logged("info", "json", JOURNAL_STREAM="8:1")] == [f'<{n}>{{"time"' for n in (6, 4, 3)]


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("forewarn.x", logging.INFO, __file__, 1, message, args, None)
    vars(made).update(extra)
    return made


@pytest.mark.parametrize("formatter", [logs._TextFormatter(), logs._JsonFormatter()])
def test_a_long_message_is_cut_and_nothing_reaches_a_terminal_but_text(formatter: logging.Formatter) -> None:
    line = formatter.format(record("%s", "x" * 60_000))
    assert len(line) < 1_200
    assert "… (59,000 characters more)" in line
    line = formatter.format(record("device %s", "a\x1b[31m\u202eb\0"))
    assert r"device a\u001b[31m\u202eb\u0000" in line
    assert line.isprintable()
    line = formatter.format(record("m", device="a\u2028b"))
    assert line.isprintable()


def test_what_a_record_was_given_besides_is_in_its_object() -> None:
    given = record("m", device="a", count=3)
    given.exc_info = (ValueError, ValueError("why"), None)
    said = json.loads(logs._JsonFormatter().format(given))
    assert (said["device"], said["count"]) == ("a", 3)
    assert said["exception"].endswith("ValueError: why")
    assert set(said) == {"time", "level", "logger", "message", "device", "count", "exception"}


def test_of_many_messages_of_a_kind_the_first_are_shown_and_the_rest_is_counted(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    repeats = Repeats()
    shown = [repeats.filter(record("alert %d", i)) for i in range(logs.BURST + 1204)]
    assert shown == [True] * logs.BURST + [False] * 1204
    assert repeats.filter(record("something else"))
    caplog.set_level(logging.INFO)
    repeats.flush()
    assert caplog.messages == []
    clock.now += 60.0
    repeats.flush()
    repeats.flush()
    assert caplog.messages == ["forewarn.x: 1,204 more like this in 60 s: 'alert %d'"]
    assert repeats.filter(record("alert %d", 0))
