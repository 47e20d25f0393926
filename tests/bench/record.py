"""What Parquet is worth for kept readings: size beside CSV and gzip, time of the conversion, memory of pyarrow.

`python -m tests.bench.record` prints the table of docs/history.md. The readings are those of a simulated fleet, written
by the recorder itself, in two kinds of numbers: in steps of the sensors' resolution, and with all digits of a float.
"""

import gzip
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from forewarn.adapters import parquet
from forewarn.adapters.recorder import Conversion, Recorder
from forewarn.core.readings import Batch, Outcome, SeriesKey
from forewarn.core.verdicts import Verdicts
from forewarn.simulate import METRIC, FleetSpec, simulate

ROUNDS = 5
_RSS_KB = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
_DAEMON, _PYARROW = "import forewarn.service\n", "import pyarrow.csv, pyarrow.parquet\n"


def write(folder: Path, most_bytes: int, *, rounded: bool) -> Path:
    """One CSV file of about so many bytes, as the daemon keeps it."""
    fleet = simulate(FleetSpec(n_device=12, seed=1, duration_s=(most_bytes / 45 / 12) * 60))
    noise = np.random.default_rng(0).normal(0, 1e-3, len(fleet))
    values = fleet.value if rounded else fleet.value + noise
    keys = [SeriesKey(device, METRIC) for device in fleet.devices]
    with closing(Recorder(folder, 10**9, ("value",))) as recorder:
        for start in range(0, len(fleet), 1000):
            rows = slice(start, start + 1000)
            at = fleet.at[rows]
            verdicts = Verdicts.blank(len(at))
            verdicts.outcome[:] = Outcome.SCORED
            batch = Batch([keys[i] for i in fleet.device[rows].tolist()], at, at, values[rows].reshape(-1, 1))
            recorder.write(batch, verdicts)
    (file,) = folder.glob("*.csv")
    return file


def measure(most_bytes: int, *, rounded: bool) -> str:
    """A line of the table: bytes a reading in each form, and milliseconds of a conversion."""
    with tempfile.TemporaryDirectory() as name:
        file = write(Path(name), most_bytes, rounded=rounded)
        content = file.read_bytes()
        n = content.count(b"\n") - 1
        times = []
        for _ in range(ROUNDS):
            file.write_bytes(content)
            begun = time.perf_counter()
            parquet.from_csv(file)
            times.append(1000 * (time.perf_counter() - begun))
        sizes = len(content), len(gzip.compress(content, 6)), file.with_suffix(parquet.SUFFIX).stat().st_size
        told = " | ".join(f"{size / n:.1f}" for size in sizes)
        kind = "in steps" if rounded else "all digits"
        return f"| {kind} | {n:,} | {told} | {statistics.median(times):.0f} |"


def peak_mb(code: str) -> float:
    """Peak memory of a fresh process that runs this."""
    printed = subprocess.run([sys.executable, "-c", code + _RSS_KB], check=True, capture_output=True, text=True)
    return float(printed.stdout) / 1024


def main() -> None:
    """Print everything."""
    conversion = Conversion(parquet.SUFFIX, parquet.from_csv)
    lines = ["| numbers | readings | CSV | CSV, gzip | Parquet | ms |", "|---|---|---|---|---|---|"]
    lines += [measure(size, rounded=rounded) for size in (90_000, conversion.most_bytes) for rounded in (True, False)]
    spec = importlib.util.find_spec("pyarrow")
    folders = spec.submodule_search_locations if spec else None
    installed = sum(f.stat().st_size for name in folders or [] for f in Path(name).rglob("*") if f.is_file())
    lines.append(f"pyarrow installed: {installed / 1e6:.0f} MB")
    alone, both = (statistics.median(peak_mb(code) for _ in range(ROUNDS)) for code in (_DAEMON, _DAEMON + _PYARROW))
    lines.append(f"memory of the daemon's imports: {alone:.0f} MB, with pyarrow {both:.0f} MB")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
