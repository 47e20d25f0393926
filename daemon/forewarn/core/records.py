"""What the engine was given, in bytes: the entries of a journal, from which a run is repeated to the bit.

A record is one line of JSON (what it is, how long its columns are, the series in it) and the columns behind it.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.core.readings import Batch, SeriesKey


class Tick(NamedTuple):
    """The arguments of `Engine.tick`."""

    now: float
    listening_since: float


class Lost(NamedTuple):
    """The argument of `Engine.lost`."""

    departures: Sequence[tuple[str, float]]


Step = Batch | Tick | Lost
"""One step of the engine: what it was given."""


def of_batch(batch: Batch) -> bytes:
    """A batch as bytes."""
    place: dict[SeriesKey, int] = {}
    series = np.array([place.setdefault(key, len(place)) for key in batch.keys], np.uint32)
    head: dict[str, Any] = {"n": len(batch), "features": batch.values.shape[1], "keys": list(place)}
    columns: list[NDArray[Any]] = [series, batch.at, batch.received_at, batch.values]
    if batch.seed is not None:
        head["seed"] = True
        columns.append(batch.seed)
    return b"\n".join([json.dumps(head, separators=(",", ":")).encode(), b"".join(c.tobytes() for c in columns)])


def of_tick(tick: Tick) -> bytes:
    """A tick as bytes."""
    return json.dumps({"tick": tick}).encode() + b"\n"


def of_lost(lost: Lost) -> bytes:
    """Departures as bytes."""
    return json.dumps({"lost": lost.departures}, separators=(",", ":")).encode() + b"\n"


def of(step: Step) -> bytes:
    """A step as bytes."""
    if isinstance(step, Batch):
        return of_batch(step)
    return of_tick(step) if isinstance(step, Tick) else of_lost(step)


def read(data: bytes) -> Step:
    """What a record says.

    Raises:
        ValueError: where the bytes are none.
    """
    line, _, rest = data.partition(b"\n")
    try:
        head: dict[str, Any] = json.loads(line)
        if "tick" in head:
            return Tick(*map(float, head["tick"]))
        if "lost" in head:
            return Lost([(str(device), float(at)) for device, at in head["lost"]])
        n, width = int(head["n"]), int(head["features"])
        known = [SeriesKey(str(device), str(metric)) for device, metric in head["keys"]]
        end = len(rest) - n * bool(head.get("seed"))
        series, at, received_at, values = _columns(rest[:end], n, width)
        seed = np.frombuffer(rest[end:], np.uint8) != 0 if end < len(rest) else None
        keys = [known[i] for i in series.tolist()]
        return Batch(keys, at, received_at, values.reshape(n, width), seed)
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError, MemoryError) as error:
        raise ValueError(f"no record: {error!r}") from error


def _columns(data: bytes, n: int, width: int) -> list[NDArray[Any]]:
    if n < 0 or width < 1 or len(data) != n * (4 + 8 * (2 + width)):
        raise ValueError(f"no record: {len(data)} bytes for {n} readings of {width} features")
    series = np.frombuffer(data, np.uint32, n)
    numbers = np.frombuffer(data[4 * n :], np.float64)
    return [series, *np.split(numbers, [n, 2 * n])]
