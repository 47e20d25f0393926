"""The first stage: messages to readings, each dealt to its bucket.

Rules that hold here:

- The daemon's own intake reads the messages, made anew for each task, so that what a message means does not depend on
  where and with which others it is read.
- Every bucket is told up to which arrival a task has read: that is the fleet's clock.
- An arrival that is no time, or is ahead of this machine's clock by more than `limits.max_future_s`, would set the
  clock wrong for all: the message is rejected.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from forewarn.adapters.fleet_telemetry import REJECTED
from forewarn.core.readings import Batch, Rejection
from forewarn.fleet.bucket import bucket_of
from forewarn.fleet.rows import Read
from forewarn.fleet.settings import FleetSettings
from forewarn.inbox import Message
from forewarn.intake import Intake
from forewarn.logs import Complaints
from forewarn.monitors import Models
from forewarn.wiring import decoder_of

Columns = dict[str, list[Any]]
"""The columns of `READ` by name."""


class Reader:
    """Reads the messages of one task."""

    def __init__(self, settings: FleetSettings, models: Models, now: float) -> None:
        """Read for these models; `now` is in UTC epoch seconds."""
        limits = settings.limits
        apart = settings.model_copy(update={"limits": limits.model_copy(update={"hold_s": 0.0})})
        self._counts = _Counts()
        self._intake = Intake(
            decoder_of(apart, models.rest.card, models.cards),
            self._counts,
            Complaints(),
            n_feature=max(len(model.card.features) for model in models.every),
            restamp_after_s=limits.max_future_s if limits.future == "restamp" else None,
        )
        self._n_bucket, self._latest = settings.fleet.buckets, now + limits.max_future_s
        self._known: dict[str, int] = {}
        self._n = 0
        self._first_at, self._last_at = math.inf, -math.inf

    def read(self, messages: Sequence[Message], damaged: int) -> Columns:
        """The rows of some messages.

        Args:
            messages: in the order of their arrival.
            damaged: how many there were besides that are none.
        """
        usable = [one for one in messages if -math.inf < one.received_at <= self._latest]
        self._counts.n[REJECTED + Rejection.FROM_FUTURE] += len(messages) - len(usable)
        self._counts.n[REJECTED + Rejection.MALFORMED] += damaged
        if usable:
            self._first_at = min(self._first_at, *(one.received_at for one in usable))
            self._last_at = max(self._last_at, *(one.received_at for one in usable))
        taken = self._intake.take(usable)
        rows = self._readings(taken.batch)
        for device, at in taken.departures:
            _add(rows, bucket=self._bucket(device), kind=Read.DEPARTURE, device=device, received_at=at)
        return rows

    def end(self) -> Columns:
        """The rows that end a task: the clock, and what was counted."""
        rows = _readings_of(0)
        if self._first_at < math.inf:
            for bucket in range(self._n_bucket):
                _add(rows, bucket=bucket, kind=Read.CLOCK, at=self._first_at, received_at=self._last_at)
        for name, n in self._counts.n.items():
            if n:
                _add(rows, bucket=0, kind=Read.COUNT, device=name, n=n)
        return rows

    def _readings(self, batch: Batch) -> Columns:
        rows = _readings_of(len(batch))
        size = batch.values.shape[1] * batch.values.itemsize
        packed = np.ascontiguousarray(batch.values).tobytes()
        rows["bucket"] = [self._bucket(key.device) for key in batch.keys]
        rows["device"], rows["metric"] = ([key[i] for key in batch.keys] for i in range(2))
        rows["at"], rows["received_at"] = batch.at.tolist(), batch.received_at.tolist()
        rows["n"] = list(range(self._n, self._n + len(batch)))
        rows["measured"] = [packed[start : start + size] for start in range(0, len(packed), size)]
        if batch.seed is not None:
            rows["seed"] = batch.seed.tolist()
        self._n += len(batch)
        return rows

    def _bucket(self, device: str) -> int:
        bucket = self._known.get(device)
        if bucket is None:
            bucket = self._known[device] = bucket_of(device, self._n_bucket)
        return bucket


class _Counts:
    """What became of messages that are no readings, by name."""

    def __init__(self) -> None:
        self.n: Counter[str] = Counter()

    def rejected(self, reason: Rejection) -> None:
        """One was rejected."""
        self.n[REJECTED + reason] += 1

    def skipped(self) -> None:
        """One is no reading by design."""
        self.n["skipped"] += 1

    def restamped(self, n: int) -> None:
        """So many readings have their arrival for their time."""
        self.n["restamped"] += n


_BLANK: dict[str, Any] = {
    "bucket": 0,
    "kind": int(Read.READING),
    "device": None,
    "metric": None,
    "at": None,
    "received_at": None,
    "n": 0,
    "measured": None,
    "seed": False,
}


def _readings_of(n: int) -> Columns:
    return {name: [blank] * n for name, blank in _BLANK.items()}


def _add(rows: Columns, **fields: object) -> None:
    for name, blank in _BLANK.items():
        rows[name].append(fields.get(name, blank))
