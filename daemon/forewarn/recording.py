"""Recorders of the models of a daemon: readings of other features are files of other columns.

Rules that hold here:

- The readings of models of one feature are in the folder itself, whatever the model: a file has one metric anyway.
- Those of each set of several features are in a folder of their own in it, named after the features, unless there are
  no others. The recorders share the room.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np

from forewarn.adapters.recorder import Recorder
from forewarn.core.card import ModelCard
from forewarn.core.patterns import Choice
from forewarn.core.readings import Batch, Outcome
from forewarn.core.verdicts import Verdicts

_NAME_MOST = 100  # characters of a folder's name
_Names = tuple[str, ...]


class Recording:
    """Gives each reading to the recorder of its features."""

    def __init__(self, cards: Choice[ModelCard], recorder: Callable[[Path, int, _Names], Recorder]) -> None:
        """Record what these models judge.

        Args:
            cards: of the models, by series.
            recorder: makes one, given its place in the folder, how many share the room, and the features.
        """
        self._cards = cards
        every = dict.fromkeys(_features(card) for card in cards.every)
        n = len(every)
        self._recorders = {
            names: recorder(_folder(names) if n > 1 else Path(), n, names or ("value",)) for names in every
        }

    def write(self, batch: Batch, verdicts: Verdicts) -> None:
        """Add what was accepted of a batch."""
        if len(self._recorders) == 1:
            for recorder in self._recorders.values():
                recorder.write(batch, verdicts)
            return
        features = [_features(self._cards.of(key)) for key in batch.keys]
        for names, recorder in self._recorders.items():
            mine = np.array([own == names for own in features], np.bool_)
            if mine.any():
                outcome = np.where(mine, verdicts.outcome, Outcome.FAILED).astype(np.uint8)
                values = batch.values[:, : max(len(names), 1)]
                recorder.write(replace(batch, values=values), replace(verdicts, outcome=outcome))

    def close(self) -> None:
        """End the files."""
        for recorder in self._recorders.values():
            recorder.close()


def _features(card: ModelCard) -> _Names:
    """The columns of a model of several features; none of one, whose column is the metric."""
    names = tuple(feature.name for feature in card.features)
    return names if len(names) > 1 else ()


def _folder(names: _Names) -> Path:
    """Where in the folder the readings of these features are."""
    return Path(quote("+".join(names), safe="+")[:_NAME_MOST])
