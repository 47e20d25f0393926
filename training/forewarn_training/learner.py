"""Trains one network on the parts of a dataset, with a progress bar and, where asked for, a checkpoint."""

from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from forewarn_training.data import Dataset
from forewarn_training.model import Network, NetworkSpec
from forewarn_training.trainer import Course, Recipe, Trainer


def tutorial(recipe: Recipe, horizon: int) -> Recipe:
    """A recipe as the usual tutorials have it: Adam at a constant rate, mean squared error, all leads alike.

    They forecast no blocks. The loss of these weighs next to nothing, so that the path is what a tutorial's would be.
    """
    plain = replace(recipe, weight_decay=0.0, cycle=False, clip=float("inf"), loss="mse", lead_one=1 / horizon)
    return replace(plain, block_weight=1e-4)


def learn(
    data: Dataset,
    spec: NetworkSpec,
    recipe: Recipe,
    *,
    network: Network | None = None,
    label: str = "training",
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> tuple[Network, Course]:
    """Train a network of `spec`, its best weights restored.

    Args:
        data: the training part moves weights, the validation part chooses among them.
        spec: of the network.
        recipe: of the training.
        network: of `spec`, to go on with; a new one where there is none.
        label: of the progress bar.
        checkpoint: a file written after each epoch.
        resume: whether to go on from it.
        progress: whether to show a bar where the terminal can.

    Raises:
        SettingsError: where the checkpoint cannot be resumed from.
    """
    torch.manual_seed(recipe.seed)
    network = network or Network(spec)
    network.take_scales(data.training)
    trainer = Trainer(network, data.training, data.validation, recipe)
    if resume and checkpoint is not None:
        trainer.resume(checkpoint)
    done = len(trainer.course.training_loss) * len(data.training)
    with tqdm(
        total=recipe.epochs * len(data.training),
        initial=done,
        unit=" windows",
        unit_scale=True,
        desc=label,
        disable=None if progress else True,
    ) as bar:

        def step(n: int) -> None:
            bar.update(n)

        def tell(course: Course) -> None:
            epoch, best = len(course.training_loss), course.validation_loss[course.best_epoch]
            bar.set_postfix_str(f"epoch {epoch}, validation {course.validation_loss[-1]:.4f}, best {best:.4f}")

        return network, trainer.run(checkpoint=checkpoint, on_batch=step, on_epoch=tell)
