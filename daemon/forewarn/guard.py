"""Goes on past a mistake of our own, so that no message ends the daemon, is delivered again, and ends it again.

Rules that hold here:

- While all goes well nothing is done that would not be done without.
- A batch at which the engine fails is judged in halves until the readings are found at which it does. These alone are
  `Outcome.FAILED`; engine and verdicts are as if they had not been there (see `Engine.judge`).
- What fails is told with its traceback, each kind once a minute.
"""

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import numpy as np

from forewarn.core.alerts import Event
from forewarn.core.engine import Engine
from forewarn.core.readings import Batch, Outcome, Slots
from forewarn.core.records import Lost, Tick
from forewarn.core.verdicts import Verdicts
from forewarn.logs import REPORT, Complaints

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Guard:
    """Does what may fail, and tells it to `complaints` where it does."""

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints

    def ingest(self, engine: Engine, batch: Batch) -> Verdicts:
        """As `Engine.ingest`, without those readings at which it raises."""
        verdicts = Verdicts.blank(len(batch))
        rows = np.arange(len(batch))
        error = _failure(engine, batch, rows, verdicts)
        if error is not None:
            detail = f"with {len(batch)} readings, which are judged in parts now; {REPORT}"
            self._complaints.add("the engine fails", detail, error)
            _judge_in_parts(engine, batch, rows, verdicts)
        return verdicts

    def tick(self, engine: Engine, tick: Tick) -> Sequence[Event]:
        """As `Engine.tick`; no events where it raises."""
        return self.attempt("looking for silent series", engine.tick, *tick) or ()

    def lost(self, engine: Engine, lost: Lost) -> Sequence[Event]:
        """As `Engine.lost`; no events where it raises."""
        return self.attempt("noting devices that are going", engine.lost, *lost) or ()

    def attempt(self, what: str, do: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """What `do` returns; None where it raises, which is told as a failure of `what`."""
        try:
            return do(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must go on
            self._complaints.add(f"{what} fails", REPORT, error)
            return None


def _failure(engine: Engine, batch: Batch, rows: Slots, verdicts: Verdicts) -> Exception | None:
    try:
        engine.judge(batch, rows, verdicts)
    except Exception as error:  # noqa: BLE001 - the same
        return error
    return None


def _judge_in_parts(engine: Engine, batch: Batch, rows: Slots, verdicts: Verdicts) -> None:
    """Judge what of these rows, at which the engine failed together, can be judged."""
    for part in np.array_split(rows[verdicts.outcome[rows] == Outcome.FAILED], 2):
        if len(part) and _failure(engine, batch, part, verdicts) is not None and len(part) > 1:
            _judge_in_parts(engine, batch, part, verdicts)
