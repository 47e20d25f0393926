"""The sections that say how readings are judged: `[alerts]`, `[faults]` and `[[monitors]]`."""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from forewarn.core.rules import MAX_SENSITIVITY, MIN_SENSITIVITY
from forewarn.settings.kinds import Factor, Finite, Positive, Seconds, Section
from forewarn.settings.sources import merged


class ThresholdOverride(Section):
    """Another threshold of the judge `residual` for some series."""

    device: str = Field(default="*", description="Shell-style pattern of device names.")
    metric: str = Field(default="*", description="Shell-style pattern of metric names.")
    threshold: Positive = Field(description="As `alerts.threshold`.")
    threshold_mode: Literal["errors", "absolute"] = Field(default="errors", description="As `alerts.threshold_mode`.")


class AlertSettings(Section):
    """When a reading becomes an alert."""

    detector: Literal["tail", "residual"] = Field(
        default="tail",
        description="`tail`: how rare what the series does is on this series; `residual`: one reading's distance from "
        "its forecast, over a threshold. docs/alerts.md has both.",
    )
    sensitivity: float = Field(
        default=1.0,
        ge=MIN_SENSITIVITY,
        le=MAX_SENSITIVITY,
        description="`tail`: expected alerts per device and month; less is quieter.",
    )
    threshold_mode: Literal["errors", "absolute"] = Field(
        default="errors",
        description="`residual`: in `errors`, multiples of the series' own recent mean absolute error, or in the "
        "metric's unit.",
    )
    threshold: Positive | None = Field(
        default=None,
        description="`residual`: without it, the model's own calibrated threshold counts, or 8 errors.",
    )
    clear_ratio: float = Field(
        default=0.5, gt=0, le=1, description="`residual`: an alert clears below this share of the threshold."
    )
    clear_after: int = Field(
        default=3, ge=1, le=10_000, description="Readings in a row below it before an alert clears."
    )
    raise_after: int = Field(
        default=1,
        ge=1,
        le=32,
        description="`residual`: an alert is raised when so many readings exceed the threshold, k …",
    )
    raise_within: int = Field(default=1, ge=1, le=32, description="… of the last so many, m.")
    critical_ratio: Factor = Field(default=2.0, description="An alert is critical at this multiple of the threshold.")
    multivariate: bool = Field(
        default=True,
        description="Tell when the features of a reading do not go together as in the training.",
    )
    update_every_s: Seconds = Field(default=900.0, description="Seconds between the updates of a lasting alert.")
    overrides: tuple[ThresholdOverride, ...] = Field(default=(), description="The first that matches a series wins.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.raise_after > self.raise_within:
            raise ValueError(
                f"raise_after {self.raise_after} of the last raise_within {self.raise_within} can never be"
            )
        if self.threshold_mode == "absolute" and self.threshold is None:
            raise ValueError('threshold_mode = "absolute" needs a threshold, in the unit of the metric')
        return self


class LimitOverride(Section):
    """What some series must not do. Without such a table no series has limits."""

    device: str = Field(default="*", description="Shell-style pattern of device names.")
    metric: str = Field(default="*", description="Shell-style pattern of metric names.")
    low: Finite | None = Field(default=None, description="Sensor fault `range`: a reading below, or …")
    high: Finite | None = Field(default=None, description="… above.")
    max_rate_per_s: Positive | None = Field(
        default=None, description="Sensor fault `rate`: a larger change a second, in the metric's unit."
    )
    limit_below: Finite | None = Field(
        default=None, description="`limit` where a reading is below, `forecast_limit` where the forecast is, or …"
    )
    limit_above: Finite | None = Field(default=None, description="… above.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if not self.given():
            raise ValueError("at least one of low, high, max_rate_per_s, limit_below and limit_above is needed")
        for lower, upper in (("low", "high"), ("limit_below", "limit_above")):
            least, most = getattr(self, lower), getattr(self, upper)
            if least is not None and most is not None and least >= most:
                raise ValueError(f"{lower} {least:g} is not below {upper} {most:g}")
        return self

    def given(self) -> dict[str, float]:
        """The limits that there are."""
        names = ("low", "high", "max_rate_per_s", "limit_below", "limit_above")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class FaultSettings(Section):
    """Sensor faults, and limits that somebody must know of."""

    stuck: bool = Field(default=True, description="Tell equal readings that last much longer than ever before.")
    stuck_min_run: int = Field(default=20, ge=2, description="Fewest equal readings that can be called stuck.")
    stuck_factor: Factor = Field(default=3.0, description="How many times the longest run so far.")
    silent: bool = Field(default=True, description="Tell a series whose readings stay away.")
    silent_factor: Factor = Field(default=5.0, description="How many of its own cadences.")
    silent_min_s: Seconds = Field(default=30.0, description="Shortest silence that is told, in seconds.")
    unit_change: bool = Field(
        default=True, description="Tell a thermometer that goes on in another of °C, °F and K; see docs/faults.md."
    )
    accept_after: int = Field(
        default=256, ge=10, description="Readings in a row inside a fault from which on they are learnt from."
    )
    limit_probability: float = Field(
        default=0.8, ge=0.5, le=0.999, description="From which on `forecast_limit` is told, at two readings in a row."
    )
    overrides: tuple[LimitOverride, ...] = Field(default=(), description="The first that matches a series wins.")


class MonitorSettings(Section):
    """Another model or other rules for some series; the first that matches a series counts. See docs/models.md."""

    device: str = Field(default="*", description="Shell-style pattern of device names.")
    metric: str = Field(default="*", description="Shell-style pattern of metric names.")
    model: str | None = Field(
        default=None, min_length=1, description="As `model` at the top level; without it, that one judges here too."
    )
    alerts: AlertSettings = Field(
        default=AlertSettings(), description="What of `[alerts]` differs here, such as `{ sensitivity = 0.2 }`."
    )
    faults: FaultSettings = Field(default=FaultSettings(), description="What of `[faults]` differs here.")


def completed(monitor: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A monitor whose alerts and faults are whole."""
    whole = dict(monitor)
    for key in ("alerts", "faults"):
        usual, own = given.get(key), monitor.get(key, {})
        if isinstance(usual, BaseModel):
            usual = usual.model_dump(exclude_unset=True)
        if isinstance(usual, dict) and isinstance(own, dict):
            whole[key] = merged([usual, own])
    return whole
