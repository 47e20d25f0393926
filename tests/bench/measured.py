"""A daemon under measurement: pinned to one core, counted over HTTP, weighed through /proc."""

import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _cpu_s(stat: Path) -> float:
    fields = stat.read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def split_cores() -> tuple[set[int], set[int]]:
    """One core for what is measured and the others for everything else; the same one where there is only one."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others) or {first}


@dataclass
class Measured:
    """A process that counts what it has handled.

    Attributes:
        name: for the table.
        command: to start it.
        count_url: where its counters are, in Prometheus's text format.
        counter: the one to read, summed over its labels.
        log: where its output goes.
        core: where it runs.
    """

    name: str
    command: Sequence[str]
    count_url: str
    counter: str
    log: Path
    core: set[int]
    _process: subprocess.Popen[bytes] = field(init=False, repr=False)

    def __enter__(self) -> Self:
        """Start it on its core and wait until it counts."""
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.core)
        with self.log.open("ab") as log:
            # onnxruntime's reports to its maker would cost one candidate as much as the other, and leave the machine.
            environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)
        os.sched_setaffinity(0, own)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.count()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._process.kill()
                    raise RuntimeError(f"{self.name} did not start: {self.log.read_text()[-2000:]}") from None
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it as an operator would."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def count(self) -> int:
        """What it has handled, without what it rejected."""
        with urllib.request.urlopen(self.count_url, timeout=10) as answer:  # noqa: S310 - loopback
            text = answer.read().decode()
        samples = re.findall(rf"^{self.counter}(\{{.*\}})? (\S+)", text, re.MULTILINE)
        return int(sum(float(value) for labels, value in samples if "rejected" not in labels))

    def cpu_s(self) -> float:
        """CPU seconds of all its threads, user and system."""
        return _cpu_s(Path(f"/proc/{self._process.pid}/stat"))

    def loop_cpu_s(self) -> float:
        """The same of its first thread alone."""
        return _cpu_s(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/stat"))

    def rss_bytes(self) -> int:
        """Resident memory."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
