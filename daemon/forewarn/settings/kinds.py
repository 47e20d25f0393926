"""Kinds of settings that several sections have: names, topics, sizes; and what every section is."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from forewarn.errors import PayloadError
from forewarn.inputs.topics import MAX_NAME, checked_name


def _name(text: str) -> str:
    try:
        return checked_name(text)
    except PayloadError:
        raise ValueError(
            f"{text!r} is no name: 1 to {MAX_NAME} characters without / + # and control characters are needed"
        ) from None


def _topic(text: str) -> str:
    if text.startswith("$"):
        raise ValueError("topics that begin with $ are the broker's own")
    return "/".join(_name(level) for level in text.split("/"))


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, AfterValidator(_name)]
Topic = Annotated[str, AfterValidator(_topic)]


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
