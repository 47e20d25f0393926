"""The daemon keeps its readings where `[record]` says so, over a reload and to its end."""

import json
import sys
import time
from pathlib import Path

import pytest

from forewarn.check import check
from forewarn.errors import SettingsError
from forewarn.history import read_history
from tests.brokers import Mosquitto, Subscriber
from tests.daemons import INSTANCE, JSON_INPUT, DaemonProcess, settings_file


def test_the_readings_that_came_are_history(mosquitto: Mosquitto, tmp_path: Path) -> None:
    folder = tmp_path / "history"
    config = settings_file(tmp_path, mosquitto, JSON_INPUT + f'\n[record]\nfolder = "{folder}"\n')
    now = time.time()
    with Subscriber(mosquitto, f"forewarn/{INSTANCE}/alerts/#") as publisher, DaemonProcess(config) as daemon:
        for i, value in enumerate((4.0, 4.5, "warm", 5.0)):
            body = {"time": now + i, "value": value}
            publisher.publish("sensors/freezer/temperature", json.dumps(body))
        daemon.wait_for_sample("forewarn_readings_received_total", 4)
        assert read_history(folder).values[:, 0].tolist() == [4.0, 4.5, 5.0]
        assert daemon.stop() == 0
    assert len(list(folder.iterdir())) == 1


def libraries(daemon: DaemonProcess) -> str:
    """What a process has loaded."""
    return Path(f"/proc/{daemon.process.pid}/maps").read_text("utf-8")


def test_pyarrow_is_loaded_only_where_it_is_asked_for(mosquitto: Mosquitto, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'forewarn[parquet]'")
    folder = tmp_path / "history"
    config = settings_file(tmp_path, mosquitto, JSON_INPUT + f'\n[record]\nfolder = "{folder}"\n')
    with DaemonProcess(config) as daemon:
        assert "onnxruntime" in libraries(daemon)
        assert "libarrow" not in libraries(daemon)
        assert daemon.stop() == 0
    config.write_text(config.read_text("utf-8") + 'format = "parquet"\n', "utf-8")
    with Subscriber(mosquitto, f"forewarn/{INSTANCE}/alerts/#") as publisher, DaemonProcess(config) as daemon:
        assert "libarrow" in libraries(daemon)
        publisher.publish("sensors/freezer/temperature", json.dumps({"time": time.time(), "value": 4.0}))
        daemon.wait_for_sample("forewarn_readings_received_total", 1)
        assert read_history(folder).values.tolist() == [[4.0]]
        assert daemon.stop() == 0
    assert [file.suffix for file in folder.iterdir()] == [".parquet"]
    assert read_history(folder).values.tolist() == [[4.0]]


def test_a_format_whose_extra_is_missing_is_told_before_anything_runs(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    record = f'\n[record]\nfolder = "{tmp_path}"\nformat = "parquet"\n'
    config = settings_file(tmp_path, mosquitto, JSON_INPUT + record)
    with pytest.raises(SettingsError, match=r"record.format needs pyarrow.*pip install 'forewarn\[parquet\]'"):
        list(check(config, connect=False))
