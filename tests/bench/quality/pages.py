"""Tables in the documents: between `<!-- table: NAME -->` and `<!-- end -->`, with what they were measured on."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


class NoMarkerError(ValueError):
    """A document has no place for a table."""


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of that name.

    Raises:
        NoMarkerError: where the page has not exactly one such place.
    """
    begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
    before, *rest = page.read_text("utf-8").split(begin)
    if len(rest) != 1 or end not in rest[0]:
        raise NoMarkerError(f"{page} has not exactly one {begin.strip()} with an {end} after it")
    page.write_text(f"{before}{begin}{text}\n{end}{rest[0].split(end, 1)[1]}", "utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Markdown, the first columns to the left and the others to the right."""
    under = ["---" if i < left else "---:" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, under, *rows))


def measured(*what: str) -> str:
    """When and on what machine, in words, then what else there is to say of a measurement."""
    now = datetime.now(tz=UTC).date().isoformat()
    return f"*Measured on {now}, {machine()}; {'; '.join(what)}.*\n\n"


def machine() -> str:
    """Processor, cores and versions."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", info.read_text() if info.exists() else "", re.MULTILINE)
    cpu = names[0] if names else platform.machine()
    packages = ", ".join(f"{package} {version(package)}" for package in ("numpy", "onnxruntime"))
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"
