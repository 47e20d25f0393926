"""A backtest held against labelled windows: which were found, how soon, and how many alerts were false.

Rules that hold here:

- A window is found when one of its readings raises an alert, or would raise one were none active already.
- The delay counts from the window's first reading. An alert raised outside all windows of its device is false.
- A window without a reading that counts, such as one in probation, is left out and told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from forewarn.backtest import Backtest
from forewarn.core.alerts import AlertCleared, AlertRaised
from forewarn.core.readings import Mask, Slots
from forewarn.labels import Window
from forewarn.messages import span
from forewarn.sensitivity import in_use, step


@dataclass(frozen=True, slots=True)
class Finding:
    """A window and the first reading of it that tells.

    Attributes:
        window: that was labelled.
        device: whose readings these are.
        rows: of its readings that count, in time.
        row: the one that tells, None where the window was missed.
        kind: of the alert, "" where the window was missed.
        delay_s: from the first reading, in seconds.
    """

    window: Window
    device: str
    rows: Slots
    row: int | None
    kind: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class Labelled:
    """A backtest held against labels.

    Attributes:
        findings: one for each window that has readings.
        n_empty: windows without.
        normal: `(n,)` bool: the accepted readings that count and lie outside all windows.
        n_false: alerts that were raised there.
        n_counted: accepted readings that count.
        n_in_alarm: normal readings during which an alert was active.
    """

    findings: list[Finding]
    n_empty: int
    normal: Mask
    n_false: int
    n_counted: int
    n_in_alarm: int

    def found_by(self, telling: Mask) -> int:
        """How many windows have one of these rows."""
        return sum(bool(telling[finding.rows].any()) for finding in self.findings)

    @property
    def n_found(self) -> int:
        """How many windows the alerts of all kinds found."""
        return sum(finding.row is not None for finding in self.findings)

    def false_per_1000(self) -> float:
        """False alerts in 1000 readings that count."""
        return 1000 * self.n_false / max(self.n_counted, 1)

    def alarm_percent(self) -> float:
        """Share of the normal readings in alarm."""
        return 100 * self.n_in_alarm / max(int(self.normal.sum()), 1)

    def delay(self) -> str:
        """The median over the windows found, `-` where there is none."""
        delays = [finding.delay_s for finding in self.findings if finding.row is not None]
        return span(float(np.median(delays))) if delays else "-"

    def summary(self) -> str:
        """What was found, in a few lines."""
        found = f"{self.n_found} of {len(self.findings)} windows found, median delay {self.delay()}"
        false = f"{self.n_false} false alerts ({self.false_per_1000():.2f} per 1000 readings)"
        lines = [f"labels: {found}; {false}, {self.alarm_percent():.2f} % of normal readings in alarm"]
        for one in self.findings:
            told = "missed" if one.row is None else f"found after {span(one.delay_s)} ({one.kind})"
            lines.append(f"  {one.device}  {moment(one.window.begin_at)} to {moment(one.window.end_at)}  {told}")
        if self.n_empty:
            lines.append(f"  {self.n_empty} more without a reading that counts")
        return "\n".join(lines)


def hold_against(result: Backtest, windows: Sequence[Window]) -> Labelled:
    """Which windows the alerts of a backtest found."""
    history = result.history
    kinds = _telling(result)
    counts = np.zeros(len(history), np.bool_)
    counts[result.order] = result.counted[result.order]
    normal = counts.copy()
    findings: list[Finding] = []
    n_empty = 0
    slots = {history.device[rows[0]]: slot for slot, rows in enumerate(result.series())}
    for window in sorted(windows, key=lambda w: w.begin_at):
        rows_of = {
            device: _inside(window, result.rows_of(slot), result, counts)
            for device, slot in slots.items()
            if window.device in (None, device)
        }
        found = [_finding(window, device, rows, kinds, result) for device, rows in rows_of.items() if len(rows)]
        for one in found:
            normal[one.rows] = False
        findings += found
        n_empty += not found
    return Labelled(
        findings=findings,
        n_empty=n_empty,
        normal=normal,
        n_false=sum(bool(normal[result.row_of(event.alert)]) for event in result.alerts),
        n_counted=int(counts.sum()),
        n_in_alarm=int((_in_alarm(result) & normal).sum()),
    )


def _in_alarm(result: Backtest) -> Mask:
    """The rows `(n,)` during which an alert was active on their series, of whatever kind."""
    change = np.zeros(len(result.order) + 1, np.int64)
    ends: dict[str, int] = {}  # of the active alerts, had they never been cleared
    for event in result.verdicts.events:
        if isinstance(event, AlertRaised):
            ends[event.alert.id] = int(result.starts[event.alert.slot + 1])
            change[result.place_of(event.alert)] += 1
        elif isinstance(event, AlertCleared):
            del ends[event.alert.id]
            change[result.place_of(event.alert)] -= 1
    np.subtract.at(change, list(ends.values()), 1)
    active = np.zeros(len(result.history), np.bool_)
    active[result.order] = np.cumsum(change[:-1]) > 0
    return active


def _telling(result: Backtest) -> dict[int, str]:
    """The rows that raise an alert or would, had none been active, and its kind."""
    would = np.flatnonzero(step(result, in_use(result)).telling).tolist()
    return dict.fromkeys(would, result.judge) | {
        result.row_of(event.alert): str(event.alert.kind) for event in reversed(result.alerts)
    }


def _inside(window: Window, rows: Slots, result: Backtest, counts: Mask) -> Slots:
    """Those of a series' rows that lie in a window and count."""
    at = result.history.at[rows]
    first = np.searchsorted(at, window.begin_at, side="left")
    last = np.searchsorted(at, window.end_at, side="right")
    inside = rows[first:last]
    return inside[counts[inside]]


def _finding(window: Window, device: str, rows: Slots, kinds: dict[int, str], result: Backtest) -> Finding:
    row = next((row for row in rows.tolist() if row in kinds), None)
    if row is None:
        return Finding(window, device, rows, None, "", 0.0)
    at = result.history.at
    return Finding(window, device, rows, row, kinds[row], float(at[row] - at[rows[0]]))


def moment(at: float) -> str:
    """A time for people, UTC: `2014-04-10 07:15`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
