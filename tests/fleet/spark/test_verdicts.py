from pathlib import Path

from tests.brokers import Mosquitto
from tests.chaos.streams import numbered
from tests.fleet.spark.fleets import backtest_said, daemon_said, fleet_said, fleet_settings, land, run_once, shuffled


def test_daemon_backtest_and_fleet_say_the_same_of_a_shuffled_stream(tmp_path: Path, mosquitto: Mosquitto) -> None:
    readings = shuffled(numbered(12_000, 80))
    config = fleet_settings(tmp_path / "fleet")
    land(readings, tmp_path / "fleet" / "landing", 5)
    done = run_once(config)
    assert done.returncode == 0, done.stderr
    fleet = fleet_said(tmp_path / "fleet")
    past = backtest_said(tmp_path, readings)
    daemon = daemon_said(tmp_path / "daemon", mosquitto, readings, 4_000.0)
    assert len(fleet.alerts) > 80
    assert len(fleet.scores) == len(readings)
    assert fleet.alerts == past.alerts
    assert fleet.scores == past.scores
    assert daemon.alerts == fleet.alerts
    assert daemon.scores == fleet.scores
