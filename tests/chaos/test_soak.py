import sys
from pathlib import Path

from tests.brokers import Mosquitto
from tests.chaos.soak import soak
from tests.chaos.streams import LONG


def test_memory_and_descriptors_stay_as_they_are_over_lost_connections(
    tmp_path: Path,
    mosquitto: Mosquitto,  # noqa: ARG001 - skips where there is none
) -> None:
    soaked = soak(tmp_path, 1200.0, 60.0) if LONG else soak(tmp_path, 16.0, 4.0)
    sys.stdout.write(f"{soaked}\n")
    assert soaked.reconnects >= (15 if LONG else 2)
    assert soaked.lost == 0
    assert len(set(soaked.descriptors)) == 1
    if LONG:
        assert abs(soaked.slope_mb_per_hour) < 20.0
