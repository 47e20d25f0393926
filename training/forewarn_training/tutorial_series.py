"""The series that tutorials of LSTMs forecast, made up from a seed: nothing is downloaded."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forewarn.history import History

Floats = NDArray[np.float64]

STARTED_AT = 1_741_000_000.0  # 3 March 2025, 11:06 UTC
HOUR_S, MINUTE_S = 3600.0, 60.0
_SEED = 7


def noisy_sine(n: int = 1500) -> History:
    """sin(2 pi t / 24) with Gaussian noise of 0.2, a reading an hour."""
    t = np.arange(float(n))
    return _history("noisy sine", {"value": np.sin(2 * np.pi * t / 24) + _random(0).normal(0, 0.2, n)}, t * HOUR_S)


def hourly_temperature(n: int = 3000) -> History:
    """Outdoor temperature in °C from March into July: the year's rise, a day's swing that varies, and weather.

    Weather is autoregressive, 0.97 an hour. Rounded to 0.1 °C.
    """
    t, random = np.arange(float(n)), _random(1)
    year = 12 - 9 * np.cos(2 * np.pi * (t / 24 + 45) / 365)
    swing = np.interp(t / 24, np.arange(n // 24 + 2), random.uniform(1.5, 5.5, n // 24 + 2))
    day = -swing * np.cos(2 * np.pi * (t % 24 - 3) / 24)
    weather = _autoregressive(random.normal(0, 0.45, n), 0.97)
    return _history("hourly temperature", {"temperature": np.round(year + day + weather, 1)}, t * HOUR_S)


def irregular(n: int = 3000) -> History:
    """A cold room's temperature in °C, nominally each minute: times jitter, and readings are missing.

    The compressor's cycle is 40 minutes. Times are up to 20 s early or late; 4 % of the readings are missing one by
    one, and ten stretches of 5 to 60 minutes are missing whole.
    """
    random = _random(2)
    at = MINUTE_S * np.arange(n) + random.uniform(-20, 20, n)
    phase = at / (40 * MINUTE_S) % 1
    cycle = np.where(phase < 0.3, 1 - phase / 0.3, (phase - 0.3) / 0.7)
    y = 4 + 2 * cycle + _autoregressive(random.normal(0, 0.05, n), 0.9) + random.normal(0, 0.05, n)
    kept = random.random(n) >= 0.04
    for start in random.integers(0, n, 10):
        kept[start : start + int(random.integers(5, 61))] = False
    return _history("irregular series", {"temperature": y[kept]}, at[kept])


def heated_room(n: int = 2000) -> History:
    """A room's temperature in °C each 5 minutes, which follows the outdoor temperature and the heating (0 or 1)."""
    random, t = _random(3), np.arange(float(n))
    outdoor = 6 - 5 * np.cos(2 * np.pi * t / 288) + _autoregressive(random.normal(0, 0.1, n), 0.99)
    noise = random.normal(0, 0.05, n)
    indoor, heating = np.empty(n), np.zeros(n)
    indoor[0] = 19.0
    for i in range(1, n):
        indoor[i] = indoor[i - 1] + 0.01 * (outdoor[i - 1] - indoor[i - 1]) + 0.4 * heating[i - 1] + noise[i]
        on, off = indoor[i] < 19, indoor[i] > 21
        heating[i] = 1.0 if on else 0.0 if off else heating[i - 1]
    shown = indoor + random.normal(0, 0.05, n)
    return _history("heated room", {"indoor": shown, "outdoor": outdoor, "heating": heating}, t * 300)


def _random(series: int) -> np.random.Generator:
    return np.random.default_rng((_SEED, series))


def _autoregressive(noise: Floats, share: float) -> Floats:
    """x[t] = share * x[t - 1] + noise[t], begun as if it had always run."""
    out = np.empty(len(noise))
    out[0] = noise[0] / np.sqrt(1 - share**2)
    for i in range(1, len(noise)):
        out[i] = share * out[i - 1] + noise[i]
    return out


def _history(name: str, columns: dict[str, Floats], after_s: Floats) -> History:
    """One device; the first column is the target."""
    n = len(after_s)
    values = np.stack(list(columns.values()), axis=1)
    names = tuple(columns)
    return History(Path(name), "", [""] * n, [name] * n, STARTED_AT + after_s, values, names, names[0])
