"""The section `[[inputs]]`: which messages are readings, and of what."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from forewarn.inputs.dialect import Retained
from forewarn.inputs.dialects import DIALECTS, TEMPERATURES
from forewarn.inputs.topics import TopicPattern
from forewarn.settings.kinds import Name, Section

JsonPath = Annotated[str, Field(min_length=1)]


def _dialect(text: str) -> str:
    if text not in DIALECTS:
        raise ValueError(f"there is no dialect {text!r}; there are {', '.join(DIALECTS)}")
    return text


class InputSettings(Section):
    """Messages that are readings. docs/inputs.md has a section for each dialect."""

    topic: str = Field(
        description="Topic pattern; `{device}` and `{metric}` name a level, `+` and a last `#` match any. Where a "
        "dialect has its own topics, they are the default."
    )
    dialect: Annotated[str, AfterValidator(_dialect)] = Field(
        default="number", description=f"What the payload is: {', '.join(f'`{name}`' for name in DIALECTS)}."
    )
    device: JsonPath | None = Field(
        default=None, description="JSON: dotted path of the device's name, where the topic has none."
    )
    metric: Name | None = Field(default=None, description="The metric's name, where the topic has none.")
    value: JsonPath | None = Field(default=None, description="JSON: dotted path of the value.")
    values: dict[Name, JsonPath] = Field(
        default={}, description="JSON: dotted path of each metric's value, for several in a message."
    )
    time: JsonPath | None = Field(
        default=None, description="JSON: dotted path of the reading's time; without it the arrival counts."
    )
    metrics: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Shell-style patterns of the metrics to take, whatever their case. Without them, `json` and "
        f"`number` take all, the others `{'`, `'.join(TEMPERATURES)}`.",
    )
    unit: str = Field(default="", description="Unit of the values, where the device does not declare it.")
    absent_is_zero: tuple[Name, ...] = Field(
        default=(), description="Metrics that are 0 where a message leaves them out, where a dialect does so."
    )
    retained: Retained = Field(
        default="seed",
        description="What becomes of a retained message: `seed` begins the window of a series that has no reading yet, "
        "without alerting, `ignore` rejects it, `live` takes it as any other.",
    )

    @model_validator(mode="before")
    @classmethod
    def _own_topic(cls, given: object) -> object:
        """A dialect's own topics, where none are given."""
        if isinstance(given, dict) and "topic" not in given:
            known = DIALECTS.get(str(given.get("dialect")))
            if known is not None and known.topic is not None:
                return {"topic": known.topic, **given}
        return given

    @model_validator(mode="after")
    def _agree(self) -> Self:
        pattern, keys = TopicPattern(self.topic), DIALECTS[self.dialect].keys
        chosen = ("device", "metric", "value", "values", "time", "absent_is_zero")
        unknown = [key for key in chosen if getattr(self, key) and key not in keys]
        if unknown:
            users = [name for name, known in DIALECTS.items() if unknown[0] in known.keys]
            raise ValueError(f"{unknown[0]} is not for {self.dialect}: it is for dialect {', '.join(users)}")
        if self.dialect == "json" and bool(self.value) == bool(self.values):
            raise ValueError('dialect "json" needs either value = "path" or a table [inputs.values]')
        if self.dialect in ("number", "json"):
            self._name_series(pattern)
        return self

    def _name_series(self, pattern: TopicPattern) -> None:
        """Where device and metric come from."""
        if ("device" in pattern.names) == (self.device is not None):
            raise ValueError("the device comes either from {device} in the topic or from a path device = …: give one")
        sources = ("metric" in pattern.names) + (self.metric is not None) + bool(self.values)
        if sources != 1:
            raise ValueError(
                "the metric comes from {metric} in the topic, from metric = … or from [inputs.values]: give one"
            )
