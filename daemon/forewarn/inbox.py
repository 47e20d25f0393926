"""Messages that came and were not worked on yet.

Rules that hold here:

- At most `most` messages and `MOST_BYTES` of payloads wait. What is too much at QoS 0 is dropped, by the operator's
  policy, and counted.
- A message of QoS 1 is never dropped: it is not acknowledged before it was worked on, so a broker stops sending once
  enough of them are under way (MQTT 5: at most as many as may wait). Should one not, the inbox is `full` and nothing
  more is read.
- What is kept keeps its order.
"""

from collections import deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

MOST_BYTES = 16 * 2**20

Drop = Literal["oldest", "newest"]


class Message(NamedTuple):
    """One message as it came.

    Attributes:
        topic: "" where it is no text.
        payload: cut to one byte more than is allowed.
        received_at: UTC epoch seconds.
        retained: whether the broker had kept it.
        mid: packet identifier; 0 at QoS 0.
        repeated: whether the broker says that it may have sent it before.
        connection: which one it came on: on another it cannot be acknowledged.
        properties: those of MQTT 5 as they are in the packet.
    """

    topic: str
    payload: bytes
    received_at: float
    retained: bool
    mid: int = 0
    repeated: bool = False
    connection: int = 0
    properties: bytes = b""


class Inbox:
    """A queue of messages.

    Attributes:
        most: how many may wait.
        dropped: how many were, since the start.
    """

    def __init__(self, most: int, drop: Drop = "oldest") -> None:
        """Start with none."""
        self.most = most
        self._oldest_goes = drop == "oldest"
        self._messages: dict[int, Message] = {}  # by the number of their arrival, which is their order
        self._droppable: deque[int] = deque()  # of QoS 0; some of them may be gone
        self._arrived = 0
        self._n_bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._messages)

    @property
    def full(self) -> bool:
        """Whether no more must be read: more waits than may be, and nothing of it can be dropped."""
        return self._over(2) and not self._droppable

    def put(self, messages: Sequence[Message]) -> None:
        """Add messages that came; some may be dropped."""
        numbers = range(self._arrived + 1, self._arrived + 1 + len(messages))
        self._arrived += len(messages)
        self._messages.update(zip(numbers, messages, strict=True))
        self._n_bytes += sum([len(message.payload) for message in messages])
        self._droppable.extend([number for number, message in zip(numbers, messages, strict=True) if not message.mid])
        while self._over(1) and self._droppable:
            self._drop()

    def take(self, n: int) -> list[Message]:
        """The next messages, at most so many."""
        if n >= len(self._messages):
            taken = list(self._messages.values())
            self._messages.clear()
            self._droppable.clear()
            self._n_bytes = 0
            return taken
        numbers = [number for number, _ in zip(self._messages, range(n), strict=False)]
        taken = [self._messages.pop(number) for number in numbers]
        self._n_bytes -= sum(len(message.payload) for message in taken)
        last = numbers[-1] if numbers else 0
        while self._droppable and self._droppable[0] <= last:
            self._droppable.popleft()
        return taken

    def give_back(self) -> None:
        """Let go of the messages of QoS 1: a broker that knows our session sends them again on a new connection."""
        for number in [number for number, message in self._messages.items() if message.mid]:
            self._n_bytes -= len(self._messages.pop(number).payload)

    def _over(self, times: int) -> bool:
        return len(self._messages) > times * self.most or self._n_bytes > times * MOST_BYTES

    def _drop(self) -> None:
        number = self._droppable.popleft() if self._oldest_goes else self._droppable.pop()
        self._n_bytes -= len(self._messages.pop(number).payload)
        self.dropped += 1
