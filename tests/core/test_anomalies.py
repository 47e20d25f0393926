"""What the users of the `tail` judge get."""

from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from forewarn.core.alerts import Alert, AlertCleared, AlertRaised, Event, Kind, SeriesEvicted
from forewarn.core.deviations import STREAMS
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecast
from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.rules import Limits, Rules
from tests.forecasters import HalfTrend, card

STEP_S = 300.0
DAY = 288  # readings
CHANGE = 12 * DAY  # where something changes
TIME = np.arange(15 * DAY) - CHANGE
START = 1.7e9
FAMILY = {stream.name: stream.family for stream in STREAMS}
Values = NDArray[np.float64]
Series = Callable[[int], Values]  # of a seed, around 0 where 20 °C is meant
Told = dict[tuple[Series, int], list[Event]]


class Mean(HalfTrend):
    """The mean of the last 60 readings; the error to expect is that of a mean of independent readings."""

    def __init__(self) -> None:
        super().__init__(card(n_step=60))

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:  # noqa: ARG002 - a port
        mean = np.stack([row.mean() for row in windows[:, :, 0]])
        both = np.stack([mean, mean], axis=1)
        return Forecast(both, both, np.log(np.stack([spread, spread], axis=1) / 4 + np.float32(1e-3)))


def noise(seed: int, spread: float = 0.5) -> Values:
    return np.random.default_rng(seed).normal(0.0, spread, len(TIME))


def shift(seed: int) -> Values:
    return noise(seed) + 4.0 * (TIME >= 0)


def drift(seed: int) -> Values:
    away: Values = np.clip(0.02 * TIME, 0.0, 6.0)
    return noise(seed) + away


def wider(seed: int) -> Values:
    return np.where(within(0, 100), 4.0, 1.0) * noise(seed)


def rhythm(seed: int) -> Values:
    warm = 6.0 * (np.arange(len(TIME)) % DAY < DAY // 3)
    return noise(seed, spread=0.3) + np.where(TIME >= 0, 6.0 - warm, warm)


def twice(seed: int) -> Values:
    return noise(seed) + 4.0 * (within(0, 30) | within(2 * DAY, 2 * DAY + 30))


def twice_and_then_more(seed: int) -> Values:
    return twice(seed) + 400.0 * within(2 * DAY, 2 * DAY + 30)


def fault_stuck(seed: int) -> Values:
    return np.where(within(0, 100), noise(seed)[CHANGE], noise(seed))


def fault_range(seed: int) -> Values:
    return noise(seed) + 200.0 * within(0, 30)


def fault_unit(seed: int) -> Values:
    celsius = 20.0 + noise(seed)
    return np.where(within(0, 100), celsius * 1.8 + 32.0, celsius) - 20.0


def within(begin: int, end: int) -> NDArray[np.bool_]:
    return (begin <= TIME) & (end > TIME)


MADE: list[tuple[Series, int]] = [
    *((series, seed) for series in (shift, drift, wider, fault_stuck, fault_range, fault_unit) for seed in (0, 2)),
    *((rhythm, seed) for seed in (0, 1)),
    *((series, 2) for series in (twice, twice_and_then_more)),
]


@pytest.fixture(scope="module")
def told() -> Told:
    """What is told of each series; side by side in one engine, which takes little longer than one alone."""
    keys = [SeriesKey(f"{series.__name__}-{seed}", "temperature") for series, seed in MADE]
    values = np.round(20.0 + np.column_stack([series(seed) for series, seed in MADE]), 2)
    at = np.repeat(START + STEP_S * np.arange(float(len(TIME))), len(keys))
    rules = Rules(update_every_s=1e9, limits=(Limits("fault_*", high=100.0),))
    events = Engine(Mean(), rules).ingest(Batch(keys * len(TIME), at, at, values.reshape(-1, 1))).events
    of_alerts = [e for e in events if not isinstance(e, SeriesEvicted)]
    return {made: [e for e in of_alerts if e.alert.series == key] for made, key in zip(MADE, keys, strict=True)}


def alerts(of: list[Event]) -> list[Alert]:
    return [e.alert for e in of if isinstance(e, AlertRaised)]


def since(alert: Alert) -> float:
    """Readings from the change to the raise."""
    return (alert.raised_at - START) / STEP_S - CHANGE


def check(events: list[Event], raised: Alert) -> None:
    """One alert from its raise to its end."""
    life = [e.alert for e in events if not isinstance(e, SeriesEvicted) and e.alert.id == raised.id]
    cleared = life[-1]
    assert raised is life[0]
    assert [type(e) for e in events if not isinstance(e, SeriesEvicted) and e.alert.id == raised.id][-1] is AlertCleared
    assert {alert.kind for alert in life} == {Kind.ANOMALY}
    assert cleared.at > raised.at == raised.raised_at == cleared.raised_at
    assert raised.score > raised.threshold >= cleared.score
    about = ("stream", "observed", "usual", "since_at", "once_in_months")
    assert [getattr(cleared, name) for name in about] == [getattr(life[-2], name) for name in about]
    for alert in life[:-1]:
        assert alert.once_in_months is not None
        assert alert.once_in_months > 1.0  # as the sensitivity says
        assert alert.since_at is not None
        assert START + STEP_S * (CHANGE - 60) <= alert.since_at <= alert.at


@pytest.mark.parametrize("seed", [0, 2])
def test_a_shift_of_the_level_raises_one_alert_at_once(told: Told, seed: int) -> None:
    events = told[shift, seed]
    (raised,) = [alert for alert in alerts(events) if 0 <= since(alert) < 3 * DAY]
    check(events, raised)
    assert FAMILY[str(raised.stream)] == "level"
    assert since(raised) < 3
    assert raised.observed == pytest.approx(24.0, abs=1.0)
    assert raised.usual == pytest.approx(20.0, abs=0.3)
    assert raised.since_at == pytest.approx(START + STEP_S * CHANGE, abs=10 * STEP_S)


@pytest.mark.parametrize("seed", [0, 2])
def test_a_slow_drift_is_told_before_it_has_gone_two_kelvin_and_at_most_once_more(told: Told, seed: int) -> None:
    events = told[drift, seed]
    raised, *again = [alert for alert in alerts(events) if 0 <= since(alert) < 3 * DAY]
    check(events, raised)
    assert len(again) <= 1
    assert FAMILY[str(raised.stream)] in ("level", "forecast")
    assert since(raised) < 100
    assert raised.observed is not None
    assert raised.usual is not None
    assert 0.1 < raised.observed - raised.usual < 2.0


@pytest.mark.parametrize("seed", [0, 2])
def test_a_wider_spread_raises_an_alert_within_an_hour(told: Told, seed: int) -> None:
    events = told[wider, seed]
    raised = [alert for alert in alerts(events) if 0 <= since(alert) < 100]
    check(events, raised[0])
    assert since(raised[0]) < 12
    assert all(FAMILY[str(alert.stream)] in ("level", "volatility") for alert in raised)
    assert len(raised) <= 2


@pytest.mark.parametrize("seed", [0, 1])
def test_another_daily_rhythm_raises_one_alert_against_the_day_before(told: Told, seed: int) -> None:
    events = told[rhythm, seed]
    (raised,) = [alert for alert in alerts(events) if since(alert) >= -DAY]
    check(events, raised)
    assert FAMILY[str(raised.stream)] == "day"
    assert since(raised) < 25
    assert raised.observed is not None
    assert raised.usual is not None
    assert raised.observed < raised.usual < 26.5


def test_the_same_within_three_days_is_held_back_and_the_next_of_another_kind_is_not(told: Told) -> None:
    again, more = (
        [since(alert) for alert in alerts(told[series, 2]) if since(alert) >= 0]
        for series in (twice, twice_and_then_more)
    )
    assert len(again) == 1
    assert more == [*again, 2 * DAY]


@pytest.mark.parametrize(("fault", "kind", "n"), [
    (fault_stuck, Kind.STUCK, 100), (fault_range, Kind.RANGE, 30), (fault_unit, Kind.UNIT_CHANGE, 100),
])  # fmt: skip
@pytest.mark.parametrize("seed", [0, 2])
def test_a_sensor_fault_does_not_also_raise_an_anomaly(
    told: Told, fault: Series, kind: Kind, n: int, seed: int
) -> None:
    near = [alert.kind for alert in alerts(told[fault, seed]) if 0 <= since(alert) < n + DAY]
    assert near == [kind]


def calm_series(name: str, n_device: int, n: int, step_s: float) -> Values:
    """`(n, n_device)`."""
    rng = np.random.default_rng(7)
    white = rng.normal(0.0, 0.5, (n, n_device))
    if name == "white noise":
        return 20.0 + white
    if name == "day and noise":
        white += 3.0 * np.sin(2 * np.pi * step_s * np.arange(n)[:, None] / 86_400.0)
        return 20.0 + white
    for i in range(1, n):
        white[i] += 0.9 * white[i - 1]
    return 20.0 + white


CALM = ("white noise", "AR(1) 0.9", "day and noise")
DEVICE_DAYS = 300


@cache
def rates(step_s: float, n_day: int) -> dict[str, float]:
    """Anomalies per device and month of calm series of each name, all side by side."""
    n, n_device = int(n_day * 86_400 / step_s), DEVICE_DAYS // n_day
    values = np.round(np.hstack([calm_series(name, n_device, n, step_s) for name in CALM]), 2)
    engine = Engine(Mean(), Rules())
    keys = [SeriesKey(f"d{i}", name) for name in CALM for i in range(n_device)]
    raised: Counter[str] = Counter()
    for i, row in enumerate(values):
        at = np.full(len(keys), START + step_s * i)
        raised.update(alert.series.metric for alert in alerts(engine.ingest(Batch(keys, at, at, row[:, None])).events))
    return {name: 30.0 * raised[name] / DEVICE_DAYS for name in CALM}


@pytest.mark.parametrize("name", CALM)
@pytest.mark.parametrize(("step_s", "n_day", "most"), [(60.0, 4, 15.0), (300.0, 15, 6.0), (3600.0, 60, 6.0)])
def test_a_calm_series_raises_few_alerts(name: str, step_s: float, n_day: int, most: float) -> None:
    found = rates(step_s, n_day)[name]
    print(f"{name}, every {step_s:g} s: {found:.2f} anomalies per device and month")  # noqa: T201 - for pytest -s
    assert found < most
