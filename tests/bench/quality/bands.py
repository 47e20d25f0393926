"""Whether the bands around the path of the forecast hold what they say: 80 % and 95 % of the readings."""

from collections.abc import Sequence

import numpy as np

from forewarn.adapters.onnx_forecaster import STARTER, load_model
from forewarn.core.bands import COVERAGE
from forewarn.core.engine import Engine
from forewarn.core.ports import Forecaster
from forewarn.core.readings import Batch, Floats, SeriesKey
from forewarn.core.rules import Rules
from tests.bench.quality import corpus, pages
from tests.bench.quality.lockstep import Track
from tests.bench.quality.nab import Corpus

LEADS = (1, 3, 12, 24)
NAMES = (
    "realKnownCause/ambient_temperature_system_failure.csv",
    "realKnownCause/nyc_taxi.csv",
    "realAWSCloudwatch/rds_cpu_utilization_e47b3b.csv",
    "realKnownCause/cpu_utilization_asg_misconfiguration.csv",
)
_BEGIN = 300  # readings of each series that are not counted


def coverage(forecaster: Forecaster, track: Track) -> Floats:
    """`(2, len(LEADS))`: the shares of readings within the bands that were told so many readings before."""
    engine = Engine(forecaster, Rules())
    key, slot = SeriesKey("series", forecaster.card.target), np.zeros(1, np.int64)
    n = len(track.at)
    path, width = np.full((n, max(LEADS)), np.nan), np.full((n, 2, max(LEADS)), np.nan)
    for i in range(n):
        row = slice(i, i + 1)
        engine.ingest(Batch([key], track.at[row], track.at[row], track.value[row, None]))
        told = engine.fleet(slot)
        path[i], width[i] = told.forecast[0, : max(LEADS)], told.half_width[0, :, : max(LEADS)]
    shares = [_share(track.value, path[:, lead - 1], width[:, :, lead - 1], lead) for lead in LEADS]
    return np.stack(shares, axis=1)


def _share(value: Floats, path: Floats, width: Floats, lead: int) -> Floats:
    away = np.abs(value[lead:] - path[:-lead])[_BEGIN:]
    known = np.isfinite(away)
    share: Floats = (away[known, None] <= width[:-lead][_BEGIN:][known]).mean(axis=0)
    return share


def measure(nab: Corpus) -> str:
    """The shipped starter on real series, each from its first reading on."""
    chosen: list[tuple[str, Track]] = [(name, nab.tracks[list(nab.histories).index(name)]) for name in NAMES]
    chosen.append(("ETTh1.csv, OT", corpus.ett(nab.folder.parent / "ett" / "ETTh1.csv")[-1]))
    rows = [_row(name.rpartition("/")[2], coverage(load_model(STARTER), track)) for name, track in chosen]
    header = ("Series", *(f"{100 * share:.0f} %, lead {lead}" for share in COVERAGE for lead in LEADS))
    return pages.measured("the shipped starter", "`make quality ARGS=bands`") + pages.table(header, rows)


def _row(name: str, shares: Floats) -> Sequence[str]:
    return [name, *(f"{100 * share:.1f}" for share in shares.ravel())]
