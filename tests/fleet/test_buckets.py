"""Which bucket a device has. It must never change: what is known of the device is there."""

from collections import Counter

import pytest

from forewarn.fleet.bucket import bucket_of


@pytest.mark.parametrize(
    ("device", "n", "bucket"),
    [
        ("123456789", 65_536, 0x3926),
        ("freezer-1", 64, 50),
        ("freezer-2", 64, 8),
        ("", 64, 0),
        ("käse/4", 64, 12),
        ("\ud800", 7, 1),
        ("a", 1, 0),
    ],
)
def test_a_device_has_the_same_bucket_in_every_run(device: str, n: int, bucket: int) -> None:
    assert bucket_of(device, n) == bucket


@pytest.mark.parametrize("name", ["plug:probe", "plug:probe:3C01", "plug:", "plug::x"])
def test_devices_below_a_name_are_in_its_bucket(name: str) -> None:
    for n in (2, 64, 65_536):
        assert bucket_of(name, n) == bucket_of("plug", n)


def test_devices_are_spread_evenly() -> None:
    n = Counter(bucket_of(f"sensor-{i:05d}", 64) for i in range(64_000))
    assert set(n) == set(range(64))
    assert min(n.values()) > 800
    assert max(n.values()) < 1_200
