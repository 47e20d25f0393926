"""Links that try again quickly, and every broker in every version."""

from collections.abc import Iterator

import pytest

from forewarn.adapters.mqtt import connecting
from tests.brokers import BrokerProcess
from tests.links import SPOKEN, Links, Version


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Iterator[Links]:
    monkeypatch.setattr(connecting, "BACKOFF_FIRST_S", 0.02)
    monkeypatch.setattr(connecting, "BACKOFF_MOST_S", 0.1)
    made = Links()
    yield made
    made.close()


@pytest.fixture(params=SPOKEN, ids=lambda spoken: f"{spoken[0]}-{spoken[1]}")
def spoken(request: pytest.FixtureRequest) -> tuple[BrokerProcess, Version]:
    """Each real broker in each version that it speaks."""
    name, protocol = request.param
    return request.getfixturevalue(name), protocol
