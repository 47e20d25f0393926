"""`forewarn discover`: listens on a broker and proposes settings for what it hears.

Rules that hold here:

- What is proposed was tried: the messages that came are read with it, by the daemon's own decoder, and what it says of
  devices and metrics is what that gave.
- A dialect with topics of its own is tried where its topics came. What is left is grouped by the shape of its topics,
  and read as bare numbers, as JSON, or by a dialect without topics of its own, whichever reads most of it.
- Memory is bounded: of so many topics the last few payloads.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from forewarn.core.card import Feature, ModelCard
from forewarn.core.readings import SeriesKey
from forewarn.errors import PayloadError
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Input
from forewarn.inputs.dialects import DIALECTS, TEMPERATURES
from forewarn.inputs.json_paths import number, parse_json
from forewarn.inputs.times import epoch_seconds
from forewarn.inputs.topics import TopicPattern

MOST_TOPICS = 5_000
_KEPT = 3  # payloads of a topic
_SHOWN = 6  # names in a comment
_MOST_PATHS = 16  # values of one JSON message
_OURS = ("forewarn/", "homeassistant/", "$")
_TIMES = frozenset({"time", "timestamp", "ts", "at", "date", "datetime", "received_at"})
_NAMES = ("device", "device_id", "deviceId", "id", "name", "sensor")
_TEMPERATURE = re.compile(r"temp|^t$|°c|celsius", re.IGNORECASE)
_NO_PATTERN = re.compile(r"[{}+#\0]")  # such a topic cannot stand in a pattern
_GOOD = 0.8  # share of the messages that a proposal must read
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ANY = ModelCard(
    "any", "1", (Feature("temperature"),), "temperature", n_step=2, horizon=1, created_at="2026-01-01T00:00:00Z"
)


@dataclass(slots=True)
class Heard:
    """One topic: when its first and last message came, UTC epoch seconds, how many, and the last payloads."""

    first_at: float
    last_at: float
    n: int = 0
    payloads: list[bytes] = field(default_factory=list)


class Listener:
    """What came on a broker, by topic."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.topics: dict[str, Heard] = {}
        self.n_left_out = 0

    def hear(self, topic: str, payload: bytes, at: float) -> None:
        """Take one message."""
        if topic.startswith(_OURS) or not payload or _NO_PATTERN.search(topic):
            return
        if topic not in self.topics and len(self.topics) >= MOST_TOPICS:
            self.n_left_out += 1
            return
        heard = self.topics.setdefault(topic, Heard(at, at))
        heard.n, heard.last_at = heard.n + 1, at
        heard.payloads = [*heard.payloads[1 - _KEPT :], payload]


class Proposal(NamedTuple):
    """One input, as lines of TOML, and what it made of what came."""

    lines: Sequence[str]
    series: frozenset[SeriesKey]
    n_read: int
    n_heard: int
    interval_s: float | None


def propose(topics: Mapping[str, Heard]) -> list[Proposal]:
    """Inputs for what came, the one with the most series first."""
    left = dict(topics)
    found: list[Proposal] = []
    for name, known in DIALECTS.items():
        if known.topic is None:
            continue
        patterns = [TopicPattern(text) for text in (known.topic, *known.also)]
        own = {topic: heard for topic, heard in left.items() if any(p.match(topic) for p in patterns)}
        inputs = [Input(pattern, name, metrics=known.metrics) for pattern in patterns]
        proposal = _tried(inputs, own, [f'dialect = "{name}"'])
        if proposal.series:
            found.append(proposal)
            left = {topic: heard for topic, heard in left.items() if topic not in own}
    for group in _groups(left):
        best = max(_candidates(group), key=lambda p: p.n_read, default=None)
        if best is not None and best.series and best.n_read >= _GOOD * best.n_heard:
            found.append(best)
    return sorted(found, key=lambda p: -len(p.series))


def settings(proposals: Sequence[Proposal], about: str, host: str, port: int) -> str:
    """A settings file with these inputs."""
    head = [
        f"# Proposed by `forewarn discover` after {about}. Look it over, then try it:",
        "# forewarn check --config THIS_FILE --connect",
        'instance = "gateway-1"',
        'model = "starter"',
        "",
        "[units]",
        'temperature = "°C"',
        "",
        "[mqtt]",
        f"host = {_text(host)}",
        f"port = {port}",
        "",
        "[state]",
        'path = "state.sqlite"',
    ]
    return "\n".join([*head, *(line for one in proposals for line in _shown(one))]) + "\n"


def _shown(proposal: Proposal) -> Iterator[str]:
    devices = sorted({key.device for key in proposal.series})
    metrics = sorted({key.metric for key in proposal.series})
    cadence = "" if proposal.interval_s is None else f"; a message about every {proposal.interval_s:.3g} s"
    yield ""
    yield f"# {len(devices)} devices ({_few(devices)}), {_few(metrics)}{cadence}"
    yield "[[inputs]]"
    yield from proposal.lines


def _few(names: Sequence[str]) -> str:
    shown = ", ".join("".join(c if c.isprintable() else "?" for c in name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, …"


def _tried(inputs: Sequence[Input], heard: Mapping[str, Heard], lines: Sequence[str]) -> Proposal:
    """What these inputs make of the messages."""
    decoder = Decoder(inputs, _ANY, max_payload_bytes=65_536)
    series: set[SeriesKey] = set()
    n_read = n_heard = 0
    for topic, one in heard.items():
        for payload in one.payloads:
            n_heard += 1
            try:
                readings = decoder.decode(topic, payload, received_at=one.last_at).readings
            except PayloadError:
                continue
            n_read += bool(readings)
            series.update(reading.key for reading in readings)
    intervals = [(one.last_at - one.first_at) / (one.n - 1) for one in heard.values() if one.n > 1]
    return Proposal(lines, frozenset(series), n_read, n_heard, median(intervals) if intervals else None)


def _groups(heard: Mapping[str, Heard]) -> Iterator[dict[str, Heard]]:
    """Topics of the same first level and as many levels."""
    groups: defaultdict[tuple[str, int], dict[str, Heard]] = defaultdict(dict)
    for topic, one in heard.items():
        groups[topic.split("/")[0], topic.count("/")][topic] = one
    yield from groups.values()


def _candidates(group: Mapping[str, Heard]) -> Iterator[Proposal]:
    levels = [topic.split("/") for topic in group]
    yield from _numbers(levels, group)
    yield from _documents(levels, group)
    for name, known in DIALECTS.items():
        if known.topic is None and name not in ("number", "json"):
            text = _device_pattern(levels) or "/".join(levels[0])
            yield _tried(
                [Input(TopicPattern(text), name, metrics=TEMPERATURES)],
                group,
                [f"topic = {_text(text)}", f'dialect = "{name}"'],
            )


def _numbers(levels: Sequence[list[str]], group: Mapping[str, Heard]) -> Iterator[Proposal]:
    """Bare numbers: the last level is the metric, one before it the device."""
    if len(levels[0]) < 2:
        return
    text = f"{_with_device(levels, len(levels[0]) - 1)}/{{metric}}"
    lines = [f"topic = {_text(text)}", 'dialect = "number"']
    wanted = TEMPERATURES
    one = Input(TopicPattern(text), metrics=wanted)
    tried = _tried([Input(TopicPattern(text))], group, lines)
    narrow = _tried([one], group, [*lines, f"metrics = {_list(wanted)}"])
    yield tried._replace(lines=narrow.lines, series=narrow.series) if narrow.series else tried


def _documents(levels: Sequence[list[str]], group: Mapping[str, Heard]) -> Iterator[Proposal]:
    """JSON: numbers by their paths, the time where it is one, the device from the topic or a name in the document."""
    one = next(iter(group.values()))
    try:
        document = parse_json(one.payloads[-1])
    except PayloadError:
        return
    leaves = list(_leaves(document, ()))
    times = [path for path, value in leaves if path[-1].lower() in _TIMES and _is_time(value, one.last_at)]
    values = {_metric(path): path for path, value in leaves if path not in times and _is_number(value)}
    warm = {metric: path for metric, path in values.items() if _TEMPERATURE.search(metric)}
    chosen = warm or dict(list(values.items())[:_MOST_PATHS])
    pattern = _device_pattern(levels)
    name = next(((key,) for key in _NAMES if isinstance(document, dict) and isinstance(document.get(key), str)), None)
    if not chosen or (pattern is None and name is None):
        return
    device = None if pattern else name
    text = pattern or "/".join(levels[0])
    source = Input(TopicPattern(text), "json", device=device, values=chosen, time=times[0] if times else None)
    lines = [f"topic = {_text(text)}", 'dialect = "json"']
    lines += [f"device = {_text('.'.join(device))}"] if device else []
    lines += [f"time = {_text('.'.join(times[0]))}"] if times else []
    pairs = ", ".join(f"{_key(metric)} = {_text('.'.join(path))}" for metric, path in chosen.items())
    yield _tried([source], group, [*lines, f"values = {{ {pairs} }}"])


def _device_pattern(levels: Sequence[list[str]]) -> str | None:
    """The topics with {device} for the level that tells most of them apart; None for one topic of one level."""
    return _with_device(levels, len(levels[0])) if len(levels) > 1 or len(levels[0]) > 1 else None


def _with_device(levels: Sequence[list[str]], n: int) -> str:
    """The first n levels: {device} where most differ, else the last of them; + where others differ."""
    distinct = [len({one[i] for one in levels}) for i in range(n)]
    place = max(range(n), key=lambda i: (distinct[i], i))
    if distinct[place] == 1:
        place = n - 1
    return "/".join("{device}" if i == place else (levels[0][i] if distinct[i] == 1 else "+") for i in range(n))


def _leaves(document: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(document, dict):
        items = [(key, value) for key, value in document.items() if _is_step(key)]
    elif isinstance(document, list):
        items = [(str(i), value) for i, value in enumerate(document[:_MOST_PATHS])]
    else:
        if path:
            yield path, document
        return
    for key, value in items:
        yield from _leaves(value, (*path, key))


def _is_step(key: str) -> bool:
    """Whether a key can be a part of a path, and of a name."""
    return bool(key) and key.isprintable() and not any(c in "./+#" for c in key)


def _metric(path: tuple[str, ...]) -> str:
    """The last key that is no index."""
    return next((key for key in reversed(path) if not key.isdecimal()), "value")


def _is_number(value: object) -> bool:
    try:
        number(value)
    except PayloadError:
        return False
    return True


def _is_time(value: object, at: float) -> bool:
    try:
        return abs(epoch_seconds(value) - at) < 86_400.0
    except PayloadError:
        return False


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    """A TOML string; what is not printable is escaped."""
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"
