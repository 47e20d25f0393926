"""A small Transformer encoder over a window, as an alternative to recurrent layers (Vaswani et al. 2017).

Layers are normalised before, not after, attention and the two-layer network (Xiong et al. 2020). Only the last step's
state leaves it, so the last layer computes no other. `encoder_graph.py` writes the same operation by operation.
"""

import math

import torch
from torch import Tensor, nn

HEADS = 4
WIDENING = 2  # of the two-layer network


class Encoder(nn.Module):
    """From scaled inputs `(batch, n_step, n_feature)` to the state of the last step `(batch, units)`."""

    def __init__(self, n_step: int, n_feature: int, units: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Linear(n_feature, units)
        self.position = nn.Parameter(torch.randn(n_step, units) * 0.02)
        self.layers = nn.ModuleList(Layer(units, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(units)

    def forward(self, scaled: Tensor) -> Tensor:
        """The state of the last step."""
        steps: Tensor = self.enter(scaled) + self.position
        for i, layer in enumerate(self.layers):
            steps = layer(steps, last_only=i + 1 == len(self.layers))
        state: Tensor = self.norm(steps[:, -1])
        return state


class Layer(nn.Module):
    """Self-attention and a two-layer network, each added to what came in."""

    def __init__(self, units: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(units)
        self.query = nn.Linear(units, units)
        self.key = nn.Linear(units, units, bias=False)  # softmax does not see a bias of it
        self.value = nn.Linear(units, units)
        self.merge = nn.Linear(units, units)
        self.norm_mid = nn.LayerNorm(units)
        self.up = nn.Linear(units, WIDENING * units)
        self.down = nn.Linear(WIDENING * units, units)
        self.dropout = nn.Dropout(dropout)

    def forward(self, steps: Tensor, *, last_only: bool) -> Tensor:
        """From `(batch, n_step, units)` to the same, or to `(batch, 1, units)` of the last step."""
        normed = self.norm_in(steps)
        asking, kept = (normed[:, -1:], steps[:, -1:]) if last_only else (normed, steps)
        query, key, value = (_split(part) for part in (self.query(asking), self.key(normed), self.value(normed)))
        weight = (query @ key.transpose(2, 3) / math.sqrt(query.shape[3])).softmax(dim=-1)
        seen = (weight @ value).transpose(1, 2).flatten(2)
        kept = kept + self.dropout(self.merge(seen))
        out: Tensor = kept + self.dropout(self.down(self.up(self.norm_mid(kept)).relu()))
        return out


def _split(steps: Tensor) -> Tensor:
    """`(batch, n_step, units)` as `(batch, heads, n_step, units / heads)`."""
    batch, n_step, units = steps.shape
    return steps.reshape(batch, n_step, HEADS, units // HEADS).transpose(1, 2)
