"""A short run of what `make fuzz` does at length, and that it would find something."""

import logging
import random
import time
from collections.abc import Iterator

import pytest

from tests.fuzz.campaign import SLOW_S, run
from tests.fuzz.mutation import MOST, Mutator
from tests.fuzz.targets import Target, targets

CASES = 10_000
NAMES = (
    *("number payload", "json payload", "message", "topic", "topic pattern", "time", "settings file", "environment"),
    *("password hash", "card", "golden sample", "record", "snapshot", "journal", "model graph", "model file"),
    *("page address", "http request", "mqtt stream"),
)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Target]]:
    logging.disable()
    with targets(tmp_path_factory.mktemp("fuzz")) as made:
        yield {target.name: target for target in made}
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_input_is_read_or_refused_as_documented(name: str, chosen: dict[str, Target]) -> None:
    found = run(chosen[name], int(CASES * chosen[name].share), seed=1)
    assert not [finding for finding in found.findings if not finding.what.endswith(" ms")]
    assert found.n - found.n_refused > 0, "none of the cases is whole enough to be read"
    assert found.n_refused > 0 or not chosen[name].errors


def test_every_target_has_its_test_and_the_shares_are_all_of_it(chosen: dict[str, Target]) -> None:
    assert tuple(chosen) == NAMES
    assert sum(target.share for target in chosen.values()) == pytest.approx(1)


def test_an_undocumented_error_and_a_slow_case_and_a_text_for_a_terminal_are_findings() -> None:
    def read(data: bytes) -> None:
        if data.startswith(b"a"):
            raise KeyError("a")
        if data.startswith(b"b"):
            time.sleep(1.2 * SLOW_S)
        raise ValueError("\x1b" if data.startswith(b"c") else "text")

    case = Mutator([b"a", b"b", b"c", b"d"]).case
    found = run(Target("x", 1.0, case, read, (ValueError,)), 40, seed=1)
    what = " ".join(finding.what for finding in found.findings)
    assert "KeyError('a')" in what
    assert " ms" in what
    assert "no text for a log" in what
    assert all(finding.case[:1] in b"abc" for finding in found.findings)


def test_cases_follow_from_the_seed_and_are_not_endless() -> None:
    case = Mutator([b'{"a": [1, 2.5, "text"]}'] * 3).case
    first, again = ([case(random.Random(f"{seed}/{i}")) for i in range(500)] for seed in (1, 1))
    assert first == again
    assert len(set(first)) > 300
    assert max(map(len, first)) <= MOST
