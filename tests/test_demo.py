"""The demonstration: its account, its views, and the whole of it as a user runs it."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from forewarn.demo import show
from forewarn.demo.board import ROOT, Board
from forewarn.demo.tally import Tally, TimedFault
from forewarn.demo.view import LiveView, PlainView
from forewarn.errors import ForewarnError, SettingsError

FAULTS = (TimedFault("freezer-1", "spike", 100.0, 101.0), TimedFault("room-1", "level_shift", 200.0, 220.0))
TALLY = Tally(FAULTS, settle_s=1.0, recovery_s=10.0)


def verdict(device: str, value: float, expected: float | None, status: str = "scored") -> tuple[str, bytes]:
    half = 0.5
    lower, upper = (None, None) if expected is None else (expected - half, expected + half)
    body = {"device": device, "value": value, "expected": expected, "lower": lower, "upper": upper, "status": status}
    return f"{ROOT}/forecast/{device}/temperature", json.dumps(body).encode()


def alert(device: str, change: str, at: float, kind: str = "residual") -> tuple[str, bytes]:
    sentence = f"{device} {change}"
    body = {"type": change, "kind": kind, "severity": "warning", "device": device, "raised_at": at}
    return f"{ROOT}/alerts/{device}/temperature", json.dumps({**body, "sentence": sentence}).encode()


def test_an_alert_while_a_fault_lasts_finds_it_and_one_on_the_way_back_is_not_false() -> None:
    account = TALLY.account([("freezer-1", 100.5), ("room-1", 225.0)], until=300.0)
    assert account.injected == {"spike": 1, "level_shift": 1}
    assert account.found == {"spike": 1, "level_shift": 0}
    assert account.missed == (FAULTS[1],)
    assert account.false_alerts == 0


def test_an_alert_on_another_device_or_at_another_time_is_false() -> None:
    account = TALLY.account([("fridge-1", 100.5), ("freezer-1", 99.0), ("freezer-1", 112.0)], until=300.0)
    assert account.false_alerts == 3
    assert sum(account.found.values()) == 0


def test_a_fault_that_still_lasts_is_not_counted() -> None:
    assert TALLY.account([], until=210.0).injected == {"spike": 1}


def test_the_account_says_what_was_not_found() -> None:
    lines = TALLY.account([("freezer-1", 100.5)], until=300.0).lines()
    assert lines == [
        "faults injected: 2",
        "faults found:    1 (spike 1 of 1, level shift 0 of 1)",
        "  not found:     level shift on room-1",
        "false alerts:    0",
    ]


def test_the_board_knows_only_what_arrived() -> None:
    now = 100.5
    board = Board(clock=lambda: now, tally=TALLY)
    assert not board.online.is_set()
    board.hear(f"{ROOT}/status", b"online")
    board.hear(*verdict("room-1", 21.0, None, "warming_up"))
    board.hear(*verdict("freezer-1", -10.0, -19.0))
    board.hear(*alert("freezer-1", "raised", now))
    assert board.online.is_set()
    freezer, room = board.rows
    assert (board.state(room), board.state(freezer)) == ("warming up", "ALERT residual")
    assert (board.injected("room-1"), board.injected("freezer-1")) == ("", "spike")
    assert freezer.sentence == "freezer-1 reads -10.00 °C; -19.00 ± 0.50 °C was expected"
    board.hear(*alert("freezer-1", "cleared", now))
    assert board.state(freezer) == "ok"
    assert board.raised == [("freezer-1", now)]


def test_plain_lines_hold_no_control_codes_and_tell_each_thing_once() -> None:
    board = Board(clock=lambda: 100.5, tally=TALLY)
    out = io.StringIO()
    with PlainView(out, "title") as view:
        view.show(board)
        board.hear(*verdict("freezer-1", -10.0, -19.0))
        board.hear(*alert("freezer-1", "raised", 100.5))
        view.show(board)
        view.show(board)
    lines = [re.sub(r"^ *[0-9.]+ s  ", "", line) for line in out.getvalue().splitlines()]
    assert lines == [
        "title",
        "injected  spike on freezer-1",
        "ALERT     freezer-1 raised",
        "forecast  freezer-1 reads -10.00 °C; -19.00 ± 0.50 °C was expected",
    ]
    assert not set(out.getvalue()) & {"\x1b", "\r"}


@pytest.mark.parametrize("height", [12, 24, 50])
def test_the_live_view_fits_the_terminal_and_keeps_devices_in_trouble(height: int) -> None:
    board = Board(clock=lambda: 100.5, tally=TALLY)
    for i in range(20):
        board.hear(*verdict(f"room-{i}", 20.0 + i, 20.0))
    for _ in range(30):
        board.hear(*alert("room-19", "raised", 100.5))
    console = Console(file=io.StringIO(), width=80, height=height, force_terminal=True, color_system=None)
    with LiveView(console, "one\ntwo\nthree") as view, console.capture() as capture:
        view.show(board)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capture.get()).splitlines()
    assert len(drawn) <= max(height, 15)
    assert any("room-19" in line and "ALERT residual" in line for line in drawn)
    assert any("room-19 raised" in line for line in drawn)


def test_what_cannot_be_shown_is_refused_by_option() -> None:
    with pytest.raises(SettingsError, match="--devices 101"):
        show.DemoSpec(n_device=101)
    with pytest.raises(SettingsError, match="--duration 0"):
        show.DemoSpec(duration_s=0.0)
    with pytest.raises(SettingsError, match="--speed 0"):
        show.DemoSpec(speed=0.0)


def test_without_the_demo_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "find_spec", lambda name: None if name == "amqtt" else object())
    with pytest.raises(ForewarnError, match=re.escape("pip install 'forewarn[demo]'")):
        show.demo(show.DemoSpec(), io.StringIO())


# -- the whole, as a process ------------------------------------------------------------------------------------------


def processes_with(text: str) -> list[str]:
    """Command lines of running processes that mention `text` in their arguments or their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode().replace("\0", " "))
        except OSError:
            continue  # it has ended, or is another user's
    return found


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Temporary files in a folder of the test's own, which marks the processes as well and is empty afterwards."""
    yield {**os.environ, "TMPDIR": str(tmp_path), "FOREWARN_MQTT__HOST": "unrelated.invalid"}
    assert processes_with(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_piped_demo_shows_a_forecast_and_an_alert_and_ends_with_its_account(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "forewarn", "demo", "--duration", "14", "--speed", "600"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert re.search(r"page http://127\.0\.0\.1:\d+/\n", done.stdout)
    assert re.search(r"^ *[0-9.]+ s  forecast +\S+ reads \S+ °C; \S+ .*°C was expected$", done.stdout, re.MULTILINE)
    told = r"^ *[0-9.]+ s  ALERT +\S+: it reads \S+ °C; it has been about \S+ °C of late"
    assert re.search(told, done.stdout, re.MULTILINE)
    assert re.search(r"^faults injected: [1-9]", done.stdout, re.MULTILINE)
    assert re.search(r"^faults found: +[1-9]", done.stdout, re.MULTILINE)
    assert re.search(r"^false alerts: +\d+$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_demo_cleanly(environment: dict[str, str], number: signal.Signals) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the suite with & has it ignored
    with subprocess.Popen(
        [sys.executable, "-m", "forewarn", "demo"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        time.sleep(1.0)
        running.send_signal(number)
        out, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (0, b"")
    assert b"faults injected: 0" in out
