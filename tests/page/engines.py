"""Engines for tests of the page, and the page's own parts around them."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from forewarn.core.alerts import SeriesEvicted
from forewarn.core.engine import Engine
from forewarn.core.patterns import Choice
from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.rules import Limits, Rules
from forewarn.messages import ModelTold, Phrasebook
from forewarn.page.changes import Changes
from forewarn.page.health import Health
from forewarn.page.site import Site
from tests.forecasters import HalfTrend, card

NOW = 1.7e9
MODEL = {"name": "starter", "version": "2", "sha256": "ab" * 32}
PHRASES = Phrasebook("forewarn/test", Choice(ModelTold(MODEL, "°C")), {"humidity": "%"})

_Seen = TypeVar("_Seen")


def health(**changes: object) -> Health:
    """Of a daemon that is well."""
    fields: dict[str, object] = {
        "at": NOW,
        "instance": "gateway-1",
        "version": "0.1.0",
        "up_s": 300.0,
        "models": [MODEL],
        "broker": "127.0.0.1:1883",
        "connected": True,
        "readings_per_s": 12.34,
        "received": 1234,
        "rejected": {"duplicate": 0},
        "queues": {"inbox": (0, 0), "outbox": (0, 0)},
        "state": "ok",
        "active_alerts": 0,
    }
    return Health(**(fields | changes))  # type: ignore[arg-type]  # the test names them


class World:
    """An engine with a page. Readings come a minute apart; the last of `move` is at `NOW`.

    Attributes:
        looks: how often the engine was looked at.
        unwell: what of the daemon's health is not as usual.
    """

    def __init__(self, rules: Rules | None = None, max_series: int = 10_000) -> None:
        self.engine = Engine(HalfTrend(card(n_step=4, horizon=24)), rules or limits(max_series))
        self.changes = Changes()
        self.unwell: dict[str, object] = {}
        self._lock = threading.Lock()
        self.looks = 0
        self.site = Site(self.look, self.health, lambda: PHRASES, self.changes)

    def health(self) -> Health:
        return health(active_alerts=len(self.engine.active()), **self.unwell)

    def look(self, look: Callable[[Engine], _Seen], /) -> _Seen:
        self.looks += 1
        with self._lock:
            return look(self.engine)

    def move(self, names: Sequence[str], values: Sequence[float], at: float = NOW) -> None:
        """One reading of each of these series; a name is `device` or `device metric`."""
        keys = [
            SeriesKey(*(name.rsplit(" ", 1) if name.endswith(" humidity") else (name, "temperature"))) for name in names
        ]
        times = np.full(len(keys), at)
        batch = Batch(keys, times, times, np.array(values, np.float64)[:, None])
        with self._lock:
            verdicts = self.engine.ingest(batch)
        for event in verdicts.events:
            if not isinstance(event, SeriesEvicted):
                self.changes.add(event, PHRASES.sentence(event))

    def warm(self, names: Sequence[str], n: int = 60) -> None:
        """Readings about 4, the last of them a minute before `NOW`."""
        for i in range(n):
            self.move(names, [4.0 + 0.1 * ((i + j) % 3) for j in range(len(names))], NOW - 60.0 * (n - i))

    def forget(self) -> None:
        """Let the next look be a new one."""
        self.site._glance = None

    def get(self, path: str, **query: str) -> str:
        """The body of a page."""
        self.forget()
        answer = self.site.routes()[path](query)
        assert answer.status == 200
        return answer.body.decode()


def limits(max_series: int = 10_000) -> Rules:
    """A limit at 8 °C, which `move` can pass."""
    return Rules(limits=(Limits("*", "*", low=-4000.0, limit_above=8.0),), max_series=max_series, unit_change=False)
