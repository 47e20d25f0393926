"""The readings of a model of several features, whose values may come in messages of their own.

Rules that hold here:

- A reading is made when a value of the target comes. Every other feature has the value of the same message, else the
  last one, for as long as that is not older than `max_age_s`; with 0, all must come in one message.
- As many devices are remembered as series are followed; the one that was heard of longest ago is forgotten first.
- Nothing is kept over a restart: each feature is known again with its first message.
"""

from collections.abc import Mapping

from forewarn.core.card import ModelCard
from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError

_Held = dict[str, tuple[float, float]]


class Features:
    """Joins the values of each device, for one model."""

    def __init__(self, card: ModelCard, *, max_age_s: float, most: int) -> None:
        """Join the features of this model, for so many devices at most."""
        self._names = tuple(feature.name for feature in card.features)
        self._target = card.target
        self._max_age_s, self._most = max_age_s, most
        self._held: dict[str, _Held] = {}

    def join(self, device: str, values: Mapping[str, float], at: float) -> tuple[float, ...] | None:
        """The values of all features in their order, None where none of the target came.

        Args:
            device: of the values.
            values: that came in one message, by metric.
            at: their time, UTC epoch seconds.

        Raises:
            PayloadError: `missing_value`, naming the features that there is no value for, or too old a one.
        """
        if not any(name in values for name in self._names):
            raise PayloadError(Rejection.MISSING_VALUE, f"the model needs {', '.join(self._names)}")
        before = self._held.pop(device, None) or {}
        held = before if self._max_age_s else {}  # another message may have the same time
        held.update({name: (value, at) for name, value in values.items() if name in self._names})
        self._held[device] = held
        if len(self._held) > self._most:
            del self._held[next(iter(self._held))]
        if self._target not in values:
            return None
        absent = [n for n in self._names if n not in held or abs(at - held[n][1]) > self._max_age_s]
        if absent:
            raise PayloadError(
                Rejection.MISSING_VALUE,
                f"the model needs {', '.join(absent)} in the same message, or within {self._max_age_s:g} s",
            )
        return tuple(held[name][0] for name in self._names)
