"""docs/inputs.md: its settings load, and say what the page says they do."""

import re
from pathlib import Path

import pytest

from forewarn.inputs.dialects import DIALECTS
from forewarn.settings import load

PAGE = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: re.sub(r"\W+", " ", text)[:60])
def test_the_settings_of_the_page_load(snippet: str, tmp_path: Path) -> None:
    path = tmp_path / "forewarn.toml"
    path.write_text(snippet, "utf-8")
    assert load(path).settings.inputs


def test_every_dialect_is_on_the_page() -> None:
    named = set(re.findall(r'dialect = "([\w-]+)"', PAGE))
    assert set(DIALECTS) - {"number", "json"} <= named <= set(DIALECTS)
