"""The steady clock: never back, never twice the same, and back on the wall clock in time."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from forewarn.steady_clock import LEAST_STEP_S, SteadyClock


class Clocks:
    def __init__(self) -> None:
        self.wall, self.monotonic = 1e9, 50.0
        self.steady = SteadyClock(lambda: self.wall, lambda: self.monotonic)

    def after(self, seconds: float, jump: float = 0.0) -> float:
        self.monotonic += seconds
        self.wall += seconds + jump
        return self.steady.now()


def test_it_is_the_wall_clock_where_that_goes_on() -> None:
    clocks = Clocks()
    assert [clocks.after(10.0), clocks.after(0.5)] == [1e9 + 10.0, 1e9 + 10.5]


def test_it_follows_a_step_forward_at_once() -> None:
    clocks = Clocks()
    assert clocks.after(10.0, jump=0.5) == 1e9 + 10.5
    assert clocks.steady.stepped_at == 0.0
    assert clocks.after(10.0, jump=3600.0) == clocks.steady.stepped_at == 1e9 + 3620.5
    clocks.after(10.0)
    assert clocks.steady.stepped_at == 1e9 + 3620.5


def test_a_step_back_is_made_up_for_slowly_and_in_full() -> None:
    clocks = Clocks()
    clocks.after(1.0)
    times, ahead = [clocks.after(60.0, jump=-3600.0)], []
    for _ in range(650):
        times.append(clocks.after(60.0))
        ahead.append(times[-1] - clocks.wall)
    steps = [b - a for a, b in pairwise(times)]
    assert (min(steps) > 53.9, times[0] > 1e9 + 1.0) == (True, True)
    assert ahead[0] > 3580.0
    assert ahead[590] > 1.0
    assert ahead[600:] == [0.0] * 50
    assert clocks.steady.stepped_at == 0.0


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1e6, 1e6)), max_size=50))
def test_it_rises_whatever_the_wall_clock_does(steps: list[tuple[float, float]]) -> None:
    clocks = Clocks()
    last = clocks.after(0.0)
    for seconds, jump in steps:
        now = clocks.after(seconds, jump)
        assert now >= last + LEAST_STEP_S / 2
        last = now


def test_it_goes_on_from_what_was_seen_before() -> None:
    clocks = Clocks()
    clocks.steady.at_least(1e9 + 100.0)
    assert clocks.after(10.0) == 1e9 + 109.0
