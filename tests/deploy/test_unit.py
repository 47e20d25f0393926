"""The systemd unit and its example settings."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from forewarn.settings import Settings, load
from forewarn.settings.daemon import MqttSettings
from tests.deploy import confined

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = (SYSTEMD / "forewarn.service").read_text("utf-8")
EXAMPLE = SYSTEMD / "forewarn.toml"


def directives() -> dict[str, list[str]]:
    return confined.directives(UNIT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Type", "notify"),
        ("ExecStart", "/opt/forewarn/bin/forewarn run --config /etc/forewarn/forewarn.toml"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "78"),
        ("DynamicUser", "yes"),
        ("StateDirectory", "forewarn"),
        ("ConfigurationDirectory", "forewarn"),
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("MemoryDenyWriteExecute", "yes"),
    ],
)
def test_the_unit_has_what_the_daemon_relies_on(name: str, value: str) -> None:
    assert directives()[name] == [value]


def test_the_unit_allows_a_clean_stop_its_time_and_watches_the_loop() -> None:
    found = directives()
    assert int(found["TimeoutStopSec"][0]) > 5  # the daemon promises to stop within 5 s
    assert int(found["WatchdogSec"][0]) > 0


def test_the_unit_holds_no_secret() -> None:
    assert "LoadCredential" not in directives(), "an example must stay commented out"
    for key in re.findall(r"^#LoadCredential=mqtt__(\w+):/etc/forewarn/", UNIT, re.MULTILINE):
        assert key in MqttSettings.model_fields
    assert "#LoadCredential=mqtt__password:/etc/forewarn/mqtt-password" in UNIT
    assert not re.search("(?i)password=", UNIT.replace("#LoadCredential", ""))


@pytest.fixture
def systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("systemd-analyze is not installed")
    return found


@pytest.mark.parametrize("uncommented", [(), ("LoadCredential", "IPAddress")])
def test_systemd_finds_nothing_wrong_with_the_unit(
    systemd_analyze: str, tmp_path: Path, uncommented: tuple[str, ...]
) -> None:
    unit = tmp_path / "forewarn.service"
    text = UNIT.replace("/opt/forewarn/bin/forewarn", shutil.which("true") or "")
    for directive in uncommented:
        assert f"#{directive}" in text
        text = text.replace(f"#{directive}", directive)
    unit.write_text(text, "utf-8")
    said = subprocess.run([systemd_analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


def test_systemd_rates_the_exposure_of_the_unit_at_1_2_or_less(systemd_analyze: str) -> None:
    command = [systemd_analyze, "security", "--offline=true", "--no-pager", str(SYSTEMD / "forewarn.service")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (exposure,) = re.findall(r"Overall exposure level for forewarn.service: ([\d.]+)", said)
    assert float(exposure) <= 1.2
    assert f"(exposure {exposure} of 10)" in (SYSTEMD.parent / "deploy" / "README.md").read_text("utf-8")


def _uncommented() -> str:
    return re.sub(r"^# (\[.*\]|[a-z_]+ = .*)$", r"\1", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)


def test_the_example_settings_are_accepted_as_they_are_and_with_everything_in_effect(tmp_path: Path) -> None:
    assert load(EXAMPLE).settings.instance == "gateway-1"
    everything = tmp_path / "forewarn.toml"
    everything.write_text(_uncommented(), "utf-8")
    settings = load(everything).settings
    assert len(settings.inputs) == 2
    assert settings.alerts.overrides[0].device == "freezer-*"


def test_what_the_example_shows_as_a_default_is_the_default() -> None:
    shown, defaults = tomllib.loads(_uncommented()), Settings()
    compared = 0
    for section in ("mqtt", "alerts", "faults", "metrics", "publish", "limits", "logging"):
        for key, value in shown[section].items():
            default = getattr(getattr(defaults, section), key)
            if not isinstance(value, list) and default is not None:
                assert value == default, f"{section}.{key}"
                compared += 1
    assert compared > 20


def test_the_page_of_the_metrics_names_the_default_address() -> None:
    metrics = Settings().metrics
    page = (SYSTEMD.parent / "docs" / "metrics.md").read_text("utf-8")
    assert f"http://{metrics.host}:{metrics.port}/metrics" in page
