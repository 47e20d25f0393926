from pathlib import Path

import pytest

from forewarn.errors import ForewarnError, SettingsError
from forewarn.fleet.settings import FleetSettings
from forewarn.fleet.shipping import AWAY
from forewarn.fleet.spark.failures import told

PYTHON = """[STREAM_FAILED] Query [id = 1] terminated with exception: An exception was raised by the Python Proxy.
Return Message: Traceback (most recent call last):
  File "sinks.py", line 108, in write
forewarn.adapters.mqtt.session.BrokerError: broker 127.0.0.1:1 cannot be reached: is it running, is the address right?
	at py4j.Protocol.getReturnValue(Protocol.java:476)
"""
STATE = """[STREAM_FAILED] Query terminated.
Caused by: org.apache.spark.SparkException: [CANNOT_LOAD_STATE_STORE.UNCATEGORIZED] An error occurred.
Caused by: java.io.IOException: Stream is corrupted
"""
FILE = """[STREAM_FAILED] Query terminated.
Caused by: org.apache.spark.SparkException: [FAILED_READ_FILE.FILE_NOT_EXIST] File file:/x/1.jsonl does not exist.
"""


SETTINGS = FleetSettings.model_validate({"fleet": {"folder": "/srv/fleet"}})


def said(text: str) -> ForewarnError:
    return told(RuntimeError(text), SETTINGS)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PYTHON, "broker 127.0.0.1:1 cannot be reached: is it running, is the address right?"),
        (
            STATE,
            f"/srv/fleet/checkpoint: cannot be used (Stream is corrupted): {AWAY}",
        ),
        (FILE, "the job failed: [FAILED_READ_FILE.FILE_NOT_EXIST] File file:/x/1.jsonl does not exist."),
        ("", "the job failed: RuntimeError('')"),
    ],
)
def test_a_failure_is_one_line_that_says_what_to_do(text: str, line: str) -> None:
    assert str(said(text)) == line


def test_what_caused_it_is_looked_at_too() -> None:
    error = RuntimeError("something")
    error.__cause__ = RuntimeError("forewarn.errors.ForewarnError: the disk is full")
    assert str(told(error, SETTINGS)) == "the disk is full"


def test_the_way_out_is_in_the_document() -> None:
    page = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text("utf-8")
    assert "move `checkpoint` and `models` out of the folder and start the job again" in page


def test_a_missing_connector_is_a_matter_of_settings() -> None:
    pytest.importorskip("pyspark")
    assert isinstance(said("[DATA_SOURCE_NOT_FOUND] Failed to find the data source: kafka."), SettingsError)
