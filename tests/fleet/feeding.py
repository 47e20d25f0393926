"""Deliveries made of random streams, and what a bucket says to them."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from forewarn.core.engine import Engine
from forewarn.core.rules import Limits, Rules
from forewarn.fleet.bucket import Bucket, Delivery, Said
from forewarn.guard import Guard
from forewarn.logs import Complaints
from tests.core.streams import Row, batch, entry, told
from tests.forecasters import HalfTrend

AT = 1.7e9  # when the streams begin
RULES = Rules(detector="residual", silent_min_s=20.0, max_gap=3.0, limits=(Limits(limit_above=22.0),))
LONG_S = 1e6
NEVER_S = 1e12
Departures = Sequence[tuple[str, float]]


def bucket(lateness_s: float = 10.0, away_s: float = NEVER_S, engine: Engine | None = None) -> Bucket:
    return Bucket(engine or Engine(HalfTrend(), RULES), Guard(Complaints()), lateness_s=lateness_s, away_s=away_s)


def again(one: Bucket, lateness_s: float = 10.0, away_s: float = NEVER_S, engine: Engine | None = None) -> Bucket:
    """A new one that goes on from where another is."""
    other = bucket(lateness_s, away_s, engine)
    other.restore(one.to_bytes())
    return other


def delivery(
    rows: Sequence[Row], departures: Departures = (), *, first_at: float | None = None, last_at: float | None = None
) -> Delivery:
    """Rows in the order of their arrival; the fleet is read from the first to the last, if nothing else is said."""
    arrivals = [row.received_at for row in rows] + [at for _, at in departures]
    first = min(arrivals, default=np.inf) if first_at is None else first_at
    last = max(arrivals, default=-np.inf) if last_at is None else last_at
    return Delivery(batch(rows), departures, first, last)


def parts(rows: Sequence[Row], departures: Departures, cuts: Iterable[float]) -> list[Delivery]:
    """Everything in deliveries that end at these arrivals, each time with all that came up to then."""
    ends = [*sorted(set(cuts)), max([row.received_at for row in rows] + [at for _, at in departures])]
    begin, found = -np.inf, []
    for end in ends:
        if end <= begin:
            continue
        some = [row for row in rows if begin < row.received_at <= end]
        gone = [one for one in departures if begin < one[1] <= end]
        if some or gone or begin > -np.inf:  # before the first arrival there is nothing to deliver
            found.append(
                delivery(some, gone, first_at=None if begin == -np.inf else np.nextafter(begin, np.inf), last_at=end)
            )
            begin = end
    return found


class Story:
    """What a bucket said, comparable to the bit."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.events: list[tuple[object, ...]] = []

    def note(self, said: Said) -> None:
        for judged, verdicts in said.judged:
            for i, key in enumerate(judged.keys):
                when = (str(judged.at[i]), str(judged.received_at[i]))  # NaN equals itself
                self.rows.append((str(key), *when, judged.values[i].tobytes(), *entry(verdicts, i)))
            assert verdicts.outcome.shape == (len(judged),)
        self.events += [told(event) for event in said.events]

    @property
    def statuses(self) -> list[str]:
        return [str(row[4]) for row in self.rows]


def story(one: Bucket, deliveries: Iterable[Delivery], wait_s: float = LONG_S) -> Story:
    found = Story()
    for each in deliveries:
        found.note(one.take(each))
    found.note(one.wait(wait_s))
    return found


def silences(found: Story) -> list[tuple[str, float]]:
    """Who was told to be silent, and as of when, from when the stream begins on."""
    return [
        (alert.series.device, alert.at - AT)  # type: ignore[attr-defined]
        for name, alert in found.events
        if name == "AlertRaised" and alert.kind == "silent"  # type: ignore[attr-defined]
    ]


def pairs(rows: Sequence[Row]) -> Iterable[tuple[Row, Row]]:
    return itertools.pairwise(rows)
