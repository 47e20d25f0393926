"""AutoARIMA, AutoETS and Theta beside a model: the only importer of statsforecast, which is the extra `baselines`.

Rules that hold here:

- Each method is fitted once for each device, to the end of its training part; parameters never change after that.
- At the end of each window the fitted method reads the device's own readings up to there, and none after it. Readings
  that are missing are bridged by a straight line, so that a season keeps its phase.
- Cost is bounded: so many readings, windows and devices, and no more, however long the file is.
- Forms are additive. AutoETS and Theta count from the level at which their readings begin, so that where they begin
  does not matter; AutoETS begins at the same phase of the season each time.

Hyndman and Khandakar 2008, doi:10.18637/jss.v027.i03 (AutoARIMA, AutoETS); Assimakopoulos and Nikolopoulos 2000,
doi:10.1016/S0169-2070(00)00066-2 (Theta).
"""

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from forewarn.core.clock import DAY_S
from forewarn.errors import SettingsError
from forewarn_training.data import Dataset, Floats, Part
from forewarn_training.evaluate import known

ARIMA, ETS, THETA = "AutoARIMA", "AutoETS", "Theta"
METHODS = (ARIMA, ETS, THETA)
LONGEST_SEASON = 200
MOST_WINDOWS = 500
MOST_DEVICES = 8
READINGS = 2000  # that a method is fitted to, and that AutoETS and Theta are given at a window's end
_ARIMA_READINGS, _ARIMA_SEASONS = 500, 7  # what AutoARIMA is given there, whichever is more: its filter is the dear one
_EXACT_SEASON = 24  # AutoARIMA's candidates of a longer one are compared by conditional sums of squares
_ETS_SEASON = 24  # the longest that the library's AutoETS has
_LEAST = 20  # readings to fit to


def season(interval_s: float) -> int:
    """Readings in a day, where they are whole (to a thousandth) and at most `LONGEST_SEASON`; 1, no season, else."""
    readings = round(DAY_S / interval_s)
    drift_s = abs(readings * interval_s - DAY_S)
    return readings if 2 <= readings <= LONGEST_SEASON and drift_s <= DAY_S / 1000 else 1


@dataclass(frozen=True, slots=True)
class _Method:
    make: Callable[[int], Any]
    longest_season: int
    from_start: bool = False  # counts from the level at which its readings begin
    readings: Callable[[int], int] = lambda _: READINGS


class Classical:
    """The classical forecasts of one dataset, as `evaluate` asks for them."""

    def __init__(self, data: Dataset, methods: tuple[str, ...] = METHODS, *, progress: bool = True) -> None:
        """Import the library; nothing is fitted yet.

        Args:
            data: what the windows belong to.
            methods: of `METHODS`.
            progress: whether to show a bar where the terminal can.

        Raises:
            SettingsError: where statsforecast is not installed.
        """
        library = _methods()
        self._methods = {name: library[name] for name in methods}
        self._data = data
        self._progress = progress
        self._failed: dict[str, str] = {}

    def windows(self, part: Part) -> NDArray[np.int64]:
        """The windows that every row of the table is measured at: spread evenly over some of the devices."""
        owner = part.device[part.starts]
        kept = _spread(np.unique(owner), MOST_DEVICES)
        return _spread(np.flatnonzero(np.isin(owner, kept)), MOST_WINDOWS)

    def forecast(self, part: Part, chosen: NDArray[np.int64]) -> dict[str, Floats]:
        """`(n, horizon)` by method, without those that cannot be fitted to these readings."""
        ends = part.starts[chosen] + part.n_step - 1
        owner = part.device[ends]
        out = {name: np.full((len(chosen), part.horizon), np.nan) for name in self._methods}
        with tqdm(
            total=len(chosen) * len(out), unit=" windows", desc="classical", disable=None if self._progress else True
        ) as bar:
            for device in np.unique(owner):
                mine = np.flatnonzero(owner == device)
                track = _Track.of(self._data, int(device))
                for name, method in self._methods.items():
                    bar.set_postfix_str(name)
                    self._apply(name, method, track, part.at[ends[mine]], out[name], mine, bar.update)
        return {name: values for name, values in out.items() if name not in self._failed}

    @property
    def note(self) -> str:
        """How these rows were made, and which are missing."""
        shown = [name for name in self._methods if name not in self._failed]
        period = season(self._data.interval_s)
        of_season = f"season {period} readings" if period > 1 else "no season"
        told = (
            f"{', '.join(shown)} were fitted once to at most the last {READINGS:,} readings of the training part "
            f"({of_season}), then given the readings up to each window's end (more than the window holds)."
            if shown
            else ""
        )
        if ETS in shown and period > _ETS_SEASON:
            told += f" AutoETS has no season here: it knows none longer than {_ETS_SEASON} readings."
        lost = [f"{name} is left out: {reason}." for name, reason in self._failed.items()]
        return " ".join([told, *lost]).strip()

    def _apply(
        self,
        name: str,
        method: _Method,
        track: "_Track",
        ends_at: Floats,
        out: Floats,
        rows: NDArray[np.int64],
        done: Callable[[int], object],
    ) -> None:
        if name in self._failed:
            return
        try:
            with _quiet():
                fitted = _Fitted(method, track, season(self._data.interval_s))
                for row, end_at in zip(rows, ends_at, strict=True):
                    out[row] = fitted.forecast(end_at, out.shape[1])
                    done(1)
        except Exception as error:  # noqa: BLE001 - the library raises whatever numpy and scipy do
            self._failed[name] = f"it cannot be fitted to these readings ({type(error).__name__}: {error})"
            return
        if not np.isfinite(out[rows]).all():
            self._failed[name] = "it gave no finite forecast"


@dataclass(frozen=True, slots=True)
class _Track:
    """One device's known readings, all parts in order, by their place in units of the interval."""

    at: Floats
    place: NDArray[np.int64]
    y: Floats
    training_end_at: float

    @classmethod
    def of(cls, data: Dataset, device: int) -> "_Track":
        at, y = known(data, device)
        steps = np.maximum(1, np.rint(np.diff(at) / data.interval_s)).astype(np.int64)
        end_at = float(data.training.at[data.training.device == device].max(initial=-np.inf))
        return cls(at, np.concatenate([[0], np.cumsum(steps)]), y, end_at)

    def until(self, end_at: float, most: int, phase: int, period: int) -> tuple[Floats, int]:
        """At most `most` readings up to and with a time, and the place of the first, which is `phase` of a period."""
        end = int(np.searchsorted(self.at, end_at, side="right")) - 1
        first = int(np.searchsorted(self.place, self.place[max(end, 0)] - most, side="right"))
        start = int(self.place[first])
        start += (phase - start) % period
        places = np.arange(start, self.place[end] + 1)
        return np.interp(places, self.place[first : end + 1], self.y[first : end + 1]), start


class _Fitted:
    """One method fitted to the training part of one device, in units of its spread."""

    def __init__(self, method: _Method, track: _Track, period: int) -> None:
        self._method, self._track = method, track
        y, self._phase = track.until(track.training_end_at, READINGS, 0, 1)
        if len(y) < _LEAST:
            raise ValueError(f"{len(y)} readings in a training part, {_LEAST} are needed")
        self._period = period if period <= method.longest_season and len(y) >= 3 * period else 1
        self._level, self._scale = float(y.mean()), float(y.std()) or 1.0
        self._model = method.make(self._period)
        self._model.fit((y - self._origin(y)) / self._scale)

    def forecast(self, end_at: float, horizon: int) -> Floats:
        """`(horizon,)` from the readings up to and with `end_at`."""
        y, _ = self._track.until(end_at, self._method.readings(self._period), self._phase, self._period)
        origin = self._origin(y)
        said = self._model.forward((y - origin) / self._scale, h=horizon)["mean"]
        return np.asarray(said, np.float64) * self._scale + origin

    def _origin(self, y: Floats) -> float:
        return float(y[: max(self._period, 10)].mean()) if self._method.from_start else self._level


def _methods() -> dict[str, _Method]:
    try:
        with _quiet():
            models = importlib.import_module("statsforecast.models")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{', '.join(METHODS)} need {error.name}, which is not installed: pip install 'forewarn[baselines]'"
        ) from error

    def arima(period: int) -> Any:  # noqa: ANN401 - the library is not there for every check of types
        bounds = {"max_p": 3, "max_q": 3, "max_P": 1, "max_Q": 1, "nmodels": 20} if period > 1 else {}
        return models.AutoARIMA(season_length=period, approximation=period > _EXACT_SEASON, **bounds)

    def ets(period: int) -> Any:  # noqa: ANN401 - the same
        return models.AutoETS(season_length=period)

    def theta(period: int) -> Any:  # noqa: ANN401 - the same
        return models.Theta(season_length=period, decomposition_type="additive")

    return {
        ARIMA: _Method(arima, LONGEST_SEASON, readings=lambda period: max(_ARIMA_READINGS, _ARIMA_SEASONS * period)),
        ETS: _Method(ets, _ETS_SEASON, from_start=True),
        THETA: _Method(theta, LONGEST_SEASON, from_start=True),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """The library warns of each candidate that converges badly or that a search leaves out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _spread(values: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the values, spread evenly."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).astype(np.int64))]
