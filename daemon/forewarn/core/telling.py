"""From rulings to events: what changed in the alerts of a series, and everything an alert has to say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from forewarn.core import anomalies
from forewarn.core.alerts import ABOUT, Alert, AlertBook, AlertChange, Kind, Severity, alert_id
from forewarn.core.deviations import STREAMS
from forewarn.core.rulings import Ruling
from forewarn.core.slots import Registry, State

LAST = ("at", "received_at", "value", "expected", "lower", "upper", "residual", "score")
"""Columns of the table that hold a series' last reading and what was said of it."""


class Teller:
    """What would bring the book of alerts in line with what the judges say."""

    def __init__(self, book: AlertBook, registry: Registry, features: Sequence[str], update_every_s: float) -> None:
        self._book = book
        self._features = features
        self._registry = registry
        self._update_every_s = update_every_s

    def tell(
        self, slot: int, state: State, i: int, rulings: Mapping[Kind, Ruling], started_at: float
    ) -> Iterator[AlertChange]:
        """The events that bring the book in line with reading `i` of a round.

        Args:
            slot: of the series.
            state: of the round's series, after its readings.
            i: the reading's place in the state and the rulings.
            rulings: by kind.
            started_at: the time of the oldest reading that the forecast was made from.
        """
        last = state[i]
        for kind in Kind:
            ruling, known = rulings.get(kind), self._book.get(slot, kind)
            if ruling is not None and ruling.active[i]:
                critical = ruling.critical is not None and bool(ruling.critical[i])
                if known is None or self._due(known, critical, last):
                    alert = self._alert(slot, last, kind, ruling.score[i], ruling.threshold[i], started_at)
                    severity = Severity.CRITICAL if critical else Severity.WARNING
                    yield self._book.observed(replace(alert, severity=severity, **self._details(ruling, i, known)))
            elif known is not None:
                score = 0.0 if ruling is None else ruling.score[i]
                alert = self._alert(slot, last, kind, score, known.threshold, started_at)
                yield self._book.cleared(alert if ruling is None else replace(alert, **self._details(ruling, i, known)))

    def silent(self, slot: int, state: State, i: int, threshold: float, now: float) -> AlertChange:
        """The series of a slot, whose state is at place `i`, is silent."""
        last = state[i]
        silence = now - float(last["received_at"])
        alert = self._alert(slot, last, Kind.SILENT, silence, threshold, float(last["window_at"][0]))
        told = replace(alert, id=alert_id(alert.series, Kind.SILENT, now), at=now, received_at=now, raised_at=now)
        return self._book.observed(told)

    def _due(self, known: Alert, critical: bool, last: State) -> bool:
        """Whether an alert that goes on must be told again."""
        worse = critical and known.severity is not Severity.CRITICAL
        return worse or bool(last["at"] >= known.at + self._update_every_s)

    def _alert(self, slot: int, last: State, kind: Kind, score: float, threshold: float, started_at: float) -> Alert:
        """An alert as of the series' last reading."""
        row = {name: _number(float(last[name])) for name in LAST}
        at, received_at = float(last["at"]), float(last["received_at"])
        if kind is Kind.SILENT:  # it ends with an arrival, and its raise was told at the daemon's own time
            at = received_at
        series = self._registry.keys[slot]
        return Alert(
            id=alert_id(series, kind, at),
            kind=kind,
            severity=Severity.WARNING,
            series=series,
            slot=slot,
            value=row["value"],
            expected=row["expected"],
            lower=row["lower"],
            upper=row["upper"],
            residual=row["residual"],
            score=float(score),
            threshold=float(threshold),
            at=at,
            received_at=received_at,
            raised_at=at,
            window_started_at=_number(started_at),
        )

    def _details(self, ruling: Ruling, i: int, known: Alert | None) -> dict[str, Any]:
        """The fields of an alert that only some kinds have."""
        columns = {name: getattr(ruling, name) for name in ("limit", "lead_s", "probability", "observed")}
        found: dict[str, Any] = {name: None if c is None else _number(c[i]) for name, c in columns.items()}
        found["conversion"] = None if ruling.conversion is None else ruling.conversion[i]
        found["feature"] = None if ruling.feature is None else self._features[int(ruling.feature[i])]
        if known is not None and ruling.score[i] <= 0 and (ruling.stream is not None or ruling.feature is not None):
            found |= {name: getattr(known, name) for name in ABOUT}
        elif ruling.stream is not None:
            found |= _unusual(ruling, i)
        return found


def _unusual(ruling: Ruling, i: int) -> dict[str, Any]:
    """What an anomaly is about."""
    columns = {name: getattr(ruling, name) for name in ("usual", "since_at")}
    stream = None if ruling.stream is None else STREAMS[int(ruling.stream[i])].name
    months = 1.0 / anomalies.rate_of(float(ruling.score[i]))
    return {"stream": stream, "once_in_months": months} | {name: _number(c[i]) for name, c in columns.items()}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
