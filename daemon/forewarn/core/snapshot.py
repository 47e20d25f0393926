"""A snapshot of the engine and its form in bytes: a NumPy archive without pickles, so that reading one runs no code."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forewarn.core.alerts import Alert, Kind, Severity
from forewarn.core.card import Feature
from forewarn.core.readings import SeriesKey

_DAMAGED = (KeyError, TypeError, AttributeError, EOFError, RuntimeError, MemoryError, OverflowError, zipfile.BadZipFile)
VERSION = 6


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the coming verdicts of an engine depend on.

    Attributes:
        features: of the model that the state belongs to.
        keys: the series by slot.
        alerts: the active ones.
        columns: the engine's table, one row for each slot.
    """

    features: tuple[Feature, ...]
    keys: tuple[SeriesKey, ...]
    alerts: tuple[Alert, ...]
    columns: Mapping[str, NDArray[Any]]

    def to_bytes(self) -> bytes:
        """The snapshot as bytes."""
        head = {
            "version": VERSION,
            "features": [asdict(feature) for feature in self.features],
            "keys": self.keys,
            "alerts": [asdict(alert) for alert in self.alerts],
        }
        buffer = io.BytesIO()
        encoded = np.frombuffer(json.dumps(head).encode(), np.uint8)
        np.savez(buffer, allow_pickle=False, head=encoded, **self.columns)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a snapshot.

        Raises:
            ValueError: where the bytes are none, or one of another version.
        """
        try:
            _check_stored(data)
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                columns = {name: archive[name] for name in archive.files}
            head = json.loads(columns.pop("head").tobytes())
            if head["version"] != VERSION:
                raise ValueError(f"version {head['version']}, this forewarn reads {VERSION}")
            return cls(
                tuple(Feature(**feature) for feature in head["features"]),
                tuple(SeriesKey(*key) for key in head["keys"]),
                tuple(_alert(raw) for raw in head["alerts"]),
                columns,
            )
        except _DAMAGED as error:
            raise ValueError(f"no snapshot: {error}") from error


def _check_stored(data: bytes) -> None:
    """Refuse what would grow: what we write is not compressed, so nothing in it is larger than the whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(one.compress_type != zipfile.ZIP_STORED or one.file_size > len(data) for one in archive.infolist()):
            raise ValueError("no snapshot: it is compressed")


def _alert(raw: dict[str, Any]) -> Alert:
    return Alert(
        **raw | {"kind": Kind(raw["kind"]), "severity": Severity(raw["severity"]), "series": SeriesKey(*raw["series"])}
    )
