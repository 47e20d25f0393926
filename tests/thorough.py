"""How much of what can be tried without end is tried: little in `make test`, much in `make thorough` (`THOROUGH=1`)."""

import os

THOROUGH = os.environ.get("THOROUGH") == "1"
_TIMES = 20


def examples(n: int) -> int:
    """How many examples a property is given: `n` in `make test`, so that it is quick, and twenty times as many else."""
    return _TIMES * n if THOROUGH else n
