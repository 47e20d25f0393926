"""A Prometheus that scrapes a daemon at work and one that scrapes a fleet job, for the dashboards and the rules."""

from collections.abc import Iterator

import pytest

from tests.brokers import Amqtt, Mosquitto, mosquitto_path
from tests.deploy.daemon import daemon_at_work
from tests.deploy.fleet_job import fleet_at_work
from tests.deploy.prometheus import FLEET, Prometheus, need_prometheus


@pytest.fixture(scope="session")
def metrics_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a daemon at work serves its metrics, as host:port. Its broker is its own: others restart the shared one."""
    broker = Mosquitto() if mosquitto_path() else Amqtt()
    broker.start()
    try:
        with daemon_at_work(broker, tmp_path_factory.mktemp("daemon")) as address:
            yield address
    finally:
        broker.close()


@pytest.fixture(scope="session")
def prometheus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the shipped settings and rules that has scraped the daemon several times."""
    need_prometheus()
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), request.getfixturevalue("metrics_address"))
    try:
        server.wait()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def fleet_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the settings and rules shipped for a fleet job, whose metrics it has scraped several times."""
    need_prometheus()
    with fleet_at_work() as address:
        server = Prometheus(tmp_path_factory.mktemp("prometheus"), address, FLEET)
        try:
            server.wait()
            yield server
        finally:
            server.close()
