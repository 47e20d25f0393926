"""Measures what docs/quality.md and docs/quality-faults.md say of alerts, and writes its tables there.

`make quality`, or for some parts `make quality ARGS="nab quiet"`. The data is `../shared` beside the repository.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from forewarn.simulate import Fault
from tests.bench import faults
from tests.bench.quality import bands, corpus, cost, forecasts, heldout, nab, pages, quiet, skab
from tests.brokers import MISSING_MOSQUITTO, mosquitto_path

DOCS = corpus.ROOT / "docs"
_PAGES = {"faults": DOCS / "quality-faults.md"}


@cache
def _corpus(shared: Path) -> nab.Corpus | None:
    """The benchmark, None where it is not at hand."""
    wanted = (shared / "data" / "nab", shared / "eval" / "nab_score.py", shared / "data" / "ett" / "ETTh1.csv")
    return None if corpus.missing(*wanted) else nab.Corpus(shared)


def tables(part: str, shared: Path) -> Iterator[tuple[str, str]]:
    """The tables of one part by the name of their place; none where what they need is absent."""
    return _PARTS[part](shared)


def _nab(shared: Path) -> Iterator[tuple[str, str]]:
    if (found := _corpus(shared)) is not None:
        yield "nab", nab.measure(found)


def _heldout(shared: Path) -> Iterator[tuple[str, str]]:
    if (found := _corpus(shared)) is not None:
        yield "heldout", heldout.measure(found)


def _quiet(shared: Path) -> Iterator[tuple[str, str]]:
    if (found := _corpus(shared)) is not None:
        yield "quiet", quiet.measure_windows(found)
        yield "sensitivity", quiet.measure_sensitivity(found)


def _skab(shared: Path) -> Iterator[tuple[str, str]]:
    data, scorer = shared / "data" / "skab", shared / "eval" / "skab_score.py"
    if not corpus.missing(data, scorer):
        yield "skab", skab.measure(data, scorer)


def _forecasts(shared: Path) -> Iterator[tuple[str, str]]:
    data = shared / "data"
    if not corpus.missing(*(data / file for file, _ in forecasts.SERIES.values())):
        yield from forecasts.measure(data)


def _bands(shared: Path) -> Iterator[tuple[str, str]]:
    if (found := _corpus(shared)) is not None:
        yield "bands", bands.measure(found)


def _cost(_shared: Path) -> Iterator[tuple[str, str]]:
    if mosquitto_path() is None:
        sys.stdout.write(f"left out: cost, {MISSING_MOSQUITTO}\n")
    else:
        yield "cost", cost.measure()


def _faults(_shared: Path) -> Iterator[tuple[str, str]]:
    """Both judges on the faults that they find, and sensor faults and limits once."""
    others = tuple(kind for kind in Fault if kind not in faults.JUDGED)
    rows = [("`tail`", *row) for row in faults.rows("tail", faults.JUDGED)]
    rows += [("`residual`", *row) for row in faults.rows("residual", faults.JUDGED)]
    rows += [("a rule of its own", *row) for row in faults.rows("tail", others)]
    note = pages.measured("the shipped starter", f"seed {faults.SEED}", "`make quality ARGS=faults`")
    yield "faults", note + pages.table(("Found by", *faults.HEADER), rows, left=2)


_PARTS: Mapping[str, Callable[[Path], Iterator[tuple[str, str]]]] = {
    "nab": _nab,
    "heldout": _heldout,
    "quiet": _quiet,
    "skab": _skab,
    "forecasts": _forecasts,
    "bands": _bands,
    "faults": _faults,
    "cost": _cost,
}


def main() -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="make quality", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(_PARTS)}; default: all")
    parser.add_argument("--shared", type=Path, default=corpus.SHARED, help="folder with data/ and eval/ (%(default)s)")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(_PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}")
    for part in arguments.parts or _PARTS:
        began = time.monotonic()
        for name, text in tables(part, arguments.shared):
            pages.put(_PAGES.get(part, DOCS / "quality.md"), name, text)
            sys.stdout.write(f"\n{text}\n\n")
        sys.stdout.write(f"{part}: {time.monotonic() - began:.0f} s\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
