"""The network that forecasts, with its normalisation inside.

Rules that hold here:

- It reads and writes engineering units. The level never enters: the inputs are differences from the last reading, the
  outputs are differences from it, so temperatures outside the training range are no new territory. The one exception is
  the tutorial's recipe (`level`).
- The graph that `graph.py` writes does the same, operation by operation.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from forewarn.core.card import BLOCKS
from forewarn.core.clock import CHANNELS
from forewarn.errors import SettingsError
from forewarn_training.data import DIFFERENCE_LIMIT, INPUT_LIMIT, Part, clock_scale, extremes, scales
from forewarn_training.encoder import HEADS, Encoder
from forewarn_training.linear import Ridge

Cell = Literal["lstm", "gru", "transformer", "linear"]

# Targets beyond this teach nothing but its direction: a window that was flat has next to no scale.
TARGET_LIMIT = 20.0
# The least scale of a window that is normalised by itself: as a share of its level (float32 resolves 6e-8 of it), and
# in engineering units, so that a constant zero divides by something.
LEVEL_FLOOR = 1e-6
SCALE_FLOOR = 1e-30
# A window is scaled by no less than this share of the series' spread: false alerts came from the calmest windows.
SPREAD_FLOOR = 0.05
# Added to scale / spread before its logarithm is taken.
RATIO_FLOOR = 1e-3
# The logarithm (base 10) of that ratio is cut off here, which no series reaches: its spread is that of the window too.
CONTEXT_LIMIT = 2.0
# Bounds of the logarithm of a block's error in units of the scale.
LOG_SCALE_BOUNDS = (-6.0, 3.0)
# Units of the layer between the last hidden state, where something joins it, and the outputs.
JOINT_UNITS = 48
N_BLOCK = len(BLOCKS)


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
        per_window: scale each window by its own spread instead of by the training part's, read the steps between its
            readings beside them, and join the hidden state with how large that scale is for the series. Of one feature.
        level: read and forecast the level, scaled to 0..1 over the training part: the usual tutorial's way, kept to
            compare with.
        clock: join the hidden state with the time of day and of week.
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
    clock: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises:
            SettingsError: where an encoder's units cannot be shared out among its heads.
            ValueError: where a network that scales each window by itself has several features, no recurrent layers or a
                clock, or the tutorial's a clock.
        """
        if self.clock and (self.per_window or self.level):
            raise ValueError("only a network of differences that the training part scales has a clock")
        if self.per_window and (self.n_feature != 1 or self.cell not in {"lstm", "gru"}):
            raise ValueError("a network that scales each window by itself has one feature and recurrent layers")
        if self.cell == "transformer" and self.units % HEADS:
            raise SettingsError(f"--units {self.units}: a transformer needs a multiple of {HEADS}")

    @property
    def n_context(self) -> int:
        """Numbers that join the hidden state."""
        return 1 if self.per_window else CHANNELS * self.clock

    @property
    def joint(self) -> bool:
        """Whether a layer lies between what joins the hidden state and the outputs."""
        return self.per_window or (self.clock and self.cell != "linear")


class Outputs(NamedTuple):
    """What a network says to a batch: see `core.ports.Forecast`."""

    path: Tensor
    block_mean: Tensor
    block_log_scale: Tensor


class Normalised(NamedTuple):
    """A batch of windows without its level and scale.

    Attributes:
        inputs: `(batch, n_step, n_channel)`.
        context: `(batch, n_context)` how large the window's scale is for its series, where `per_window`; the
            time, where `clock`.
        origin: `(batch or 1, 1)` what the outputs count from: the target's last reading.
        unit: `(batch or 1, horizon or 1)` of the scaled path.
        block_unit: `(batch or 1, n_block or 1)` of the scaled means of blocks.
    """

    inputs: Tensor
    context: Tensor | None
    origin: Tensor
    unit: Tensor
    block_unit: Tensor


class Network(nn.Module):
    """Recurrent layers over the differences from the last reading; the last hidden state into one linear layer.

    Attributes:
        input_scale: `(n_feature,)` the training part's standard deviation of x_i - x_last; absent where `per_window`.
        output_scale: `(horizon,)` that of y[t + h] - y[t]; absent where `per_window` or `level`.
        block_scale: `(n_block,)` that of a block's mean - y[t]; absent where `per_window` or `level`.
        clock_scale: `(CHANNELS,)` where `clock`, see `data.clock_scale`.
        input_low: `(n_feature,)` where `level`, the training part's least value; `input_scale` is then its range.
    """

    input_low: Tensor
    input_scale: Tensor
    output_scale: Tensor
    block_scale: Tensor
    clock_scale: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        width = spec.units
        if spec.cell == "transformer":
            self.encoder = Encoder(spec.n_step, spec.n_feature, spec.units, spec.layers, spec.dropout)
        elif spec.cell == "linear":
            width = spec.n_step * spec.n_feature
        else:
            recurrent = nn.LSTM if spec.cell == "lstm" else nn.GRU
            between = spec.dropout if spec.layers > 1 else 0.0
            channels = 2 if spec.per_window else spec.n_feature
            self.recurrent = recurrent(channels, spec.units, spec.layers, batch_first=True, dropout=between)
        width += spec.n_context
        if spec.joint:
            self.joint = nn.Linear(width, JOINT_UNITS)
            width = JOINT_UNITS
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(width, spec.horizon + 2 * N_BLOCK)
        if spec.per_window:
            return
        self.register_buffer("input_scale", torch.ones(spec.n_feature))
        if spec.level:
            self.register_buffer("input_low", torch.zeros(spec.n_feature))
        else:
            self.register_buffer("output_scale", torch.ones(spec.horizon))
            self.register_buffer("block_scale", torch.ones(N_BLOCK))
        if spec.clock:
            self.register_buffer("clock_scale", torch.ones(CHANNELS))

    def forward(self, window: Tensor, spread: Tensor, clock: Tensor | None = None) -> Outputs:
        """Forecast from windows `(batch, n_step, n_feature)` and spreads `(batch,)`, all in engineering units.

        Where `clock`, also from the rows of `core.clock`, `(batch, CHANNELS)`.
        """
        normalised = self.normalise(window, spread, clock)
        path, mean, log_scale = self.scaled_outputs(normalised)
        _, _, origin, unit, block_unit = normalised
        return Outputs(origin + path * unit, origin + mean * block_unit, log_scale + block_unit.log())

    def normalise(self, window: Tensor, spread: Tensor, clock: Tensor | None = None) -> Normalised:
        """Take level and scale away."""
        index = self.spec.target_index
        if self.spec.level:
            scaled = ((window - self.input_low) / self.input_scale).clamp(-INPUT_LIMIT, INPUT_LIMIT)
            extent = self.input_scale[None, index : index + 1]
            return Normalised(scaled, None, self.input_low[None, index : index + 1], extent, extent)
        last = window[:, -1:, :]
        difference = (window - last).clamp(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)
        origin = last[:, 0, index : index + 1]
        if self.spec.per_window:
            return _by_window(difference, spread[:, None], origin)
        scaled = (difference / self.input_scale).clamp(-INPUT_LIMIT, INPUT_LIMIT)
        context = None if clock is None else clock * self.clock_scale
        return Normalised(scaled, context, origin, self.output_scale[None, :], self.block_scale[None, :])

    def scaled_outputs(self, normalised: Normalised) -> Outputs:
        """Differences from what the outputs count from, in units of the scale."""
        hidden = self._hidden(normalised.inputs)
        if normalised.context is not None:
            hidden = torch.cat([hidden, normalised.context], dim=1)
        if self.spec.joint:
            hidden = self.joint(hidden).relu()
        hidden = self.dropout(hidden)
        widths = [self.spec.horizon, N_BLOCK, N_BLOCK]
        path, mean, log_scale = torch.split(self.head(hidden), widths, dim=1)
        if not self.spec.per_window:  # the blocks only read the state: moving it cost the path a tenth on one series
            _, mean, log_scale = torch.split(self.head(hidden.detach()), widths, dim=1)
        return Outputs(path, mean, log_scale.clamp(*LOG_SCALE_BOUNDS))

    def _hidden(self, scaled: Tensor) -> Tensor:
        if self.spec.cell == "linear":
            return scaled.flatten(1)
        hidden: Tensor = self.encoder(scaled) if self.spec.cell == "transformer" else self.recurrent(scaled)[0][:, -1]
        return hidden

    def take_scales(self, part: Part) -> None:
        """Set the normalisation from the training part; a network that scales each window by itself needs none."""
        if self.spec.per_window:
            return
        if self.spec.level:
            low, extent = extremes(part)
            self.input_low.copy_(torch.from_numpy(low))
            self.input_scale.copy_(torch.from_numpy(extent))
            return
        for own, found in zip((self.input_scale, self.output_scale, self.block_scale), scales(part), strict=True):
            own.copy_(torch.from_numpy(found))
        if self.spec.clock:
            self.clock_scale.copy_(torch.from_numpy(clock_scale(part)))


def linear_network(spec: NetworkSpec, ridge: Ridge) -> Network:
    """The ridge autoregression as a network, for a spec of the cell "linear". A block's error is a constant."""
    network = Network(spec)
    fixed = np.log(np.maximum(ridge.block_error, np.exp(LOG_SCALE_BOUNDS[0]))).astype(np.float32)
    fitted = {
        "head.weight": np.concatenate(
            [ridge.path.weights, ridge.blocks.weights, np.zeros_like(ridge.blocks.weights)], axis=0
        ),
        "head.bias": np.concatenate([ridge.path.bias, ridge.blocks.bias, fixed]),
        "input_scale": ridge.input_scale,
        "output_scale": ridge.path.scale,
        "block_scale": ridge.blocks.scale,
    }
    fitted |= {"clock_scale": ridge.clock_scale} if ridge.clock_scale is not None else {}
    network.load_state_dict({name: torch.from_numpy(value) for name, value in fitted.items()})
    return network.eval()


def _by_window(difference: Tensor, spread: Tensor, origin: Tensor) -> Normalised:
    """Scale windows `(batch, n_step, 1)` of differences by themselves."""
    centred = difference - difference.mean(dim=1, keepdim=True)
    variance = (centred * centred).mean(dim=1)
    spread = spread.clamp(max=DIFFERENCE_LIMIT)
    floor = LEVEL_FLOOR * origin.abs() + SCALE_FLOOR
    scale = (variance + (SPREAD_FLOOR * spread).square()).sqrt() + floor
    relative = difference / scale[:, None, :]
    steps = relative - relative[:, before(difference.shape[1])]
    inputs = torch.cat([relative, steps], dim=2).clamp(-INPUT_LIMIT, INPUT_LIMIT)
    context = (scale / (spread + floor) + RATIO_FLOOR).log() / math.log(10)
    return Normalised(inputs, context.clamp(-CONTEXT_LIMIT, CONTEXT_LIMIT), origin, scale, scale)


def before(n_step: int) -> list[int]:
    """For each step of a window the index of the one before it; the first has none and takes itself."""
    return [0, *range(n_step - 1)]


def count_parameters(network: Network) -> int:
    """Number of trained weights."""
    return sum(weight.numel() for weight in network.parameters())
