"""The systemd unit and its example settings."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from forewarn.settings import Settings, load

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = (SYSTEMD / "forewarn.service").read_text("utf-8")
EXAMPLE = SYSTEMD / "forewarn.toml"


def directives() -> dict[str, list[str]]:
    """Values by name, in order; a name may be given several times."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


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
    assert "#LoadCredential=mqtt__password:/etc/forewarn/mqtt-password" in UNIT
    assert not re.search("(?i)password=", UNIT.replace("#LoadCredential", ""))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "forewarn.service"
    unit.write_text(UNIT.replace("/opt/forewarn/bin/forewarn", shutil.which("true") or ""), "utf-8")
    said = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


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
