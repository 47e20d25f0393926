"""Runs the cases of one target and keeps those that did harm."""

import math
import random
import time
from dataclasses import dataclass, field

from tests.fuzz.targets import Target

SLOW_S = 0.05
_AGAIN = 8  # times that a slow case is tried again, since the machine may have been busy elsewhere
_TOLD_MOST = 20_000  # characters of an error that reaches a log


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that raised what is not documented, or took too long."""

    target: str
    what: str
    case: bytes


@dataclass(slots=True)
class Found:
    """What a run over one target gave."""

    name: str
    n: int = 0
    n_refused: int = 0
    slowest_s: float = 0.0
    took_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)


def run(target: Target, n: int, seed: int) -> Found:
    """Run n cases; the same seed gives the same cases."""
    found = Found(target.name)
    began = time.perf_counter()
    for i in range(n):
        case = target.case(random.Random(f"{seed}/{target.name}/{i}"))
        refused, what, took = attempt(target, case)
        if took > SLOW_S / 5:
            took = _alone(target, case)
            what = what or (f"{1e3 * took:.0f} ms" if took > SLOW_S else "")
        found.n += 1
        found.n_refused += refused
        found.slowest_s = max(found.slowest_s, took)
        if what:
            found.findings.append(Finding(target.name, what, case))
    found.took_s = time.perf_counter() - began
    return found


def _alone(target: Target, case: bytes) -> float:
    """The least time that a case takes."""
    least = math.inf
    for _ in range(_AGAIN):
        time.sleep(0.005)
        least = min(least, attempt(target, case)[2])
    return least


def attempt(target: Target, case: bytes) -> tuple[bool, str, float]:
    """Whether a case was refused, what was wrong with how ("" for nothing), and the seconds it took."""
    began = time.perf_counter()
    refused, what = False, ""
    try:
        target.run(case)
    except target.errors as error:
        refused, text = True, str(error)
        if target.told and not (len(text) < _TOLD_MOST and text.replace("\n", "").isprintable()):
            what = f"an error that is no text for a log: {text[:300]!r}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        what = repr(error)[:300]
    return refused, what, time.perf_counter() - began
