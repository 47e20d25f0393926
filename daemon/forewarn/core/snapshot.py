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
from forewarn.core.patterns import SeriesPattern
from forewarn.core.readings import SeriesKey

_DAMAGED = (KeyError, TypeError, AttributeError, EOFError, RuntimeError, MemoryError, OverflowError, zipfile.BadZipFile)
VERSION = 7


@dataclass(frozen=True, slots=True)
class Part:
    """The series that were judged together.

    Attributes:
        features: of the model that judged them.
        columns: their table, one row for each, in the order of their slots.
    """

    features: tuple[Feature, ...]
    columns: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the coming verdicts of an engine depend on.

    Attributes:
        keys: the series by slot.
        alerts: the active ones.
        patterns: of devices and metrics, each with the number of the part that a series belongs to; the first that
            matches it counts, and the last matches all.
        parts: the state of the series.
    """

    keys: tuple[SeriesKey, ...]
    alerts: tuple[Alert, ...]
    patterns: tuple[tuple[str, str, int], ...]
    parts: tuple[Part, ...]

    def part_of(self, series: SeriesKey) -> int:
        """The number of the part that a series, known or not, belonged to."""
        return next(nth for device, metric, nth in self.patterns if SeriesPattern(device, metric).matches(series))

    def features_of(self, series: SeriesKey) -> tuple[Feature, ...]:
        """Those of the model that judged a series, known or not."""
        return self.parts[self.part_of(series)].features

    def to_bytes(self) -> bytes:
        """The snapshot as bytes."""
        head = {
            "version": VERSION,
            "keys": self.keys,
            "alerts": [asdict(alert) for alert in self.alerts],
            "patterns": self.patterns,
            "features": [[asdict(feature) for feature in part.features] for part in self.parts],
        }
        columns = {
            f"{nth}.{name}": column for nth, part in enumerate(self.parts) for name, column in part.columns.items()
        }
        buffer = io.BytesIO()
        encoded = np.frombuffer(json.dumps(head).encode(), np.uint8)
        np.savez(buffer, allow_pickle=False, head=encoded, **columns)
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
            found = cls(
                tuple(SeriesKey(*key) for key in head["keys"]),
                tuple(_alert(raw) for raw in head["alerts"]),
                tuple((str(device), str(metric), int(nth)) for device, metric, nth in head["patterns"]),
                tuple(_part(nth, features, columns) for nth, features in enumerate(head["features"])),
            )
        except _DAMAGED as error:
            raise ValueError(f"no snapshot: {error}") from error
        found._check()
        return found

    def _check(self) -> None:
        """Refuse one whose parts do not fit together."""
        if not self.patterns or self.patterns[-1][:2] != ("*", "*"):
            raise ValueError("no snapshot: some series belong to no part")
        if not all(0 <= nth < len(self.parts) for _, _, nth in self.patterns):
            raise ValueError("no snapshot: a part is missing")
        n = np.bincount([self.part_of(key) for key in self.keys], minlength=len(self.parts)).tolist()
        if any(len(column) != n[nth] for nth, part in enumerate(self.parts) for column in part.columns.values()):
            raise ValueError("no snapshot: there is not one row for each series")


def _part(nth: int, features: list[dict[str, Any]], columns: Mapping[str, NDArray[Any]]) -> Part:
    own = {name.partition(".")[2]: column for name, column in columns.items() if name.partition(".")[0] == str(nth)}
    return Part(tuple(Feature(**feature) for feature in features), own)


def _check_stored(data: bytes) -> None:
    """Refuse what would grow: what we write is not compressed, so nothing in it is larger than the whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(one.compress_type != zipfile.ZIP_STORED or one.file_size > len(data) for one in archive.infolist()):
            raise ValueError("no snapshot: it is compressed")


def _alert(raw: dict[str, Any]) -> Alert:
    return Alert(
        **raw | {"kind": Kind(raw["kind"]), "severity": Severity(raw["severity"]), "series": SeriesKey(*raw["series"])}
    )
