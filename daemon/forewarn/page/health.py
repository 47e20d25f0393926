"""How the daemon itself is: what it runs, what it is connected to, what comes in and what waits."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from forewarn.messages import span
from forewarn.page.figures import moment

_RATE_OVER_S = 10.0


@dataclass(frozen=True, slots=True)
class Health:
    """The daemon at one moment.

    Attributes:
        at: UTC epoch seconds.
        instance: its name.
        version: of forewarn.
        up_s: seconds since its start.
        models: name, version and sha256 of each.
        broker: its address.
        connected: whether it is.
        readings_per_s: received of late.
        received: readings, used or not.
        rejected: readings not used, by reason.
        queues: messages that wait, and how many were dropped, by queue.
        state: "ok", "failing", or "" where there is no state file.
        active_alerts: how many.
    """

    at: float
    instance: str
    version: str
    up_s: float
    models: Sequence[Mapping[str, str]]
    broker: str
    connected: bool
    readings_per_s: float
    received: int
    rejected: Mapping[str, int]
    queues: Mapping[str, tuple[int, int]]
    state: str
    active_alerts: int


class Rate:
    """How fast a count has grown over the last seconds."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, n: int) -> None:
        """It is `n` now, seconds on any clock that does not go back."""
        self._seen.append((now, n))
        while now - self._seen[0][0] > _RATE_OVER_S:
            self._seen.popleft()

    @property
    def per_s(self) -> float:
        """0 before it was seen twice."""
        if len(self._seen) < 2:
            return 0.0
        (since, before), (now, n) = self._seen[0], self._seen[-1]
        return (n - before) / max(now - since, 1e-9)


def health(of: Health) -> str:
    """A list of terms and values, as HTML."""
    models = ", ".join(f"{model['name']} {model['version']}" for model in of.models)
    hashes = ", ".join(model["sha256"][:12] for model in of.models)
    rejected = sum(of.rejected.values())
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(of.rejected.items(), key=lambda pair: -pair[1]) if n)
    waiting = ", ".join(f"{queue} {depth:,}" for queue, (depth, _) in of.queues.items()) or "0"
    dropped = sum(n for _, n in of.queues.values())
    tiles = [
        _tile("broker", "connected" if of.connected else "not connected", of.broker, good=of.connected),
        _tile(
            "readings a second", f"{of.readings_per_s:,.3g}" if of.readings_per_s < 100 else f"{of.readings_per_s:,.0f}"
        ),
        _tile("readings", f"{of.received:,}", f"rejected {rejected:,}" + (f": {reasons}" if reasons else "")),
        _tile("messages that wait", waiting, f"dropped {dropped:,}", good=None if not dropped else False),
        _tile(
            "state file", {"ok": "ok", "failing": "cannot be written"}.get(of.state, "none"), good=_GOOD.get(of.state)
        ),
        _tile("model" if len(of.models) == 1 else "models", models, f"sha256 {hashes}"),
        _tile("forewarn", of.version, f"up {span(of.up_s)}"),
    ]
    return f'<dl class="tiles">{"".join(tiles)}</dl><p class="soft">As of {moment(of.at, of.at)} UTC.</p>'


_GOOD = {"ok": True, "failing": False}


def _tile(term: str, value: str, note: str = "", *, good: bool | None = None) -> str:
    kind = "" if good is None else ' class="ok"' if good else ' class="alert"'
    more = f"<dd>{escape(note)}</dd>" if note else ""
    return f"<div><dt>{escape(term)}</dt><dd><b{kind}>{escape(value)}</b></dd>{more}</div>"
