import re
import subprocess
import sys

import pytest

from forewarn import logs
from forewarn.logs import Complaints


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


def logged(level: str, **environment: str) -> list[str]:
    """What a process writes to standard error."""
    program = f"""
import logging
from forewarn.logs import start_logging
start_logging({level!r})
log = logging.getLogger("forewarn.x")
log.debug("a")
log.info("b")
log.warning("c\\nsecond line")
log.error("d")
"""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr.splitlines()


def test_lines_have_time_and_level_and_the_least_severe_are_left_out() -> None:
    (line,) = logged("error")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR   d", line)


def test_under_systemd_each_line_begins_with_its_priority() -> None:
    assert logged("debug", JOURNAL_STREAM="8:1") == ["<7>a", "<6>b", "<4>c", "<4>second line", "<3>d"]


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
