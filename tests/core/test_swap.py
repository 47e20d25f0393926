"""Another model takes the place of one: what is kept of the series."""

from dataclasses import replace

import numpy as np
import pytest

from forewarn.core.alerts import AlertRaised
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecast
from forewarn.core.rules import Rules, Threshold
from forewarn.core.windows import KEPT
from tests.core.streams import Row, batch, stream
from tests.forecasters import HalfTrend, card

RULES = Rules(
    detector="residual", silent=False, stuck=False, unit_change=False
)  # so that every reading enters the window
WINDOW = ("window", "window_at", "filled")


class Longer(HalfTrend):
    """Five leads instead of two."""

    def __init__(self, n_step: int) -> None:
        super().__init__(replace(card(n_step=n_step), horizon=5))

    def forecast(self, windows: np.ndarray, spread: np.ndarray, at: np.ndarray) -> Forecast:
        short = super().forecast(windows, spread, at)
        return short._replace(path=np.repeat(short.path[:, :1], 5, axis=1))


def fed(n_step: int, rows: list[Row], rules: Rules = RULES) -> Engine:
    engine = Engine(HalfTrend(card(n_step=n_step)), rules)
    engine.ingest(batch(rows))
    return engine


def whole_windows(engine: Engine) -> list[tuple[bytes, bytes, int]]:
    """The filled steps of each series."""
    table, n = engine._groups[0].table, len(engine.fleet().keys)
    out = []
    for slot in range(n):
        filled = int(table["filled"][slot])
        n_step = table["window"].shape[1]
        at, values = table["window_at"][slot, n_step - filled :], table["window"][slot, n_step - filled :]
        out.append((at.tobytes(), values.tobytes(), filled))
    return out


@pytest.mark.parametrize("bridges", [False, True])
@pytest.mark.parametrize(
    ("before", "after"), [(4, 4), (4, 20), (20, 4), (4, KEPT), (KEPT, 30), (4, KEPT + 40), (200, 3)]
)
def test_windows_are_as_if_the_model_had_always_been_there(before: int, after: int, bridges: bool) -> None:
    for seed in range(3):
        rows = stream(seed, n=900)
        if bridges:
            rows = [row for i, row in enumerate(rows) if i % 29]
        old = fed(before, rows)
        new = Engine(HalfTrend(card(n_step=after)), RULES)
        new.restore(old.snapshot())
        always = fed(after, rows)
        for ours, theirs in zip(whole_windows(new), whole_windows(always), strict=True):
            n = min(theirs[2], max(KEPT, before))
            assert ours[2] == n
            assert ours[0] == theirs[0][-8 * n :]
            assert ours[1] == theirs[1][-4 * n :]


def test_a_swap_back_and_forth_loses_nothing_that_fits() -> None:
    old = fed(16, stream(5, n=900))
    through = Engine(HalfTrend(card(n_step=60)), RULES)
    through.restore(old.snapshot())
    back = Engine(HalfTrend(card(n_step=16)), RULES)
    back.restore(through.snapshot())
    assert whole_windows(back) == whole_windows(old)


def test_a_model_of_other_leads_begins_anew_with_their_errors_alone_and_alerts_go_on() -> None:
    rules = replace(RULES, threshold=Threshold(0.01, absolute=True))
    rows = stream(1, n=900)
    old = fed(4, rows, rules)
    active = [alert for slot in range(len(old.fleet().keys)) for alert in old.alerts(slot)]
    assert active
    new = Engine(Longer(6), rules)
    new.restore(old.snapshot())
    assert [alert for slot in range(len(new.fleet().keys)) for alert in new.alerts(slot)] == active
    assert np.array_equal(new._groups[0].table["mean_abs"][:3], old._groups[0].table["mean_abs"][:3])
    assert np.isnan(new._groups[0].table["forecast"][:3]).all()
    assert not new._groups[0].table["n_lead"].any()
    last = {row.key: row for row in rows}
    later = [
        row._replace(at=row.at + 10.0 * i, received_at=row.received_at + 10.0 * i)
        for i in (1, 2)
        for row in last.values()
    ]
    events = new.ingest(batch(later)).events
    known = {alert.id for alert in active}
    assert not [e for e in events if isinstance(e, AlertRaised) and e.alert.id in known]
    assert np.isfinite(new._groups[0].table["forecast"][:3]).all()
