"""The broker goes, and the network between the daemon and it fails in every way that a proxy can make it fail."""

import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.brokers import Mosquitto, Subscriber, mosquitto_path
from tests.chaos.loads import judged, wait_until_judged
from tests.chaos.proxy import Proxy
from tests.chaos.streams import EXTRA, LONG, Publisher, Reading, final_state, in_order, numbered, told
from tests.daemons import INSTANCE, DaemonProcess, settings_file

READINGS, DEVICES, RATE, ROUNDS = (50_000, 200, 150.0, 3) if LONG else (4_000, 40, 150.0, 1)
KEEPALIVE_S = 5.0
CUTTING_S = 120.0 if LONG else 20.0
PLAIN = """
[[inputs]]
topic = "sensors/{device}/{metric}"
[faults]
silent = false
"""


class Place(NamedTuple):
    """What a fault can be done to."""

    broker: Mosquitto
    proxy: Proxy
    publisher: Publisher


def restart(place: Place) -> None:
    place.broker.stop()
    time.sleep(2.0)
    place.broker.start()


def kill(place: Place) -> None:
    """In a quiet second, so that what the broker acknowledged is in its file."""
    place.publisher.hold()
    time.sleep(2.5)
    place.broker.kill()
    place.broker.start()
    place.publisher.go_on()


def cut(place: Place) -> None:
    place.proxy.shut = True
    place.proxy.cut()
    time.sleep(1.0)


def delay(place: Place) -> None:
    place.proxy.out.delay_s = place.proxy.back.delay_s = 0.4
    time.sleep(3.0)


def trickle(place: Place) -> None:
    place.proxy.out.bytes_per_s = place.proxy.back.bytes_per_s = 4_000.0
    time.sleep(3.0)


def hole_out(place: Place) -> None:
    place.proxy.hole(place.proxy.out)
    time.sleep(2.0)


def hole_back(place: Place) -> None:
    place.proxy.hole(place.proxy.back)
    time.sleep(2.0)


def hole(place: Place) -> None:
    """Longer than the daemon needs to find out, so that it tries in vain."""
    place.proxy.hole(place.proxy.out, place.proxy.back)
    time.sleep(3 * KEEPALIVE_S if LONG else 2.0)


Fault = Callable[[Place], None]
NETWORK: list[Fault] = [cut, delay, trickle, hole, hole_out, hole_back] if LONG else [cut, delay, trickle, hole]
BROKER: list[Fault] = [restart, kill]


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    if mosquitto_path() is None:
        pytest.skip("Mosquitto is not installed")
    one = Mosquitto(["max_queued_messages 0", "max_inflight_messages 4000"], keeps=True)
    one.start()
    yield one
    one.close()


def config(folder: Path, proxy: Proxy) -> Path:
    path = settings_file(folder, proxy, EXTRA)
    text = path.read_text().replace("[mqtt]\n", f"[mqtt]\nkeepalive_s = {KEEPALIVE_S:.0f}\n")
    path.write_text(text.replace("forecast = true", "forecast = false"))
    return path


def run(folder: Path, broker: Mosquitto, faults: list[Fault]) -> tuple[dict[str, Any], dict[Any, Any]]:
    """The final state and the alerts, after these faults one after the other."""
    folder.mkdir()
    topic = f"forewarn/{INSTANCE}/alerts/#"
    readings = numbered(READINGS, DEVICES)
    with Proxy(broker) as proxy, Subscriber(broker, topic, client_id=f"witness-{folder.name}") as subscriber:
        with (
            DaemonProcess(config(folder, proxy)) as daemon,
            Publisher(broker, readings, RATE if faults else 5_000.0) as publisher,
        ):
            for fault in faults:
                suffer(fault, Place(broker, proxy, publisher), daemon)
            publisher.hurry()
            publisher.wait(300)
            wait_until_judged(daemon, READINGS, 120)
            assert judged(daemon) == READINGS
            assert daemon.stop() == 0
        time.sleep(0.5)
        assert in_order(subscriber)
        return final_state(folder), told(subscriber)


def suffer(fault: Fault, place: Place, daemon: DaemonProcess) -> None:
    time.sleep(random.uniform(0.5, 1.5))
    fault(place)
    place.proxy.mend()
    took = wait_until_judged(daemon, place.publisher.sent, 2 * KEEPALIVE_S)
    daemon.wait_for_sample("forewarn_mqtt_connected", 1, 2 * KEEPALIVE_S - took)
    sys.stdout.write(f"{fault.__name__}: current {took:.1f} s after its end\n")


@pytest.mark.parametrize("faults", [NETWORK, BROKER], ids=["network", "broker"])
def test_a_daemon_with_failing_connections_says_what_one_says_without(
    tmp_path: Path, broker: Mosquitto, faults: list[Fault]
) -> None:
    state, alerts = run(tmp_path / "whole", broker, [])
    assert len(alerts) > DEVICES
    other_state, other_alerts = run(tmp_path / "failing", broker, faults * ROUNDS)
    assert other_alerts == alerts
    assert other_state == state
    sys.stdout.write(
        f"{READINGS} readings, {len(faults) * ROUNDS} faults, {len(alerts)} alert messages, all the same\n"
    )


def test_readings_whose_arrival_is_their_time_are_counted_once_over_lost_connections(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with Proxy(broker) as proxy:
        settings = config(tmp_path, proxy)
        settings.write_text(settings.read_text().replace(EXTRA, PLAIN))
        n = min(3 * READINGS, 60_000)  # Mosquitto gives a packet identifier again that is still under way
        readings = [Reading(one.topic, re.findall(r"[\d.]+", one.payload)[-1]) for one in numbered(n, DEVICES)]
        with DaemonProcess(settings) as daemon, Publisher(broker, readings, 1e6) as publisher:
            ends_at = time.monotonic() + CUTTING_S
            while judged(daemon) < n and time.monotonic() < ends_at:
                time.sleep(0.05)
                proxy.cut()
                time.sleep(0.6)
            publisher.wait(120)
            wait_until_judged(daemon, n, 120)
            time.sleep(0.5)
            assert daemon.sample("forewarn_readings_received_total") == n
            again = daemon.sample("forewarn_redelivered_total")
            lost = daemon.sample("forewarn_mqtt_reconnects_total")
    sys.stdout.write(f"{n} readings, {lost:.0f} lost connections, {again:.0f} messages came again\n")


def test_alerts_that_could_not_leave_before_the_daemon_was_killed_leave_after(
    tmp_path: Path, broker: Mosquitto
) -> None:
    calm = [Reading(one.topic, re.sub(r'"value": .*}', '"value": 4.0}', one.payload)) for one in numbered(160, 4)]
    wild = [Reading(one.topic, one.payload.replace("4.0}", "90.0}")) for one in calm[-4:]]
    with Proxy(broker) as proxy, Subscriber(broker, f"forewarn/{INSTANCE}/alerts/#") as subscriber:
        daemon = DaemonProcess(config(tmp_path, proxy))
        daemon.__enter__()
        for one in calm[:-4]:
            subscriber.publish(one.topic, one.payload)
        wait_until_judged(daemon, 156, 20)
        proxy.hole(proxy.out)
        for one in wild:
            subscriber.publish(one.topic, one.payload)
        daemon.wait_for_sample("forewarn_alerts_total", 4, type="raised")
        assert subscriber.messages == []
        daemon.process.kill()
        daemon.process.wait()
        proxy.mend()
        daemon.__enter__()
        arrived = subscriber.wait_for_count(4, 2 * KEEPALIVE_S)
        assert sorted(message.topic.split("/")[-2] for message in arrived) == ["d0", "d1", "d2", "d3"]
        wait_until_judged(daemon, 160, 20)
        assert daemon.stop() == 0
    time.sleep(0.2)
    assert len(told(subscriber)) == 4
