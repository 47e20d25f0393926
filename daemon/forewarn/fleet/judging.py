"""The second stage: what came to a bucket, judged, and what it says as rows.

Rules that hold here:

- A reading counts once, under the name that its outcome has in the daemon.
- An alert is the daemon's own message, with its id and sequence: what is delivered twice can be told by these.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.adapters.fleet_telemetry import ALERTS, CLOCK, READINGS
from forewarn.core.alerts import AlertChange, SeriesEvicted
from forewarn.core.readings import Batch, Floats, Outcome, SeriesKey, status_name
from forewarn.core.verdicts import Verdicts
from forewarn.fleet.bucket import Bucket, Delivery, Said
from forewarn.fleet.rows import Read
from forewarn.fleet.rows import Said as Row
from forewarn.fleet.settings import FleetSettings
from forewarn.guard import Guard
from forewarn.logs import Complaints
from forewarn.messages import TYPES, Phrasebook
from forewarn.monitors import Models
from forewarn.wiring import phrasebook

_MEASURES = ("expected", "lower", "upper", "residual", "score", "threshold")

Columns = dict[str, Sequence[Any] | NDArray[Any]]


class Judge:
    """Judges the buckets of one task."""

    def __init__(self, settings: FleetSettings, models: Models, *, scores: bool) -> None:
        """Judge with these models; with `scores`, say what every reading was."""
        self._settings, self._models, self._scores = settings, models, scores
        self._phrases: Phrasebook = phrasebook(settings, models)
        self._guard = Guard(Complaints())
        self._width = max(len(model.card.features) for model in models.every)
        self._targets = models.choice(lambda model: model.card.target_index)

    def bucket(self, state: bytes | None) -> Bucket:
        """A bucket as it was left, or a new one.

        Raises:
            ValueError: where the state is damaged.
        """
        fleet = self._settings.fleet
        bucket = Bucket(self._models.engine(), self._guard, lateness_s=fleet.lateness_s, away_s=fleet.away_s)
        if state is not None:
            bucket.restore(state)
        return bucket

    def delivery(self, rows: Columns) -> tuple[Delivery, Counter[str]]:
        """What rows of `READ` bring, and what they count."""
        kind = np.asarray(rows["kind"])
        clocks = np.flatnonzero(kind == Read.CLOCK)
        first_at, last_at = np.asarray(rows["at"], np.float64), np.asarray(rows["received_at"], np.float64)
        gone = np.flatnonzero(kind == Read.DEPARTURE).tolist()
        device, n = rows["device"], rows["n"]
        delivery = Delivery(
            self._batch(rows, np.flatnonzero(kind == Read.READING)),
            sorted(((str(device[row]), float(last_at[row])) for row in gone), key=lambda one: (one[1], one[0])),
            float(first_at[clocks].min(initial=np.inf)),
            # A task that lags behind the others holds the clock back.
            float(last_at[clocks].min()) if len(clocks) else -np.inf,
        )
        counted = np.flatnonzero(kind == Read.COUNT).tolist()
        counts = Counter[str]()
        for row in counted:
            counts[str(device[row])] += int(n[row])
        return delivery, counts

    def _batch(self, rows: Columns, chosen: NDArray[np.intp]) -> Batch:
        """Readings in the order of their arrival; rows come in any order."""
        device, metric, measured = rows["device"], rows["metric"], rows["measured"]
        nth, received_at = np.asarray(rows["n"]), np.asarray(rows["received_at"], np.float64)
        chosen = chosen[np.lexsort((nth[chosen], received_at[chosen]))]
        if ((np.diff(nth[chosen]) == 0) & (np.diff(received_at[chosen]) == 0)).any():
            # Two tasks have a row at the same place: the rest decides, so that a repetition has the same order.
            at, seeds = rows["at"], rows["seed"]
            order = sorted(
                chosen.tolist(),
                key=lambda i: (received_at[i], nth[i], measured[i], device[i], metric[i], str(at[i]), bool(seeds[i])),
            )
            chosen = np.array(order)
        keys = [SeriesKey(device[row], metric[row]) for row in chosen.tolist()]
        values = np.frombuffer(b"".join([measured[row] for row in chosen.tolist()]), np.float64)
        seed = np.asarray(rows["seed"], np.bool_)[chosen]
        return Batch(
            keys,
            np.asarray(rows["at"], np.float64)[chosen],
            received_at[chosen],
            values.reshape(len(keys), -1) if keys else np.empty((0, self._width)),
            seed if seed.any() else None,
        )

    def rows(self, said: Said, bucket: Bucket, counted: Counter[str]) -> Iterator[Columns]:
        """What is said, as columns of `SAID`: alerts in their order and counts, then scores where they are wanted."""
        told = [self._told(event) for event in said.events if not isinstance(event, SeriesEvicted)]
        counted["evicted"] += len(said.events) - len(told)
        counted.update(
            f"{ALERTS}{TYPES[type(event)]}:{event.alert.kind}:{event.alert.severity}"
            for event in said.events
            if not isinstance(event, SeriesEvicted)
        )
        for _, verdicts in said.judged:
            outcomes = np.bincount(verdicts.outcome, minlength=len(Outcome)).tolist()
            counted.update({READINGS + status_name(outcome): n for outcome, n in enumerate(outcomes)})
        told += [{"kind": Row.COUNT, "name": name, "n": n} for name, n in counted.items() if n]
        told += [{"kind": Row.LEVEL, "name": name, "n": n} for name, n in _levels(bucket)]
        names = dict.fromkeys(name for row in told for name in row)
        yield _whole({name: [row.get(name, _BLANK[name]) for row in told] for name in names}, len(told))
        if self._scores:
            for batch, verdicts in said.judged:
                yield _whole(self._scored(batch, verdicts), len(batch))

    def _told(self, event: AlertChange) -> dict[str, Any]:
        """The message about an alert, as a row."""
        alert, outgoing = event.alert, self._phrases.alert(event)
        return {
            "kind": Row.ALERT,
            "n": alert.sequence,
            "name": alert.id,
            "device": alert.series.device,
            "metric": alert.series.metric,
            "at": alert.at,
            "topic": outgoing.topic,
            "payload": outgoing.payload,
        }

    def _scored(self, batch: Batch, verdicts: Verdicts) -> Columns:
        """The verdicts on readings."""
        n = len(batch)
        return {
            "kind": np.full(n, Row.SCORE, np.int8),
            "n": np.arange(n),
            "name": [status_name(outcome) for outcome in verdicts.outcome.tolist()],
            "device": [key.device for key in batch.keys],
            "metric": [key.metric for key in batch.keys],
            "at": batch.at,
            "received_at": batch.received_at,
            "value": self._values(batch),
            **{name: getattr(verdicts, name) for name in _MEASURES},
            "alert": verdicts.alert,
        }

    def _values(self, batch: Batch) -> Floats:
        """Those of each reading's target."""
        if self._width == 1:
            return batch.values[:, 0]
        targets = np.array([self._targets.of(key) for key in batch.keys], np.int64)
        return batch.values[np.arange(len(batch)), targets]


_BLANK: Mapping[str, Any] = {
    "kind": 0,
    "n": 0,
    "name": None,
    "device": None,
    "metric": None,
    "at": np.nan,
    "received_at": np.nan,
    "value": np.nan,
    **dict.fromkeys(_MEASURES, np.nan),
    "alert": False,
    "topic": None,
    "payload": None,
}
"""The columns of `SAID` but for the bucket, and what they have where they do not apply."""


def _whole(columns: Columns, n: int) -> Columns:
    """All columns of `SAID`, given some of n rows."""
    return {name: columns[name] if name in columns else [blank] * n for name, blank in _BLANK.items()}


def _levels(bucket: Bucket) -> Iterator[tuple[str, int]]:
    """How much a bucket has now."""
    yield "series", bucket.engine.n_series
    yield "waiting", bucket.n_waiting
    yield "active", len(bucket.engine.active())
    if bucket.heard_at is not None:
        yield CLOCK, int(1000 * bucket.heard_at)
