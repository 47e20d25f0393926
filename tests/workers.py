"""Which tests run beside which, with pytest-xdist: `pytest -n 2` runs two files at a time.

Rules that hold here:

- The tests of a file run one after the other, so that what a module's fixture made is made once.
- Files whose tests hold a clock against what they see run one after the other too, so that none disturbs another: there
  is one of them at a time, beside one that only computes or waits.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

TIMED = ("tests/chaos/", "tests/bench/test_bench.py", "tests/service/test_watchdog.py", "tests/test_demo.py")


class OneTimedFile(LoadFileScheduling):  # type: ignore[misc]  # xdist publishes no types
    """Hands out files in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Producer | None) -> None:
        config.option.loadscopereorder = False  # else those with few tests, which are the long ones, would come last
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return "timed" if nodeid.startswith(TIMED) else str(super()._split_scope(nodeid))
