"""Messages that must reach the broker, in order, until it has acknowledged each.

Rules that hold here:

- A letter is kept until the broker has acknowledged it, whatever happens to the connection; where there is a journal,
  over the end of the process as well.
- At most `most` are kept; a further one is dropped and counted, and so is one that nobody needs any more.
- At most `UNDER_WAY` are handed to the link at once, so that a broker that was long away is not flooded.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from forewarn.adapters.journal import Letter
from forewarn.messages import Outgoing

UNDER_WAY = 200


class Outbox:
    """The letters of one daemon.

    Attributes:
        dropped: how many were, since the start.
    """

    def __init__(self, most: int) -> None:
        """Start with none; keep at most so many."""
        self._most = most
        self._letters: OrderedDict[int, Letter] = OrderedDict()
        self._unsent: OrderedDict[int, Letter] = OrderedDict()
        self._sent: dict[int, int] = {}  # packet identifier to letter
        self._delivered: list[int] = []
        self._next = 1
        self.dropped = 0

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._letters)

    @property
    def n_unsent(self) -> int:
        """How many were not handed over yet."""
        return len(self._unsent)

    def __iter__(self) -> Iterator[Letter]:
        """In the order of sending."""
        return iter(self._letters.values())

    def load(self, letters: Iterable[Letter]) -> None:
        """Begin with letters that were not delivered before."""
        for letter in letters:
            self._letters[letter.id] = self._unsent[letter.id] = letter
            self._next = letter.id + 1

    def add(self, outgoing: Iterable[Outgoing]) -> list[Letter]:
        """Take messages, and return their letters; without those that were dropped."""
        added = []
        for message in outgoing:
            if len(self._letters) >= self._most:
                self.dropped += 1
                continue
            letter = Letter(self._next, message.topic, message.payload, message.retain)
            self._next += 1
            self._letters[letter.id] = self._unsent[letter.id] = letter
            added.append(letter)
        return added

    def due(self) -> Iterator[Letter]:
        """Those to send now; `sent` says what became of each."""
        while self._unsent and len(self._sent) < UNDER_WAY:
            yield self._unsent.popitem(last=False)[1]

    def sent(self, letter: Letter, mid: int | None) -> None:
        """A letter was handed over under this packet identifier; None where it was not taken."""
        if mid is None:
            self._unsent[letter.id] = letter
            self._unsent.move_to_end(letter.id, last=False)
        else:
            self._sent[mid] = letter.id

    def expire(self, letter: Letter) -> None:
        """A letter that was due is not sent: nobody needs it any more."""
        del self._letters[letter.id]
        self._delivered.append(letter.id)
        self.dropped += 1

    def acknowledged(self, mids: Iterable[int]) -> None:
        """The broker has these."""
        for mid in mids:
            letter = self._sent.pop(mid, None)
            if letter is not None:
                del self._letters[letter]
                self._delivered.append(letter)

    def take_delivered(self) -> list[int]:
        """The letters that were delivered since the last call."""
        delivered, self._delivered = self._delivered, []
        return delivered
