"""What the core needs from outside, as protocols. An adapter satisfies one by its shape, not by inheritance."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from forewarn.core.card import NOT_SAID, ModelCard


class Forecast(NamedTuple):
    """What a model says to n windows, float32. Not a number where it overflowed.

    Attributes:
        path: `(n, horizon)` the target at leads 1..horizon, in its unit.
        block_mean: `(n, n_block)` the mean of the target over each of the next `card.BLOCKS` readings, in its unit.
        block_log_scale: `(n, n_block)` natural logarithm of the error to expect of `block_mean`, the error in the unit.
        t_squared: `(n, n_feature)` what each feature of the window's last reading contributes to T² over the model's
            limit, of a card that says `multivariate`, else `card.NOT_SAID`: see `multivariate.py`.
    """

    path: NDArray[np.float32]
    block_mean: NDArray[np.float32]
    block_log_scale: NDArray[np.float32]
    t_squared: NDArray[np.float32] = NOT_SAID


class Forecaster(Protocol):
    """A model that can be asked what comes next, for many windows at once."""

    @property
    def card(self) -> ModelCard:
        """The contract that the model was exported with."""
        ...

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:
        """Forecast the next readings of the target from windows of engineering units.

        Args:
            windows: `(n, n_step, n_feature)`, oldest reading first, features in the card's order.
            spread: `(n,)` standard deviation of the target over the series' history, in its unit.
            at: `(n,)` UTC epoch seconds of each window's last reading.

        Returns:
            Row i depends on window i, spread i and time i alone and is the same bits whatever else is in the batch.
        """
        ...
