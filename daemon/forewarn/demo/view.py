"""The demonstration on a terminal, or line by line where there is none.

Both views have one face: a context manager with `show(board)`, called a few times a second. The one with lines writes
no control codes.
"""

import time
from datetime import datetime
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from forewarn.demo.board import Board, Notice, Row

_FORECAST_EVERY_S: Final = 2.0
_LEAST_NOTICES: Final = 4
_NOT_DEVICES: Final = 8  # lines for title, heads, caption, gap and cursor
_TYPE_WORDS: Final = {"raised": "ALERT", "updated": "alert", "cleared": "cleared"}


class View(Protocol):
    """What shows a board."""

    def show(self, board: Board) -> None:
        """Show what is new."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""


def view_on(stream: TextIO, title: str) -> View:
    """The live view where `stream` is a terminal, else the one with lines."""
    return LiveView(Console(file=stream), title) if stream.isatty() else PlainView(stream, title)


class PlainView:
    """A line for each alert and each injected fault, and every two seconds one for the forecast of one device."""

    def __init__(self, stream: TextIO, title: str) -> None:
        self._stream = stream
        self._title = title
        self._began = time.monotonic()
        self._n_notice = 0
        self._n_forecast = 0
        self._forecast_due = 0.0
        self._injected: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Say where everything is."""
        self._stream.write(self._title + "\n")
        self._stream.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to do."""

    def show(self, board: Board) -> None:
        """Write a line for each thing that is new."""
        rows = board.rows
        self._show_injected(board, rows)
        for notice in board.notices(self._n_notice):
            self._n_notice += 1
            self._line(_TYPE_WORDS[notice.type], notice.sentence)
        forecasts = [row for row in rows if row.expected is not None]
        if forecasts and time.monotonic() >= self._forecast_due:
            self._line("forecast", forecasts[self._n_forecast % len(forecasts)].sentence)
            self._n_forecast += 1
            self._forecast_due = time.monotonic() + _FORECAST_EVERY_S
        self._stream.flush()

    def _show_injected(self, board: Board, rows: list[Row]) -> None:
        for device in (row.device for row in rows):
            fault = board.injected(device)
            if fault and fault != self._injected.get(device):
                self._line("injected", f"{fault} on {device}")
            self._injected[device] = fault

    def _line(self, what: str, text: str) -> None:
        self._stream.write(f"{time.monotonic() - self._began:6.1f} s  {what:9} {text}\n")


class LiveView:
    """A table of devices and the latest alerts, redrawn in place."""

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Take the terminal."""
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back, the last picture on it."""
        self._live.__exit__(kind, error, trace)

    def show(self, board: Board) -> None:
        """Redraw."""
        title = Text(self._title, style="dim")
        room = self._console.height - _NOT_DEVICES - _LEAST_NOTICES
        table = _table(board, room)
        n_notice = max(_LEAST_NOTICES, self._console.height - _NOT_DEVICES - table.row_count)
        self._live.update(Group(title, table, _alerts(board.notices()[-n_notice:])), refresh=True)


def _table(board: Board, room: int) -> Table:
    """As many devices as there is room for, those with an alert or a fault first where there are too many."""
    rows = board.rows
    room = max(3, room)
    left_out = len(rows) - room
    if left_out > 0:
        urgent = sorted(rows, key=lambda row: not (board.state(row).startswith("ALERT") or board.injected(row.device)))
        rows = sorted(urgent[:room], key=lambda row: row.device)
    table = Table(box=None, pad_edge=False, caption=f"and {left_out} more" if left_out > 0 else None)
    table.add_column("device", min_width=11)
    for name in ("reading °C", "expected °C", "±"):
        table.add_column(name, justify="right", min_width=len(name))
    table.add_column("state", min_width=14)
    table.add_column("injected", min_width=11)
    for row in rows:
        state = board.state(row)
        style = "bold red" if state.startswith("ALERT") else "green" if state == "ok" else "dim"
        half = None if row.upper is None or row.lower is None else (row.upper - row.lower) / 2
        numbers = ("" if number is None else f"{number:.2f}" for number in (row.value, row.expected, half))
        table.add_row(row.device, *numbers, Text(state, style=style), Text(board.injected(row.device), style="yellow"))
    return table


def _alerts(notices: list[Notice]) -> Text:
    text = Text("\nalerts, as they arrive over MQTT", style="bold", no_wrap=True, overflow="ellipsis")
    text.append("" if notices else "\n  none yet", style="not bold dim")
    for notice in notices:
        at = datetime.fromtimestamp(notice.arrived_at).astimezone().strftime("%H:%M:%S")
        style = "not bold green" if notice.type == "cleared" else "not bold red"
        text.append(f"\n  {at}  {_TYPE_WORDS[notice.type]:8}{notice.sentence}", style=style)
    return text
