"""The time of day and of week as a model sees it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.core.clock import CHANNELS, DAY_S, WEEK_S, clock

MINUTE_S = 60.0


@pytest.mark.parametrize("at", [0.0, 6 * 3600.0, DAY_S, 3.5 * DAY_S, 1_700_000_000.0, -90.0, -1e6])
def test_a_row_is_sine_and_cosine_of_the_day_and_of_the_week_by_the_minute(at: float) -> None:
    begun = math.floor(at / MINUTE_S) * MINUTE_S
    turns = [begun / DAY_S, begun / WEEK_S]
    wanted = [f(2 * math.pi * turn) for turn in turns for f in (math.sin, math.cos)]
    assert clock(np.array([at]))[0] == pytest.approx(wanted, abs=1e-6)


def test_every_minute_of_the_week_has_a_row_of_its_own_and_every_week_the_same_rows() -> None:
    at = np.arange(0, WEEK_S, MINUTE_S)
    rows = clock(at)
    assert rows.shape == (10080, CHANNELS)
    assert rows.dtype == np.float32
    assert len(np.unique(rows, axis=0)) == 10080
    assert clock(at + 59.9).tobytes() == clock(at - 2800 * WEEK_S).tobytes() == rows.tobytes()


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40), st.integers(0, 39))
def test_a_row_is_the_same_bits_whatever_else_is_asked(times: list[float], which: int) -> None:
    at = np.array(times)
    which %= len(at)
    assert clock(at)[which].tobytes() == clock(at[which : which + 1])[0].tobytes()


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True)))
def test_any_time_at_all_has_a_row_of_the_table(times: list[float]) -> None:
    rows = clock(np.array([*times, 1e300, -1e300, -1e-20, math.nan, math.inf]))
    assert np.isfinite(rows).all()
    assert (np.abs(rows) <= 1).all()
    assert rows[-3:].tobytes() == clock(np.array([WEEK_S, 0.0, 0.0])).tobytes()
