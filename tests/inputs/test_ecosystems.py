"""What holds for every dialect that reads an ecosystem's own topics."""

import json
import re
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.errors import PayloadError
from forewarn.inputs.dialect import Presence
from forewarn.inputs.topics import checked_name
from forewarn.settings import load
from forewarn.wiring import decoder_of, topics_of
from tests.forecasters import card
from tests.fuzz.mutation import Mutator
from tests.inputs.examples import OF_ECOSYSTEMS, decoder, examples, said

PAGE = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
WORDS = (b"value", b"tC", b"tF", b"params", b"nodes", b"properties", b"unit", b"Id", b"time", b"root", b"temperature")


@pytest.mark.parametrize("dialect", OF_ECOSYSTEMS)
def test_a_dialect_has_a_section_whose_settings_can_be_used(dialect: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```$", SECTIONS[dialect], re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        path = tmp_path / "forewarn.toml"
        path.write_text(block, "utf-8")
        loaded = load(path).settings
        assert {one.dialect for one in loaded.inputs} == {dialect}
        assert topics_of(loaded)
        decoder_of(loaded, card())


@pytest.mark.parametrize("dialect", OF_ECOSYSTEMS)
def test_a_retained_example_seeds_its_series(dialect: str) -> None:
    vectors, source = examples(dialect), decoder(dialect, metrics=["*"])
    seeds = []
    for vector in [*vectors, *vectors]:  # twice, for those that a dialect reads once it knows more
        with suppress(PayloadError):
            seeds += [reading.seed for reading in source.decode(vector.topic, vector.payload, retained=True).readings]
    assert seeds
    assert all(seeds)


@pytest.mark.parametrize("dialect", OF_ECOSYSTEMS)
@given(document=JSON, data=st.data())
@settings(max_examples=60)
def test_whatever_a_payload_is_it_is_read_or_rejected(dialect: str, document: object, data: st.DataObject) -> None:
    source = decoder(dialect, metrics=["*"])
    vectors = examples(dialect)
    topics = data.draw(st.lists(st.sampled_from([vector.topic for vector in vectors]), min_size=1, max_size=4))
    payloads = st.sampled_from([json.dumps(document).encode(), *(vector.payload for vector in vectors)])
    for topic in topics:
        payload = data.draw(payloads | st.binary(max_size=40))
        with suppress(PayloadError):
            decoded = source.decode(topic, payload)
            names = [name for reading in decoded.readings for name in reading.key]
            names += [other.device for other in decoded.others if isinstance(other, Presence)]
            assert [checked_name(name) for name in names] == names


@pytest.mark.parametrize("dialect", OF_ECOSYSTEMS)
@given(random=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_a_damaged_message_is_read_or_rejected(dialect: str, random: Random) -> None:
    source = decoder(dialect, metrics=["*"])
    mutator = Mutator([vector.topic.encode() + b"\n" + vector.payload for vector in examples(dialect)], WORDS)
    for _ in range(5):
        topic, _, payload = mutator.case(random).partition(b"\n")
        said(source, topic.decode(errors="replace"), payload)


@pytest.mark.parametrize("dialect", OF_ECOSYSTEMS)
@pytest.mark.parametrize("level", ["a/../b", "\x1b[31m", "a\u202e", "#", "x" * 200])
def test_a_name_that_reaches_elsewhere_is_never_told(dialect: str, level: str) -> None:
    source = decoder(dialect, metrics=["*"])
    for vector in examples(dialect):
        for place in range(vector.topic.count("/") + 1):
            levels = vector.topic.split("/")
            levels[place] = level
            with suppress(PayloadError):
                decoded = source.decode("/".join(levels), vector.payload)
                for reading in decoded.readings:
                    assert [checked_name(name) for name in reading.key] == list(reading.key)
