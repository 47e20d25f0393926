"""The link and the plain client over TLS: a real Mosquitto, real certificates, and everything that must be refused."""

import contextlib
import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from forewarn.adapters.mqtt.client import MqttClient
from forewarn.adapters.mqtt.link import MqttLink
from forewarn.adapters.mqtt.session import Broker, BrokerError
from forewarn.adapters.mqtt.tls import Tls
from forewarn.errors import SettingsError
from tests.brokers import Mosquitto
from tests.certificates import Identity, authority, signed
from tests.links import Links, Version, connected, lines, need_mosquitto, turning


class Port:
    """An address where something else than a broker listens."""

    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self.port = port


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for each in (folder, folder.parent):
        each.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def ca(folder: Path) -> Identity:
    return authority(folder)


@pytest.fixture(scope="module")
def server(ca: Identity) -> Identity:
    return signed(ca, "server")


def speaking_tls(server: Identity, *further: str) -> Mosquitto:
    need_mosquitto()
    broker = Mosquitto([f"certfile {server.cert}", f"keyfile {server.key}", "user root", *further])
    broker.start()
    return broker


@pytest.fixture(scope="module")
def broker(server: Identity) -> Iterator[Mosquitto]:
    broker = speaking_tls(server)
    yield broker
    broker.close()


def test_what_came_together_is_handed_over_together(broker: Mosquitto, ca: Identity, link: Links) -> None:
    """Batches are what makes the daemon fast, and Mosquitto puts each message into a record of its own."""
    mine = connected(link(broker, tls=Tls(ca.cert)))
    with MqttClient(Broker(broker.host, broker.port, tls=Tls(ca.cert))) as client:
        for i in range(500):
            client.publish("in/x", str(i))
        client.flush()
    time.sleep(0.3)
    messages = turning(mine, bool)
    assert len(messages) > 100
    messages += turning(mine, lambda more: len(messages) + len(more) == 500)
    assert [message.payload for message in messages] == [str(i).encode() for i in range(500)]


def refused(link: MqttLink, caplog: pytest.LogCaptureFixture, tries: int = 3) -> str:
    """The one line that a link says in several tries, of which none succeeds."""
    caplog.clear()
    ends_at = time.monotonic() + 15.0
    began, seen = 0, None
    while began <= tries:  # the last one is only begun
        assert time.monotonic() < ends_at, f"{began} tries"
        before = time.monotonic()
        link.turn(0.02)
        assert time.monotonic() - before < 1.0, "the loop stood still"
        if link._connecting._thread is not seen:
            seen = link._connecting._thread
            began += seen is not None
    assert (link.subscribed, link.connects) == (False, 0)
    (line,) = lines(caplog)
    start, end = f"broker {link.broker} ", "; trying again, at least every 0 s"
    assert line.startswith(start)
    assert line.endswith(end)
    return line.removeprefix(start).removesuffix(end)


def refused_client(broker: Broker) -> str:
    with pytest.raises(BrokerError) as caught, MqttClient(broker):
        pass
    return str(caught.value).removeprefix(f"broker {broker} ")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_with_the_right_ca_readings_come_in_and_alerts_go_out(
    protocol: Version, broker: Mosquitto, ca: Identity, link: Links
) -> None:
    tls = Tls(ca_file=ca.cert)
    mine = connected(link(broker, protocol=protocol, tls=tls))
    assert isinstance(mine._client.socket(), ssl.SSLSocket)
    heard: list[tuple[str, bytes]] = []
    came = threading.Event()

    def listen(topic: str, payload: bytes) -> None:
        heard.append((topic, payload))
        came.set()

    with MqttClient(Broker(broker.host, broker.port, tls=tls), on_message=listen, subscriptions=["out"]) as other:
        payloads = [b"%d" % i for i in range(1000)] + [b"x" * 300_000]
        for payload in payloads:
            other.publish("in/a", payload, qos=1)
        messages = turning(mine, lambda got: len(got) == len(payloads))
        assert [m.payload for m in messages] == payloads
        mine.publish("out", "y" * 300_000, qos=1, retain=False)
        turning(mine, lambda _: mine.unacknowledged == 0)
        assert came.wait(10)
    assert heard == [("out", b"y" * 300_000)]
    assert mine.close(1.0)


def test_a_certificate_by_a_ca_that_is_not_trusted_is_refused(
    broker: Mosquitto, folder: Path, link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = authority(folder, "stranger")
    for tls, store in ((Tls(ca_file=stranger.cert), stranger.cert), (Tls(), "the system's store")):
        line = refused(link(broker, tls=tls), caplog)
        assert line.startswith(f"has a certificate that no CA in {store} has signed: set mqtt.ca_file to the one that")
        assert refused_client(Broker(broker.host, broker.port, tls=tls)) == line


def test_a_system_store_that_has_the_ca_is_enough(
    broker: Mosquitto, ca: Identity, link: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.cert))
    connected(link(broker, tls=Tls()))


@pytest.mark.parametrize(
    ("subject", "days", "says"),
    [
        ("DNS:broker.example", 2, "has a certificate that is not for this address: set mqtt.host to a name"),
        ("IP:127.0.0.1", -1, "has a certificate that has expired: is it renewed in time, and is the clock"),
    ],
)
def test_a_certificate_for_another_name_or_of_the_past_is_refused(
    subject: str, days: int, says: str, ca: Identity, link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    broker = speaking_tls(signed(ca, f"bad{days}", subject=subject, days=days))
    try:
        assert refused(link(broker, tls=Tls(ca_file=ca.cert)), caplog).startswith(says)
        broker.host = "localhost"
        if days > 0:
            line = refused(link(broker, tls=Tls(ca_file=ca.cert)), caplog)
            assert line.startswith("has a certificate for another name: set mqtt.host to a name that is in")
    finally:
        broker.host = "127.0.0.1"
        broker.close()


def test_a_certificate_that_was_replaced_needs_the_new_ca_and_the_old_one_is_worth_nothing_then(
    folder: Path, ca: Identity, link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    trusted = folder / "trusted.crt"
    trusted.write_bytes(ca.cert.read_bytes())
    signed(ca, "replaced")
    broker = speaking_tls(Identity(folder / "replaced.crt", folder / "replaced.key"))
    try:
        mine = connected(link(broker, tls=Tls(ca_file=trusted)))
        successor = authority(folder, "successor")
        signed(successor, "replaced")
        broker.restart()
        turning(mine, lambda _: not mine.subscribed)
        late = link(broker, tls=Tls(ca_file=trusted), name="late")
        assert refused(late, caplog).startswith(f"has a certificate that no CA in {trusted} has signed")
        mine.turn(1.0)
        assert not mine.subscribed
        # Trust that is renewed in its place counts from the next try on, without a restart.
        trusted.write_bytes(successor.cert.read_bytes())
        connected(late)
        connected(mine)
    finally:
        broker.close()


def test_a_broker_that_asks_for_a_client_certificate_gets_it_or_says_what_is_missing(
    folder: Path, ca: Identity, server: Identity, link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    broker = speaking_tls(server, f"cafile {ca.cert}", "require_certificate true", "use_identity_as_username true")
    try:
        mine, other = signed(ca, "gateway"), signed(authority(folder, "other"), "unknown")
        connected(link(broker, tls=Tls(ca.cert, mine.cert, mine.key)))
        line = refused(link(broker, tls=Tls(ca.cert), name="none"), caplog)
        assert line == "asks for a client certificate: see mqtt.cert_file and mqtt.key_file"
        line = refused(link(broker, tls=Tls(ca.cert, other.cert, other.key), name="other"), caplog)
        assert line == "does not trust the CA of our client certificate: see mqtt.cert_file and mqtt.key_file"
    finally:
        broker.close()


def test_plain_text_to_a_port_that_speaks_tls_is_refused(
    broker: Mosquitto, link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    line = refused(link(broker), caplog)
    assert line.startswith("ends the connection before it is set up (")
    assert line.endswith("if this port speaks TLS: set mqtt.tls = true)")


def test_tls_to_a_port_of_plain_text_is_refused(
    mosquitto: Mosquitto, ca: Identity, link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    line = refused(link(mosquitto, tls=Tls(ca_file=ca.cert)), caplog)
    assert line.startswith("does not speak TLS on this port: give mqtt.port the one that does (usually 8883)")


def test_a_broker_whose_newest_tls_is_1_1_is_refused(
    server: Identity, ca: Identity, link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.cert, server.key)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with plain, contextlib.suppress(OSError):
                    context.wrap_socket(plain, server_side=True).close()

        threading.Thread(target=serve, daemon=True).start()
        try:
            line = refused(link(Port(port), tls=Tls(ca_file=ca.cert)), caplog)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    assert line == "speaks no TLS 1.2 or later: it has to be updated"


def test_a_port_that_accepts_and_says_nothing_does_not_hold_up_the_loop(
    ca: Identity, link: Links, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forewarn.adapters.mqtt.session.CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mine = link(Port(silent.getsockname()[1]), tls=Tls(ca_file=ca.cert))
        line = refused(mine, caplog)
        mine.close(0.1)
        assert mine._connecting.ended(5.0)  # Python leaves a socket open that is reset while it gets its TLS
    assert line == "does not speak TLS on this port within 0.3 s: is mqtt.port the one that does?"


def test_files_that_cannot_be_used_are_told_at_the_start_with_their_setting(
    folder: Path, ca: Identity, server: Identity, link: Links
) -> None:
    empty, locked = folder / "empty.pem", folder / "locked.key"
    empty.write_text("nothing\n")
    command = ["openssl", "ec", "-aes256", "-passout", "pass:x", "-in", str(server.key), "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    good = Tls(ca.cert, server.cert, server.key)
    context = good.context()
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    for bad, says in (
        (replace(good, ca_file=folder / "gone"), f"mqtt.ca_file: {folder}/gone cannot be read (No such file"),
        (replace(good, ca_file=folder), f"mqtt.ca_file: {folder} cannot be read (Is a directory)"),
        (replace(good, ca_file=empty), f"mqtt.ca_file: {empty} has no certificate in PEM"),
        (replace(good, cert_file=folder / "gone"), f"mqtt.cert_file: {folder}/gone cannot be read (No such file"),
        (replace(good, cert_file=empty), f"mqtt.cert_file, mqtt.key_file: {empty} and {server.key} are no"),
        (replace(good, key_file=folder / "gone"), f"mqtt.key_file: {folder}/gone cannot be read (No such file"),
        (replace(good, key_file=ca.key), f"mqtt.cert_file, mqtt.key_file: {server.cert} and {ca.key} do not belong"),
        (replace(good, key_file=locked), f"mqtt.key_file: {locked} has a passphrase: give a key without one"),
    ):
        with pytest.raises(SettingsError) as caught:
            link(Port(1), tls=bad)
        assert str(caught.value).startswith(says)


def test_a_connection_that_tls_breaks_later_is_made_anew(
    broker: Mosquitto, ca: Identity, link: Links, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mine = connected(link(broker, tls=Tls(ca_file=ca.cert)))
    under = mine._client.socket()
    assert isinstance(under, ssl.SSLSocket)
    with socket.socket(fileno=socket.dup(under.fileno())) as raw:
        raw.sendall(b"no TLS record at all")
    turning(mine, lambda _: not mine.subscribed)
    connected(mine)
    assert mine.connects == 2
