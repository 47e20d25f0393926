"""`python -m tests.fuzz`: a fixed number of damaged inputs for every reader. Exits with 1 where one did harm."""

import argparse
import datetime as dt
import logging
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import SLOW_S, run
from tests.fuzz.targets import targets


def main() -> int:
    """Run, print a table and the findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=200_000, help="in total (%(default)s)")
    parser.add_argument("--seed", type=int, default=dt.datetime.now(dt.UTC).date().toordinal())
    parser.add_argument("--only", default="", help="targets with this in their name")
    args = parser.parse_args()
    logging.disable()
    print(f"seed {args.seed}")
    fast = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    with tempfile.TemporaryDirectory(dir=fast if fast.is_dir() else None) as folder, targets(Path(folder)) as chosen:
        found = [run(one, int(args.cases * one.share), args.seed) for one in chosen if args.only in one.name]
    print(f"{'':16} {'cases':>8} {'read':>8} {'refused':>8} {'slowest, ms':>12} {'s':>6}")
    for one in found:
        numbers = f"{one.n:>8} {one.n - one.n_refused:>8} {one.n_refused:>8} {1e3 * one.slowest_s:>12.2f}"
        print(f"{one.name:16} {numbers} {one.took_s:>6.1f}")
    total, slowest = sum(one.n for one in found), max(one.slowest_s for one in found)
    print(f"{'all':16} {total:>8} {'':8} {'':8} {1e3 * slowest:>12.2f} {sum(one.took_s for one in found):>6.1f}")
    findings = [finding for one in found for finding in one.findings]
    for finding in findings[:20]:
        print(f"{finding.target}: {finding.what}\n  {finding.case[:2000]!r}")
    print(f"{len(findings)} findings: an error that is not documented, or more than {1e3 * SLOW_S:.0f} ms")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
