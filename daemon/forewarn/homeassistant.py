"""What Home Assistant is told of devices: MQTT discovery, see docs/home-assistant.md. No I/O.

Rules that hold here:

- A device is one device there, in one message; each of its series has four entities, which read the retained state of
  that series by templates. No name of a device or metric gets into a template.
- Ids consist of a-z, A-Z, 0-9, _ and -, and follow from the topics, so no two series share one and a restart changes
  none.
- All entities are unavailable while the daemon is. What is forecast is so too while the series is silent; that it is
  silent is a problem, so `problem` stays available and says so.
- A device is told of when it is new or changed and when Home Assistant starts, a few at a time; series beyond `most`,
  and further metrics of a device that has `MOST_METRICS`, are not.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forewarn.core.readings import SeriesKey
from forewarn.inbox import Message
from forewarn.messages import Outgoing, Phrasebook

MOST_METRICS = 64  # of a device, so that its message is bounded: some 2 KB for each, more with long names
PLAIN = re.compile(r"[A-Za-z0-9-]{1,64}")
_DIGEST = re.compile(r"(.*-)?[0-9a-f]{16}")
_TEMPERATURES = ("°C", "°F", "K")

IS_PROBLEM = "{{ 'ON' if value_json.alerts else 'OFF' }}"
WORST_ALERT = (  # "critical" is before "warning"
    "{% set alerts = value_json.alerts | sort(attribute='severity') %}"
    "{{ dict(alerts[0], alerts=alerts) | tojson if alerts else '{}' }}"
)
IS_HEARD = "{{ 'offline' if value_json.alerts | selectattr('kind', 'eq', 'silent') | list else 'online' }}"

Component = dict[str, Any]


class Discovery:
    """The devices that Home Assistant is told of."""

    def __init__(self, prefix: str, *, birth_topic: str | None, version: str, most: int) -> None:
        """Begin with none.

        Args:
            prefix: first levels of the topics, as set in Home Assistant.
            birth_topic: where Home Assistant says that it has started; None where nobody listens.
            version: of forewarn.
            most: series that are told of; 0 where nobody is told of any.
        """
        self._prefix, self._birth_topic, self._version, self._most = prefix, birth_topic, version, most
        self._known: dict[str, list[str]] = {}  # metrics by device
        self._due: dict[str, None] = {}
        self._n_series = 0

    def add(self, series: SeriesKey) -> bool:
        """Tell of a series whose state is published; False where there is no room for it."""
        metrics = self._known.get(series.device, [])
        if series.metric in metrics or not self._most:
            return True
        if self._n_series >= self._most or len(metrics) >= MOST_METRICS:
            return False
        self._known[series.device] = sorted([*metrics, series.metric])
        self._n_series += 1
        self._due[series.device] = None
        return True

    def without_births(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages that may be readings. Where Home Assistant has started, it is told of every device again."""
        if self._birth_topic is None:
            return messages
        if any(message.topic == self._birth_topic and message.payload == b"online" for message in messages):
            self.renew()
        return [message for message in messages if message.topic != self._birth_topic]

    def renew(self) -> None:
        """Tell of every device again: Home Assistant or the broker has started, or the settings have changed."""
        self._due = dict.fromkeys(self._known)

    def due(self, phrases: Phrasebook, most: int) -> Iterator[Outgoing]:
        """The messages to send now, at most so many."""
        for device in list(self._due)[:most]:
            del self._due[device]
            yield self._message(phrases, device, {})

    def remove(self, phrases: Phrasebook, series: SeriesKey) -> list[Outgoing]:
        """What takes a series away; with the last one of a device, the device."""
        metrics = self._known.get(series.device, [])
        if series.metric not in metrics:
            return []
        metrics.remove(series.metric)
        self._n_series -= 1
        if metrics:
            self._due[series.device] = None  # the next message leaves out what this one takes away
            gone = {key: {"p": one["p"]} for key, one in components(phrases, series).items()}
            return [self._message(phrases, series.device, gone)]
        del self._known[series.device]
        self._due.pop(series.device, None)
        return [Outgoing(self._topic(phrases, series.device), "", retain=True)]

    def _topic(self, phrases: Phrasebook, device: str) -> str:
        return f"{self._prefix}/device/{identifier(*phrases.root.split('/'))}/{identifier(device)}/config"

    def _message(self, phrases: Phrasebook, device: str, gone: Mapping[str, Component]) -> Outgoing:
        found = dict(gone)
        for metric in self._known[device]:
            found |= components(phrases, SeriesKey(device, metric))
        models = [phrases.model_of(SeriesKey(device, metric)) for metric in self._known[device]]
        body = {
            "dev": {
                "ids": [_unique(phrases, device)],
                "name": device,
                "mf": "forewarn",
                "mdl": " and ".join(dict.fromkeys(f"{model['name']} {model['version']}" for model in models)),
            },
            "o": {"name": "forewarn", "sw": self._version},
            "avty": [_daemon(phrases)],
            "cmps": found,
        }
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return Outgoing(self._topic(phrases, device), text, retain=True)


def components(phrases: Phrasebook, series: SeriesKey) -> dict[str, Component]:
    """The entities of a series, by their keys in the message of its device."""
    state = phrases.state_topic(series)
    unit_name = phrases.unit_of(series)
    unit = {"unit_of_meas": unit_name} if unit_name else {}
    kind = {"dev_cla": "temperature"} if unit_name in _TEMPERATURES else {}
    heard = {"avty": [_daemon(phrases), {"t": state, "val_tpl": IS_HEARD}], "avty_mode": "all"}
    number: Component = {"p": "sensor", "stat_cla": "measurement", "sug_dsp_prc": 2, **heard}
    of_each: dict[str, Component] = {
        "problem": {
            "p": "binary_sensor",
            "dev_cla": "problem",
            "val_tpl": IS_PROBLEM,
            "json_attr_t": state,
            "json_attr_tpl": WORST_ALERT,
        },
        "expected": {**number, **unit, **kind, "val_tpl": "{{ value_json.expected }}"},
        # No class: Home Assistant would convert a difference of temperatures as it does a temperature.
        "residual": {**number, **unit, "val_tpl": "{{ value_json.residual }}"},
        "score": {**number, "val_tpl": "{{ value_json.score }}"},
    }
    return {
        f"{identifier(series.metric)}_{name}": {
            **one,
            "name": f"{series.metric} {name}",
            "uniq_id": f"{_unique(phrases, *series)}_{name}",
            "stat_t": state,
            "qos": 1,
        }
        for name, one in of_each.items()
    }


def identifier(*names: str) -> str:
    """An id of names that each have no `/`: no other names give the same.

    A name that is no plain one, or looks like one that was made here, is told by a hash.
    """
    return "_".join(name if PLAIN.fullmatch(name) and not _DIGEST.fullmatch(name) else _hashed(name) for name in names)


def _hashed(name: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name)[:40].strip("-")
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:16]}".lstrip("-")


def _unique(phrases: Phrasebook, *names: str) -> str:
    return identifier(*phrases.root.split("/"), *names)


def _daemon(phrases: Phrasebook) -> Component:
    return {"t": phrases.status_topic}
