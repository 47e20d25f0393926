"""What a training report is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

from forewarn.core.card import ModelCard
from forewarn_training.data import Dataset, Windows32
from forewarn_training.evaluate import Evaluation
from forewarn_training.trainer import Course


@dataclass(frozen=True, slots=True)
class Story:
    """Of one training.

    Attributes:
        card: of the model.
        settings: name and value of what it was trained with.
        data: the parts.
        course: of the training.
        evaluation: on the test part.
        sentence: whether the network earns its place.
        choices: a sentence for each choice that was made on the validation part.
        notes: what the blocks and bands are worth on the test part.
        forecast: `(n, horizon)` for all windows of the test part.
    """

    card: ModelCard
    settings: Sequence[tuple[str, str]]
    data: Dataset
    course: Course
    evaluation: Evaluation
    sentence: str
    choices: Sequence[str]
    notes: Sequence[str]
    forecast: Windows32
