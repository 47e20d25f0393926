"""What Spark says when a job fails, as what the operator can do."""

import re

from forewarn.errors import ForewarnError, SettingsError
from forewarn.fleet.settings import FleetSettings
from forewarn.fleet.shipping import AWAY
from forewarn.fleet.spark.session import CONNECTOR

_MOST = 400  # characters
_OF_CHECKPOINT = (
    "CANNOT_LOAD_STATE_STORE",
    "CANNOT_LOAD_CHECKPOINT",
    "CHECKPOINT_FILE",
    "CHECKSUM",
    "STATE_STORE_",
    "STREAMING_STATEFUL_OPERATOR_",
    "Incomplete log file",
    "IncompleteLog",
    "Malformed",
    "Log file was malformed",
    "StreamMetadata",
    "Error reading stream metadata",
    "RocksDBException",
    "Error reading delta file",
    "changelog",
    "doesn't exist",
    "batch IDs",
    "MetadataLog",
    "offset log",
    "OffsetSeq",
    "CommitLog",
)


def told(error: Exception, settings: FleetSettings) -> ForewarnError:
    """A failure of the job as an error that says what to do."""
    text = _chain(error)
    own = _own(text)
    if own is not None:
        return ForewarnError(own)
    if "Failed to find data source: kafka" in text or "Failed to find the data source: kafka" in text:
        from pyspark import __version__  # noqa: PLC0415 - this module is asked without pyspark too

        return SettingsError(
            f"Spark has no Kafka connector: give --packages {CONNECTOR}:{__version__}, or put it into Spark's jars"
        )
    shown = _first_line(text)
    if any(mark in text for mark in _OF_CHECKPOINT):
        folder = settings.fleet.folder
        return ForewarnError(f"{folder / 'checkpoint'}: cannot be used ({shown}): {AWAY}")
    return ForewarnError(f"the job failed: {shown}")


def _chain(error: BaseException) -> str:
    """What it says, and what caused it."""
    texts = []
    known: BaseException | None = error
    while known is not None:
        texts.append(str(known) or repr(known))
        known = known.__cause__ or known.__context__
    return "\n".join(texts)


def _own(text: str) -> str | None:
    """What an error of forewarn's own said, wherever it was raised."""
    found = re.search(r"^\W*forewarn\.[\w.]*Error: (.+)$", text, re.MULTILINE)
    return None if found is None else found[1][:_MOST]


def _first_line(text: str) -> str:
    """What the last of the causes says, else the first line, without the names of Java's classes."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    shown = causes[-1] if causes else next(iter(lines), "it does not say why")
    name, found, rest = shown.partition(": ")
    return " ".join((rest if found and " " not in name else shown).split())[:_MOST]
