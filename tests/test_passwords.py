import io
import sys
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.cli import EX_USAGE, main
from forewarn.passwords import PasswordHash
from tests.thorough import examples


def test_a_password_matches_its_own_hash_alone_and_each_hash_has_its_salt() -> None:
    made = PasswordHash.of("quite a secret °")
    again = PasswordHash.parse(str(made))
    assert again == made
    assert again.matches("quite a secret °".encode())
    assert not again.matches(b"quite a secret")
    assert not again.matches(b"")
    assert str(PasswordHash.of("quite a secret °")) != str(made)


def test_the_hash_is_scrypt_as_rfc_7914_has_it() -> None:
    # The second vector of section 12, the first half of its 64 bytes.
    known = PasswordHash(
        1024, 8, 16, b"NaCl", bytes.fromhex("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162")
    )
    assert known.matches(b"password")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("bcrypt$16384$8$1$c2FsdHNhbHQ=$" + "A" * 43 + "=", "no hash"),
        ("scrypt$16383$8$1$c2FsdHNhbHQ=$" + "A" * 43 + "=", "no hash"),
        ("scrypt$16384$0$1$c2FsdHNhbHQ=$" + "A" * 43 + "=", "no hash"),
        ("scrypt$16384$8$1$c2E=$" + "A" * 43 + "=", "no hash"),
        ("scrypt$16384$8$1$c2FsdHNhbHQ=$AAAA", "no hash"),
        ("scrypt$1048576$8$1$c2FsdHNhbHQ=$" + "A" * 43 + "=", "too much memory"),
        ("scrypt$16384$8$1000000$c2FsdHNhbHQ=$" + "A" * 43 + "=", "too much memory"),
        ("secret", "no hash"),
        ("", "no hash"),
    ],
)
def test_what_is_no_hash_or_costs_too_much_is_refused(change: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PasswordHash.parse(change)


@settings(max_examples=examples(200))
@given(st.text(alphabet="scrypt$0189AZaz=/+-_ é", max_size=60))
def test_any_text_is_a_hash_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert str(PasswordHash.parse(text)) == text


def test_the_command_reads_a_password_from_standard_input_and_prints_its_hash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a secret\nanother line\n"))
    assert main(["hash-password"]) == 0
    printed = capsys.readouterr()
    assert PasswordHash.parse(printed.out.strip()).matches(b"a secret")
    assert printed.err == ""


@pytest.mark.parametrize("given", ["", "\n", "x" * 1025])
def test_the_command_refuses_no_password_and_an_endless_one(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    assert main(["hash-password"]) == EX_USAGE
