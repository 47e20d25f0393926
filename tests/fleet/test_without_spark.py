"""The base install knows the commands, and says what they need."""

import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = """
[[inputs]]
topic = "sensors/{device}/{metric}"
[fleet]
folder = "fleet"
"""
WITHOUT = "import sys; sys.modules['pyspark'] = None; from forewarn.cli import main; sys.exit(main(sys.argv[1:]))"


def forewarn(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *args], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--config", "fleet.toml"],
        ["backfill", "--config", "fleet.toml", "--data", ".", "--out", "out"],
        ["demo"],
    ],
)
def test_a_command_without_spark_says_which_extra_it_needs(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "fleet.toml").write_text(SETTINGS)
    refused = forewarn(tmp_path, "fleet", *command)
    assert refused.returncode == 78
    (line,) = refused.stderr.splitlines()
    assert line == "forewarn: a fleet needs pyspark, which is not installed: pip install 'forewarn[spark]'"
    assert not (tmp_path / "fleet").exists()


def test_settings_are_looked_at_before_spark_is(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(SETTINGS + "bucket = 3\n")
    refused = forewarn(tmp_path, "fleet", "run", "--config", "fleet.toml")
    assert refused.returncode == 78
    assert "there is no setting fleet.bucket; did you mean buckets?" in refused.stderr


def test_help_needs_nothing(tmp_path: Path) -> None:
    asked = forewarn(tmp_path, "fleet", "run", "--help")
    assert asked.returncode == 0
    assert "--packages" in asked.stdout
