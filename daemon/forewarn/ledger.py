"""What the daemon did, entered before it is acknowledged or told, and taken up again after a restart.

Rules that hold here:

- One `enter` is one transaction: the readings, the alerts that they raised, the receipts of the messages. Only then is
  a message acknowledged (by the link, a turn later) and an alert published (from the outbox).
- After a restart the engine is that of the last snapshot, given the entries since. What it says then was told before.
  Entries never come without a snapshot: it says of which features the readings in them are.
- Where nothing can be written, the daemon goes on in memory and tries again every `RETRY_S` with everything it has.
"""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Literal

import numpy as np

from forewarn.adapters.journal import Entry, Journal, Recovered
from forewarn.adapters.telemetry import Telemetry
from forewarn.core import records
from forewarn.core.alerts import Event
from forewarn.core.engine import Engine, Renewed
from forewarn.core.group import alike
from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.snapshot import Snapshot
from forewarn.guard import Guard
from forewarn.inbox import Message
from forewarn.messages import Outgoing
from forewarn.outbox import Outbox
from forewarn.receipts import Receipts

log = logging.getLogger(__name__)

RETRY_S = 5.0
MOST_ENTRIES_BYTES = 8 * 2**20  # after a crash they are judged again: about a quarter of a million readings


class Ledger:
    """The journal of one daemon; without a file, its memory alone.

    Attributes:
        outbox: alerts on their way.
        receipts: of the messages that were worked on.
        seen_at: the latest arrival that was recovered, UTC epoch seconds; 0 for none.
        enters: whether each step is written.
        renewed: the recovered series that begin anew.
        forgotten: series that came or went on after the snapshot with a model of other features.
    """

    def __init__(
        self,
        journal: Journal | None,
        engine: Engine,
        telemetry: Telemetry,
        guard: Guard,
        *,
        enters: bool,
        max_letters: int,
    ) -> None:
        """Take up what there is in the journal.

        Args:
            journal: the file; None for none.
            engine: to bring to where it was.
            telemetry: that counts go on in.
            guard: against a step at which the engine fails.
            enters: whether each step is written, not only a snapshot now and then.
            max_letters: alerts that may wait for the broker.
        """
        self.outbox = Outbox(max_letters)
        self.receipts = Receipts()
        self.seen_at = 0.0
        self.renewed, self.forgotten = Renewed((), ()), set[SeriesKey]()
        self._journal, self._engine, self._telemetry, self._guard = journal, engine, telemetry, guard
        self.enters = enters and journal is not None
        self._topics: list[str] = []
        self._has_snapshot = False
        self._saved_at = time.monotonic()
        self._most_bytes = MOST_ENTRIES_BYTES
        if journal is not None:
            self._recover(journal)
            if self.enters and not self._has_snapshot and not self.failing:
                self.save()

    @property
    def failing(self) -> bool:
        """Whether nothing can be written."""
        return self._journal is not None and self._journal.failing is not None

    @property
    def standing(self) -> Literal["ok", "failing", ""]:
        """How it is with the file; "" where there is none."""
        return "" if self._journal is None else "failing" if self.failing else "ok"

    # -- at the start -----------------------------------------------------------------------------------------------

    def _recover(self, journal: Journal) -> None:
        found = journal.recover()
        blank, counted = self._engine.snapshot(), self._telemetry.counts()
        try:
            before = None if found.snapshot is None else Snapshot.from_bytes(found.snapshot)
            if before is not None:
                self.renewed = self._engine.restore(before)
            steps = self._usable(before, [records.read(entry.record) for entry in found.entries])
            self._take_counts(json.loads(found.counts))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            journal.set_aside(str(error))
            self._engine.restore(blank)
            self._telemetry.take_counts(counted)
            self.receipts.forget()
            self._topics = []
            self.renewed, self.forgotten = Renewed((), ()), set()
            return
        self._has_snapshot = before is not None
        self._resume()
        self._repeat(steps, found)
        if found.snapshot is not None or steps:
            n = len(self._engine.fleet().keys)
            log.info("restored %d series from %s, %d steps since its snapshot", n, journal.path, len(steps))

    def _usable(self, before: Snapshot | None, steps: Sequence[records.Step]) -> list[records.Step]:
        """The steps without the readings that are of other features than the model that judges their series by now."""

        @cache
        def same(series: SeriesKey) -> bool:
            return before is None or alike(before.features_of(series), self._engine.card_of(series).features)

        def usable(step: records.Step) -> records.Step:
            if not isinstance(step, Batch) or all(map(same, step.keys)):
                return step
            self.forgotten.update(key for key in step.keys if not same(key))
            return step.some(np.array([same(key) for key in step.keys], np.bool_))

        return [usable(step) for step in steps]

    def _take_counts(self, counts: dict[str, Any]) -> None:
        self.receipts.add(bytes.fromhex(counts.get("receipts", "")))
        self._topics = [str(topic) for topic in counts.get("topics", [])]
        self._telemetry.take_counts(counts.get("telemetry", {}))

    def _resume(self) -> None:
        fleet = self._engine.fleet()
        self._telemetry.resumed(alert for slot in fleet.slot.tolist() for alert in self._engine.alerts(slot))
        self.seen_at = max([at for at in fleet.received_at.tolist() if at == at], default=0.0)  # noqa: PLR0124 - NaN

    def _repeat(self, steps: Sequence[records.Step], found: Recovered) -> None:
        for step in steps:
            for event in self._again(step):
                self._telemetry.event(event)
        for entry in found.entries:
            self.receipts.add(entry.receipts)
        self.outbox.load(found.outbox)

    def _again(self, step: records.Step) -> Sequence[Event]:
        if isinstance(step, records.Tick):
            return self._guard.tick(self._engine, step)
        if isinstance(step, records.Lost):
            return self._guard.lost(self._engine, step)
        verdicts = self._guard.ingest(self._engine, step)
        self._telemetry.repeated(verdicts)
        self.seen_at = max([self.seen_at, *step.received_at.tolist()])
        return verdicts.events

    def unwanted(self, topics: Sequence[str]) -> list[str]:
        """The topic filters of an earlier run that are none of these; from now on these count."""
        unwanted = [topic for topic in self._topics if topic not in topics]
        self._topics = list(topics)
        return unwanted

    def swap(self, engine: Engine, outgoing: Iterable[Outgoing] = ()) -> None:
        """Go on with an engine that was given the state of the last one; the entries so far belong to that.

        Args:
            engine: to go on with.
            outgoing: what is to be told of the change.
        """
        self._engine = engine
        self.outbox.add(outgoing)
        self.save()

    # -- while running ----------------------------------------------------------------------------------------------

    def enter(
        self, steps: Sequence[records.Step], messages: Sequence[Message] = (), outgoing: Iterable[Outgoing] = ()
    ) -> None:
        """What the engine was given, in which messages, and the alerts that came of it."""
        receipts = self.receipts.of(messages)
        self.receipts.add(receipts)
        letters = self.outbox.add(outgoing)
        if self.enters and self._journal is not None and not self.failing:
            entries = [Entry(records.of(step), b"" if nth else receipts) for nth, step in enumerate(steps)]
            self._journal.commit(entries, letters, self.outbox.take_delivered())

    def tend(self, save_every_s: float) -> None:
        """What is due by time."""
        if self._journal is None:
            return
        self._journal.check()
        since = time.monotonic() - self._saved_at
        due = RETRY_S if self.failing else save_every_s
        if since >= due or (self._journal.n_bytes > self._most_bytes and not self.failing):
            self.save()
        elif self.enters and (delivered := self.outbox.take_delivered()):
            self._journal.commit([], (), delivered)

    def save(self) -> None:
        """Write a snapshot, in place of the entries."""
        self._saved_at = time.monotonic()
        if self._journal is None:
            return
        counts = {
            "receipts": self.receipts.keep().hex(),
            "topics": self._topics,
            "telemetry": self._telemetry.counts(),
        }
        snapshot = self._engine.snapshot().to_bytes()
        self._most_bytes = max(MOST_ENTRIES_BYTES, len(snapshot))
        self.outbox.take_delivered()
        self._journal.save(snapshot, json.dumps(counts), self.outbox)

    def close(self) -> None:
        """Write a last snapshot and let go of the file."""
        self.save()
        if self._journal is not None:
            self._journal.close()
