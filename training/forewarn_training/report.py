"""The training report: one HTML file that says what was trained, on what, and how well it forecasts."""

import math
from datetime import UTC, datetime
from html import escape

from forewarn.charts import page, table
from forewarn.core.card import ModelCard
from forewarn_training import pictures
from forewarn_training.calibrate import LEAST_THRESHOLD, READINGS_PER_ALARM
from forewarn_training.data import PARTS, Dataset, Part
from forewarn_training.evaluate import PERSISTENCE, Errors, Evaluation
from forewarn_training.intervals import DRAWS, SEED
from forewarn_training.story import Story

_RANKED = (
    "Of all of them, ordered by their mean |error|: one in ten is better than the first, half are better than the "
    "second, one in ten is worse than the third."
)
_STYLE = """
.pair{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,27rem),1fr));gap:0 2rem;align-items:start}
.pair>*{min-width:0}
"""


def render(story: Story) -> str:
    """The report as HTML."""
    unit = story.card.unit
    body = [
        f"<p>{escape(story.evaluation.verdict())}</p>",
        "<h2>Which model, and why</h2>",
        *(f"<p>{escape(told)}</p>" for told in (_what(story), *story.choices, story.sentence) if told),
        "<h2>Errors on the test part</h2>",
        table(*errors_table(story.evaluation, unit)),
        f"<p>{escape(_about_table(story))}</p>",
        f'<div class="pair">{pictures.errors_by_lead(story.evaluation, unit)}{pictures.coverage_by_lead(story)}</div>',
        "<h2>Some forecasts of the test part</h2>",
        f"<p>{_RANKED}</p>",
        pictures.some_forecasts(story),
        "<h2>One reading ahead</h2>",
        pictures.one_ahead(story),
        *(["<h2>Training</h2>", pictures.losses(story.course)] if story.course.training_loss else []),
        "<h2>Data</h2>",
        pictures.split(story.data),
        table(("part", "from", "to", "readings", "windows"), [_extent(story.data, name) for name in PARTS]),
        f"<p>{escape(_about_data(story.data))}</p>",
        "<h2>Calibration</h2>",
        f"<p>{escape(_about_calibration(story.card))}</p>",
        "<h2>Settings</h2>",
        table(("setting", "value"), story.settings),
    ]
    return page(f"{story.card.name} {story.card.version}: training report", "\n".join(body), style=_STYLE)


def _what(story: Story) -> str:
    settings = dict(story.settings)
    network = f"{settings['cell']}, {settings['layers']} layer(s) of {settings['units']} units"
    of = "linear: a ridge autoregression" if settings["cell"] == "linear" else network
    card = story.card
    return f"{of}; {card.n_step} readings in, {card.horizon} out; {len(story.data.training):,} windows to train on."


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
