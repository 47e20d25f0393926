"""Brokers for every test that asks for one, started once in a session; how tests are tried and shared out."""

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.brokers import MISSING_MOSQUITTO, Amqtt, BrokerProcess, Mosquitto, mosquitto_path
from tests.thorough import THOROUGH, examples

# Other work may hold any example up, so there is no deadline for one. `make test` says the same of the same code each
# time; `make thorough` looks elsewhere each time.
settings.register_profile("any machine", max_examples=examples(100), deadline=None, derandomize=not THOROUGH)
settings.load_profile("any machine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:  # noqa: ANN401 - a type of xdist, which may be missing
    from tests.workers import OneTimedFile  # noqa: PLC0415 - the same

    return OneTimedFile(config, log)


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
