"""Messages to a batch: what each means, what cannot be used, and when it was.

Rules that hold here:

- Each message becomes readings of the batch, or is counted as rejected for one reason, or as skipped where it is no
  reading by design. One that has only some of its values is both: a reading for each value that is there, and a
  rejection for each that is not.
- A reading without a time of its own has that of its arrival. So has one whose time is too far ahead, where the
  operator says so; the engine rejects it otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from forewarn.core.readings import Batch, Rejection, SeriesKey
from forewarn.errors import PayloadError
from forewarn.inbox import Message
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Presence, Request
from forewarn.inputs.feeds import Reading
from forewarn.logs import REPORT, Complaints


class Taken(NamedTuple):
    """What some messages are.

    Attributes:
        batch: the readings, in order.
        departures: the devices that are said to be going and not to have come again, with the time of arrival.
        requests: what a dialect wants published.
    """

    batch: Batch
    departures: Sequence[tuple[str, float]]
    requests: Sequence[Request]


class Counts(Protocol):
    """Who is told what became of messages that are no readings."""

    def rejected(self, reason: Rejection) -> None:
        """One was rejected."""

    def skipped(self) -> None:
        """One is no reading by design."""

    def restamped(self, n: int) -> None:
        """So many readings have their arrival for their time."""


class Intake:
    """Reads messages for the models of a daemon."""

    def __init__(
        self,
        decoder: Decoder,
        telemetry: Counts,
        complaints: Complaints,
        *,
        n_feature: int,
        restamp_after_s: float | None = None,
    ) -> None:
        """Say what is rejected to these.

        Args:
            decoder: of the messages.
            telemetry: counts.
            complaints: logs.
            n_feature: of the model that has the most.
            restamp_after_s: seconds that a reading's time may be ahead of its arrival before that becomes its time;
                None leaves it.
        """
        self._decode, self._telemetry, self._complaints = decoder.decode, telemetry, complaints
        self._n_feature, self._restamp_after_s = n_feature, restamp_after_s

    def take(self, messages: Sequence[Message]) -> Taken:
        """What these messages are."""
        keys: list[SeriesKey] = []
        at: list[float] = []
        received_at: list[float] = []
        values: list[tuple[float, ...]] = []
        seeds: list[int] = []
        departures: dict[str, float] = {}
        requests: list[Request] = []
        decode = self._decode
        for message in messages:
            arrived_at = message.received_at
            try:
                readings, rejected, others = decode(
                    message.topic, message.payload, message.retained, arrived_at, message.properties
                )
            except PayloadError as error:
                self._reject(message, error)
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, the other messages must go on
                self._telemetry.rejected(Rejection.FAILED)
                # Of another kind than `failed`, which is told of readings without a traceback and may come first.
                self._complaints.add("decoding fails", f"{message.topic[:80]!r}: {REPORT}", error)
                continue
            if rejected or others or not readings:
                self._note(message, readings, rejected)
                _sort(others, arrived_at, departures, requests)
            for key, own_time, row, seed in readings:
                if seed:
                    seeds.append(len(keys))
                keys.append(key)
                at.append(arrived_at if own_time is None else own_time)
                received_at.append(arrived_at)
                values.append(row)
        n_feature = self._n_feature
        if n_feature > 1:  # models of fewer features may be among them
            zeros = (0.0,) * n_feature
            values = [row if len(row) == n_feature else (*row, *zeros[len(row) :]) for row in values]
        shape = (len(keys), n_feature)
        batch = Batch(
            keys,
            np.array(at, np.float64),
            np.array(received_at, np.float64),
            np.array(values, np.float64).reshape(shape),
            np.isin(np.arange(len(keys)), seeds) if seeds else None,
        )
        self._restamp(batch)
        return Taken(batch, list(departures.items()), requests)

    def _note(self, message: Message, readings: Sequence[Reading], rejected: Sequence[PayloadError]) -> None:
        """Count what of a message is no reading."""
        for reason in rejected:
            self._reject(message, reason)
        if not readings and not rejected:
            self._telemetry.skipped()

    def _reject(self, message: Message, error: PayloadError) -> None:
        self._telemetry.rejected(error.reason)
        self._complaints.add(error.reason, f"{message.topic[:80]!r}: {error}")

    def _restamp(self, batch: Batch) -> None:
        if self._restamp_after_s is None:
            return
        (ahead,) = np.nonzero(batch.at > batch.received_at + self._restamp_after_s)
        if not len(ahead):
            return
        row = int(ahead[0])
        late = f"{batch.keys[row].device!r} at {batch.at[row]:.3f}: its arrival is taken for its time"
        self._complaints.add("restamped", late)
        batch.at[ahead] = batch.received_at[ahead]
        self._telemetry.restamped(len(ahead))


def _sort(
    others: Sequence[Presence | Request], at: float, departures: dict[str, float], requests: list[Request]
) -> None:
    """Who is going at a time and who is there again, and what is asked for."""
    for other in others:
        if isinstance(other, Request):
            requests.append(other)
        elif other.online:
            departures.pop(other.device, None)
        else:
            departures[other.device] = at
