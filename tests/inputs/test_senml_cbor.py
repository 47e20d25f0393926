"""The vectors are the example of RFC 8428 (section 6) and others of ours; the rest is as in test_senml.py."""

import builtins
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.core.readings import Rejection
from forewarn.errors import SettingsError
from forewarn.inputs.decoder import Decoder
from tests.inputs.payloads import SLOW_S, Vector, decode, decoder, filled, rejection, survive, took, values
from tests.inputs.test_senml import JSON, LABELS, SINGLE, TIMES

cbor2 = pytest.importorskip("cbor2", reason="the extra cbor is not installed")

# Section 6: the dump of the pack above that has times.
CBOR = bytes.fromhex(
    "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a"
    "22fb41d303a15b00106223614120050067766f6c7461676501615602fb405e06"
    "6666666666a3006763757272656e74062402fb3ff3333333333333a300676375"
    "7272656e74062302fb3ff4cccccccccccda3006763757272656e74062202fb3f"
    "f6666666666666a3006763757272656e74062102f93e00a3006763757272656e"
    "74062002fb3ff999999999999aa3006763757272656e74060002fb3ffb333333"
    "333333"
)
VECTORS = [
    Vector("s/a", CBOR),
    Vector("s/a", bytes.fromhex("81a4216568616c6c2f006b74656d7065726174757265016343656c02f94100")),
]


def senml_cbor(**given: Any) -> Decoder:  # noqa: ANN401 - what a setting may be
    return decoder("senml-cbor", topic="s/+", **given)


def test_the_dump_of_the_rfc_is_the_pack_in_json() -> None:
    source = senml_cbor()
    found = decode(source, "s/a", CBOR).readings
    assert len(found) == 7
    assert found == decode(source, "s/a", TIMES).readings


def test_labels_are_integers() -> None:
    assert values(decode(senml_cbor(), *VECTORS[1])) == {("hall", "temperature"): 2.5}


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("81a20063612f7402c48220190113", 27.5),  # decimal fraction, section 6
        ("d9d9f781a20063612f740205", 5.0),  # marked as CBOR (RFC 8949, section 3.4.6)
        ("9fa20063612f74023829ff", -42.0),  # a stream of records, section 6
        ("81a2616e63612f74617605", 5.0),  # labels as text
    ],
)
def test_the_numbers_that_cbor_has(payload: str, value: float) -> None:
    assert values(decode(senml_cbor(), "s/a", bytes.fromhex(payload))) == {("a", "t"): value}


@pytest.mark.parametrize("tag", ["c0", "c1", "c2", "c5", "d823", "d824", "d81c", "d90102"])
def test_no_other_tag_is_decoded(tag: str) -> None:
    payload = bytes.fromhex("81a20063612f7402" + tag + "6161")
    assert rejection(senml_cbor(), "s/a", payload) is Rejection.MALFORMED


@pytest.mark.parametrize(
    "payload", [b"\x81" * 60_000, b"\x9b" + b"\xff" * 8, b"\x81\xa1\x81\x01\x01", b"\xff", b"\x81"]
)
def test_damaged_cbor_is_malformed(payload: bytes) -> None:
    assert rejection(senml_cbor(), "s/a", payload) is Rejection.MALFORMED


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "cbor2":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]  # as they came

    monkeypatch.delitem(sys.modules, "cbor2", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match=r"pip install 'forewarn\[cbor\]'"):
        senml_cbor()
    assert decode(decoder("senml", topic="s/+"), "s/a", SINGLE).readings


@settings(deadline=None)  # how long a payload takes is held below
@given(payload=st.binary(max_size=60))
def test_no_bytes_raise_anything_else(payload: bytes) -> None:
    survive(senml_cbor(), "s/a", payload)
    survive(senml_cbor(), "s/a", b"\x81" + payload)
    survive(senml_cbor(), "s/a", b"\x81\xa1\x02" + payload)


@settings(deadline=None)  # the same
@given(pack=st.lists(st.dictionaries(LABELS | st.integers(-9, 9), JSON, max_size=4), max_size=3))
def test_no_pack_raises_anything_else(pack: object) -> None:
    survive(senml_cbor(), "s/a", cbor2.dumps(pack))


LONG = {
    "records": filled(bytes.fromhex("a3006161020103f6"), b"\x9f", b"\xff"),
    "fractions": filled(bytes.fromhex("a102c4822001"), b"\x9f", b"\xff"),
    "integer": b"\x81\xa1\x02\xc2\x59\xfd\xe8" + b"\xff" * 65_000,
    "exponent": bytes.fromhex("81a102c4821b7fffffffffffffff01"),
    "expression": b"\x81\xa1\x02\xd8\x23\x79\xfd\xe8" + b"a?" * 32_500,
    "mail": b"\x81\xa1\x02\xd8\x24\x79\xfd\xe8" + b"a: \n" * 16_250,
}


@pytest.mark.parametrize("name", LONG)
def test_the_longest_payload_takes_no_longer_than_50_ms(name: str) -> None:
    assert took(senml_cbor, "s/a", LONG[name]) < SLOW_S
