"""Topic patterns with named levels, and which names a device or metric may have.

`sensors/{device}/{metric}` subscribes to `sensors/+/+` and takes the names from the topic. A name becomes part of the
topics that `forewarn` publishes and of metric labels, so what could reach another topic or confuse a reader is refused:
`/ + #`, line ends, control, format (bidirectional overrides among them), surrogate and private characters.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from forewarn.core.readings import Rejection, SeriesKey
from forewarn.errors import PayloadError

MAX_NAME = 128
MAX_REMEMBERED = 20_000  # names of series
_NAMES = ("device", "metric")
_HOLE = re.compile(r"\{([^{}]*)\}")
_REFUSED = "/+#\u2028\u2029"  # and what Unicode has as C: control, format, surrogate, private, unassigned
_PLAIN = re.compile(r"[A-Za-z0-9_.:\-]{1,128}")


class Topic(NamedTuple):
    """A topic as its pattern reads it.

    Attributes:
        text: as it came.
        names: the levels of {device} and {metric}, not yet checked.
        rest: the levels that + and # stand for, in order.
    """

    text: str
    names: Mapping[str, str]
    rest: tuple[str, ...]


class TopicPattern:
    """One topic pattern: what to subscribe to, and what a topic that matches it names."""

    def __init__(self, text: str) -> None:
        """Read a pattern.

        Raises:
            ValueError: saying what is wrong with it.
        """
        levels = text.split("/")
        if not text or "\0" in text or len(text.encode()) > 65_535:
            raise ValueError(f"topic {text!r}: 1 to 65,535 bytes without NUL are needed")
        if levels[0] == "$share":
            raise ValueError(f"topic {text!r}: a shared subscription would hide the readings that others are given")
        self.text = text
        self.names: dict[str, int] = {}
        for place, level in enumerate(levels):
            self._read(level, place, last=place == len(levels) - 1)
        self.subscription = "/".join("+" if _HOLE.fullmatch(level) else level for level in levels)
        self._levels = self.subscription.split("/")
        wild = [place for place, level in enumerate(self._levels) if level in ("+", "#")]
        self._base = wild[0] if wild else 0

    def _read(self, level: str, place: int, *, last: bool) -> None:
        hole = _HOLE.fullmatch(level)
        if hole:
            name = hole[1]
            if name not in _NAMES or name in self.names:
                raise ValueError(
                    f"topic {self.text!r}: {level} is none of {{device}} and {{metric}}, each at most once"
                )
            self.names[name] = place
        elif _HOLE.search(level) or "{" in level or "}" in level:
            raise ValueError(
                f"topic {self.text!r}: {{device}} and {{metric}} stand for a whole level, not a part of {level!r}"
            )
        elif (("#" in level or "+" in level) and len(level) > 1) or (level == "#" and not last):
            raise ValueError(
                f"topic {self.text!r}: + stands for a whole level and # for all that follow, at the end only"
            )

    def match(self, topic: str) -> Topic | None:
        """What a topic names, or None where it does not match (MQTT 5.0, section 4.7)."""
        levels = topic.split("/")
        wanted = self._levels
        if topic.startswith("$") and wanted[0] in ("+", "#"):
            return None
        tail: list[str] = []
        if wanted[-1] == "#":
            if len(levels) < len(wanted) - 1:
                return None
            wanted = wanted[:-1]
            levels, tail = levels[: len(wanted)], levels[len(wanted) :]
        if len(levels) != len(wanted) or any(w not in ("+", t) for w, t in zip(wanted, levels, strict=True)):
            return None
        names = {name: levels[place] for name, place in self.names.items()}
        named = set(self.names.values())
        rest = [level for place, level in enumerate(levels) if wanted[place] == "+" and place not in named]
        return Topic(topic, names, (*rest, *tail))

    def below(self, topic: Topic) -> list[str]:
        """The levels of a topic that matches from the first one on that the pattern leaves open."""
        return topic.text.split("/")[self._base :]

    def reaches_below(self, prefix: str) -> bool:
        """Whether it matches any topic that has more levels than those of `prefix`, and begins with them."""
        levels = prefix.split("/")
        for wanted, level in zip(self._levels, levels, strict=False):
            if wanted == "#":
                return True
            if wanted not in ("+", level):
                return False
        return len(self._levels) > len(levels)


def checked_name(name: str) -> str:
    """The name of a device or metric as it is, where it can be part of a topic.

    Raises:
        PayloadError: `bad_device`.
    """
    if _PLAIN.fullmatch(name):
        return name
    if not 1 <= len(name) <= MAX_NAME or any(c in _REFUSED or unicodedata.category(c)[0] == "C" for c in name):
        raise PayloadError(Rejection.BAD_DEVICE, f"{name[:40]!r}")
    return name


@lru_cache(MAX_REMEMBERED)
def series(device: str, metric: str) -> SeriesKey:
    """The series of a device's metric; names that cannot be used are not remembered.

    Raises:
        PayloadError: `bad_device`.
    """
    return SeriesKey(checked_name(device), checked_name(metric))
