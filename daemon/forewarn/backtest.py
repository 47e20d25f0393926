"""History through the daemon's own engine: which alerts would there have been?

Rules that hold here:

- Readings are taken in the file's order, with their own time as the time of their arrival. Silence is a matter of
  arrivals between the rows, so it is not judged here.
- Readings in probation are judged and learnt from; their alerts are neither counted nor told, and their score is 0.
- A device-month is 30.4 days of one device's readings; what a gap has beyond `Rules.max_gap` is not part of it.
"""

import csv
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
from tqdm import tqdm

from forewarn.core.alerts import Alert, AlertRaised
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Batch, Mask, Outcome, SeriesKey, Slots, status_name
from forewarn.core.rules import Rules
from forewarn.core.verdicts import Verdicts
from forewarn.history import History
from forewarn.messages import sentence

COLUMNS = (
    *("timestamp", "device", "value", "expected", "lower", "upper", "residual"),
    *("anomaly_score", "alert", "status"),
)
MONTH_S = 30.4 * 86_400
PROBATION_MOST = 750
"""Of a probation that is given as a share: so does the Numenta Anomaly Benchmark (Lavin and Ahmad 2015,
arXiv:1510.03336). No judge needs longer to know a device."""
_CHUNK = 1024
_SHOWN = 20


@dataclass(frozen=True)
class Backtest:
    """What the engine said of a file.

    Attributes:
        history: the file.
        verdicts: one row for each row of the file.
        unit: of the target.
        rules: that it was judged by.
        counted: `(n,)` bool: the rows that are not in probation.
        judged_s: how long the judging took, in seconds.
    """

    history: History
    verdicts: Verdicts
    unit: str
    rules: Rules
    counted: Mask
    judged_s: float

    @cached_property
    def order(self) -> Slots:
        """Rows of the readings that were accepted: series after series, each in time."""
        accepted = np.flatnonzero(self.verdicts.outcome <= Outcome.WARMING_UP)
        return accepted[np.argsort(self.verdicts.slot[accepted], kind="stable")]

    @cached_property
    def starts(self) -> Slots:
        """Where in `order` each slot's rows begin, and where the last one's end."""
        slots = self.verdicts.slot[self.order]
        return np.searchsorted(slots, np.arange(int(slots[-1]) + 2 if len(slots) else 1))

    def rows_of(self, slot: int) -> Slots:
        """The accepted rows of a series, in time."""
        return self.order[self.starts[slot] : self.starts[slot + 1]]

    def series(self) -> list[Slots]:
        """The accepted rows of each series, by slot."""
        return [self.rows_of(slot) for slot in range(len(self.starts) - 1)]

    def place_of(self, alert: Alert) -> int:
        """Where in `order` the reading is that an alert was told with."""
        rows = self.rows_of(alert.slot)
        return int(self.starts[alert.slot] + np.searchsorted(self.history.at[rows], alert.at))

    def row_of(self, alert: Alert) -> int:
        """The row of the reading that an alert was told with."""
        return int(self.order[self.place_of(alert)])

    @cached_property
    def alerts(self) -> list[AlertRaised]:
        """The alerts that count, in the order of their raises."""
        raised = [event for event in self.verdicts.events if isinstance(event, AlertRaised)]
        return [event for event in raised if self.counted[self.row_of(event.alert)]]

    @property
    def judge(self) -> str:
        """The kind of alert that its judge raises."""
        return "anomaly" if self.rules.detector == "tail" else "residual"

    def of_judge(self) -> list[Alert]:
        """Those of them that this judge raised."""
        return [event.alert for event in self.alerts if event.alert.kind == self.judge]

    @cached_property
    def device_months(self) -> float:
        """How long the devices were watched, all together."""
        return sum(self._watched_s(rows) for rows in self.series()) / MONTH_S

    def _watched_s(self, rows: Slots) -> float:
        intervals = np.diff(self.history.at[rows[self.counted[rows]]])
        if not len(intervals):
            return 0.0
        return float(np.minimum(intervals, self.rules.max_gap * np.quantile(intervals, 0.95)).sum())

    @property
    def readings_per_s(self) -> float:
        """How many were judged in a second."""
        return len(self.history) / max(self.judged_s, 1e-9)

    def write_csv(self, path: Path) -> None:
        """Write a row for each row of the file. A number that does not apply is empty."""
        history, verdicts = self.history, self.verdicts
        score = np.where(self.counted, verdicts.anomaly_score, 0.0)
        rows = zip(
            history.timestamp_text,
            history.device,
            history.values[:, history.target_index].tolist(),
            *(c.tolist() for c in (verdicts.expected, verdicts.lower, verdicts.upper, verdicts.residual, score)),
            (verdicts.alert & self.counted).tolist(),
            verdicts.outcome.tolist(),
            strict=True,
        )
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            for text, device, *measures, alert, outcome in rows:
                shown = [repr(number) if math.isfinite(number) else "" for number in measures]
                writer.writerow((text, device, *shown, int(alert), status_name(outcome)))

    def outcomes(self) -> list[tuple[str, int]]:
        """How many rows of the file ended as what; what never occurred is left out."""
        counts = np.bincount(self.verdicts.outcome, minlength=len(Outcome)).tolist()
        return [(status_name(outcome), n) for outcome, n in enumerate(counts) if n]

    def summary(self) -> str:
        """How it went, in a few lines."""
        outcomes = ", ".join(f"{n} {name}" for name, n in self.outcomes())
        kinds = Counter(str(event.alert.kind) for event in self.alerts)
        split = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        probation = np.count_nonzero(~self.counted)
        lines = [
            f"{len(self.history)} readings: {outcomes}; {self.readings_per_s:.0f} readings/s",
            f"alerts in {self.device_months:.3g} device-months: {split or 'none'}",
            *([f"the first {probation} readings are in probation and do not count"] if probation else []),
        ]
        lines += [f"  {self.when(e.alert)}  {sentence(e, self.unit)}" for e in self.alerts[:_SHOWN]]
        if len(self.alerts) > _SHOWN:
            lines.append(f"  … and {len(self.alerts) - _SHOWN} more")
        return "\n".join(lines)

    def when(self, alert: Alert) -> str:
        """The time of an alert's reading as the file has it."""
        return self.history.timestamp_text[self.row_of(alert)]


def backtest(
    forecaster: Forecaster,
    rules: Rules,
    history: History,
    *,
    unit: str | None = None,
    probation: float = 0.0,
    progress: bool = False,
) -> Backtest:
    """Judge every row of a file, in its order.

    Args:
        forecaster: the model.
        rules: of the alerts; the cap on devices does not count here.
        history: the file.
        unit: of the target; None is the model's own.
        probation: how many readings of each device do not count, or which share of them where it is below 1; a share
            counts for at most `PROBATION_MOST` readings.
        progress: whether a bar is shown.
    """
    series = {device: SeriesKey(device, history.target) for device in history.device}
    keys = [series[device] for device in history.device]
    engine = Engine(forecaster, replace(rules, max_series=max(len(series), 1)))
    parts = []
    begun = time.perf_counter()
    with tqdm(total=len(keys), unit=" readings", disable=None if progress else True, delay=0.5) as bar:
        for start in range(0, len(keys), _CHUNK):
            rows = slice(start, start + _CHUNK)
            parts.append(engine.ingest(Batch(keys[rows], history.at[rows], history.at[rows], history.values[rows])))
            bar.update(len(parts[-1].outcome))
    judged_s = time.perf_counter() - begun
    own_unit = forecaster.card.unit if unit is None else unit
    return Backtest(history, _joined(parts), own_unit, rules, counted_rows(history.device, probation), judged_s)


def counted_rows(device: Sequence[str], probation: float) -> Mask:
    """Which rows `(n,)` are not in probation, given the device of each; see `backtest`."""
    known: dict[str, int] = {}
    codes = np.array([known.setdefault(name, len(known)) for name in device], np.int64)
    order = np.argsort(codes, kind="stable")
    n_row = np.bincount(codes, minlength=1)
    nth = np.empty(len(codes), np.int64)
    nth[order] = np.arange(len(codes)) - np.repeat(np.cumsum(n_row) - n_row, n_row)
    share = np.minimum(np.floor(probation * n_row), PROBATION_MOST)
    left_out = share if probation < 1 else np.full(n_row.shape, probation)
    counted: Mask = nth >= left_out[codes]
    return counted


def _joined(parts: Sequence[Verdicts]) -> Verdicts:
    starts = accumulate((len(part.outcome) for part in parts[:-1]), initial=0)
    columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(Verdicts) if f.name != "told"}
    told = [(start + row, event) for start, part in zip(starts, parts, strict=True) for row, event in part.told]
    return Verdicts(**{name: np.concatenate(column) for name, column in columns.items()}, told=told)
