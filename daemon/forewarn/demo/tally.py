"""The demonstration's honest account: which injected faults an alert found, and which alerts nothing explains.

Rules that hold here:

- A fault is found by an alert that is raised on its device while it lasts, or in the `settle_s` that the alert needs to
  arrive. An alert on the way back to normal does not find it, but is no false alert either.
- A fault that still lasts when the account is drawn is not counted.
"""

from dataclasses import dataclass
from typing import NamedTuple


class TimedFault(NamedTuple):
    """An injected fault on the clock of the alerts, UTC epoch seconds."""

    device: str
    kind: str
    started_at: float
    ended_at: float

    @property
    def seen_s(self) -> float:
        """Seconds from its start in which it is shown."""
        return max(self.ended_at - self.started_at, 2.0)


@dataclass(frozen=True, slots=True)
class Account:
    """What was drawn up.

    Attributes:
        injected: faults by kind that were over in time.
        found: how many of them an alert found.
        missed: the others.
        false_alerts: how many alerts no fault explains.
    """

    injected: dict[str, int]
    found: dict[str, int]
    missed: tuple[TimedFault, ...]
    false_alerts: int

    def lines(self) -> list[str]:
        """The account for people."""
        kinds = [f"{kind.replace('_', ' ')} {self.found.get(kind, 0)} of {n}" for kind, n in self.injected.items()]
        lines = [
            f"faults injected: {sum(self.injected.values())}",
            f"faults found:    {sum(self.found.values())}" + (f" ({', '.join(kinds)})" if kinds else ""),
        ]
        lines += [f"  not found:     {fault.kind.replace('_', ' ')} on {fault.device}" for fault in self.missed]
        return [*lines, f"false alerts:    {self.false_alerts}"]


@dataclass(frozen=True, slots=True)
class Tally:
    """The truth, to hold alerts against.

    Attributes:
        faults: all of them, also those to come.
        settle_s: seconds from a fault's end in which an alert still finds it.
        recovery_s: seconds from a fault's end in which an alert is explained by it.
    """

    faults: tuple[TimedFault, ...]
    settle_s: float
    recovery_s: float

    def active(self, device: str, now: float) -> str | None:
        """The kind of the fault that a device has now, or had a moment ago: a spike is over before it is seen."""
        now_on = (f.kind for f in self.faults if f.device == device and 0 <= now - f.started_at <= f.seen_s)
        return next(now_on, None)

    def account(self, raised: list[tuple[str, float]], until: float) -> Account:
        """Draw up the account at `until` of alerts raised, as device and time."""
        over = [fault for fault in self.faults if fault.ended_at + self.settle_s <= until]
        hit = [any(self._explains(fault, *alert, self.settle_s) for alert in raised) for fault in over]
        injected: dict[str, int] = {}
        found: dict[str, int] = {}
        for fault, was_hit in zip(over, hit, strict=True):
            injected[fault.kind] = injected.get(fault.kind, 0) + 1
            found[fault.kind] = found.get(fault.kind, 0) + was_hit
        explained = [any(self._explains(f, *alert, self.recovery_s) for f in self.faults) for alert in raised]
        missed = tuple(fault for fault, was_hit in zip(over, hit, strict=True) if not was_hit)
        return Account(injected, found, missed, explained.count(False))

    @staticmethod
    def _explains(fault: TimedFault, device: str, at: float, after_s: float) -> bool:
        return fault.device == device and fault.started_at <= at <= fault.ended_at + after_s
