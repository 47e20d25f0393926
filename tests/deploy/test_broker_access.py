"""The daemon with the shipped TLS settings and access list of Mosquitto: what it needs works, the rest is refused."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.brokers import mosquitto_path, wait_until_listening
from tests.certificates import authority, signed
from tests.daemons import DaemonProcess, settings_file
from tests.links import need_mosquitto
from tests.ports import free_port

SHIPPED = Path(__file__).parents[2] / "deploy" / "mosquitto"
USERS = ("forewarn", "viewer", "freezer-1")
ROOT_TOPIC = "forewarn/gateway-1"
NOT_AUTHORIZED = 0x87  # MQTT 5.0, table 2-6


class Broker:
    """A Mosquitto with exactly the shipped files; only their folder, address and user differ."""

    name = "mosquitto"
    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        need_mosquitto()
        self.port = free_port()
        self.folder = folder
        self.ca = authority(folder)
        signed(self.ca, "server")
        for name in ("tls.conf", "acl"):
            text = (SHIPPED / name).read_text("utf-8").replace("/mosquitto/config/", f"{folder}/")
            text = text.replace("/mosquitto/data/", f"{folder}/")
            (folder / name).write_text(text.replace("listener 8883", f"user root\nlistener {self.port} {self.host}"))
        for user in USERS:
            create = [] if (folder / "passwords").exists() else ["-c"]
            command = ["mosquitto_passwd", "-b", *create, str(folder / "passwords"), user, self.password(user)]
            subprocess.run(command, check=True, capture_output=True)

    @staticmethod
    def password(user: str) -> str:
        return f"secret of {user}"

    def start(self) -> None:
        program = str(mosquitto_path())
        with (self.folder / "mosquitto.log").open("wb") as log:
            self._process = subprocess.Popen([program, "-c", str(self.folder / "tls.conf")], stderr=log)
        wait_until_listening(self.host, self.port)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def environ(self, folder: Path) -> dict[str, str]:
        """What tells a daemon how to log in: credentials for what is secret, variables for the rest."""
        credentials = folder / "credentials"
        credentials.mkdir()
        (credentials / "mqtt__username").write_text("forewarn\n")
        (credentials / "mqtt__password").write_text(self.password("forewarn") + "\n")
        tls = {"FOREWARN_MQTT__TLS": "true", "FOREWARN_MQTT__CA_FILE": str(self.ca.cert)}
        return {"CREDENTIALS_DIRECTORY": str(credentials), "FOREWARN_INSTANCE": "gateway-1", **tls}


class User:
    """A client of the broker, which tells what the broker answers; a context manager."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._answers: queue.Queue[int] = queue.Queue()
        self._broker = broker
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.username_pw_set(name, broker.password(name))
        self._client.tls_set(str(broker.ca.cert))
        self._client.on_connect = lambda *_: self._answers.put(0)
        self._client.on_subscribe = lambda *_: self._answers.put(0)
        self._client.on_publish = lambda _c, _d, _m, reason, _p: self._answers.put(reason.value)
        self._client.on_message = lambda _c, _d, message: self.messages.put((message.topic, bytes(message.payload)))

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> int:
        """The reason code of the broker's answer; 0 and 16 are success."""
        self._client.publish(topic, payload, 1, retain)
        return self._answers.get(timeout=10)

    def subscribe(self, *filters: str) -> None:
        self._client.subscribe([(each, 1) for each in filters])
        self._answers.get(timeout=10)

    def until(self, topic: str, part: bytes) -> bytes:
        """The payload of the next message whose topic begins so and whose payload has that part."""
        ends_at = time.monotonic() + 15
        while True:
            came, payload = self.messages.get(timeout=max(0.0, ends_at - time.monotonic()))
            if came.startswith(topic) and part in payload:
                return payload

    def __enter__(self) -> Self:
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        self._answers.get(timeout=10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("guarded"))
    broker.start()
    yield broker
    broker.stop()


def test_readings_alerts_state_status_and_last_will_pass(guarded: Broker, tmp_path: Path) -> None:
    config = settings_file(tmp_path, guarded)
    now = time.time() - 600.0
    with User(guarded, "viewer") as viewer, User(guarded, "freezer-1") as freezer:
        viewer.subscribe(f"{ROOT_TOPIC}/#")
        with DaemonProcess(config, environ=guarded.environ(tmp_path)) as daemon:
            assert viewer.until(f"{ROOT_TOPIC}/status", b"") == b"online"
            for i in range(100):
                reading: dict[str, Any] = {"time": now + i, "value": 4.0 + i % 3 / 10 + (40.0 if i == 99 else 0.0)}
                assert freezer.publish("sensors/freezer-1/temperature", json.dumps(reading)) == 0
            assert json.loads(viewer.until(f"{ROOT_TOPIC}/alerts/", b"raised"))["device"] == "freezer-1"
            viewer.until(f"{ROOT_TOPIC}/state/freezer-1/temperature", b"freezer-1")
            daemon.process.send_signal(signal.SIGKILL)
            assert viewer.until(f"{ROOT_TOPIC}/status", b"") == b"offline"
        assert "refuse" not in daemon.log.read_text()


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("forewarn", "sensors/freezer-1/temperature"),
        ("forewarn", "sensors/forewarn/temperature"),
        ("forewarn", "forewarn/gateway-2/status"),
        ("forewarn", "elsewhere"),
        ("viewer", f"{ROOT_TOPIC}/alerts/freezer-1/temperature"),
        ("viewer", "sensors/viewer/temperature"),
        ("freezer-1", "sensors/freezer-2/temperature"),
        ("freezer-1", f"{ROOT_TOPIC}/status"),
    ],
)
def test_nobody_writes_where_he_has_no_business(guarded: Broker, user: str, topic: str) -> None:
    with User(guarded, user) as client:
        assert client.publish(topic, "5") == NOT_AUTHORIZED


def test_forewarn_reads_the_sensors_alone_and_a_device_reads_nothing(guarded: Broker) -> None:
    with User(guarded, "forewarn") as forewarn, User(guarded, "freezer-1") as freezer:
        forewarn.publish(f"{ROOT_TOPIC}/status", "online", retain=True)
        for client in (forewarn, freezer):
            client.subscribe("#", "$SYS/#", "forewarn/#", "sensors/#")
        freezer.publish("sensors/freezer-1/temperature", "4.5")
        came = {forewarn.messages.get(timeout=10)}
        time.sleep(0.3)  # for what must not come
        came |= {forewarn.messages.get() for _ in range(forewarn.messages.qsize())}
        assert came == {("sensors/freezer-1/temperature", b"4.5")}  # once for each filter that matches
        assert freezer.messages.empty()


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The same with the lines for Home Assistant, whose comment signs were taken away."""
    broker = Broker(tmp_path_factory.mktemp("at-home"))
    acl = broker.folder / "acl"
    acl.write_text(re.sub(r"(?m)^# (user|topic) ", r"\1 ", acl.read_text("utf-8")))
    command = ["mosquitto_passwd", "-b", str(broker.folder / "passwords"), "homeassistant"]
    subprocess.run([*command, broker.password("homeassistant")], check=True, capture_output=True)
    broker.start()
    yield broker
    broker.stop()


def test_home_assistant_hears_of_the_devices_and_is_heard(at_home: Broker, tmp_path: Path) -> None:
    config = settings_file(tmp_path, at_home)
    environ = at_home.environ(tmp_path) | {"FOREWARN_HOMEASSISTANT__ENABLED": "true"}
    now = time.time() - 600.0
    with User(at_home, "homeassistant") as home, User(at_home, "freezer-1") as freezer:
        home.subscribe("homeassistant/#", f"{ROOT_TOPIC}/#")
        with DaemonProcess(config, environ=environ) as daemon:
            for i in range(20):
                reading = json.dumps({"time": now + i, "value": 4.0 + i % 3 / 10})
                assert freezer.publish("sensors/freezer-1/temperature", reading) == 0
            topic = "homeassistant/device/forewarn_gateway-1/freezer-1/config"
            home.until(f"{ROOT_TOPIC}/state/freezer-1/temperature", b"freezer-1")
            home.until(topic, b"freezer-1")
            assert home.publish("homeassistant/status", "online") in (0, 16)
            home.until(topic, b"freezer-1")
        assert "refuse" not in daemon.log.read_text()


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("forewarn", "homeassistant/device/forewarn_gateway-2/a/config"),
        ("forewarn", "homeassistant/lock/front-door/config"),
        ("forewarn", "homeassistant/status"),
        ("freezer-1", "homeassistant/status"),
        ("freezer-1", "homeassistant/device/forewarn_gateway-1/freezer-1/config"),
        ("homeassistant", f"{ROOT_TOPIC}/alerts/freezer-1/temperature"),
        ("homeassistant", "sensors/homeassistant/temperature"),
    ],
)
def test_nobody_tells_home_assistant_what_is_not_his(at_home: Broker, user: str, topic: str) -> None:
    with User(at_home, user) as client:
        assert client.publish(topic, "{}") == NOT_AUTHORIZED


def test_a_prefix_that_the_access_list_does_not_know_is_told(guarded: Broker, tmp_path: Path) -> None:
    environ = guarded.environ(tmp_path) | {"FOREWARN_INSTANCE": "gateway-2"}
    with DaemonProcess(settings_file(tmp_path, guarded), environ=environ) as daemon:
        daemon.wait_for_log("refuses what is published: Not authorized")
    assert daemon.log.read_text().count("refuses what is published") == 1


def published(environ: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """What a tool that publishes says."""
    command = [sys.executable, "-m", "forewarn", *map(str, arguments)]
    found = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert "secret" not in found.stdout + found.stderr
    return found


def test_replay_and_simulate_publish_over_tls_as_the_user_of_a_settings_file(guarded: Broker, tmp_path: Path) -> None:
    config, data, credentials = tmp_path / "f.toml", tmp_path / "d.csv", tmp_path / "credentials"
    mqtt = f'host = "{guarded.host}"\nport = {guarded.port}\ntls = true\nca_file = "{guarded.ca.cert}"\n'
    config.write_text(f'[mqtt]\n{mqtt}username = "freezer-1"\n')
    data.write_text("timestamp,device,temperature\n2026-01-01 00:00,freezer-1,4.5\n")
    credentials.mkdir()
    (credentials / "mqtt__password").write_text(guarded.password("freezer-1"))
    environ = {**os.environ, "CREDENTIALS_DIRECTORY": str(credentials)}
    simulate = ("simulate", "--devices", 1, "--duration", 60, "--speed", 0, "--config", config)
    with User(guarded, "forewarn") as forewarn:
        forewarn.subscribe("sensors/#")
        replayed = published(environ, "replay", data, "--speed", 0, "--config", config)
        assert replayed.stdout == f"1 readings sent to {guarded.host}:{guarded.port}\n"
        assert b'"value": 4.5' in forewarn.until("sensors/freezer-1/temperature", b"value")
        simulated = published(environ, *simulate, "--topic", "sensors/freezer-1/{device}")
        assert simulated.returncode == 0, simulated.stderr
        forewarn.until("sensors/freezer-1/", b"value")
    elsewhere = published(environ, *simulate, "--topic", "elsewhere/{device}")
    assert elsewhere.returncode == 1
    assert "refuses what is published: Not authorized" in elsewhere.stderr
    (credentials / "mqtt__password").write_text("wrong")
    denied = published(environ, "replay", data, "--config", config)
    assert (denied.returncode, denied.stderr.count("\n")) == (1, 1)
    assert "refuses the connection: Not authorized" in denied.stderr


def test_a_ca_file_that_is_missing_ends_the_daemon_with_78_before_it_connects(guarded: Broker, tmp_path: Path) -> None:
    environ = {**os.environ, **guarded.environ(tmp_path), "FOREWARN_MQTT__CA_FILE": str(tmp_path / "gone.crt")}
    config = str(settings_file(tmp_path, guarded))
    for command in ("run", "check"):
        arguments = [sys.executable, "-m", "forewarn", command, "--config", config]
        ran = subprocess.run(arguments, env=environ, capture_output=True, text=True, check=False, timeout=60)
        assert (ran.returncode, ran.stderr) == (
            78,
            f"forewarn: mqtt.ca_file: {tmp_path}/gone.crt cannot be read (No such file or directory)\n",
        )
