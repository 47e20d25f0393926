"""The locked installs: a hash for every file; versions of pyproject.toml, constraints.txt and the Makefile."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EDGE, TRAINING = ROOT / "requirements.lock", ROOT / "requirements-training.lock"


def locked(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package."""
    text = path.read_text("utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        name, version = re.match(r"([a-z0-9-]+)==([\w.]+)", line).groups()  # type: ignore[union-attr]  # else it fails
        found[name] = version, re.findall(r"--hash=sha256:([0-9a-f]{64})\b", line)
        rest = re.sub(r"--hash=sha256:[0-9a-f]{64}|; .*?(?=--hash)", "", line)
        assert rest.strip() == f"{name}=={version}"
    return found


def plain(name: str) -> str:
    """The name of a requirement as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()  # type: ignore[index]  # the same


@pytest.mark.parametrize("path", [EDGE, TRAINING], ids=lambda path: path.name)
def test_every_package_has_one_version_and_hashes_and_no_place_to_come_from(path: Path) -> None:
    packages = locked(path)
    assert len(packages) > 10
    assert all(hashes for _, hashes in packages.values())
    text = path.read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index|--extra-index|--find-links|-f|--trusted)", text, re.MULTILINE)


def test_the_edge_has_what_pyproject_asks_for_and_no_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    edge, training = locked(EDGE), locked(TRAINING)
    assert {plain(one) for one in project["dependencies"]} <= set(edge)
    extras = [*project["optional-dependencies"]["training"], *project["optional-dependencies"]["tune"]]
    assert {plain(one) for one in extras} - {"torch"} <= set(training)
    assert edge.items() <= training.items()
    for packages in (edge, training):
        assert not [name for name in packages if name.startswith(("torch", "nvidia", "cuda", "triton"))]
    assert not {"onnx", "pandas", "rich", "amqtt"} & set(edge)


def test_the_versions_are_those_that_the_suite_was_run_with() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    constraints = {plain(line): line.partition("==")[2] for line in lines if "==" in line}
    for path in (EDGE, TRAINING):
        for name, (version, _) in locked(path).items():
            assert constraints.get(name, version) == version
    torch = re.search(r"torch==[\d.]+", (ROOT / "Makefile").read_text("utf-8"))
    assert torch is not None
    assert f"pip install --no-deps {torch[0]} as the Makefile does" in TRAINING.read_text("utf-8")
