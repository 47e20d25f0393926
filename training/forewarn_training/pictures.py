"""Charts of the training report. Colours say the same in all of them: what came, what was forecast, everything else."""

from datetime import UTC, datetime

import numpy as np

from forewarn.charts import SMALL, Band, Line, histogram, line_chart
from forewarn_training.data import PARTS, Dataset, Floats, Part, Windows32
from forewarn_training.evaluate import Evaluation
from forewarn_training.story import Story
from forewarn_training.trainer import Course

_CLOSE_LOOK = 200  # readings that the second plot shows
_RANKS = ((0.1, "a good one"), (0.5, "a usual one"), (0.9, "a bad one"), (1.0, "the worst"))
_BEFORE = 2  # leads of readings before a forecast, at most


def losses(course: Course) -> str:
    """Of each epoch."""
    epochs = np.arange(1, len(course.training_loss) + 1)
    best = course.best_epoch
    return line_chart(
        f"Loss of each epoch in units of the scale; the weights of epoch {best + 1} were kept",
        [Line("training", epochs, course.training_loss), Line("validation", epochs, course.validation_loss)],
        marks=Line("kept", [best + 1], [course.validation_loss[best]]),
        x_label="epoch",
    )


def errors_by_lead(evaluation: Evaluation, unit: str) -> str:
    """A line for each method, at the leads of the table."""
    leads = evaluation.leads()
    methods = dict.fromkeys(errors.method for errors in evaluation.errors)
    found = {(errors.method, errors.lead): errors.mae for errors in evaluation.errors}
    lines = [Line(method, leads, [found.get((method, lead), np.nan) for lead in leads]) for method in methods]
    title = f"Mean |error| at each lead{f', {unit}' if unit else ''}"
    return line_chart(title, lines, x_label="readings ahead", size=SMALL)


def coverage_by_lead(story: Story) -> str:
    """Which share of the test part's readings the bands hold, beside the share that they are to hold."""
    known, part = story.card.calibration, story.data.test
    if known.band_80 is None or known.band_95 is None:
        return ""
    away = np.abs(part.targets().astype(np.float64) - story.forecast)
    leads = np.arange(1, part.horizon + 1)
    lines = []
    for i, (name, band, wanted) in enumerate((("80 % band", known.band_80, 80.0), ("95 % band", known.band_95, 95.0))):
        held = 100 * (away <= np.array(band)).mean(axis=0)
        lines += [Line(name, leads, held, i), Line("", leads, np.full(len(leads), wanted), i)]
    title = "Readings within the bands, % (straight: wanted)"
    return line_chart(title, lines, x_label="readings ahead", size=SMALL)


def split(data: Dataset) -> str:
    """The readings of the device that has most, by what they are used for."""
    parts: list[Part] = [getattr(data, name) for name in PARTS]
    counts = sum(np.bincount(part.device, minlength=len(data.devices)) for part in parts)
    device = int(np.argmax(counts))
    lines = []
    for name, part in zip(PARTS, parts, strict=True):
        mine = part.device == device
        lines.append(Line(name, part.at[mine], part.values[mine, part.target_index].astype(np.float64)))
    return line_chart(f"{data.devices[device]}: what each reading was for", lines, x_is_time=True)


def some_forecasts(story: Story) -> str:
    """Forecasts of the test part by the rank of their mean |error|, each with what came before and after."""
    part = story.data.test
    error = np.abs(part.targets().astype(np.float64) - story.forecast).mean(axis=1)
    order = np.argsort(error, kind="stable")
    places = [(int(order[round(share * (len(order) - 1))]), name) for share, name in _RANKS]
    charts = [_forecast(story, window, name, float(error[window])) for window, name in places]
    return f'<div class="pair">{"".join(charts)}</div>'


def _forecast(story: Story, window: int, name: str, error: float) -> str:
    part, unit = story.data.test, story.card.unit
    first = int(part.starts[window])
    begin = first + max(part.n_step - _BEFORE * part.horizon, 0)
    now, end = first + part.n_step, first + part.n_step + part.horizon
    at = part.at[begin:end]
    actual = part.values[begin:end, part.target_index].astype(np.float64)
    path = story.forecast[window].astype(np.float64)
    half = story.card.calibration.band_95
    when = datetime.fromtimestamp(part.at[now - 1], UTC).strftime("%Y-%m-%d %H:%M")
    device = story.data.devices[int(part.device[first])]
    band = None if half is None else Band("95 %", part.at[now:end], path - half, path + half)
    return line_chart(
        f"{name}: {device}, {when}, mean |error| {error:.3g}{f' {unit}' if unit else ''}",
        [Line("actual", at, actual), Line("forecast", part.at[now:end], path)],
        band=band,
        x_is_time=True,
        size=SMALL,
    )


def one_ahead(story: Story) -> str:
    """Actual and predicted of the first device of the test part, and the residuals of all."""
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
