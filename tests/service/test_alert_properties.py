"""What alerts carry beside their document, as `mosquitto_sub` sees it."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from forewarn.adapters.journal import Journal, Letter
from forewarn.core.alerts import AlertRaised
from forewarn.core.patterns import Choice
from forewarn.messages import ModelTold, Phrasebook
from tests.brokers import Mosquitto, Subscriber
from tests.daemons import INSTANCE, DaemonProcess, settings_file
from tests.test_messages import MODEL, alert

ALERTS = f"forewarn/{INSTANCE}/alerts/#"
FORMAT = "%t|%r|%C|%R|%E|%P|%p"  # topic, retain, content type, response topic, expiry, user properties, payload
NO_TOOL = "mosquitto_sub is not installed: apt-get install -y mosquitto-clients"


class Heard(NamedTuple):
    """One line of `mosquitto_sub`."""

    topic: str
    retain: str
    content_type: str
    response_topic: str
    expiry_s: str
    user: str
    payload: str


@contextmanager
def listening(broker: Mosquitto, *topics: str) -> Iterator[Callable[[int], list[Heard]]]:
    """A subscriber with MQTT 5; what is yielded waits for so many messages."""
    if not shutil.which("mosquitto_sub"):
        pytest.skip(NO_TOOL)
    command = ["stdbuf", "-oL", "mosquitto_sub", "-V", "5", "-h", broker.host, "-p", str(broker.port), "-F", FORMAT]
    arguments = [argument for topic in topics for argument in ("-t", topic)]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout

    def heard(n: int) -> list[Heard]:
        assert process.stdout
        return [Heard(*process.stdout.readline().rstrip("\n").split("|", 6)) for _ in range(n)]

    with Subscriber(broker, "unused") as other:  # a retained message: who hears it is subscribed
        for payload in ("ready", ""):
            other.publish(topics[0].replace("#", "ready"), payload, retain=True)
            assert heard(1)[0].payload == payload
    try:
        yield heard
    finally:
        process.terminate()
        process.communicate()


def spike(broker: Mosquitto, device: str) -> None:
    """Readings of a device with one that becomes an alert."""
    now = time.time() - 60.0
    with Subscriber(broker, "unused") as publisher:
        for i in range(41):
            value = 40.0 if i == 40 else 4.0 + i % 3 / 10
            publisher.publish(f"sensors/{device}/temperature", json.dumps({"time": now + i, "value": value}))


def test_an_alert_says_what_is_inside_when_it_expires_and_where_an_answer_goes(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    config = settings_file(tmp_path, mosquitto)
    environ = {"FOREWARN_PUBLISH__ALERT_EXPIRY_S": "3600", "FOREWARN_PUBLISH__RESPONSE_TOPIC": "desk/answers"}
    with listening(mosquitto, ALERTS) as heard, DaemonProcess(config, environ=environ):
        spike(mosquitto, "with-properties")
        (first,) = heard(1)
    assert (first.topic, first.retain) == (f"forewarn/{INSTANCE}/alerts/with-properties/temperature", "0")
    assert (first.content_type, first.response_topic) == ("application/json", "desk/answers")
    assert 3590 <= int(first.expiry_s) <= 3600
    told = "instance:test schema:forewarn.alert/1 kind:residual type:raised severity:critical"
    assert first.user == told
    assert json.loads(first.payload)["schema"] == "forewarn.alert/1"


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_an_alert_as_a_cloud_event(mosquitto: Mosquitto, tmp_path: Path, protocol: str) -> None:
    config = settings_file(tmp_path, mosquitto)
    environ = {"FOREWARN_PUBLISH__FORMAT": "cloudevents", "FOREWARN_MQTT__PROTOCOL": protocol}
    environ["FOREWARN_PUBLISH__ALERT_EXPIRY_S"] = "3600"
    with listening(mosquitto, ALERTS) as heard, DaemonProcess(config, environ=environ):
        spike(mosquitto, "event")
        (first,) = heard(1)
    event = json.loads(first.payload)
    assert (event["type"], event["subject"]) == ("forewarn.alert.raised", "event/temperature")
    assert event["data"]["schema"] == "forewarn.alert/1"
    if protocol == "5":
        assert first.content_type == "application/cloudevents+json; charset=utf-8"
        assert "kind:residual" in first.user
    else:
        assert (first.content_type, first.user, first.expiry_s, first.response_topic) == ("", "", "", "")


def test_states_have_no_properties(mosquitto: Mosquitto, tmp_path: Path) -> None:
    config = settings_file(tmp_path, mosquitto)
    with listening(mosquitto, f"forewarn/{INSTANCE}/state/plain/#") as heard, DaemonProcess(config):
        spike(mosquitto, "plain")
        assert [(one.content_type, one.user) for one in heard(2)] == [("", "")] * 2


def test_what_waited_in_the_state_file_has_its_properties_and_what_waited_too_long_is_counted(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    phrases = Phrasebook(f"forewarn/{INSTANCE}", Choice(ModelTold(MODEL, "°C")), {})
    now = time.time()
    outgoing = [phrases.alert(AlertRaised(alert(received_at=now - age, id=f"{age:016}"))) for age in (4000, 100)]
    journal = Journal(tmp_path / "state.sqlite")
    assert journal.commit([], [Letter(i + 1, one.topic, one.payload, one.retain) for i, one in enumerate(outgoing)])
    journal.close()
    config = settings_file(tmp_path, mosquitto)
    environ = {"FOREWARN_PUBLISH__ALERT_EXPIRY_S": "3600"}
    with listening(mosquitto, ALERTS) as heard, DaemonProcess(config, environ=environ) as daemon:
        (first,) = heard(1)
        assert json.loads(first.payload)["id"] == f"{100:016}"
        assert "kind:residual" in first.user
        assert 3300 <= int(first.expiry_s) <= 3500
        daemon.wait_for_sample("forewarn_dropped_total", 1, queue="outbox")
    journal = Journal(tmp_path / "state.sqlite")
    assert journal.recover().outbox == []
    journal.close()
