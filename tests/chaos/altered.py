"""`python -m tests.chaos.altered python -m forewarn …`: the daemon, but for its clock and for how soon it tries again.

FAULT_CLOCK names a file that says by how many seconds the wall clock is wrong, FAULT_RETRY_S replaces
`ledger.RETRY_S`: a disk that comes back is noticed sooner than an operator would want to wait for.
"""

import os
import sys
import time
from pathlib import Path


def _move_clock(file: Path) -> None:
    true_time = time.time
    time.time = lambda: true_time() + float(file.read_text() or 0)


if __name__ == "__main__":
    if "FAULT_CLOCK" in os.environ:
        _move_clock(Path(os.environ["FAULT_CLOCK"]))  # before anybody keeps a reference to time.time
    from forewarn import ledger
    from forewarn.cli import main

    ledger.RETRY_S = float(os.environ.get("FAULT_RETRY_S", ledger.RETRY_S))
    sys.exit(main(sys.argv[sys.argv.index("forewarn") + 1 :]))
