"""Settings of fleet jobs for tests, from files as an operator writes them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from forewarn.fleet.settings import FleetSettings, load_fleet

MODELS = Path(__file__).parents[1] / "models"
TINY, PAIR = MODELS / "tiny.onnx", MODELS / "pair.onnx"
NUMBERS = '[[inputs]]\ntopic = "s/{device}/{metric}"\n'

Write = Callable[..., FleetSettings]


def text(folder: Path, *, top: str = "", fleet: str = "", rest: str = NUMBERS, model: Path = TINY) -> str:
    """A whole file; `top` goes before all tables, `fleet` into that one and `rest` behind it."""
    return f'model = "{model}"\n{top}\n[fleet]\nfolder = "{folder / "fleet"}"\n{fleet}\n{rest}'


def loaded(folder: Path, **given: object) -> FleetSettings:
    path = folder / "fleet.toml"
    path.write_text(text(folder, **given))  # type: ignore[arg-type]
    return load_fleet(path)


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings from outside."""
    for name in list(os.environ):
        if name.upper().startswith("FOREWARN_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)
