"""A Prometheus that has scraped a working daemon, for every test of the dashboard and the rules."""

import shutil
from collections.abc import Iterator

import pytest

from tests.deploy.prometheus import MISSING_PROMETHEUS, Prometheus
from tests.deploy.sources import working


@pytest.fixture(scope="session")
def metrics_address() -> Iterator[str]:
    """Where the metrics of a daemon at work are served, as host:port."""
    with working() as address:
        yield address


@pytest.fixture(scope="session")
def prometheus(metrics_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the shipped settings and rules that has scraped the daemon several times."""
    if shutil.which("prometheus") is None:
        pytest.skip(MISSING_PROMETHEUS)
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), metrics_address)
    try:
        server.wait()
        yield server
    finally:
        server.close()
