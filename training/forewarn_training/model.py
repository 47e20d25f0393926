"""The network that forecasts, with its normalisation inside.

Rules that hold here:

- It reads and writes engineering units. The level never enters: the inputs are differences from the last reading, the
  output is a difference from it, so temperatures outside the training range are no new territory. The one exception is
  the tutorial's recipe (`level`).
- The graph that `graph.py` writes does the same, operation by operation.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from forewarn.errors import SettingsError
from forewarn_training.data import DIFFERENCE_LIMIT, INPUT_LIMIT, Part, extremes, scales
from forewarn_training.encoder import HEADS, Encoder
from forewarn_training.linear import Ridge

Cell = Literal["lstm", "gru", "transformer", "linear"]

# Targets beyond this teach nothing but its direction: a window that was flat has next to no scale.
TARGET_LIMIT = 20.0
# The least scale of a window that is normalised by itself: as a share of its level (float32 resolves 6e-8 of it), and
# in engineering units, so that a constant zero divides by something.
LEVEL_FLOOR = 1e-6
SCALE_FLOOR = 1e-30


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What a network is made of.

    Attributes:
        n_step: readings in a window.
        n_feature: columns of a window.
        target_index: the column that is forecast.
        horizon: leads in a forecast.
        cell: of the recurrent layers; "transformer" has an encoder's in their place, "linear" has none: every scaled
            input goes straight into the output layer.
        layers: how many of them.
        units: hidden units of each.
        dropout: share of units dropped between layers and before the output while training.
        per_window: scale each window by its own spread instead of by the training part's.
        level: read and forecast the level, scaled to 0..1 over the training part: the usual tutorial's way, kept to
            compare with.
    """

    n_step: int
    n_feature: int
    target_index: int
    horizon: int
    cell: Cell = "lstm"
    layers: int = 1
    units: int = 32
    dropout: float = 0.0
    per_window: bool = False
    level: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises:
            SettingsError: where an encoder's units cannot be shared out among its heads.
        """
        if self.cell == "transformer" and self.units % HEADS:
            raise SettingsError(f"--units {self.units}: a transformer needs a multiple of {HEADS}")


class Network(nn.Module):
    """Recurrent layers over the differences from the last reading; the last hidden state into one linear layer.

    Attributes:
        input_scale: `(n_feature,)` the training part's standard deviation of x_i - x_last; ones where `per_window`.
        output_scale: `(horizon,)` that of y[t + h] - y[t]; ones where `per_window`.
        input_low: `(n_feature,)` where `level`, the training part's least value; `input_scale` is then its range.
    """

    input_low: Tensor
    input_scale: Tensor
    output_scale: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        if spec.cell == "transformer":
            self.encoder = Encoder(spec.n_step, spec.n_feature, spec.units, spec.layers, spec.dropout)
        elif spec.cell != "linear":
            recurrent = nn.LSTM if spec.cell == "lstm" else nn.GRU
            between = spec.dropout if spec.layers > 1 else 0.0
            self.recurrent = recurrent(spec.n_feature, spec.units, spec.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(spec.n_step * spec.n_feature if spec.cell == "linear" else spec.units, spec.horizon)
        self.register_buffer("input_scale", torch.ones(spec.n_feature))
        if spec.level:
            self.register_buffer("input_low", torch.zeros(spec.n_feature))
        else:
            self.register_buffer("output_scale", torch.ones(spec.horizon))

    def forward(self, window: Tensor) -> Tensor:
        """Forecast `(batch, horizon)` from windows `(batch, n_step, n_feature)`, both in engineering units."""
        scaled, origin, unit = self.normalise(window)
        return origin + self.scaled_forecast(scaled) * unit

    def normalise(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled inputs `(batch, n_step, n_feature)`, what the forecast counts from (the target's last reading) `(batch
        or 1, 1)`, and what one unit of the scaled forecast is worth, `(batch or 1, horizon or 1)`.
        """  # noqa: D205 - one sentence
        index = self.spec.target_index
        if self.spec.level:
            scaled = ((window - self.input_low) / self.input_scale).clamp(-INPUT_LIMIT, INPUT_LIMIT)
            return scaled, self.input_low[None, index : index + 1], self.input_scale[None, index : index + 1]
        last = window[:, -1:, :]
        difference = (window - last).clamp(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)
        if self.spec.per_window:
            scale = spread(difference) + (LEVEL_FLOOR * last.abs() + SCALE_FLOOR)
            unit = scale[:, 0, index : index + 1]
        else:
            scale = self.input_scale
            unit = self.output_scale[None, :]
        scaled = (difference / scale).clamp(-INPUT_LIMIT, INPUT_LIMIT)
        return scaled, last[:, 0, index : index + 1], unit

    def scaled_forecast(self, scaled: Tensor) -> Tensor:
        """Differences from what the forecast counts from `(batch, horizon)` in units of the scale."""
        out: Tensor = self.head(self.dropout(self._hidden(scaled)))
        return out

    def _hidden(self, scaled: Tensor) -> Tensor:
        if self.spec.cell == "linear":
            return scaled.flatten(1)
        hidden: Tensor = self.encoder(scaled) if self.spec.cell == "transformer" else self.recurrent(scaled)[0][:, -1]
        return hidden

    def take_scales(self, part: Part) -> None:
        """Set the normalisation from the training part."""
        if self.spec.level:
            low, extent = extremes(part)
            self.input_low.copy_(torch.from_numpy(low))
            self.input_scale.copy_(torch.from_numpy(extent))
            return
        of_inputs, of_outputs = scales(part)
        self.input_scale.copy_(torch.from_numpy(of_inputs))
        self.output_scale.copy_(torch.from_numpy(of_outputs))


def linear_network(spec: NetworkSpec, ridge: Ridge) -> Network:
    """The ridge autoregression as a network, for a spec of the cell "linear"."""
    network = Network(spec)
    fitted = {
        "head.weight": ridge.weights,
        "head.bias": ridge.bias,
        "input_scale": ridge.input_scale,
        "output_scale": ridge.output_scale,
    }
    network.load_state_dict({name: torch.from_numpy(value) for name, value in fitted.items()})
    return network.eval()


def spread(difference: Tensor) -> Tensor:
    """Standard deviation of each window `(batch, n_step, n_feature)`, `(batch, 1, n_feature)`."""
    centred = difference - difference.mean(dim=1, keepdim=True)
    return (centred * centred).mean(dim=1, keepdim=True).sqrt()


def count_parameters(network: Network) -> int:
    """Number of trained weights."""
    return sum(weight.numel() for weight in network.parameters())
