"""Damaged examples: valid bytes with random changes, from flipped bits to swapped tokens. Deterministic by its seed."""

import random
import re
from collections.abc import Callable, Sequence

MOST = 70_000  # bytes of a case: a little over the longest payload that is looked at
_TOKEN = re.compile(rb'"[^"\n]{0,40}"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[\[\]{}=:,/+#]|true|false|null|\w+')
_NUMBERS = (0, 1, 2, 3, 7, 8, 16, 32, 63, 64, 100, 127, 128, 255)
_WORDS = (
    *(b"", b"0", b"-0", b"-1", b"1", b"1e999", b"-1e999", b"1e-999", b"nan", b"NaN", b"Infinity", b"-Infinity", b"inf"),
    *(b"4294967296", b"18446744073709551616", b"9" * 400, b"1" + b"0" * 5000, b"1_000", b"0x10", b"\xd9\xa1", b"1e400"),
    *(b"null", b"true", b"false", b'""', b'"\\ud800"', b'"\\u0000"', b'"\\u202e"', b'"a"', b"{}", b"[]", b"[[]]"),
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xe2\x80\xa8", b"\r\n", b"\n\n", b"\t"),
    *(b"../", b"/", b"+", b"#", b"$", b"{device}", b"{metric}", b"{", b"}", b"__", b"*", b"[", b"[[", b"'''", b'"""'),
    *(b"1970-01-01T00:00:00Z", b"9999-12-31T23:59:59.999999+23:59", b"0001-01-01", b"2026-13-45", b"24:00:00", b"="),
)


class Mutator:
    """Makes cases out of examples."""

    def __init__(self, corpus: Sequence[bytes], words: Sequence[bytes] = ()) -> None:
        """Begin with these examples; `words` are put in like those that every text has."""
        self._corpus = tuple(corpus)
        self._words = (*_WORDS, *words)
        self._changes: tuple[Callable[[random.Random, bytearray], None], ...] = (
            self._flip,
            self._byte,
            self._word,
            self._word,
            self._token,
            self._token,
            self._swap,
            self._delete,
            self._repeat,
            self._splice,
            self._cut,
        )

    def case(self, generator: random.Random) -> bytes:
        """One damaged example."""
        data = bytearray(generator.choice(self._corpus))
        for _ in range(generator.choice((0, 1, 1, 1, 2, 2, 3, 5, 9))):
            generator.choice(self._changes)(generator, data)
        return bytes(data[:MOST])

    def _flip(self, generator: random.Random, data: bytearray) -> None:
        if data:
            data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)

    def _byte(self, generator: random.Random, data: bytearray) -> None:
        if data:
            data[generator.randrange(len(data))] = generator.choice((*_NUMBERS, generator.randrange(256)))

    def _word(self, generator: random.Random, data: bytearray) -> None:
        at = generator.randint(0, len(data))
        data[at:at] = generator.choice(self._words)

    def _token(self, generator: random.Random, data: bytearray) -> None:
        """Another token in the place of one."""
        start, end = self._part(generator, data)
        data[start:end] = generator.choice(self._words)

    def _swap(self, generator: random.Random, data: bytearray) -> None:
        """A token in the place of another of the same example."""
        start, end = self._part(generator, data)
        data[start:end] = bytes(data[slice(*self._part(generator, data))])

    def _part(self, generator: random.Random, data: bytearray) -> tuple[int, int]:
        if not data:
            return 0, 0
        found = _TOKEN.search(data, generator.randrange(len(data)))
        return found.span() if found else (0, 0)

    def _delete(self, generator: random.Random, data: bytearray) -> None:
        at = generator.randint(0, len(data))
        del data[at : at + generator.choice((1, 1, 2, 4, 16, 200))]

    def _repeat(self, generator: random.Random, data: bytearray) -> None:
        at, length = generator.randint(0, len(data)), generator.choice((1, 2, 3, 8, 30))
        times = generator.choice((2, 3, 10, 100, 3000))
        if len(data) + length * times <= MOST:
            data[at:at] = bytes(data[at : at + length]) * times

    def _splice(self, generator: random.Random, data: bytearray) -> None:
        other = generator.choice(self._corpus)
        data[generator.randint(0, len(data)) :] = other[generator.randint(0, len(other)) :]

    def _cut(self, generator: random.Random, data: bytearray) -> None:
        del data[generator.randint(0, len(data)) :]
