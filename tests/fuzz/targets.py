"""What is fuzzed: everything that reads what somebody else has written, and what it may raise."""

import os
import random
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch
from urllib.parse import parse_qsl

import numpy as np

from forewarn.adapters.http_access import BasicAuth
from forewarn.adapters.http_request import Answer, Request
from forewarn.adapters.journal import Entry, Journal, Letter
from forewarn.adapters.onnx_forecaster import load_model
from forewarn.core.card import CARD_KEY, GOLDEN_KEY, GoldenSample, ModelCard
from forewarn.core.engine import Engine
from forewarn.core.readings import Batch, Rejection, SeriesKey
from forewarn.core.records import Lost, Tick, of, of_batch, of_tick, read
from forewarn.core.rules import Rules
from forewarn.core.snapshot import Snapshot
from forewarn.errors import ModelError, PayloadError, SettingsError
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Input
from forewarn.inputs.times import epoch_seconds
from forewarn.inputs.topics import TopicPattern
from forewarn.onnx_file import read_graph
from forewarn.onnx_shapes import work
from forewarn.passwords import PasswordHash
from forewarn.settings import load
from forewarn.wire import Inflow, OversizedError
from tests.forecasters import HalfTrend, card
from tests.fuzz.mutation import Mutator
from tests.fuzz.protobuf import damaged, decode, encode
from tests.inputs.examples import OF_ECOSYSTEMS, decoder, examples
from tests.page.engines import World

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "models" / "tiny.onnx"

Case = Callable[[random.Random], bytes]
Run = Callable[[bytes], None]


class Target(NamedTuple):
    """One reader.

    Attributes:
        name: for the table.
        share: of all cases.
        case: makes one.
        run: reads it; returns, or raises what is documented, with a text for one line.
        errors: what is documented.
        told: whether such an error reaches a log or a terminal as it is.
    """

    name: str
    share: float
    case: Case
    run: Run
    errors: tuple[type[Exception], ...]
    told: bool = True


# -- payloads and topics ---------------------------------------------------------------------------------------------

_JSON = (
    b'{"data": {"v": 21.5}, "at": 1735689600.25, "t": 4, "list": [0, {"h": "40.5"}], "meta": {"id": "a-1"}}',
    b'{"data": {"v": "21.5"}, "at": "2026-01-01T00:00:00+02:00", "t": null, "list": [], "meta": {"id": 17}}',
    b'\xef\xbb\xbf{"data":{"v":-0.0},"at":1735689600250,"t":1e308,"list":[1,{"h":true}],"meta":{"id":"\\u00e9"}}',
)
_TOPICS = (b"n/freezer-1/temperature", b"j/a/b", b"s/x", "n/gefrier-süd/°".encode(), b"n/a/b/c", b"$SYS/broker", b"n//")
_PATTERNS = (b"n/{device}/{metric}", b"+/{device}/#", b"#", b"{metric}/x/+", b"$share/g/n/{device}/{metric}")


def _decoder(*features: str) -> Decoder:
    inputs = [
        Input(TopicPattern("n/{device}/{metric}")),
        Input(TopicPattern("j/{device}/{metric}"), "json", values={"": ("data", "v")}, time=("at",)),
        Input(
            TopicPattern("s/+"),
            "json",
            device=("meta", "id"),
            values={"humidity": ("list", "1", "h"), "temperature": ("t",)},
        ),
    ]
    return Decoder(inputs, card(features=features or ("temperature",)), max_payload_bytes=65_536)


def _number(data: bytes) -> None:
    _decoder().decode("n/a/b", data)


def _json(data: bytes) -> None:
    one, two = _decoder(), _decoder("temperature", "humidity")
    with suppress(PayloadError):
        one.decode("j/a/b", data)
    with suppress(PayloadError):
        one.decode("s/x", data)
    two.decode("s/x", data)


def _topic(data: bytes) -> None:
    for reading in _decoder().decode(data.decode("utf-8", "surrogateescape"), b"1").readings:
        assert not set("/+#\0") & set(reading.key.device + reading.key.metric)


def _pattern(data: bytes) -> None:
    text, _, topic = data.decode("utf-8", "surrogateescape").partition("\n")
    TopicPattern(text).match(topic)


def _messages() -> list[bytes]:
    """The examples of every dialect, each after its dialect's name and its topic."""
    return [
        f"{dialect}\n{topic}\n".encode() + payload
        for dialect in OF_ECOSYSTEMS
        for topic, payload, *_ in examples(dialect)
    ]


def _message(data: bytes) -> None:
    name, topic, payload = (*data.split(b"\n", 2), b"", b"")[:3]
    dialect = name.decode(errors="replace")
    if dialect not in OF_ECOSYSTEMS:
        raise PayloadError(Rejection.MALFORMED, "there is no such dialect")
    source = decoder(dialect, metrics=["*"])
    for _ in range(2):  # it remembers the first
        for reading in source.decode(topic.decode("utf-8", "surrogateescape"), payload).readings:
            assert not set("/+#\0") & set(reading.key.device + reading.key.metric)


def _time(data: bytes) -> None:
    epoch_seconds(data.decode("utf-8", "surrogateescape"))


# -- settings --------------------------------------------------------------------------------------------------------

_HASH = b"scrypt$16384$8$1$c2FsdHNhbHQ=$" + b"A" * 43 + b"="
_VARIABLES = (
    b'MQTT__HOST=broker\nMQTT__PASSWORD=secret\nINPUTS=[{"topic": "s/{device}/{metric}"}]',
    b'UNITS={"a": "b"}\nALERTS__OVERRIDES=[{"device": "a*", "threshold": 3}]\nMETRICS__PORT=0',
    b"METRICS__USERNAME=x\nMETRICS__PASSWORD_HASH=" + _HASH,
)  # fmt: skip


def _toml_examples() -> list[bytes]:
    shipped = [path.read_bytes() for path in (ROOT / "systemd" / "forewarn.toml", ROOT / "deploy" / "forewarn.toml")]
    open_ = [line.removeprefix(b"# ") for line in shipped[0].splitlines() if b" = " in line or line.startswith(b"# [")]
    short = b'[[inputs]]\ntopic = "a/{device}"\ndialect = "json"\nvalues = {t = "a.b"}\n[mqtt]\ntls = true\n'
    return [*shipped, b"\n".join(open_), short]


def _toml(folder: Path) -> Run:
    path = folder / "forewarn.toml"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        load(path)

    return run


def _environment(data: bytes) -> None:
    text = data.replace(b"\0", b"0").decode("utf-8", "surrogateescape")
    given = dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
    with patch.dict(os.environ, {f"FOREWARN_{name}": value for name, value in given.items()}):
        load(None)


# -- files -----------------------------------------------------------------------------------------------------------


def _metadata(key: str) -> bytes:
    for number, _, value in decode(TINY.read_bytes(), "model"):
        if number == 14 and isinstance(value, list) and value[0][2] == key.encode():
            assert isinstance(value[1][2], bytes)
            return value[1][2]
    raise KeyError(key)


def _card(data: bytes) -> None:
    ModelCard.from_json(data.decode("utf-8", "replace"))


def _golden(data: bytes) -> None:
    GoldenSample.from_json(data.decode("utf-8", "replace"))


def _graph(data: bytes) -> None:
    work(read_graph(data))


def _record(data: bytes) -> None:
    read(data)


def _past(data: bytes) -> None:
    Snapshot.from_bytes(data)


def _records() -> list[bytes]:
    batch = Batch([SeriesKey("a", "t"), SeriesKey("é", "")] * 2, np.arange(4.0), np.arange(4.0), np.ones((4, 2)))
    return [of_batch(batch), of_tick(Tick(1.5, 0.0)), of(Lost([("a", 1.5)]))]


def _snapshot() -> bytes:
    engine = Engine(HalfTrend(), Rules())
    at = np.arange(200.0) * 60
    values = np.where(np.arange(200) % 97 == 96, 90.0, 20 + np.sin(at / 600)).reshape(-1, 1)
    engine.ingest(Batch([SeriesKey("a", "t"), SeriesKey("b", "t")] * 100, at, at, values))
    return engine.snapshot().to_bytes()


def _journal_file(folder: Path) -> bytes:
    path = folder / "whole.sqlite"
    journal = Journal(path)
    journal.save(_snapshot(), '{"a": 1}', [Letter(1, "a/b", "{}", retain=False)])
    journal.commit([Entry(record, b"r") for record in _records()], [Letter(2, "a/c", "{}", retain=False)], [1])
    journal.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = path.read_bytes()
    path.unlink()
    return content


def _journal(folder: Path) -> Run:
    path = folder / "state.sqlite"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        journal = Journal(path)
        try:
            journal.recover()
        finally:
            journal.close()
            for left in folder.glob("state.sqlite*"):
                left.unlink()

    return run


# -- the network -----------------------------------------------------------------------------------------------------

_REQUESTS = (
    b"GET /metrics HTTP/1.1\r\nHost: [::1]:80\r\nAuthorization: Basic YTpi\r\nAccept: */*\r\n\r\n",
    b"HEAD /healthz?x=1 HTTP/1.0\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"GET /../../etc/passwd HTTP/1.1\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /\r\n",
)


_ADDRESSES = (
    b"/?q=freezer&state=alert&sort=name&page=2",
    b"/device?device=a%20%26&metric=temperature",
    b"/device/live?device=%3Cscript%3E&metric=%C3%A9%ff",
    b"/alerts?",
    b"/live?q=%00&page=999999&state=warming_up",
)
_HEADERS = tuple(line + b"\r\n" for line in _REQUESTS[0].split(b"\r\n") if line)


class _Anybody:
    """Stands for a password hash: `b` is the password."""

    def matches(self, password: bytes) -> bool:
        return password == b"b"


def _request(data: bytes) -> None:
    routes = {"/metrics": lambda _: Answer(200, "text/plain", b"here")}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)  # noqa: FBT003 - the library's signature
        theirs.send(data)
        theirs.shutdown(socket.SHUT_WR)
        with patch("time.sleep"):
            auth = BasicAuth("a", _Anybody())  # type: ignore[arg-type]  # all that is used of it
            server = SimpleNamespace(routes=routes, streams={}, auth=auth, told_to_all=frozenset(), is_loopback=True)
            Request(ours, ("127.0.0.1", 1), server)  # type: ignore[arg-type]  # the same
        ours.shutdown(socket.SHUT_WR)
        answer = theirs.recv(65_536) if data else b""
        assert b"here" not in answer or b"YTpi" in data


def _page() -> Run:
    world = World()
    world.warm(["a &", "<script>"], 10)
    paths = {**world.site.routes(), **world.site.streams()}

    def run(data: bytes) -> None:
        path, _, asked = data.decode("latin-1").partition("?")
        with suppress(ValueError):  # too many fields are refused before
            query = dict(parse_qsl(asked, keep_blank_values=True, max_num_fields=16))
            said = paths.get(path, paths["/"])(query)
            html = (said.body if isinstance(said, Answer) else next(said)).decode()
            assert "<script>alert" not in html
            assert html.count("<script>") <= 1

    return run


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first, len(body)]) + body


_STREAMS = (
    _packet(0x32, b"\x00\x03a/b\x00\x07\x00payload") * 3 + _packet(0xD0, b""),
    _packet(0x30, b"\x00\x03a/b\x02\x01\x01" + b"x" * 90) + _packet(0x40, b"\x00\x01"),
    _packet(0x20, b"\x00\x00") + _packet(0x90, b"\x00\x01\x01") + b"\x30\x80\x80\x01\x00\x01t" + b"x" * 17_000,
    b"\x30\xff\xff\xff\x7f\x00\x01t" + b"x" * 60_000,
)


def _stream(data: bytes) -> None:
    for five in (False, True):
        inflow = Inflow(five=five, most=300)
        for start in range(0, len(data), 4096):
            publishes, _ = inflow.feed(data[start : start + 4096])
            assert all(len(message.payload) <= 301 for message in publishes)


# -- all of them -----------------------------------------------------------------------------------------------------


def _bytes_of(corpus: list[bytes] | tuple[bytes, ...], *words: bytes) -> Case:
    return Mutator(corpus, words).case


def _model_case() -> Case:
    content = TINY.read_bytes()
    fields, flat = decode(content, "model"), Mutator([content])

    def case(generator: random.Random) -> bytes:
        if generator.random() < 0.3:
            return flat.case(generator)
        changed = fields
        for _ in range(generator.choice((1, 1, 1, 2, 3))):
            changed = damaged(changed, generator)
        return encode(changed)

    return case


def _load(folder: Path) -> Run:
    path = folder / "model.onnx"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        load_model(path)

    return run


def _hash(data: bytes) -> None:
    PasswordHash.parse(data.decode("utf-8", "surrogateescape"))


@contextmanager
def targets(folder: Path) -> Iterator[list[Target]]:
    """All of them, with files in a folder and no settings from outside."""
    payload, model, value, setting = (PayloadError,), (ModelError,), (ValueError,), (SettingsError,)
    topics = [*_PATTERNS, *_TOPICS]
    patterns = [pattern + b"\n" + topic for pattern in _PATTERNS for topic in _TOPICS]
    moments = (b"1735689600.25", b"2026-01-01T00:00:00Z", b"2026-W01-1", b"20260101T000000+0530", b"1735689600250")
    outside = {name: value for name, value in os.environ.items() if not name.upper().startswith("FOREWARN_")}
    outside.pop("CREDENTIALS_DIRECTORY", None)
    with patch.dict(os.environ, outside, clear=True):
        yield [
            Target("number payload", 0.08, _bytes_of([b"21.5", b" -3\n", b"1e-7", b"nan"]), _number, payload),
            Target("json payload", 0.1, _bytes_of(_JSON), _json, payload),
            Target("message", 0.1, _bytes_of(_messages()), _message, payload),
            Target("topic", 0.08, _bytes_of(topics), _topic, payload),
            Target("topic pattern", 0.08, _bytes_of(patterns), _pattern, value, told=False),
            Target("time", 0.05, _bytes_of(moments), _time, payload),
            Target("settings file", 0.04, _bytes_of(_toml_examples()), _toml(folder), setting),
            Target("environment", 0.04, _bytes_of(_VARIABLES), _environment, setting),
            Target("password hash", 0.03, _bytes_of([_HASH]), _hash, value),
            Target("card", 0.07, _bytes_of([_metadata(CARD_KEY)]), _card, model, told=False),
            Target("golden sample", 0.04, _bytes_of([_metadata(GOLDEN_KEY)]), _golden, model, told=False),
            Target("record", 0.07, _bytes_of(_records()), _record, value, told=False),
            Target("snapshot", 0.02, _bytes_of([_snapshot()]), _past, value, told=False),
            Target("journal", 0.02, _bytes_of([_journal_file(folder)]), _journal(folder), ()),
            Target("model graph", 0.06, _model_case(), _graph, model),
            Target("model file", 0.01, _model_case(), _load(folder), model),
            Target("page address", 0.02, _bytes_of(_ADDRESSES), _page(), ()),
            Target("http request", 0.04, _bytes_of(_REQUESTS, *_HEADERS), _request, ()),
            Target("mqtt stream", 0.05, _bytes_of(_STREAMS), _stream, (OversizedError,)),
        ]
