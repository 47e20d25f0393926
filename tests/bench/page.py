"""What the page costs: how long it holds the engine, the CPU time of a draw, and the bytes.

A fleet of which every series has a reading between two looks, which is the most that can change. Times are medians.
`python -m tests.bench.page`.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from forewarn.adapters.onnx_forecaster import load_model, resolve_model
from forewarn.core.engine import Engine
from forewarn.core.patterns import Choice
from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.rules import Rules
from forewarn.messages import ModelTold, Phrasebook
from forewarn.page.changes import Changes
from forewarn.page.health import Health
from forewarn.page.site import Site

N_LOOK = 30
WARM_UP = 140  # readings of each series: as many as are kept, and then some

_Seen = TypeVar("_Seen")


class Fleet:
    """An engine whose every series has had a reading before each look."""

    def __init__(self, n: int) -> None:
        self.engine = Engine(load_model(resolve_model("starter")), Rules(max_series=n))
        self.held: list[float] = []
        self._rng = np.random.default_rng(1)
        self._keys = [SeriesKey(f"device-{i:05}", "temperature") for i in range(n)]
        self._at = 1.7e9
        for _ in range(WARM_UP):
            self.move()

    def move(self) -> None:
        """One reading of each series."""
        self._at += 10.0
        at = np.full(len(self._keys), self._at)
        self.engine.ingest(Batch(self._keys, at, at, self._rng.normal(20.0, 0.3, (len(at), 1)).round(2)))

    def look(self, look: Callable[[Engine], _Seen], /) -> _Seen:
        """As the daemon does it under its lock, timed."""
        began = time.perf_counter()
        seen = look(self.engine)
        self.held.append(time.perf_counter() - began)
        return seen

    def health(self) -> Health:
        """Of a daemon."""
        model = {"name": "starter", "version": "2", "sha256": "0" * 64}
        rejected = {"duplicate": 3}
        queues = {"inbox": (0, 0), "outbox": (0, 0)}
        return Health(self._at, "bench", "0", 1.0, [model], "127.0.0.1:1883", True, 1e3, 9, rejected, queues, "ok", 0)  # noqa: FBT003 - a flag in a row of plain values


def measure(n: int) -> str:
    """A row of the table for a fleet of `n` series."""
    fleet = Fleet(n)
    phrases = Phrasebook("forewarn/bench", Choice(ModelTold({"name": "", "version": "", "sha256": ""}, "°C")), {})
    site = Site(fleet.look, fleet.health, lambda: phrases, Changes())
    stream = site.streams()["/live"]({})
    assert not isinstance(stream, tuple)
    first = len(next(stream))
    costs: dict[str, list[float]] = {"held": [], "event": [], "page": [], "bytes": [], "device": []}
    draws: dict[str, Callable[[], bytes]] = {
        "event": partial(next, stream),
        "page": lambda: site.routes()["/"]({}).body,
        "device": lambda: site.routes()["/device"]({"device": "device-00001", "metric": "temperature"}).body,
    }
    for _ in range(N_LOOK):
        for name, draw in draws.items():
            fleet.move()
            site._glance = None
            fleet.held.clear()
            began = time.thread_time()
            drawn = draw()
            costs[name].append(1e3 * (time.thread_time() - began))
            if name == "event":
                costs["bytes"].append(len(drawn))
                costs["held"].append(1e3 * sum(fleet.held))
    page = len(site.routes()["/"]({}).body)
    row = {name: statistics.median(values) for name, values in costs.items()}
    return (
        f"| {n:,} | {row['held']:.2f} | {row['event']:.2f} | {row['page']:.2f} | {row['device']:.2f} "
        f"| {page / 1e3:.1f} | {first / 1e3:.1f} | {row['bytes'] / 1e3:.1f} |\n"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="+", default=[1000, 10_000])
    sys.stdout.write("| series | engine held, ms | event, CPU ms | list, CPU ms | device, CPU ms ")
    sys.stdout.write("| list, kB | first event, kB | event, kB |\n|" + "---:|" * 8 + "\n")
    for n in parser.parse_args().series:
        sys.stdout.write(measure(n))


if __name__ == "__main__":
    main()
