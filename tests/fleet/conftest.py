import pytest

from tests.fleet.configs import alone


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)
