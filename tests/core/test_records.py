"""Batches and ticks as bytes and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.core.readings import Batch, SeriesKey
from forewarn.core.records import Lost, Tick, of, of_batch, of_tick, read
from tests.thorough import examples

NAMES = st.text(max_size=20)
FLOATS = st.floats(width=64)


@given(
    st.lists(st.tuples(NAMES, NAMES, FLOATS, FLOATS, FLOATS, FLOATS), max_size=20), st.none() | st.integers(0, 2**20)
)
def test_a_batch_comes_back_to_the_bit(
    rows: list[tuple[str, str, float, float, float, float]], seeds: int | None
) -> None:
    keys = [SeriesKey(device, metric) for device, metric, *_ in rows]
    numbers = np.array([row[2:] for row in rows], np.float64).reshape(len(rows), 4)
    seed = None if seeds is None or not rows else np.array([bool(seeds >> i & 1) for i in range(len(rows))])
    batch = Batch(keys, numbers[:, 0].copy(), numbers[:, 1].copy(), numbers[:, 2:].copy(), seed)
    back = read(of_batch(batch))
    assert isinstance(back, Batch)
    assert list(back.keys) == keys
    assert (None if back.seed is None else back.seed.tolist()) == (None if seed is None else seed.tolist())
    for name in ("at", "received_at", "values"):
        assert getattr(back, name).tobytes() == getattr(batch, name).tobytes()
        assert getattr(back, name).shape == getattr(batch, name).shape


@given(FLOATS.filter(np.isfinite), FLOATS.filter(np.isfinite))
def test_a_tick_comes_back(now: float, since: float) -> None:
    assert read(of_tick(Tick(now, since))) == Tick(now, since)
    lost = Lost([("a", now), ("b:c", since)])
    assert read(of(lost)) == lost


@given(st.binary(max_size=200), st.integers(0, 10_000))
@settings(max_examples=examples(300))
def test_damaged_bytes_are_refused_or_read_but_nothing_else(noise: bytes, at: int) -> None:
    good = of_batch(Batch([SeriesKey("a", "t")] * 3, np.arange(3.0), np.arange(3.0), np.ones((3, 2))))
    for data in (noise, good[: at % len(good)], good[: at % len(good)] + noise, noise + good):
        try:
            read(data)
        except ValueError:
            continue


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        b'{"tick":[1]}\n',
        b'{"tick":5}\n',
        b'{"n":1,"features":1,"keys":[]}\n' + bytes(28),
        b'{"n":1,"features":1,"keys":[["a"]]}\n' + bytes(28),
        b'{"n":-1,"features":1,"keys":[]}\n',
        b'{"n":1,"features":0,"keys":[["a","b"]]}\n' + bytes(20),
        b'{"n":1,"features":1,"keys":[["a","b"]]}\n' + bytes(29),
        b'{"n":1e999,"features":1,"keys":[]}\n',
    ],
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(data)
