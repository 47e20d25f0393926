"""From the samples of a message to the readings of models: which model wants a sample, in which unit, alone or joined.

Rules that hold here:

- A model of one feature judges each metric as a series of its own. A model of several judges a device; the series then
  has the name of the target, and what comes of other metrics that it takes is a feature of it or nothing.
- What is a feature of a model that judges the device's series is given to that model, whichever model judges the metric
  itself.
- Each model gets values in its own unit.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from forewarn.core.card import ModelCard
from forewarn.core.patterns import Choice, SeriesPattern
from forewarn.core.readings import Rejection, SeriesKey
from forewarn.errors import PayloadError
from forewarn.inputs.features import Features
from forewarn.inputs.topics import MAX_REMEMBERED
from forewarn.inputs.units import conversion


class Reading(NamedTuple):
    """One decoded reading; `at` is None where its arrival counts as its time, `seed` as in `Batch`."""

    key: SeriesKey
    at: float | None
    values: tuple[float, ...]
    seed: bool = False


class Measured(NamedTuple):
    """One value of a series in its own unit, "" where that is not known; otherwise as `Reading`."""

    key: SeriesKey
    at: float | None
    value: float
    unit: str
    seed: bool


class Feed:
    """What one model is given.

    Attributes:
        target: of the model.
        names: of its features.
        joint: what joins them; None for a model of one.
    """

    def __init__(self, card: ModelCard, units: Mapping[str, str], *, hold_s: float, max_devices: int) -> None:
        """Feed this model; see `Decoder`."""
        self.target = card.target
        self.names = tuple(feature.name for feature in card.features)
        self.joint = Features(card, max_age_s=hold_s, most=max_devices) if len(self.names) > 1 else None
        self._units = {**{feature.name: feature.unit for feature in card.features}, **units}
        self._usual_unit = card.unit or "°C"

    def converted(self, value: float, metric: str, unit: str) -> float:
        """A value that is in `unit`, in the unit that the model wants of this metric, where both are temperatures'."""
        change = conversion(unit, self._units.get(metric) or self._usual_unit)
        return value if change is None else change.factor * value + change.offset

    def size(self, measured: Measured) -> float:
        """The value as the model wants it."""
        value, unit = measured.value, measured.unit
        return self.converted(value, measured.key.metric, unit) if unit else value


class Feeds:
    """The models of one daemon."""

    def __init__(self, rest: Feed, chosen: Sequence[tuple[SeriesPattern, Feed]] = ()) -> None:
        """Feed these models; the first whose pattern matches a series judges it, `rest` all others."""
        self._choice = Choice(rest, chosen)
        self._joints = tuple({id(feed): feed for feed in self._choice.every if feed.joint is not None}.values())
        self._wanted_by = lru_cache(MAX_REMEMBERED)(self._find)

    def readings(self, told: Iterable[Measured], rejected: list[PayloadError], received_at: float) -> list[Reading]:
        """What comes of the values of one message; what cannot be used is added to `rejected`."""
        readings: list[Reading] = []
        joined: dict[tuple[str, int], list[Measured]] = {}
        for one in told:
            alone, joints = self._wanted_by(one.key)
            if alone is not None:
                readings.append(Reading(one.key, one.at, (alone.size(one),), one.seed))
            elif not joints:
                detail = f"{one.key.metric[:40]!r}: the target of the model that takes it is judged by another"
                rejected.append(PayloadError(Rejection.MISSING_VALUE, detail))
            for nth in joints:
                joined.setdefault((one.key.device, nth), []).append(one)
        for (device, nth), known in joined.items():
            reading = self._joined(self._joints[nth], device, known, rejected, received_at)
            if reading is not None:
                readings.append(reading)
        return readings

    def _find(self, key: SeriesKey) -> tuple[Feed | None, Sequence[int]]:
        """The model that judges a series alone, and the places in `_joints` of those that it is joined for."""
        judge = self._choice.of(key)
        judging = [
            (nth, feed)
            for nth, feed in enumerate(self._joints)
            if self._choice.of(SeriesKey(key.device, feed.target)) is feed
        ]
        joints = [nth for nth, feed in judging if feed is judge or key.metric in feed.names]
        return (judge if judge.joint is None else None), joints

    @staticmethod
    def _joined(
        feed: Feed, device: str, known: Sequence[Measured], rejected: list[PayloadError], received_at: float
    ) -> Reading | None:
        """A reading of all features of a device, where its target is among these."""
        at = known[0].at
        values = {one.key.metric: feed.size(one) for one in known}
        try:
            row = None if feed.joint is None else feed.joint.join(device, values, received_at if at is None else at)
        except PayloadError as error:
            # Made anew, since the traceback of this one leads to the list that it would be in.
            rejected.append(PayloadError(error.reason, error.detail))
            return None
        return None if row is None else Reading(SeriesKey(device, feed.target), at, row, known[0].seed)
