"""Runs the daemon with mistakes at the value 66.5 and in names with `poison`: `poisoned.py -- forewarn run …`."""

import sys
from collections.abc import Callable
from typing import Any

from forewarn.cli import main
from forewarn.core.judges import Judges
from forewarn.inputs import decoder
from forewarn.messages import Phrasebook

POISON = 66.5


def fails(whole: Callable[..., Any], at: Callable[..., bool]) -> Callable[..., Any]:
    def part(*args: Any) -> Any:  # noqa: ANN401 - as they come
        if at(*args):
            raise ZeroDivisionError("nobody foresaw it")
        return whole(*args)

    return part


def of_poison(_: object, fleet: Any, row: int, __: object) -> bool:  # noqa: ANN401 - a Fleet
    return "mute" in fleet.keys[row].device


if __name__ == "__main__":
    judged = fails(Judges.judge, lambda _, __, readings: bool((readings.values == POISON).any()))
    Judges.judge = judged  # type: ignore[method-assign]  # that is what this is for
    decoder.checked_name = fails(decoder.checked_name, lambda name: "poison" in name)  # type: ignore[attr-defined]  # the same
    Phrasebook.state = fails(Phrasebook.state, of_poison)  # type: ignore[method-assign]  # the same
    sys.exit(main(sys.argv[sys.argv.index("run") :]))
