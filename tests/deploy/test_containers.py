"""The image, the compose file and the broker's settings, as far as they can be checked without a container engine."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from forewarn.settings import load
from tests.brokers import MISSING_MOSQUITTO, mosquitto_path, wait_until_listening
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
FINAL = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


@pytest.fixture(scope="module")
def compose() -> Any:  # noqa: ANN401 - a YAML document
    yaml: Any = pytest.importorskip("yaml")
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def test_the_image_has_the_base_install_alone() -> None:
    installs = re.findall(r"pip install (.*?)(?:\n|&&|$)", DOCKERFILE)
    assert [install.split(" \\")[0].strip() for install in installs] == [
        "--no-cache-dir --require-hashes -r requirements.lock",
        "--no-cache-dir --no-deps /wheels/forewarn-*.whl",
    ]
    assert "[" not in "".join(installs), "no extra"
    assert "pip" not in FINAL


def test_the_image_does_not_run_as_root() -> None:
    (user,) = re.findall(r"^USER (.+)$", FINAL, re.MULTILINE)
    assert int(user) > 0, "a number, so that an orchestrator can see that it is not root"
    assert FINAL.index("USER") < FINAL.index("ENTRYPOINT")


def test_the_image_copies_what_exists_and_the_build_context_has_it() -> None:
    copied = re.findall(r"^COPY ((?!--from).+) \S+$", DOCKERFILE, re.MULTILINE)
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in allowed, name


def test_the_image_checks_the_health_of_the_daemon_that_it_runs() -> None:
    def words(instruction: str) -> list[str]:
        (found,) = re.findall(rf"{instruction} (\[.*\])$", FINAL, re.MULTILINE)
        return list(json.loads(found))

    run, health = words(r"^CMD"), words(r"^HEALTHCHECK .*\\\n    CMD")
    assert health == [*words("^ENTRYPOINT"), "health", *run[1:]]
    assert f"EXPOSE {load(DEPLOY / 'forewarn.toml').settings.metrics.port}" in FINAL


def test_variables_of_the_image_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in re.findall(r"(FOREWARN_\w+)=(\S+)", DOCKERFILE):
        monkeypatch.setenv(name, value)
    settings = load(DEPLOY / "forewarn.toml").settings
    assert settings.metrics.host == "0.0.0.0"  # noqa: S104 - inside the container
    assert settings.state.path == Path("/var/lib/forewarn/state.sqlite")
    assert f"VOLUME {settings.state.path.parent}" in FINAL


def test_services_point_at_each_other(compose: Any) -> None:  # noqa: ANN401 - a YAML document
    services = compose["services"]
    settings = load(DEPLOY / "forewarn.toml").settings
    assert settings.mqtt.host in services
    assert f'"forewarn:{settings.metrics.port}"' in (DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8")
    sources = (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text("utf-8")
    assert "url: http://prometheus:9090" in sources
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert "healthcheck" in service or "build" in service


def test_what_is_mounted_exists_and_named_volumes_are_declared(compose: Any) -> None:  # noqa: ANN401 - a YAML document
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], volume
    provider = (DEPLOY / "grafana" / "provisioning" / "dashboards" / "forewarn.yaml").read_text("utf-8")
    mounted = "./grafana/dashboards:/var/lib/grafana-dashboards:ro"
    assert mounted in compose["services"]["grafana"]["volumes"]
    assert "path: /var/lib/grafana-dashboards" in provider


def test_ports_are_published_on_loopback_alone(compose: Any) -> None:  # noqa: ANN401 - a YAML document
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert len(ports) == len(compose["services"])
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_there_is_no_secret_in_it() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.suffix != ".md":
            assert not re.search(r"(?i)(password|secret|token)\s*[:=]\s*\S", path.read_text("utf-8")), path


def test_mosquitto_accepts_its_settings() -> None:
    program = mosquitto_path()
    if program is None:
        pytest.skip(MISSING_MOSQUITTO)
    with tempfile.TemporaryDirectory(prefix="forewarn-") as folder:
        settings = Path(folder) / "mosquitto.conf"
        port = free_port()
        text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text("utf-8")
        text = text.replace("listener 1883", f"listener {port} 127.0.0.1").replace("/mosquitto/data/", f"{folder}/")
        settings.write_text(text + "\nuser root\n", "utf-8")  # started by root it would give up the folder
        broker = subprocess.Popen([program, "-c", str(settings)], stderr=subprocess.PIPE, text=True)
        try:
            wait_until_listening("127.0.0.1", port)
        finally:
            broker.terminate()
            _, said = broker.communicate(timeout=10)
    assert broker.returncode == 0, said
    assert not [word for word in ("Error", "recommended", "deprecated") if word in said], said
