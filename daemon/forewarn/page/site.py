"""The pages of the port by their paths, and the streams of what changes in them.

Rules that hold here:

- The engine is copied at most once in `FRESH_S`, whoever asks, and rows are drawn once of each copy: what a viewer
  costs does not grow with their number. One page is drawn at a time.
- A path leads to a page that is written here; device and metric of a query are looked up among the known series.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import numpy as np

from forewarn.adapters.http_request import Answer, Query, Route, Stream
from forewarn.core.engine import Engine
from forewarn.core.readings import SeriesKey
from forewarn.messages import Phrasebook
from forewarn.page import alerts, board, device, document
from forewarn.page.changes import Changes
from forewarn.page.drawn import Drawn, event
from forewarn.page.health import Health, health
from forewarn.page.rows import rows
from forewarn.page.view import Choice, View, deviation

FRESH_S = 0.9  # less than the pulse of a stream, which must not find the copy that it had

_Seen = TypeVar("_Seen")


class Look(Protocol):
    """Looks at the engine while it stands still: quickly, and only to copy."""

    def __call__(self, look: Callable[[Engine], _Seen], /) -> _Seen:
        """What `look` gives."""


class Site:
    """Draws the pages.

    Args:
        look: at the engine.
        health: of the daemon now.
        phrases: of the model that judges now.
        changes: the latest of alerts.
    """

    def __init__(
        self, look: Look, health: Callable[[], Health], phrases: Callable[[], Phrasebook], changes: Changes
    ) -> None:
        self._look, self._health, self._phrases, self._changes = look, health, phrases, changes
        self._drawing = threading.Lock()
        self._glance: _Glance | None = None

    def routes(self) -> dict[str, Route]:
        """What each path answers with."""
        return {"/": self._board_page, "/device": self._device_page, "/alerts": self._alerts_page}

    def streams(self) -> dict[str, Stream]:
        """What changes on these pages."""
        return {"/live": self._board_events, "/device/live": self._device_events, "/alerts/live": self._alerts_events}

    def _now(self) -> "_Glance":
        """The latest copy, or a new one; called while drawing."""
        if self._glance is None or time.monotonic() - self._glance.taken_at >= FRESH_S:
            self._glance = _Glance(self._look, self._health(), self._phrases())
        return self._glance

    # -- the list ---------------------------------------------------------------------------------------------------

    def _board_page(self, query: Query) -> Answer:
        view = View.of(query)
        with self._drawing:
            now = self._now()
            drawn = now.board(view, view.choose(now.fleet, deviation(now.fleet)))
        return _answer(board.page(drawn, view, now.health.instance))

    def _board_events(self, query: Query) -> Iterator[bytes]:
        """Rows keep their order, but for those whose state changes: nothing jumps while it is read."""
        view, before = View.of(query), None
        stamp, choice, away = None, None, np.zeros(0)
        while True:
            with self._drawing:
                now = self._now()
                if choice is None or now.stamp != stamp:
                    if len(away) != len(now.fleet.keys):
                        away = deviation(now.fleet)
                    stamp, choice = now.stamp, view.choose(now.fleet, away)
                drawn = now.board(view, choice)
            yield event(before, drawn)
            before = drawn

    # -- one series -------------------------------------------------------------------------------------------------

    def _device(self, series: SeriesKey) -> Drawn | None:
        with self._drawing:
            now = self._now()
            if series not in now.devices:
                course = self._look(lambda engine: engine.course(series))
                if course is None:
                    return None
                changes = self._changes.newest(series)
                now.devices[series] = device.device(course, changes, now.phrases, now.health.at)
            return now.devices[series]

    def _device_page(self, query: Query) -> Answer:
        series = _series(query)
        drawn = self._device(series)
        if drawn is None:
            return _answer(device.unknown(), 404)
        return _answer(device.page(drawn, series))

    def _device_events(self, query: Query) -> Iterator[bytes] | Answer:
        series = _series(query)
        if self._device(series) is None:
            return _answer(device.unknown(), 404)
        return self._events(lambda: self._device(series))

    # -- changes of alerts ------------------------------------------------------------------------------------------

    def _alerts(self) -> Drawn:
        with self._drawing:
            now = self._now()
            return alerts.listed(self._changes.newest(), now.alerts, now.phrases, now.health.at)

    def _alerts_page(self, _: Query) -> Answer:
        return _answer(alerts.page(self._alerts()))

    def _alerts_events(self, _: Query) -> Iterator[bytes]:
        return self._events(self._alerts)

    @staticmethod
    def _events(draw: Callable[[], Drawn | None]) -> Iterator[bytes]:
        before = None
        while (drawn := draw()) is not None:
            yield event(before, drawn)
            before = drawn


class _Glance:
    """The engine at one moment, and what was drawn of it."""

    def __init__(self, look: Look, of: Health, phrases: Phrasebook) -> None:
        self.taken_at = time.monotonic()
        self.fleet, self.alerts = look(lambda engine: (engine.fleet(), engine.active()))
        self.health, self.phrases = of, phrases
        self.devices: dict[SeriesKey, Drawn] = {}
        self.stamp = self.fleet.keys, self.fleet.state.tobytes()
        self._look = look
        self._rows: dict[int, str] = {}
        self._sections = {"alerts": alerts.active(self.alerts, phrases, of.at), "health": health(of)}
        self._of_slot = alerts.by_slot(self.alerts)

    def board(self, view: View, choice: Choice) -> Drawn:
        """The list of devices."""
        self._draw([row for row in choice.rows if row not in self._rows])
        shown = {f"s{row}": self._rows[row] for row in choice.rows}
        return board.board(view, choice, shown, self._sections, self.health)

    def _draw(self, new: list[int]) -> None:
        if new:
            recent = self._look(lambda engine: engine.recent(np.array(new, np.int64)))
            drawn = rows(self.fleet, new, recent, self._of_slot, self.phrases.unit_of, self.health.at)
            self._rows.update(zip(new, drawn, strict=True))


def _series(query: Query) -> SeriesKey:
    return SeriesKey(query.get("device", ""), query.get("metric", ""))


def _answer(page: bytes, status: int = 200) -> Answer:
    return Answer(status, "text/html; charset=utf-8", page, document.HEADERS)
