"""A real Prometheus on a free loopback port, with the settings and rules that deploy/ ships for one kind of job."""

import json
import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.ports import free_port

MISSING_PROMETHEUS = "prometheus is not installed: apt-get install -y prometheus"
SHIPPED = Path(__file__).parents[2] / "deploy" / "prometheus"
_SERIES_NAME = re.compile(r"\b(?:forewarn|process)_[a-z_]+")


class Watched(NamedTuple):
    """What a shipped Prometheus watches.

    Attributes:
        job: its name there.
        settings: the file of `SHIPPED`.
        rules: the same.
    """

    job: str
    settings: str
    rules: str


DAEMON = Watched("forewarn", "prometheus.yml", "rules.yml")
FLEET = Watched("forewarn-fleet", "fleet.yml", "fleet_rules.yml")


def need_prometheus() -> None:
    """Skip the test where Prometheus is not installed; in CI it has to be."""
    if shutil.which("prometheus") is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING_PROMETHEUS, pytrace=False)
        pytest.skip(MISSING_PROMETHEUS)


def series_names(expression: str) -> set[str]:
    """The names of the series that an expression reads, `_bucket` and its like included."""
    return set(_SERIES_NAME.findall(expression))


class Prometheus:
    """Scrapes `target` (host:port) five times a second, as the shipped job, and evaluates the shipped rules as often.

    Args:
        folder: empty, for its settings and data.
        target: what to scrape.
        watched: what that is.
    """

    def __init__(self, folder: Path, target: str, watched: Watched = DAEMON) -> None:
        self._job = watched.job
        settings = (SHIPPED / watched.settings).read_text("utf-8")
        for shipped, here in (("15s", "200ms"), (f"{watched.job}:9464", target)):
            assert shipped in settings
            settings = settings.replace(shipped, here)
        (folder / watched.settings).write_text(settings, "utf-8")
        shutil.copy(SHIPPED / watched.rules, folder)
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        self._log = (folder / "log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={watched.settings}",
                "--storage.tsdb.path=data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=folder,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait(self, scrapes: int = 5, timeout_s: float = 30.0) -> None:
        """Wait until the target was scraped so many times."""
        expression = f'sum(sum_over_time(up{{job="{self._job}"}}[5m])) >= {scrapes}'
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.query(expression):
                    return
            except (HTTPError, URLError, ConnectionError):
                pass  # not yet listening, or not yet ready
            time.sleep(0.1)
        self._log.seek(0)
        raise AssertionError(f"no {scrapes} scrapes in {timeout_s} s; the log: {self._log.read()}")

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:  # noqa: ANN401 - whatever its API answers
        """The data of an answer of its API; where it answers with an error, that is raised with what it says."""
        try:
            with urlopen(f"{self._url}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:  # noqa: S310 - http
                return json.load(answer)["data"]
        except HTTPError as error:
            error.msg = f"{parameters}: {error.read().decode()}"
            raise

    def query(self, expression: str) -> dict[str, float]:
        """The finite values of an expression now, by their labels as JSON."""
        rows = self.get("query", {"query": expression})["result"]
        values = {json.dumps(row["metric"], sort_keys=True): float(row["value"][1]) for row in rows}
        return {labels: value for labels, value in values.items() if math.isfinite(value)}

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        self._log.close()
