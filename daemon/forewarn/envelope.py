"""What goes around an alert: a CloudEvents envelope where one is asked for, and the properties of MQTT 5.

Pure functions. Rules that hold here:

- Properties follow from the document that is sent, so an alert that waited in the state file has them too, whichever
  forewarn and whichever settings wrote it.
- Whoever sees no properties (MQTT 3.1.1, many tools) misses nothing: all that they say is in the document.
- The time until an alert expires counts from the arrival of its reading, however long the broker was away.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

CONTENT_TYPE = "application/json"
EVENT_CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_TOLD = ("schema", "kind", "type", "severity")  # of an alert, as user properties


class Properties(NamedTuple):
    """Of one PUBLISH packet (MQTT 5.0, section 3.3.2.3).

    Attributes:
        content_type: of the payload.
        user: names and values.
        expiry_s: whole seconds until nobody needs the message any more, 0 for none left; None for no end.
        response_topic: where an answer goes.
    """

    content_type: str
    user: tuple[tuple[str, str], ...] = ()
    expiry_s: int | None = None
    response_topic: str | None = None


@dataclass(frozen=True, slots=True)
class AlertProperties:
    """The properties that the alerts of one daemon have.

    Attributes:
        instance: name of the daemon.
        expiry_s: seconds after the arrival of its reading from which on nobody needs an alert; None for no end.
        response_topic: where an answer goes; None for nowhere.
    """

    instance: str
    expiry_s: int | None = None
    response_topic: str | None = None

    def of(self, payload: str, now: float) -> Properties:
        """Those of an alert that is sent now, at UTC epoch seconds."""
        document = _object(payload)
        is_event = "specversion" in document
        alert = document.get("data", {}) if is_event else document
        return Properties(
            EVENT_CONTENT_TYPE if is_event else CONTENT_TYPE,
            (("instance", self.instance), *((name, str(alert[name])) for name in _TOLD if name in alert)),
            self._left_s(alert, now),
            self.response_topic,
        )

    def _left_s(self, alert: Mapping[str, Any], now: float) -> int | None:
        if self.expiry_s is None:
            return None
        waited_s = max(0.0, now - float(alert.get("received_at", now)))
        return max(0, int(self.expiry_s - waited_s))


def cloud_event(root: str, alert: Mapping[str, Any]) -> dict[str, Any]:
    """An alert in the structured mode of CloudEvents 1.0.2: JSON format, MQTT binding.

    Args:
        root: `forewarn/<instance>`, which becomes `source`, a URI reference.
        alert: the document that becomes `data`.
    """
    event = {
        "specversion": "1.0",
        "id": f"{alert['id']}-{alert['sequence']}",
        "source": quote(root),
        "type": f"forewarn.alert.{alert['type']}",
        "subject": f"{alert['device']}/{alert['metric']}",
        "time": _rfc3339(alert["at"]),
        "datacontenttype": CONTENT_TYPE,
        "dataschema": "urn:" + alert["schema"].replace(".", ":").replace("/", ":"),
        "data": alert,
    }
    return {name: value for name, value in event.items() if value is not None}


def _rfc3339(at: float) -> str | None:
    """None where RFC 3339 has no such year; the attribute may be left out."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None


def _object(payload: str) -> dict[str, Any]:
    """The document of a payload; an empty one for what an alert cannot be, such as what a damaged file held."""
    try:
        document = json.loads(payload)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
