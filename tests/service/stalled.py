"""Runs the daemon with a part that stands still once a file is there: `stalled.py PART FILE -- forewarn run …`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forewarn.adapters.mqtt import connecting, link
from forewarn.cli import main
from forewarn.core.engine import Engine


def stalls(whole: Callable[..., Any], trigger: Path) -> Callable[..., Any]:
    def part(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - as they come
        while trigger.exists():
            time.sleep(0.05)
        return whole(*args, **named)

    return part


if __name__ == "__main__":
    name, trigger = sys.argv[1], Path(sys.argv[2])
    if name == "engine":
        Engine.judge = stalls(Engine.judge, trigger)  # type: ignore[method-assign]  # that is what this is for
    elif name == "network":
        link.MqttLink._serve = stalls(link.MqttLink._serve, trigger)  # type: ignore[method-assign]  # the same
    else:
        connecting.STUCK_S = 0.5
        connecting.connect = stalls(connecting.connect, trigger)  # type: ignore[attr-defined]  # the same
    sys.exit(main(sys.argv[sys.argv.index("run") :]))
