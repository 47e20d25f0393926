"""Trains a network: AdamW, one learning-rate cycle, gradient clipping, early stopping that restores the best weights.

Rules that hold here:

- The same seed, data and settings give the same weights on the same machine, resumed from a checkpoint or not.
- Only the training part moves weights; only the validation part chooses among them.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from forewarn.core.clock import clock
from forewarn.errors import SettingsError
from forewarn_training.data import Part
from forewarn_training.model import N_BLOCK, TARGET_LIMIT, Network, Outputs

_CHECKPOINT_VERSION = 2
_VALIDATION_BATCH = 2048


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained. docs/models.md says what the defaults reach on real series.

    Attributes:
        epochs: at most.
        batch_size: windows in a step.
        learning_rate: the peak of the cycle.
        warm_up: share of the steps in which the learning rate rises.
        weight_decay: of AdamW.
        clip: the most that the norm of a gradient may be.
        patience: epochs without a better validation loss before training ends.
        lead_one: share of the loss that lead 1 has, which alerts are made from; the other leads share the rest.
        seed: of weights, order and dropout.
        loss: mean absolute or mean squared error.
        cycle: whether the learning rate rises and falls; it stays as it is otherwise.
        block_weight: what the loss of the blocks counts for beside that of the path.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 2e-3
    warm_up: float = 0.15
    weight_decay: float = 1e-4
    clip: float = 1.0
    patience: int = 8
    lead_one: float = 0.5
    seed: int = 0
    loss: Literal["mae", "mse"] = "mae"
    cycle: bool = True
    block_weight: float = 0.01


@dataclass(slots=True)
class Course:
    """What happened in training.

    Attributes:
        training_loss: of each epoch, in units of the scale.
        validation_loss: the same on the validation part.
        best_epoch: index of the epoch whose weights were kept.
    """

    training_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)

    @property
    def best_epoch(self) -> int:
        """Index of the epoch with the smallest validation loss; the first of equals."""
        return min(range(len(self.validation_loss)), key=self.validation_loss.__getitem__)

    def stale(self) -> int:
        """Epochs since the best one."""
        return len(self.validation_loss) - 1 - self.best_epoch if self.validation_loss else 0


class Trainer:
    """One training, epoch by epoch."""

    def __init__(self, network: Network, training: Part, validation: Part, recipe: Recipe) -> None:
        """Start afresh. `network` must have been made after `torch.manual_seed(recipe.seed)`."""
        self.network = network
        self.training = training
        self.validation = validation
        self.recipe = recipe
        self.course = Course()
        self.best = _copy(network)
        self._tails = nn.Parameter(torch.zeros(N_BLOCK))
        self._weights = [*network.parameters(), self._tails]
        self._optimizer = torch.optim.AdamW(self._weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        others = network.spec.horizon - 1
        first = recipe.lead_one if others else 1.0
        self._lead_weights = torch.tensor([first, *[(1 - first) / max(others, 1)] * others])
        self._schedule = self._scheduled()

    def run(
        self,
        *,
        checkpoint: Path | None = None,
        on_batch: Callable[[int], None] = lambda _: None,
        on_epoch: Callable[[Course], None] = lambda _: None,
    ) -> Course:
        """Train until the epochs or the patience are used up, and leave the best weights in the network.

        Args:
            checkpoint: a file that is written after each epoch.
            on_batch: is told the number of windows of each step.
            on_epoch: is told the course after each epoch, and after the checkpoint was written.
        """
        while len(self.course.training_loss) < self.recipe.epochs and self.course.stale() < self.recipe.patience:
            self._epoch(on_batch)
            if checkpoint is not None:
                self.save(checkpoint)
            on_epoch(self.course)
        self.network.load_state_dict(self.best)
        self.network.eval()
        return self.course

    def _scheduled(self) -> torch.optim.lr_scheduler.LRScheduler:
        recipe = self.recipe
        if not recipe.cycle:
            return torch.optim.lr_scheduler.ConstantLR(self._optimizer, factor=1.0)
        steps = math.ceil(len(self.training) / recipe.batch_size) * recipe.epochs
        return torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, recipe.learning_rate, total_steps=max(steps, 2), pct_start=recipe.warm_up
        )

    def _epoch(self, on_batch: Callable[[int], None]) -> None:
        self.network.train()
        order = torch.randperm(len(self.training))
        total = 0.0
        for chosen in torch.split(order, self.recipe.batch_size):
            loss = self._loss(self.training, chosen)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call] # torch publishes no type for it
            nn.utils.clip_grad_norm_(self._weights, self.recipe.clip)
            self._optimizer.step()
            self._schedule.step()
            total += loss.item() * len(chosen)
            on_batch(len(chosen))
        self.course.training_loss.append(total / len(order))
        self.course.validation_loss.append(self._validate())
        if self.course.stale() == 0:
            self.best = _copy(self.network)

    def _loss(self, part: Part, chosen: Tensor) -> Tensor:
        rows = chosen.numpy()
        told_time = torch.from_numpy(clock(part.ends_at(rows))) if self.network.spec.clock else None
        normalised = self.network.normalise(
            torch.from_numpy(part.inputs(rows)), torch.from_numpy(part.spreads(rows)), told_time
        )
        said = self.network.scaled_outputs(normalised)
        wanted = torch.from_numpy(part.targets(rows))
        path = self._path_loss(said.path, _limited((wanted - normalised.origin) / normalised.unit))
        blocks = torch.from_numpy(part.block_targets(rows))
        return path + self.recipe.block_weight * self._block_loss(
            said, _limited((blocks - normalised.origin) / normalised.block_unit)
        )

    def _path_loss(self, said: Tensor, wanted: Tensor) -> Tensor:
        away = said - wanted
        each_lead = (away.abs() if self.recipe.loss == "mae" else away.square()).mean(dim=0)
        return (each_lead * self._lead_weights).sum()

    def _block_loss(self, said: Outputs, wanted: Tensor) -> Tensor:
        """Mean negative logarithm of the likelihood of the blocks that are there, as Student's t of learnt freedom."""
        there = wanted.isfinite()
        freedom = 2 + nn.functional.softplus(self._tails)
        away = (torch.where(there, wanted, said.block_mean) - said.block_mean) / said.block_log_scale.exp()
        constant = torch.lgamma(freedom / 2) - torch.lgamma((freedom + 1) / 2) + (math.pi * freedom).log() / 2
        surprise = said.block_log_scale + constant + (freedom + 1) / 2 * torch.log1p(away.square() / freedom)
        return (surprise * there).sum() / there.sum().clamp(min=1)

    def _validate(self) -> float:
        self.network.eval()
        total = 0.0
        with torch.no_grad():
            for chosen in torch.split(torch.arange(len(self.validation)), _VALIDATION_BATCH):
                total += self._loss(self.validation, chosen).item() * len(chosen)
        return total / len(self.validation)

    def _identity(self) -> dict[str, Any]:
        """What has to be the same for a checkpoint to be continued."""
        windows = {"training_windows": len(self.training), "validation_windows": len(self.validation)}
        return {"version": _CHECKPOINT_VERSION, **asdict(self.network.spec), **asdict(self.recipe), **windows}

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on, and replace the file only when it is whole."""
        state = {
            "identity": self._identity(),
            "course": asdict(self.course),
            "network": self.network.state_dict(),
            "tails": self._tails.detach(),
            "best": self.best,
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": torch.get_rng_state(),
        }
        draft = path.with_name(f".{path.name}.part")
        torch.save(state, draft)
        draft.replace(path)

    def resume(self, path: Path) -> None:
        """Go on where `save` was called.

        Raises:
            SettingsError: where the file is no checkpoint, or one of another data, network or recipe.
        """
        try:
            state = torch.load(path, weights_only=True)
            theirs = state["identity"]
            course = Course(**state["course"])
        except Exception as error:
            raise SettingsError(
                f"{path}: cannot be resumed from ({type(error).__name__}: {error}): start again without --resume"
            ) from error
        mine = self._identity()
        differing = [f"{key} {theirs.get(key)} there, {mine[key]} here" for key in mine if theirs.get(key) != mine[key]]
        if differing:
            raise SettingsError(f"{path}: is of another training ({'; '.join(differing)}): start without --resume")
        self.course = course
        self.network.load_state_dict(state["network"])
        self._tails.data.copy_(state["tails"])
        self.best = state["best"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])


def _limited(scaled: Tensor) -> Tensor:
    return scaled.clamp(-TARGET_LIMIT, TARGET_LIMIT)


def _copy(network: Network) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
