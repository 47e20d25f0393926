"""The training report: one HTML file that says what was trained, on what, and how well it forecasts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np

from forewarn.charts import Line, histogram, line_chart, page, table
from forewarn.core.card import ModelCard
from forewarn_training.calibrate import LEAST_THRESHOLD, READINGS_PER_ALARM
from forewarn_training.data import PARTS, Dataset, Floats, Part, Windows32
from forewarn_training.evaluate import PERSISTENCE, Errors, Evaluation
from forewarn_training.intervals import DRAWS, SEED
from forewarn_training.trainer import Course

_CLOSE_LOOK = 200  # readings that the second plot shows


@dataclass(frozen=True, slots=True)
class Story:
    """What a report is made of.

    Attributes:
        card: of the model.
        settings: name and value of what it was trained with.
        data: the parts.
        course: of the training.
        evaluation: on the test part.
        sentence: whether the network earns its place.
        notes: what the blocks and bands are worth on the test part.
        forecast: `(n, horizon)` for all windows of the test part.
    """

    card: ModelCard
    settings: Sequence[tuple[str, str]]
    data: Dataset
    course: Course
    evaluation: Evaluation
    sentence: str
    notes: Sequence[str]
    forecast: Windows32


def render(story: Story) -> str:
    """The report as HTML."""
    body = [
        f"<p>{escape(story.evaluation.verdict())} {escape(story.sentence)}</p>",
        "<h2>Errors on the test part</h2>",
        table(*errors_table(story.evaluation, story.card.unit)),
        f"<p>{escape(_about_table(story))}</p>",
        _plots(story),
        *(["<h2>Training</h2>", _losses(story.course)] if story.course.training_loss else []),
        "<h2>Data</h2>",
        table(("part", "from", "to", "readings", "windows"), [_extent(story.data, name) for name in PARTS]),
        f"<p>{escape(_about_data(story.data))}</p>",
        "<h2>Calibration</h2>",
        f"<p>{escape(_about_calibration(story.card))}</p>",
        "<h2>Settings</h2>",
        table(("setting", "value"), story.settings),
    ]
    return page(f"{story.card.name} {story.card.version}: training report", "\n".join(body))


def errors_table(evaluation: Evaluation, unit: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the table of errors, as text."""
    of = f" ({unit})" if unit else ""
    header = ("forecast", "lead", f"MAE{of}", f"RMSE{of}", "MASE", "skill", "95 % interval")
    return header, [_row(errors) for errors in evaluation.errors]


def _row(errors: Errors) -> tuple[str, ...]:
    skill = errors.skill
    shown = ("", "")
    if errors.method != PERSISTENCE and not math.isnan(skill.value):
        shown = f"{skill.value:+.3f}", f"{skill.low:+.3f} to {skill.high:+.3f}"
    return errors.method, str(errors.lead), f"{errors.mae:#.4g}", f"{errors.rmse:#.4g}", f"{errors.mase:.3f}", *shown


def _about_table(story: Story) -> str:
    seen = "The test part was seen neither in training nor by the scales, the early stopping or the threshold."
    unit = "MASE is the mean absolute error in units of one-step persistence on the training part."
    return f"{story.evaluation.n_window} windows. {seen} {unit} {about_skill(story.evaluation)} {' '.join(story.notes)}"


def about_skill(evaluation: Evaluation) -> str:
    """What the columns of skill are, and the note of the table."""
    interval = f"{DRAWS} moving-block bootstrap draws, blocks of {evaluation.block} windows, seed {SEED}"
    return f"Skill is 1 - MAE / MAE of persistence; interval: {interval}. {evaluation.note}".strip()


def _about_data(data: Dataset) -> str:
    return (
        f"{len(data.devices)} device(s), a reading each {data.interval_s:g} s (median), target {data.target}, inputs "
        f"{', '.join(data.features)}. Each device was split by time before windows were cut. SHA-256 {data.sha256}."
    )


def _about_calibration(card: ModelCard) -> str:
    known, unit = card.calibration, f" {card.unit}" if card.unit else ""
    (first, *_), (*_, last) = known.band_95 or (math.nan,), known.band_95 or (math.nan,)
    return (
        f"On the validation part the mean |residual| one reading ahead is {known.mean_abs_residual:.4g}{unit}. The 95 "
        f"% band is {first:.4g}{unit} to each side one reading ahead and {last:.4g}{unit} at the last lead (split "
        f"conformal). Default threshold: {known.threshold_errors:g} times a device's own recent mean |residual|, the "
        f"score that one validation reading in {READINGS_PER_ALARM:g} exceeds (exponential tail over the 98 % "
        f"quantile), at least {LEAST_THRESHOLD:g}."
    )


def _extent(data: Dataset, name: str) -> tuple[str, ...]:
    part: Part = getattr(data, name)
    low, high = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") for at in (part.at.min(), part.at.max()))
    return name, low, high, str(len(part.at)), str(len(part))


def _losses(course: Course) -> str:
    epochs = np.arange(1, len(course.training_loss) + 1)
    best = course.best_epoch
    return line_chart(
        f"Loss of each epoch; the weights of epoch {best + 1} were kept",
        [Line("training", epochs, course.training_loss), Line("validation", epochs, course.validation_loss)],
        marks=Line("kept", [best + 1], [course.validation_loss[best]]),
        x_label="epoch",
        y_label="loss in units of the scale",
    )


def _plots(story: Story) -> str:
    part, unit = story.data.test, story.card.unit
    owner = part.device[part.starts]
    mine = owner == owner[0]
    at, actual, expected = part.target_at()[mine, 0], part.targets()[mine, 0], story.forecast[mine, 0]
    name, last = story.data.devices[int(owner[0])], slice(-_CLOSE_LOOK, None)
    residual = (part.targets()[:, 0] - story.forecast[:, 0]).astype(np.float64)
    near = f"{name}: the last {min(_CLOSE_LOOK, len(at))} readings of it"
    return "".join(
        [
            _actual_and_predicted(
                f"{name}: actual and predicted one reading ahead, test part", at, actual, expected, unit
            ),
            _actual_and_predicted(near, at[last], actual[last], expected[last], unit),
            histogram("Residuals one reading ahead, test part (actual - predicted)", residual, x_label=unit),
        ]
    )


def _actual_and_predicted(title: str, at: Floats, actual: Windows32, predicted: Windows32, unit: str) -> str:
    lines = [Line("actual", at, actual), Line("predicted", at, predicted)]
    return line_chart(title, lines, y_label=unit, x_is_time=True)
