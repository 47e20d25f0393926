"""How a fleet job on Spark is deployed, as far as it can be checked without containers, Kubernetes and Spark."""

import json
import re
import runpy
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

import forewarn
import forewarn.cli
from forewarn.fleet.settings import FleetSettings, load_fleet
from forewarn.fleet.spark.session import CONNECTOR

Document = dict[str, Any]
ROOT = Path(__file__).parents[2]
FLEET = ROOT / "deploy" / "fleet"
DOCKERFILE = (FLEET / "Dockerfile").read_text("utf-8")
FINAL = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
ENTRYPOINT = FLEET / "entrypoint.sh"
SPARK_ON_KUBERNETES = {
    "SPARK_DRIVER_BIND_ADDRESS": "10.1.0.7",
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@driver:7078",
    "SPARK_EXECUTOR_ID": "3",
    "SPARK_EXECUTOR_CORES": "4",
    "SPARK_EXECUTOR_MEMORY": "4096m",
    "SPARK_APPLICATION_ID": "spark-1",
    "SPARK_EXECUTOR_POD_IP": "10.1.0.8",
    "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_EXECUTOR_POD_NAME": "forewarn-exec-3",
    "SPARK_CONF_DIR": "/opt/spark/conf",
    **{f"SPARK_JAVA_OPT_{i}": f"-Doption{i}=a b" for i in range(11)},
}


def _yaml(name: str) -> list[Document]:
    yaml: Any = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((FLEET / name).read_text("utf-8")))


@pytest.fixture(scope="module")
def services() -> Document:
    found: Document = _yaml("compose.yaml")[0]["services"]
    return found


@pytest.fixture(scope="module")
def bridge() -> Document:
    return _yaml("bridge.yaml")[0]


@pytest.fixture(scope="module")
def kubernetes() -> Document:
    return {document["kind"]: document for document in _yaml("sparkapplication.yaml")}


@pytest.fixture(scope="module")
def application(kubernetes: Document) -> Document:
    found: Document = kubernetes["SparkApplication"]["spec"]
    return found


@pytest.fixture(autouse=True)
def _variables_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _variables().items():
        if name.startswith("FOREWARN_"):
            monkeypatch.setenv(name, value)


def _variables() -> dict[str, str]:
    """Those of the image."""
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", FINAL, re.MULTILINE)
    return dict(part.split("=", 1) for part in block.replace("\\\n", " ").split())


@pytest.fixture(params=["compose.yaml", "sparkapplication.yaml"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> FleetSettings:
    """Those of each way to run the job, with the variables of the image."""
    if request.param == "compose.yaml":
        return load_fleet(FLEET / "fleet.toml")
    path = tmp_path / "fleet.toml"
    path.write_text(request.getfixturevalue("kubernetes")["ConfigMap"]["data"]["fleet.toml"], "utf-8")
    return load_fleet(path)


def _pinned(name: str) -> str:
    (version,) = re.findall(rf"^{name}==(.+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    return str(version)


# -- settings --------------------------------------------------------------------------------------------------------


def test_settings_load_and_send_alerts_to_every_sink(settings: FleetSettings) -> None:
    assert settings.fleet.source == "kafka"
    assert set(settings.fleet.alerts) == {"files", "mqtt", "kafka"}
    assert settings.fleet.kafka.mqtt_topic == "key"
    assert settings.metrics.host == "0.0.0.0"  # noqa: S104 - inside the container
    assert f"EXPOSE {settings.metrics.port}\n" in FINAL


def test_both_ways_to_run_the_job_have_the_same_settings_but_for_size_and_addresses(kubernetes: Document) -> None:
    one, other = (
        tomllib.loads(text)
        for text in (kubernetes["ConfigMap"]["data"]["fleet.toml"], (FLEET / "fleet.toml").read_text("utf-8"))
    )
    for settings in (one, other):
        fleet = settings["fleet"]
        for name in ("buckets", "max_series", "spark"):
            fleet.pop(name, None)
        for name in ("kafka.bootstrap.servers", "maxOffsetsPerTrigger"):
            del fleet["kafka"]["options"][name]
    assert one == other


def test_what_the_job_keeps_is_in_a_volume(settings: FleetSettings, services: Document, application: Document) -> None:
    folder = settings.fleet.folder
    mounted = [volume.split(":")[1] for volume in services["forewarn-fleet"]["volumes"]]
    claimed = [mount["mountPath"] for mount in application["driver"]["volumeMounts"]]
    for paths in (mounted, claimed, re.findall(r'"([^"]+)"', next(_lines("VOLUME")))):
        assert any(folder.is_relative_to(path) and folder != Path(path) for path in paths), paths
    ivy = settings.fleet.spark.get("spark.jars.ivy")
    assert ivy is None or any(Path(ivy).is_relative_to(path) for path in mounted)


def test_a_submitted_job_leaves_the_master_to_the_submission(kubernetes: Document) -> None:
    assert "spark.master" not in kubernetes["ConfigMap"]["data"]["fleet.toml"]


# -- the image -------------------------------------------------------------------------------------------------------


def _lines(instruction: str) -> Iterator[str]:
    return iter(re.findall(rf"^{instruction} (.+)$", FINAL, re.MULTILINE))


def test_the_image_has_the_pinned_versions_of_the_extra_spark_and_nothing_more() -> None:
    assert re.findall(r"pip install (.*)", DOCKERFILE) == ["--no-cache-dir -c constraints.txt '.[spark]'"]
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["spark"]
    for name in (requirement.partition(">=")[0] for requirement in extra):
        assert _pinned(name)
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(images) == 2
    assert set(images) == {"python:3.11-slim-bookworm"}
    assert "openjdk-17-jre-headless" in FINAL


def test_the_image_does_not_run_as_root_and_kubernetes_asks_for_the_same_user(application: Document) -> None:
    (user,) = map(int, _lines("USER"))
    assert user > 0
    assert FINAL.index("USER") < FINAL.index("ENTRYPOINT")
    assert f"--uid {user} " in FINAL
    for pod in (application["driver"], application["executor"]):
        assert pod["securityContext"]["runAsUser"] == pod["podSecurityContext"]["fsGroup"] == user
        assert pod["securityContext"]["runAsNonRoot"] is True


def test_the_image_copies_what_exists_and_the_build_context_has_it() -> None:
    copied = re.findall(r"^COPY ((?!--from).+) \S+$", DOCKERFILE, re.MULTILINE)
    allowed = (FLEET / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    names = " ".join(copied).split()
    for name in names:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in allowed, name
    assert {"*", "**/__pycache__", *(f"!{name}" for name in names)} == set(allowed)


def test_variables_of_the_image_name_what_is_in_it() -> None:
    variables = _variables()
    python = re.search(r"python:(3\.\d+)", FINAL)
    assert python
    assert variables["SPARK_HOME"] == f"/opt/forewarn/lib/python{python[1]}/site-packages/pyspark"
    assert variables["PYSPARK_PYTHON"] == "/opt/forewarn/bin/python"
    assert "COPY --from=build /opt/forewarn /opt/forewarn\n" in FINAL
    assert variables["SPARK_LOCAL_DIRS"] in next(_lines("VOLUME"))


def _container(tmp_path: Path, *arguments: str) -> list[list[str]]:
    """What programs the entry point started in the end, each with its arguments."""
    note = 'python3 -c \'import json, sys; print(json.dumps(sys.argv[1:]))\' "$0" "$@"\n'
    for name in ("bin/spark-submit", "path/java", "path/forewarn"):
        program = tmp_path / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/bash\n{note}", "utf-8")
        program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}/path:/usr/local/bin:/usr/bin:/bin",
        "SPARK_HOME": str(tmp_path),
        **SPARK_ON_KUBERNETES,
    }
    said = subprocess.run(
        ["bash", ENTRYPOINT, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in said.stdout.splitlines()]


def test_the_entry_point_starts_a_driver_as_spark_on_kubernetes_asks_for_it(tmp_path: Path) -> None:
    given = ["--properties-file", "/opt/spark/conf/spark.properties", "--class", "a.B", "local:///opt/fleet/job.py"]
    (started,) = _container(tmp_path, "driver", *given)
    assert started[0] == str(tmp_path / "bin" / "spark-submit")
    assert started[-len(given) :] == given
    assert "spark.driver.bindAddress=10.1.0.7" in started
    assert started[started.index("--deploy-mode") + 1] == "client"


def test_the_entry_point_starts_an_executor_with_everything_that_spark_says_in_the_environment(tmp_path: Path) -> None:
    (started,) = _container(tmp_path, "executor")
    assert Path(started[0]).name == "java"
    assert started[1:12] == [f"-Doption{i}=a b" for i in range(11)], "in their order, spaces and all"
    assert started[12:14] == ["-Xms4096m", "-Xmx4096m"]
    assert started[15] == f"/opt/spark/conf::{tmp_path}/jars/*:{tmp_path}"
    named = dict(zip(started[17::2], started[18::2], strict=True))
    assert named == {
        "--driver-url": "spark://CoarseGrainedScheduler@driver:7078",
        "--executor-id": "3",
        "--cores": "4",
        "--app-id": "spark-1",
        "--hostname": "10.1.0.8",
        "--resourceProfileId": "0",
        "--podName": "forewarn-exec-3",
    }


def test_the_class_of_an_executor_is_in_the_pinned_pyspark() -> None:
    pyspark: Any = pytest.importorskip("pyspark")
    (jar,) = (Path(pyspark.__file__).parent / "jars").glob("spark-kubernetes_*.jar")
    (name,) = re.findall(r"org\.apache\.spark\.\S+Backend", ENTRYPOINT.read_text("utf-8"))
    assert f"{name.replace('.', '/')}.class" in ZipFile(jar).namelist()


def test_the_entry_point_runs_any_other_command_as_it_is(tmp_path: Path) -> None:
    (started,) = _container(tmp_path, "forewarn", "fleet", "run", "--config", "a b")
    assert Path(started[0]).name == "forewarn"
    assert started[1:] == ["fleet", "run", "--config", "a b"]


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_commands_are_ones_that_forewarn_has_with_the_settings_that_are_mounted(services: Document) -> None:
    (of_image,) = (json.loads(words) for words in re.findall(r"^CMD (\[.*\])$", FINAL, re.MULTILINE))
    service = services["forewarn-fleet"]
    mounted = [volume.split(":")[1] for volume in service["volumes"]]
    for command in (of_image, service["command"]):
        assert command[0] == "forewarn"
        args = forewarn.cli._parser().parse_args(command[1:])
        assert str(args.config) in mounted
    assert (args.packages, args.once) == (f"{CONNECTOR}:{_pinned('pyspark')}", False)


def test_the_connector_is_of_the_release_of_pyspark_everywhere(application: Document) -> None:
    version = _pinned("pyspark")
    assert application["deps"]["packages"] == [f"{CONNECTOR}:{version}"]
    assert application["sparkVersion"] == version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (lowest,) = re.findall(r"pyspark>=([\d.]+)", str(project["optional-dependencies"]["spark"]))
    assert version.startswith(f"{lowest}.")


def test_the_main_file_is_in_the_image_and_runs_the_job(application: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    (target,) = re.findall(r"^COPY .*deploy/fleet/job.py .*?(\S+)$", FINAL, re.MULTILINE)
    assert application["mainApplicationFile"] == f"local://{target}job.py"
    given: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        given.append(arguments)
        return 5

    monkeypatch.setattr(forewarn.cli, "main", main)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FLEET / "job.py"), run_name="__main__")
    assert ended.value.code == 5
    args = forewarn.cli._parser().parse_args(given[0])
    mounts = {mount["name"]: mount["mountPath"] for mount in application["driver"]["volumeMounts"]}
    assert Path(mounts["settings"]) / "fleet.toml" == args.config


# -- compose ---------------------------------------------------------------------------------------------------------


def test_what_is_mounted_exists_and_named_volumes_are_declared_and_used(services: Document) -> None:
    named = set()
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (FLEET / source).exists(), volume
            else:
                named.add(source)
    assert named == set(_yaml("compose.yaml")[0]["volumes"])
    build = services["forewarn-fleet"]["build"]
    assert (FLEET / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).samefile(FLEET / "Dockerfile")


def test_ports_are_published_on_loopback_alone(services: Document) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert all("network_mode" not in service for service in services.values())


def test_images_are_pinned(services: Document, application: Document) -> None:
    images = [service["image"] for service in services.values()]
    assert all(re.search(r":v?\d+(\.\d+)+$", image) for image in images), images
    own = f"forewarn-fleet:{forewarn.__version__}"
    assert services["forewarn-fleet"]["image"] == application["image"] == own
    assert f"-t {own} ." in DOCKERFILE


def test_what_a_service_waits_for_can_come_true(services: Document) -> None:
    for name, service in services.items():
        for other, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in services[other], (name, other)
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert services[other]["restart"] == "no"


def test_every_host_and_port_that_is_named_is_of_a_service(services: Document, bridge: Document) -> None:
    settings = load_fleet(FLEET / "fleet.toml")
    inside = settings.fleet.kafka.options["kafka.bootstrap.servers"]
    kafka = services["kafka"]["environment"]
    assert f"INSIDE://{inside}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"INSIDE://:{inside.split(':')[1]}" in kafka["KAFKA_LISTENERS"].split(",")
    assert bridge["output"]["kafka_franz"]["seed_brokers"] == [inside]
    assert f"--bootstrap-server {inside} " in services["topics"]["command"][0]
    assert bridge["input"]["mqtt"]["urls"] == [f"tcp://{settings.mqtt.host}:{settings.mqtt.port}"]
    assert {inside.split(":")[0], settings.mqtt.host} <= set(services)
    prometheus = (ROOT / "deploy" / "prometheus" / "fleet.yml").read_text("utf-8")
    assert f'"forewarn-fleet:{settings.metrics.port}"' in prometheus
    published = [f"127.0.0.1:{settings.metrics.port}:{settings.metrics.port}"]
    assert services["forewarn-fleet"]["ports"] == published
    assert f"http://127.0.0.1:{settings.metrics.port}/healthz" in services["forewarn-fleet"]["healthcheck"]["test"][-1]


def test_the_single_node_of_kafka_is_whole(services: Document) -> None:
    kafka = services["kafka"]["environment"]
    listeners = [one.split("://")[0] for one in kafka["KAFKA_LISTENERS"].split(",")]
    assert listeners == [one.split(":")[0] for one in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")]
    assert {kafka["KAFKA_CONTROLLER_LISTENER_NAMES"], kafka["KAFKA_INTER_BROKER_LISTENER_NAME"]} <= set(listeners)
    advertised = [one.split("://")[0] for one in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")]
    assert advertised == [name for name in listeners if name != kafka["KAFKA_CONTROLLER_LISTENER_NAMES"]]
    node, voter, port = re.split("[@:]", kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"])
    assert (node, voter) == (kafka["KAFKA_NODE_ID"], "kafka")
    assert f"CONTROLLER://:{port}" in kafka["KAFKA_LISTENERS"]
    (host_port,) = (port.split(":")[-1] for port in services["kafka"]["ports"])
    assert f"HOST://:{host_port}" in kafka["KAFKA_LISTENERS"].split(",")
    assert any(volume.endswith(f":{kafka['KAFKA_LOG_DIRS']}") for volume in services["kafka"]["volumes"])


def test_topics_that_are_created_are_those_that_are_used(services: Document, bridge: Document, tmp_path: Path) -> None:
    kafka = load_fleet(FLEET / "fleet.toml").fleet.kafka
    (script,) = services["topics"]["command"]
    program = tmp_path / "kafka-topics.sh"
    program.write_text('#!/bin/bash\necho "$@"\n', "utf-8")
    program.chmod(0o755)
    assert services["topics"]["entrypoint"][:1] == ["/bin/bash"]
    script = script.replace("$$", "$").replace("/opt/kafka/bin/", f"{tmp_path}/")
    said = subprocess.run([*services["topics"]["entrypoint"], script], capture_output=True, text=True, check=True)
    made = re.findall(r"--create --if-not-exists --topic (\S+) --partitions (\d+)", said.stdout)
    assert made == [(kafka.options["subscribe"], "8"), (kafka.alert_topic, "1")]
    assert bridge["output"]["kafka_franz"]["topic"] == kafka.options["subscribe"]


def test_the_bridge_passes_on_what_the_inputs_match_and_nothing_that_the_job_says(bridge: Document) -> None:
    settings = load_fleet(FLEET / "fleet.toml")
    (topic,) = bridge["input"]["mqtt"]["topics"]
    assert topic.endswith("/#")
    root = topic.removesuffix("#")
    assert all(one.topic.startswith(root) for one in settings.inputs)
    assert not f"{settings.publish.prefix}/{settings.instance}/alerts".startswith(root)


def test_the_bridge_writes_the_topic_as_key_and_keeps_the_order_of_a_sensor(bridge: Document) -> None:
    output = bridge["output"]["kafka_franz"]
    assert output["key"] == '${! meta("mqtt_topic") }'
    assert load_fleet(FLEET / "fleet.toml").fleet.kafka.mqtt_topic == "key"
    assert (bridge["pipeline"]["threads"], output["max_in_flight"], output["partitioner"]) == (1, 1, "murmur2_hash")
    assert bridge["input"]["mqtt"]["clean_session"] is False
    assert bridge["input"]["mqtt"]["client_id"]


def test_grafana_opens_with_the_dashboard_of_a_fleet_job_and_prometheus_has_its_rules(services: Document) -> None:
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    dashboard = ROOT / "deploy" / "grafana" / "dashboards" / Path(home).name
    assert "forewarn_fleet_readings_total" in dashboard.read_text("utf-8")
    mounted = dict(volume.split(":")[:2] for volume in services["prometheus"]["volumes"])
    settings = (ROOT / "deploy" / "prometheus" / "fleet.yml").read_text("utf-8")
    (rules,) = re.findall(r"^  - (\S+_rules\.yml)$", settings, re.MULTILINE)
    assert mounted[f"../prometheus/{rules}"] == f"/etc/prometheus/{rules}"
    assert mounted["../prometheus/fleet.yml"] == "/etc/prometheus/prometheus.yml"
    for name in ("prometheus", "grafana"):
        assert services[name]["profiles"] == ["monitoring"], "they are optional"


# -- Kubernetes ------------------------------------------------------------------------------------------------------


def test_the_application_is_what_the_operator_expects(kubernetes: Document, application: Document) -> None:
    assert list(kubernetes) == ["PersistentVolumeClaim", "ConfigMap", "SparkApplication"]
    assert kubernetes["SparkApplication"]["apiVersion"] == "sparkoperator.k8s.io/v1beta2"
    assert (application["type"], application["mode"], application["pythonVersion"]) == ("Python", "cluster", "3")
    assert application["restartPolicy"]["type"] == "Always"


def test_no_service_that_kubernetes_describes_in_variables_is_taken_for_a_setting(
    kubernetes: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = f"{kubernetes['SparkApplication']['metadata']['name']}-ui-svc"  # as the operator calls it
    monkeypatch.setenv(f"{service.upper().replace('-', '_')}_SERVICE_HOST", "10.0.0.1")
    assert load_fleet(FLEET / "fleet.toml").fleet.source == "kafka"


def test_driver_and_executors_mount_the_same_claim_at_the_same_path(
    kubernetes: Document,
    application: Document,
) -> None:
    assert application["driver"]["volumeMounts"] == application["executor"]["volumeMounts"]
    assert {mount["name"] for mount in application["driver"]["volumeMounts"]} == {
        volume["name"] for volume in application["volumes"]
    }
    volumes = {volume["name"]: volume for volume in application["volumes"]}
    claim, settings = kubernetes["PersistentVolumeClaim"], kubernetes["ConfigMap"]
    assert volumes["folder"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert volumes["settings"]["configMap"]["name"] == settings["metadata"]["name"]


def test_the_driver_says_where_its_metrics_are(settings: FleetSettings, application: Document) -> None:
    driver = application["driver"]
    assert driver["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(settings.metrics.port),
        "prometheus.io/path": "/metrics",
    }
    assert [port["containerPort"] for port in driver["ports"]] == [settings.metrics.port]


# -- the page --------------------------------------------------------------------------------------------------------


def test_the_page_begins_with_what_was_not_run_and_names_every_file_and_service(services: Document) -> None:
    page = (FLEET / "README.md").read_text("utf-8")
    assert page.split("\n\n")[1].startswith("**Neither `compose.yaml` nor `sparkapplication.yaml` has been run by us**")
    for path in FLEET.iterdir():
        if path.is_file() and path.suffix not in {".md", ".dockerignore"}:
            assert f"`{path.name}`" in page, path
    for name, service in services.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*$", page, re.MULTILINE)
        for port in service.get("ports", []):
            assert port.rpartition(":")[0] in row, row
    links = re.findall(r"\]\((?!http|#)([^)#]+)", page)
    assert links
    assert all((FLEET / link).exists() for link in links)
