"""The model card: the one contract between trainer and daemon, embedded in the ONNX file's metadata.

An ONNX model of `forewarn` has the inputs `window`, float32 `(batch, n_step, n_feature)`, and `spread`, float32
`(batch,)`, and the outputs `forecast` `(batch, horizon)`, `block_mean` and `block_log_scale` `(batch, len(BLOCKS))`:
see `core.ports.Forecast`. A model whose card says `multivariate` has the output `t_squared` `(batch, n_feature)` as
well, one that knows the time the input `clock`, float32 `(batch, 4)`: see `core.clock`. All are in engineering units:
normalisation is inside the graph. The metadata key `CARD_KEY` holds the card as JSON and `GOLDEN_KEY` a golden sample,
inputs and the outputs that torch gave for them.
"""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import ModelError

SCHEMA_VERSION = 2
CARD_KEY = "forewarn.card"
GOLDEN_KEY = "forewarn.golden"
MAX_STEPS = 512
MAX_HORIZON = 512
BLOCKS = (20, 60)
"""Readings in the blocks whose means a model forecasts: what the `tail` judge watches beside levels and days."""
NOT_SAID = np.empty((0, 0), np.float32)
"""An output that the model has not."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a window: its name and its unit ("" where the unit is not known)."""

    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the residuals on the validation part said. All of it is absent from a model that knows no sensor yet.

    Attributes:
        mean_abs_residual: mean of |residual| at lead 1, in the target's unit: where a new device's own error starts.
        band_80: `horizon` half-widths, in the target's unit, of the bands around the forecast that are to hold 80 % of
            the readings, one for each lead (split conformal, Vovk et al. 2005).
        band_95: the same for 95 %.
        threshold_errors: the default alert threshold, in multiples of a device's own recent mean absolute error.
    """

    mean_abs_residual: float | None = None
    band_80: tuple[float, ...] | None = None
    band_95: tuple[float, ...] | None = None
    threshold_errors: float | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything the daemon knows of a model.

    Attributes:
        name: of the model, chosen by the trainer.
        version: of this export, chosen by the trainer.
        features: the columns of a window, in order.
        target: the name of the feature that is forecast.
        n_step: readings in a window.
        horizon: leads in a forecast.
        created_at: UTC, ISO 8601.
        interval_s: median seconds between the readings it was trained on; None where it knows none.
        training_data_sha256: of the training data; None for synthetic data.
        calibration: see `Calibration`.
        metrics: errors on held-out data by name, for people to read.
        multivariate: whether the model says how the features of a reading go together.
        schema_version: of this card.
    """

    name: str
    version: str
    features: tuple[Feature, ...]
    target: str
    n_step: int
    horizon: int
    created_at: str
    interval_s: float | None = None
    training_data_sha256: str | None = None
    calibration: Calibration = field(default_factory=Calibration)
    metrics: dict[str, float] = field(default_factory=dict)
    multivariate: bool = False
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse a card that contradicts itself.

        Raises:
            ModelError: naming the field and its value.
        """
        self._check_types()
        if self.schema_version != SCHEMA_VERSION:
            raise ModelError(
                f"the model's card has schema version {self.schema_version}, this forewarn reads {SCHEMA_VERSION}: "
                "export the model again with the forewarn-train of this version"
            )
        names = [feature.name for feature in self.features]
        if not names or len(set(names)) != len(names):
            raise ModelError(f"the model's card has features {names}: at least one is needed, each once")
        if self.target not in names:
            raise ModelError(f"the model's card has the target {self.target!r}, which is none of its features {names}")
        for name, value, most in (("n_step", self.n_step, MAX_STEPS), ("horizon", self.horizon, MAX_HORIZON)):
            if not 1 <= value <= most:
                raise ModelError(f"the model's card has {name} {value}: 1 to {most} is supported")
        for name in ("mean_abs_residual", "threshold_errors"):
            number = getattr(self.calibration, name)
            if number is not None and not _is_size(number):
                raise ModelError(f"the model's card has calibration.{name} {number}: a number of at least 0 is needed")
        for name in ("band_80", "band_95"):
            band = getattr(self.calibration, name)
            if band is not None and not (
                isinstance(band, tuple) and len(band) == self.horizon and all(map(_is_size, band))
            ):
                raise ModelError(
                    f"the model's card has calibration.{name} {band}: a number of at least 0 for each of the "
                    f"{self.horizon} leads is needed"
                )

    def _check_types(self) -> None:
        """A card that was read from a file may hold anything."""
        texts = [self.name, self.version, self.target, self.created_at, self.training_data_sha256 or ""]
        texts += [text for feature in self.features for text in (feature.name, feature.unit)]
        numbers = [0.0 if self.interval_s is None else self.interval_s, *self.metrics.values()]
        whole = [self.n_step, self.horizon, self.schema_version]
        if (
            any(not isinstance(text, str) for text in texts)
            or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers)
            or any(type(n) is not int for n in whole)
            or type(self.multivariate) is not bool
        ):
            raise ModelError(
                "the model's card has a field of another type than docs/models.md says: export the model again with "
                "forewarn-train"
            )

    @property
    def target_index(self) -> int:
        """The column of a window that is forecast."""
        return next(i for i, feature in enumerate(self.features) if feature.name == self.target)

    @property
    def unit(self) -> str:
        """The target's unit."""
        return self.features[self.target_index].unit

    def to_json(self) -> str:
        """The card as JSON, keys in the order of the fields."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a card.

        Raises:
            ModelError: where the text is no card.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            unknown = sorted(set(raw) - {f.name for f in fields(cls)})
            raw["features"] = tuple(Feature(**feature) for feature in raw["features"])
            raw["calibration"] = _calibration(raw.get("calibration", {}))
            card = cls(**raw) if not unknown else None
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise ModelError(
                f"the model's card cannot be read ({error}): export the model again with forewarn-train"
            ) from error
        if card is None:
            raise ModelError(f"the model's card has unknown fields {unknown}: this model is of a newer forewarn")
        return card


def _is_size(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) and number >= 0


def _calibration(raw: dict[str, Any]) -> Calibration:
    """JSON has no tuples."""
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    return Calibration(**found)


_GOLDEN_ARRAYS = ("window", "spread", "forecast", "block_mean", "block_log_scale")


@dataclass(frozen=True, slots=True)
class GoldenSample:
    """Inputs and the outputs that the trainer's framework gave for them, all float32.

    Attributes:
        window: `(n, n_step, n_feature)`, engineering units.
        spread: `(n,)`, the target's unit.
        forecast: `(n, horizon)`, the target's unit.
        block_mean: `(n, len(BLOCKS))`, the target's unit.
        block_log_scale: `(n, len(BLOCKS))`.
        t_squared: `(n, n_feature)`, of a card that says `multivariate`.
        scale: what counts as one unit of error in `forecast` and `block_mean`: parity holds within `TOLERANCE * scale`.
            In `block_log_scale` and `t_squared` 1 does.
        at: `(n,)` float64, UTC epoch seconds of each window's last reading; None where the model has no clock.
    """

    window: NDArray[np.float32]
    spread: NDArray[np.float32]
    forecast: NDArray[np.float32]
    block_mean: NDArray[np.float32]
    block_log_scale: NDArray[np.float32]
    scale: float
    t_squared: NDArray[np.float32] = field(default_factory=lambda: NOT_SAID)
    at: NDArray[np.float64] | None = None

    TOLERANCE: ClassVar[float] = 1e-4

    def __post_init__(self) -> None:
        """Refuse a sample that would prove nothing.

        Raises:
            ModelError: where it is empty, not finite, of other shapes than those above, or has no positive scale.
        """
        arrays = self._arrays()
        rows = len(self.window) if self.window.ndim == 3 else 0
        shapes = [array.shape for array in arrays.values()]
        blocks = (rows, len(BLOCKS))
        wanted = [(rows,), (rows, *shapes[2][1:2]), blocks, blocks, (rows, *shapes[0][2:])]
        whole = shapes[1:] == wanted[: len(shapes) - 1]
        finite = all(np.isfinite(array).all() for array in arrays.values()) and math.isfinite(self.scale)
        finite = finite and (self.at is None or (self.at.shape == (rows,) and bool(np.isfinite(self.at).all())))
        if not (rows and whole and finite and self.scale > 0):
            told = ", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items())
            raise ModelError(
                f"the model's golden sample has a {told} and a scale of {self.scale}, or is not finite: "
                "export the model again with forewarn-train"
            )

    def _arrays(self) -> dict[str, NDArray[np.float32]]:
        arrays = {name: getattr(self, name) for name in _GOLDEN_ARRAYS}
        return {**arrays, "t_squared": self.t_squared} if self.t_squared.size else arrays

    def to_json(self) -> str:
        """The sample as JSON; float32 values survive it to the bit."""
        lists = {name: array.tolist() for name, array in self._arrays().items()}
        at = {} if self.at is None else {"at": self.at.tolist()}
        return json.dumps({**lists, **at, "scale": self.scale})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a golden sample.

        Raises:
            ModelError: where the text is none.
        """
        try:
            raw = json.loads(text)
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
                names = (*_GOLDEN_ARRAYS, *(("t_squared",) if "t_squared" in raw else ()))
                arrays: dict[str, Any] = {name: np.asarray(raw[name], np.float32) for name in names}
            at = np.asarray(raw["at"], np.float64) if raw.get("at") is not None else None
            return cls(**arrays, scale=float(raw["scale"]), at=at)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ModelError(
                f"the model's golden sample cannot be read ({error}): export the model again with forewarn-train"
            ) from error

    def disagreement(
        self,
        forecast: NDArray[np.float32],
        block_mean: NDArray[np.float32],
        block_log_scale: NDArray[np.float32],
        t_squared: NDArray[np.float32] = NOT_SAID,
    ) -> float:
        """The largest difference from the golden outputs, in units of `scale` (of 1 in the last two).

        Infinite where a shape differs or a number is not finite.
        """
        return max(
            _largest(forecast, self.forecast) / self.scale,
            _largest(block_mean, self.block_mean) / self.scale,
            _largest(block_log_scale, self.block_log_scale),
            _largest(t_squared, self.t_squared),
        )


def _largest(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """The largest difference between two arrays; infinite where they cannot be compared."""
    if ours.shape != theirs.shape:
        return math.inf
    worst = float(np.max(np.abs(ours.astype(np.float64) - theirs), initial=0.0))
    return worst if math.isfinite(worst) else math.inf
