"""What is kept of a series, to be shown."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from forewarn.core.courses import Course
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecast
from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.rules import Limits, Rules
from forewarn.core.windows import KEPT
from tests.forecasters import HalfTrend, card

KEY = SeriesKey("a", "temperature")
OTHER = SeriesKey("b", "temperature")
HORIZON = 24
LEAD = 1 / 64  # what a forecast grows by with each lead


class Signed:
    """Forecasts that say which reading they were made at, and for which lead: the reading, and `LEAD` a lead."""

    def __init__(self) -> None:
        self.card = card(horizon=HORIZON)

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:  # noqa: ARG002 - a port
        path = windows[:, -1:, 0] + np.float32(LEAD) * np.arange(1, HORIZON + 1, dtype=np.float32)
        return Forecast(path, path[:, :2], np.zeros((len(path), 2), np.float32))


def given(engine: Engine, at: Sequence[float], value: Sequence[float], key: SeriesKey = KEY) -> Engine:
    times = np.asarray(at, np.float64)
    for i in range(len(times)):
        engine.ingest(Batch([key], times[i : i + 1], times[i : i + 1], np.array([[value[i]]])))
    return engine


def course_of(engine: Engine, key: SeriesKey = KEY) -> Course:
    found = engine.course(key)
    assert found is not None
    return found


def quiet() -> Rules:
    return Rules(stuck=False, silent=False, unit_change=False)


def test_the_last_readings_are_there_and_nothing_before_the_first() -> None:
    engine = given(Engine(HalfTrend(), quiet()), range(300), [float(i % 7) for i in range(300)])
    given(engine, [0.0, 1.0], [5.0, 6.0], OTHER)
    found = engine.recent(np.array([1, 0]))
    assert found.keys == (OTHER, KEY)
    assert found.value.shape == (2, KEPT)
    assert found.value[0, -2:].tolist() == [5.0, 6.0]
    assert np.isnan(found.value[0, :-2]).all()
    assert found.at[1].tolist() == list(range(300 - KEPT, 300))
    assert found.value[1].tolist() == [float(i % 7) for i in range(300 - KEPT, 300)]
    assert course_of(engine).at.tolist() == found.at[1].tolist()
    assert course_of(engine, OTHER).value.tolist() == [5.0, 6.0]


def test_a_long_gap_leaves_the_readings_after_it() -> None:
    at = [*range(200), *range(10_000, 10_005)]
    found = course_of(given(Engine(HalfTrend(), quiet()), at, [float(i % 7) for i in range(205)]))
    assert found.at.tolist() == list(range(10_000, 10_005))
    assert found.told_at.tolist() == pytest.approx([10_004], abs=0.01)


def test_what_is_shown_is_a_copy() -> None:
    engine = given(Engine(HalfTrend(), quiet()), range(60), [float(i % 7) for i in range(60)])
    before = engine.snapshot().to_bytes()
    found = course_of(engine)
    for column in (found.at, found.value, found.told, found.last.forecast, engine.recent(np.array([0])).value):
        column[...] = -1.0
    assert engine.snapshot().to_bytes() == before


def test_what_was_expected_is_the_latest_forecast_made_before_each_reading() -> None:
    n = 200
    found = course_of(given(Engine(Signed(), quiet()), [10.0 * i for i in range(n)], [float(i) for i in range(n)]))
    assert len(found.told) >= HORIZON
    assert found.told_at[-1] == 10.0 * (n - 1)
    assert np.array_equal(np.diff(found.told_at), np.full(len(found.told) - 1, 10.0))
    made = np.floor(found.told).astype(int)
    lead = np.rint((found.told - made) / LEAD).astype(int)
    assert (made + lead == found.told_at / 10.0).all(), "a forecast stands at the reading that it was made for"
    assert (lead >= 1).all()
    for i in range(1, len(made)):
        assert made[i] >= made[i - 1], "a later one counts for all readings after it"
    assert len(set(made.tolist())) >= 3
    assert lead.max() <= HORIZON
    assert found.told_half_width.tolist() == found.last.half_width[0][:, lead - 1].tolist()
    assert found.coming_at.tolist() == [10.0 * (n + i) for i in range(HORIZON)]


def test_missing_readings_are_counted_where_the_series_is_even() -> None:
    nth = [i for i in range(120) if i not in (110, 111)]
    found = course_of(given(Engine(Signed(), quiet()), [10.0 * i for i in nth], [float(i) for i in nth]))
    made = np.floor(found.told)
    stands_at = (made + np.rint((found.told - made) / LEAD)) * 10.0
    assert found.told_at.tolist() == pytest.approx(stands_at.tolist(), abs=1.0)
    assert {1090.0, 1100.0, 1110.0, 1120.0} <= set(stands_at.tolist())


def test_forecasts_of_an_uneven_series_stand_at_its_readings() -> None:
    rng = np.random.default_rng(1)
    at = np.cumsum(rng.exponential(10.0, 200) + 0.1)
    found = course_of(given(Engine(Signed(), quiet()), at.tolist(), [float(i) for i in range(200)]))
    made = np.floor(found.told)
    nth = (made + np.rint((found.told - made) / LEAD)).astype(int)
    assert found.told_at.tolist() == at[nth].tolist()


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_a_young_series_has_what_it_has(n: int) -> None:
    found = course_of(given(Engine(Signed(), quiet()), [10.0 * i for i in range(n)], [1.0] * n))
    assert found.at.tolist() == [10.0 * i for i in range(n)]
    assert len(found.told) == len(found.told_at) == found.told_half_width.shape[1]
    assert np.isnan(found.coming_at).all() == (n == 1)


def test_limits_and_alerts_are_those_of_the_series() -> None:
    rules = Rules(limits=(Limits("a", "*", low=-5.0, limit_above=8.0),), silent=False)
    engine = given(Engine(HalfTrend(), rules), range(30), [*[4.0, 4.1] * 14, 9.0, 9.0])
    given(engine, [0.0], [9.0], OTHER)
    assert course_of(engine).limits == {"low": -5.0, "limit_above": 8.0}
    assert [alert.series for alert in course_of(engine).alerts] == [KEY]
    assert course_of(engine, OTHER).limits == {}
    assert course_of(engine).alerts == engine.active()
    assert course_of(engine).last.keys == (KEY,)
    assert engine.course(SeriesKey("c", "temperature")) is None
