"""What import-linter cannot say: each outside technology has one importer."""

import ast
from pathlib import Path

import pytest

DAEMON = Path(__file__).parents[1] / "daemon" / "forewarn"
IMPORTERS = {
    "paho": ("adapters/mqtt",),
    "onnxruntime": ("adapters/onnx_forecaster",),
    "sqlite3": ("adapters/journal",),
    "prometheus_client": ("adapters/telemetry", "adapters/fleet_telemetry"),
    "pyarrow": ("adapters/parquet", "fleet/spark"),
    "pandas": ("fleet/spark",),
    "pyspark": ("fleet/spark",),
    "pydantic_settings": ("settings",),
    "amqtt": ("demo/broker",),
    "rich": ("demo/view",),
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(("technology", "importers"), IMPORTERS.items())
def test_a_technology_has_one_importer(technology: str, importers: tuple[str, ...]) -> None:
    found = {str(path.relative_to(DAEMON)) for path in DAEMON.rglob("*.py") if technology in imported(path)}
    assert found
    assert all(path.startswith(importers) for path in found), found
