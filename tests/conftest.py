"""Brokers for every test that asks for one, started once in a session."""

import os
from collections.abc import Generator, Iterator

import pytest

from tests.brokers import MISSING_MOSQUITTO, Amqtt, BrokerProcess, Mosquitto, mosquitto_path


def _need_mosquitto() -> None:
    if mosquitto_path() is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING_MOSQUITTO, pytrace=False)
        pytest.skip(MISSING_MOSQUITTO)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give all skips for want of Mosquitto one place, so that the summary has one line for them."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and MISSING_MOSQUITTO in report.longrepr[2]:
        report.longrepr = (__file__, _need_mosquitto.__code__.co_firstlineno, report.longrepr[2])
    return report


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Mosquitto]:
    """A running Mosquitto, shared: use topics or a prefix of your own, and leave it running."""
    _need_mosquitto()
    broker = Mosquitto()
    broker.start()
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def amqtt() -> Iterator[Amqtt]:
    """The embedded broker, shared like `mosquitto`."""
    broker = Amqtt()
    broker.start()
    yield broker
    broker.close()


@pytest.fixture(scope="session", params=["mosquitto", "amqtt"])
def broker(request: pytest.FixtureRequest) -> BrokerProcess:
    """Each broker in turn."""
    found: BrokerProcess = request.getfixturevalue(request.param)
    return found
