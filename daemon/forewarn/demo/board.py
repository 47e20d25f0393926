"""What the demonstration has heard over MQTT: the last verdict on each device, and the alerts.

Filled by the client's network thread, read by the view's. Only what arrived over MQTT is in here, as any other
subscriber would get it.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from forewarn.demo.tally import Tally

ROOT: Final = "forewarn/demo"


@dataclass(frozen=True, slots=True)
class Row:
    """The last verdict on one device; °C, None where there is none yet."""

    device: str
    value: float
    expected: float | None
    lower: float | None
    upper: float | None
    status: str

    @property
    def sentence(self) -> str:
        """What was expected and what came."""
        if self.expected is None or self.lower is None or self.upper is None:
            return f"{self.device} reads {self.value:.2f} °C"
        band = f" ± {(self.upper - self.lower) / 2:.2f}" if self.upper > self.lower else ""
        return f"{self.device} reads {self.value:.2f} °C; {self.expected:.2f}{band} °C was expected"


@dataclass(frozen=True, slots=True)
class Notice:
    """One step in the life of an alert, as it arrived."""

    arrived_at: float
    type: str
    kind: str
    severity: str
    device: str
    sentence: str


@dataclass
class Board:
    """The present picture.

    Attributes:
        clock: UTC epoch seconds.
        online: set once the daemon says so.
        tally: the truth, once the fleet has started.
    """

    clock: Callable[[], float] = time.time
    online: threading.Event = field(default_factory=threading.Event)
    tally: Tally | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _rows: dict[str, Row] = field(default_factory=dict)
    _active: dict[str, dict[str, str]] = field(default_factory=dict)
    _notices: list[Notice] = field(default_factory=list)
    _raised: list[tuple[str, float]] = field(default_factory=list)

    def hear(self, topic: str, payload: bytes) -> None:
        """Take in one message of the daemon."""
        branch = topic.removeprefix(f"{ROOT}/").split("/")[0]
        if branch == "status" and payload == b"online":
            self.online.set()
        elif branch == "forecast":
            self._hear_verdict(json.loads(payload))
        elif branch == "alerts":
            self._hear_alert(json.loads(payload))

    def _hear_verdict(self, body: dict[str, Any]) -> None:
        columns = {name: body[name] for name in ("device", "value", "expected", "lower", "upper", "status")}
        with self._lock:
            self._rows[body["device"]] = Row(**columns)

    def _hear_alert(self, body: dict[str, Any]) -> None:
        notice = Notice(self.clock(), *(body[name] for name in ("type", "kind", "severity", "device", "sentence")))
        with self._lock:
            self._notices.append(notice)
            active = self._active.setdefault(notice.device, {})
            if notice.type == "cleared":
                active.pop(notice.kind, None)
            else:
                active[notice.kind] = notice.severity
            if notice.type == "raised":
                self._raised.append((notice.device, body["raised_at"]))

    @property
    def rows(self) -> list[Row]:
        """Devices by name."""
        with self._lock:
            return sorted(self._rows.values(), key=lambda row: row.device)

    def notices(self, after: int = 0) -> list[Notice]:
        """Alerts in the order of their arrival, without the first `after`."""
        with self._lock:
            return self._notices[after:]

    @property
    def raised(self) -> list[tuple[str, float]]:
        """Device and time of each alert that was raised."""
        with self._lock:
            return list(self._raised)

    def state(self, row: Row) -> str:
        """What a device is doing, in a word or two."""
        with self._lock:
            kinds = ", ".join(sorted(self._active.get(row.device, {})))
        return f"ALERT {kinds}" if kinds else row.status.replace("_", " ").replace("scored", "ok")

    def injected(self, device: str) -> str:
        """The fault that the simulation has on a device now, "" where none."""
        kind = self.tally.active(device, self.clock()) if self.tally else None
        return (kind or "").replace("_", " ")
