"""What the core needs from outside, as protocols. An adapter satisfies one by its shape, not by inheritance."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forewarn.core.card import ModelCard


class Forecaster(Protocol):
    """A model that can be asked what comes next, for many windows at once."""

    @property
    def card(self) -> ModelCard:
        """The contract that the model was exported with."""
        ...

    def forecast(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Forecast the next readings of the target from windows of engineering units.

        Args:
            windows: `(n, n_step, n_feature)`, oldest reading first, features in the card's order.

        Returns:
            `(n, horizon)`: the target at leads 1..horizon, in the target's unit. Row i depends on window i alone and
            is the same bits whatever else is in the batch.
        """
        ...
