"""The named recipes of training, as defaults of the options of `forewarn-train`. Imports nothing heavy.

`differences` is ours; docs/models.md says why. `tutorial` is what the usual LSTM tutorials do (level scaled to 0..1 in
and out, one layer of 50 units, dropout, mean squared error, Adam at a constant rate), kept so that anyone can see the
difference.
"""

from dataclasses import dataclass
from typing import Literal

Name = Literal["differences", "tutorial"]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an option is where it is not given."""

    n_step: int
    units: int
    dropout: float
    batch_size: int
    learning_rate: float


RECIPES: dict[Name, Defaults] = {
    "differences": Defaults(n_step=30, units=32, dropout=0.0, batch_size=128, learning_rate=2e-3),
    "tutorial": Defaults(n_step=10, units=50, dropout=0.2, batch_size=32, learning_rate=1e-3),
}
