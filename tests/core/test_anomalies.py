"""What the users of the `tail` judge get."""

from collections.abc import Callable
from dataclasses import replace

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

KEY = SeriesKey("pump-1", "temperature")
RULES = Rules(update_every_s=1e9)
STEP_S = 300.0
DAY = 288  # readings
CHANGE = 12 * DAY  # where something changes
START = 1.7e9
FAMILY = {stream.name: stream.family for stream in STREAMS}
Values = NDArray[np.float64]


class Mean(HalfTrend):
    """The mean of the last 60 readings; the error to expect is that of a mean of independent readings."""

    def __init__(self) -> None:
        super().__init__(card(n_step=60))

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:  # noqa: ARG002 - a port
        mean = np.stack([row.mean() for row in windows[:, :, 0]])
        both = np.stack([mean, mean], axis=1)
        return Forecast(both, both, np.log(np.stack([spread, spread], axis=1) / 4 + np.float32(1e-3)))


def noise(n_day: int = 15, seed: int = 0, spread: float = 0.5) -> Values:
    return np.random.default_rng(seed).normal(0.0, spread, n_day * DAY)


def events(values: Values, rules: Rules = RULES) -> list[Event]:
    at = START + STEP_S * np.arange(float(len(values)))
    return Engine(Mean(), rules).ingest(Batch([KEY] * len(at), at, at, np.round(values, 2)[:, None])).events


def alerts(of: list[Event]) -> list[Alert]:
    return [e.alert for e in of if isinstance(e, AlertRaised)]


def since(alert: Alert) -> float:
    """Readings from the change to the raise."""
    return (alert.raised_at - START) / STEP_S - CHANGE


def check(told: list[Event], raised: Alert) -> None:
    """One alert from its raise to its end."""
    life = [e.alert for e in told if not isinstance(e, SeriesEvicted) and e.alert.id == raised.id]
    cleared = life[-1]
    assert raised is life[0]
    assert [type(e) for e in told if not isinstance(e, SeriesEvicted) and e.alert.id == raised.id][-1] is AlertCleared
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
def test_a_shift_of_the_level_raises_one_alert_at_once(seed: int) -> None:
    told = events(20.0 + noise(seed=seed) + 4.0 * (np.arange(15 * DAY) >= CHANGE))
    (raised,) = [alert for alert in alerts(told) if 0 <= since(alert) < 3 * DAY]
    check(told, raised)
    assert FAMILY[str(raised.stream)] == "level"
    assert since(raised) < 3
    assert raised.observed == pytest.approx(24.0, abs=1.0)
    assert raised.usual == pytest.approx(20.0, abs=0.3)
    assert raised.since_at == pytest.approx(START + STEP_S * CHANGE, abs=10 * STEP_S)


@pytest.mark.parametrize("seed", [0, 2])
def test_a_slow_drift_is_told_before_it_has_gone_two_kelvin_and_at_most_once_more(seed: int) -> None:
    drift = np.clip(0.02 * (np.arange(15 * DAY) - CHANGE), 0.0, 6.0)
    told = events(20.0 + noise(seed=seed) + drift)
    raised, *again = [alert for alert in alerts(told) if 0 <= since(alert) < 3 * DAY]
    check(told, raised)
    assert len(again) <= 1
    assert FAMILY[str(raised.stream)] in ("level", "forecast")
    assert since(raised) < 100
    assert raised.observed is not None
    assert raised.usual is not None
    assert 0.1 < raised.observed - raised.usual < 2.0


@pytest.mark.parametrize("seed", [0, 2])
def test_a_wider_spread_raises_an_alert_within_an_hour(seed: int) -> None:
    wide = (np.arange(15 * DAY) >= CHANGE) & (np.arange(15 * DAY) < CHANGE + 100)
    told = events(20.0 + np.where(wide, 4.0, 1.0) * noise(seed=seed))
    raised = [alert for alert in alerts(told) if 0 <= since(alert) < 100]
    check(told, raised[0])
    assert since(raised[0]) < 12
    assert all(FAMILY[str(alert.stream)] in ("level", "volatility") for alert in raised)
    assert len(raised) <= 2


@pytest.mark.parametrize("seed", [0, 1])
def test_another_daily_rhythm_raises_one_alert_against_the_day_before(seed: int) -> None:
    warm = 6.0 * (np.arange(15 * DAY) % DAY < DAY // 3)
    told = events(20.0 + noise(seed=seed, spread=0.3) + np.where(np.arange(15 * DAY) >= CHANGE, 6.0 - warm, warm))
    (raised,) = [alert for alert in alerts(told) if since(alert) >= -DAY]
    check(told, raised)
    assert FAMILY[str(raised.stream)] == "day"
    assert since(raised) < 25
    assert raised.observed is not None
    assert raised.usual is not None
    assert raised.observed < raised.usual < 26.5


def test_the_same_within_three_days_is_held_back_and_the_next_of_another_kind_is_not() -> None:
    time = np.arange(15 * DAY) - CHANGE
    calm = 20.0 + noise(seed=2)
    pulse = ((time >= 0) & (time < 30)) | ((time >= 2 * DAY) & (time < 2 * DAY + 30))
    again = [since(alert) for alert in alerts(events(calm + 4.0 * pulse)) if since(alert) >= 0]
    assert len(again) == 1
    much_more = events(calm + 4.0 * pulse + 400.0 * (pulse & (time > DAY)))
    assert [since(alert) for alert in alerts(much_more) if since(alert) >= 0] == [*again, 2 * DAY]


def fault_stuck(values: Values) -> Values:
    return np.full(100, values[0])


def fault_range(values: Values) -> Values:
    return values[:30] + 200.0


def fault_unit(values: Values) -> Values:
    return values[:100] * 1.8 + 32.0


@pytest.mark.parametrize(("fault", "kind"), [
    (fault_stuck, Kind.STUCK), (fault_range, Kind.RANGE), (fault_unit, Kind.UNIT_CHANGE),
])  # fmt: skip
@pytest.mark.parametrize("seed", [0, 2])
def test_a_sensor_fault_does_not_also_raise_an_anomaly(
    fault: Callable[[Values], Values], kind: Kind, seed: int
) -> None:
    values = 20.0 + noise(seed=seed)
    faulty = fault(values[CHANGE:])
    values[CHANGE : CHANGE + len(faulty)] = faulty
    told = events(values, replace(RULES, limits=(Limits(high=100.0),)))
    near = [alert.kind for alert in alerts(told) if 0 <= since(alert) < len(faulty) + DAY]
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


def rate(name: str, step_s: float, n_device: int, n_day: int) -> float:
    """Anomalies per device and month of a calm series."""
    n = int(n_day * 86_400 / step_s)
    values = np.round(calm_series(name, n_device, n, step_s), 2)
    engine = Engine(Mean(), Rules())
    keys = [SeriesKey(f"d{i}", "t") for i in range(n_device)]
    raised = 0
    for i, row in enumerate(values):
        at = np.full(n_device, START + step_s * i)
        raised += len(alerts(engine.ingest(Batch(keys, at, at, row[:, None])).events))
    return 30.0 * raised / (n_device * n_day)


@pytest.mark.parametrize("name", ["white noise", "AR(1) 0.9", "day and noise"])
@pytest.mark.parametrize(("step_s", "n_day", "most"), [(60.0, 4, 15.0), (300.0, 15, 6.0), (3600.0, 60, 6.0)])
def test_a_calm_series_raises_few_alerts(name: str, step_s: float, n_day: int, most: float) -> None:
    found = rate(name, step_s, n_device=20 * 30 // n_day, n_day=n_day)
    print(f"{name}, every {step_s:g} s: {found:.2f} anomalies per device and month")  # noqa: T201 - for pytest -s
    assert found < most
