"""Connecting to a broker again and again, while the loop goes on.

Rules that hold here:

- An attempt has a thread of its own, since name lookup, TCP and TLS may block. While it is under way nobody else uses
  the client.
- A connection that fails, is lost or is not answered is tried again with jittered exponential backoff, for ever; the
  backoff starts anew only after a connection that lasted. Neither the backoff nor the wait for an answer is longer than
  a keepalive, so that after any fault the link is back within two.
- The same trouble is told once, not at each try.
"""

import logging
import random
import struct
import threading
import time

from paho.mqtt.reasoncodes import ReasonCode

from forewarn.adapters.mqtt.session import ANSWER_S, Broker, Client, connect, hint
from forewarn.adapters.mqtt.tls import HandshakeError

log = logging.getLogger(__name__)

BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.5, 30.0
STUCK_S = 60.0  # for an attempt: name lookup, TCP and TLS have their own limits below


class Connecting:
    """The attempts of one client."""

    def __init__(self, client: Client, broker: Broker, *, keep_s: int | None, receive_most: int) -> None:
        """Prepare; see `session.connect`."""
        self._client, self._broker = client, broker
        self._keep_s, self._receive_most = keep_s, receive_most
        self._thread: threading.Thread | None = None
        self._began_at = self._next_try_at = self._answer_by = self._answered_at = 0.0
        self._backoff_s = BACKOFF_FIRST_S
        self._awaited = False  # the broker's answers to CONNECT and SUBSCRIBE
        self._complaint = ""
        self._closing = False

    @property
    def stuck(self) -> bool:
        """Whether an attempt does not come to an end, so that there will be no other."""
        thread = self._thread
        return thread is not None and thread.is_alive() and time.monotonic() - self._began_at > STUCK_S

    @property
    def pause_s(self) -> float:
        """Seconds until another attempt is due."""
        return max(0.0, self._next_try_at - time.monotonic())

    @property
    def overdue(self) -> str:
        """What to say of a broker that has not answered in time; "" where there is nothing to say."""
        if not self._awaited or time.monotonic() <= self._answer_by:
            return ""
        return f"gives no answer within {self._answer_s:g} s{hint(self._broker)}"

    @property
    def _backoff_most_s(self) -> float:
        return min(BACKOFF_MOST_S, self._broker.keepalive_s)

    @property
    def _answer_s(self) -> float:
        return min(ANSWER_S, self._broker.keepalive_s)

    def begin(self) -> None:
        """Begin an attempt."""
        self._next_try_at = time.monotonic() + self._backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._backoff_s = min(2 * self._backoff_s, self._backoff_most_s)
        self._awaited = True
        self._began_at = time.monotonic()
        self._thread = threading.Thread(target=self._attempt, name="mqtt-connect", daemon=True)
        self._thread.start()

    def ended(self, timeout_s: float) -> bool:
        """Whether no attempt is under way; one that is, is waited for so long at most."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
            self._thread = None
        return True

    def _attempt(self) -> None:
        try:
            connect(self._client, self._broker, self._keep_s, self._receive_most)
        except HandshakeError as error:
            self._complain(str(error))
        except (OSError, ValueError, struct.error) as error:
            self._complain(f"cannot be reached ({error})")
        self._answer_by = time.monotonic() + self._answer_s
        if self._closing:
            self._client.hang_up()

    def answered(self) -> None:
        """The broker has let us in and taken the subscriptions."""
        self._awaited, self._answered_at, self._complaint = False, time.monotonic(), ""

    def lost(self, reason: ReasonCode, *, subscribed: bool) -> None:
        """The connection has ended, whether it had been answered or not."""
        if self._awaited:
            self._complain(self._client.why_ended(reason, self._broker))
        if subscribed and not self._closing:
            log.warning("connection to %s lost: %s", self._broker, reason)
        if subscribed and time.monotonic() - self._answered_at > self._backoff_most_s:
            self._backoff_s = BACKOFF_FIRST_S
        self._awaited = False

    def refused(self, why: str) -> None:
        """The broker does not let us in."""
        self._awaited = False
        self._complain(why)

    def give_up(self, why: str) -> None:
        """Leave the connection as it is; there will be another attempt."""
        self.refused(why)
        self._client.hang_up()

    def _complain(self, text: str) -> None:
        """Tell what is wrong with the broker, unless that was said last."""
        if text != self._complaint and not self._closing:
            self._complaint = text
            most_s = self._backoff_most_s
            log.warning("broker %s %s; trying again, at least every %.0f s", self._broker, text, most_s)

    def close(self) -> None:
        """Say nothing more; an attempt that is under way ends its connection itself."""
        self._closing = True
