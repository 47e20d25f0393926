"""What a dialect keeps between messages: the newest entries, so many at most.

Keys are names that were checked, so that an entry is short as well.
"""

from typing import TypeVar

from forewarn.inputs.topics import MAX_REMEMBERED

K = TypeVar("K")
V = TypeVar("V")


class Remembered(dict[K, V]):
    """A dict that forgets its oldest entry for a new one once it is full."""

    def __setitem__(self, key: K, value: V) -> None:
        """Keep an entry; `update` and `setdefault` would not look at how many there are."""
        if key not in self and len(self) >= MAX_REMEMBERED:
            del self[next(iter(self))]
        super().__setitem__(key, value)
