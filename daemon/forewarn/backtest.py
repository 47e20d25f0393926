"""History through the daemon's own engine: which alerts would there have been?

Readings are taken in the file's order, with their own time as the time of their arrival. Silence is a matter of
arrivals between the rows, so it is not judged here.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from forewarn.charts import Band, Line, line_chart, page, table
from forewarn.core.alerts import AlertRaised
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Batch, Outcome, SeriesKey, status_name
from forewarn.core.rules import Rules
from forewarn.core.verdicts import Verdicts
from forewarn.history import History
from forewarn.messages import sentence

COLUMNS = (
    *("timestamp", "device", "value", "expected", "lower", "upper", "residual"),
    *("anomaly_score", "alert", "status"),
)
_CHUNK = 1024
_CHARTS_MOST = 12


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the engine said of a file.

    Attributes:
        history: the file.
        verdicts: one row for each row of the file.
        unit: of the target.
    """

    history: History
    verdicts: Verdicts
    unit: str

    @property
    def alerts(self) -> list[AlertRaised]:
        """The alerts in the order of their raises."""
        return [event for event in self.verdicts.events if isinstance(event, AlertRaised)]

    def write_csv(self, path: Path) -> None:
        """Write a row for each row of the file. A number that does not apply is empty."""
        history, verdicts = self.history, self.verdicts
        numbers = (verdicts.expected, verdicts.lower, verdicts.upper, verdicts.residual, verdicts.anomaly_score)
        rows = zip(
            history.timestamp_text,
            history.device,
            history.values[:, history.target_index].tolist(),
            *(column.tolist() for column in numbers),
            verdicts.alert.tolist(),
            verdicts.outcome.tolist(),
            strict=True,
        )
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            for text, device, *measures, alert, outcome in rows:
                shown = [repr(number) if math.isfinite(number) else "" for number in measures]
                writer.writerow((text, device, *shown, int(alert), status_name(outcome)))

    def summary(self) -> str:
        """How it went, in a few lines."""
        counts = np.bincount(self.verdicts.outcome, minlength=len(Outcome))
        outcomes = ", ".join(f"{n} {status_name(outcome)}" for outcome, n in enumerate(counts.tolist()) if n)
        lines = [f"{len(self.history)} readings: {outcomes}", f"{len(self.alerts)} alerts"]
        lines += [f"  {self._when(alert)}  {sentence(alert, self.unit)}" for alert in self.alerts[:20]]
        if len(self.alerts) > 20:
            lines.append(f"  … and {len(self.alerts) - 20} more")
        return "\n".join(lines)

    def html(self) -> str:
        """One self-contained page: a chart for each device and a table of the alerts."""
        devices = list(dict.fromkeys(self.history.device))
        body = [self._chart(device) for device in devices[:_CHARTS_MOST]]
        if len(devices) > _CHARTS_MOST:
            body.append(f"<p>{len(devices) - _CHARTS_MOST} further devices are not drawn.</p>")
        rows = [(self._when(alert), alert.alert.kind, sentence(alert, self.unit)) for alert in self.alerts]
        body.append(f"<h2>{len(rows)} alerts</h2>{table(('time', 'kind', 'what'), rows)}")
        return page(f"Backtest of {self.history.path.name}", "\n".join(body))

    def _when(self, event: AlertRaised) -> str:
        at = event.alert.at
        return self.history.timestamp_text[int(np.flatnonzero(self.history.at == at)[0])]

    def _chart(self, device: str) -> str:
        of_device = np.array([name == device for name in self.history.device])
        drawn = of_device & (self.verdicts.outcome <= Outcome.WARMING_UP)
        at, value = self.history.at[drawn], self.history.values[drawn, self.history.target_index]
        raised = [e.alert for e in self.alerts if e.alert.series.device == device]
        return line_chart(
            device,
            [Line("reading", at, value)],
            band=Band("band", at, self.verdicts.lower[drawn], self.verdicts.upper[drawn]),
            marks=Line("alert", [a.at for a in raised], [math.nan if a.value is None else a.value for a in raised]),
            y_label=self.unit,
            x_is_time=True,
        )


def backtest(
    forecaster: Forecaster,
    rules: Rules,
    history: History,
    *,
    unit: str | None = None,
    progress: bool = False,
) -> Backtest:
    """Judge every row of a file, in its order."""
    keys = [SeriesKey(device, history.target) for device in history.device]
    engine = Engine(forecaster, replace(rules, max_series=max(len(set(keys)), 1)))
    parts = []
    with tqdm(total=len(keys), unit=" readings", disable=None if progress else True, delay=0.5) as bar:
        for start in range(0, len(keys), _CHUNK):
            rows = slice(start, start + _CHUNK)
            parts.append(engine.ingest(Batch(keys[rows], history.at[rows], history.at[rows], history.values[rows])))
            bar.update(len(parts[-1].outcome))
    return Backtest(history, _joined(parts), forecaster.card.unit if unit is None else unit)


def _joined(parts: Sequence[Verdicts]) -> Verdicts:
    columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(Verdicts) if f.name != "events"}
    events = [event for part in parts for event in part.events]
    return Verdicts(**{name: np.concatenate(column) for name, column in columns.items()}, events=events)
