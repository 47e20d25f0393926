"""The public series that quality is measured on, and calm series that are simulated.

Where the folder with the data is absent, a measurement says so and is left out.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from forewarn.history import History, read_history
from forewarn.simulate import FleetSpec, simulate
from tests.bench.quality.lockstep import Track

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared"
MONTH_S = 30.4 * 86_400.0
CALM_SEED = 9101
CALM = {10.0: (24, 15.0), 60.0: (24, 60.0), 300.0: (48, 60.0), 3600.0: (48, 365.0)}
"""Devices and days of the calm fleets, by seconds between readings."""
_ETT_COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


def missing(*paths: Path) -> bool:
    """Whether one is absent; says which."""
    absent = [path for path in paths if not path.exists()]
    if absent:
        sys.stdout.write(f"left out: {', '.join(map(str, absent))} not there\n")
    return bool(absent)


def nab(folder: Path) -> dict[str, History]:
    """The files that `labels.json` names, by that name, in its alphabetical order."""
    return {name: read_history(folder / name) for name in sorted(json.loads((folder / "labels.json").read_text()))}


def ett(path: Path) -> list[Track]:
    """The columns of one transformer, each a series."""
    histories = [read_history(path, target=column) for column in _ETT_COLUMNS]
    return [Track(history.at, history.values[:, 0]) for history in histories]


def tracks_of(histories: Mapping[str, History]) -> list[Track]:
    """Files with one column of numbers as series."""
    return [Track(history.at, history.values[:, 0]) for history in histories.values()]


def calm(cadence_s: float) -> list[Track]:
    """A fleet of `forewarn simulate` in which nothing goes wrong."""
    n_device, days = CALM[cadence_s]
    fleet = simulate(FleetSpec(n_device, CALM_SEED, cadence_s=cadence_s, duration_s=days * 86_400.0, faults=()))
    order = np.argsort(fleet.device, kind="stable")
    ends = np.cumsum(np.bincount(fleet.device))[:-1]
    parts = zip(np.split(fleet.at[order], ends), np.split(fleet.value[order], ends), strict=True)
    return [Track(at, value) for at, value in parts]


def months(track: Track) -> float:
    """How long a series lasted, in months of 30.4 days."""
    return float(len(track.at) * np.median(np.diff(track.at)) / MONTH_S)
