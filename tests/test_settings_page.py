"""docs/settings.md is made from the settings classes: `python -m tests.test_settings_page` writes it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from forewarn.settings import Settings
from forewarn.settings.fleet import FleetSection

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
INTRODUCTION = """\
# Settings

`forewarn` reads one TOML file, given with `--config`. This page is generated from the settings classes
(`python -m tests.test_settings_page`), and a test holds the two equal.

- **Variables** override the file. The name is `FOREWARN_` and the key, with `__` for each dot: `mqtt.host` is
  `FOREWARN_MQTT__HOST`. A whole table or list is given as JSON: `FOREWARN_INPUTS='[{"topic": "s/{device}/{metric}"}]'`.
  Case does not matter: `FOREWARN_UNITS__TEMPERATURE` is the unit of `temperature`, never of `Temperature`.
- **Credentials** override both: files named after the key in the same way (`mqtt__password`), in the folder that
  `$CREDENTIALS_DIRECTORY` names. systemd makes it with `LoadCredential=`; with Docker, point it at `/run/secrets`.
  A credential whose name ends in `_file`, such as `mqtt__key_file`, is that file itself and not its path.
- **An unknown key** is an error that names the nearest known one, in all three. A file in the credentials folder that
  has no name of a setting is left alone.
- `forewarn check --config FILE` says what is wrong, or prints what is in effect and where each value came from.
"""


def settings_page() -> str:
    """docs/settings.md, from the settings classes."""
    return INTRODUCTION + "".join(_table(title, section) for title, section in _every())


def _every() -> Iterator[tuple[str, type[BaseModel]]]:
    """The tables of the daemon, then those that a fleet has besides."""
    yield from _sections(Settings, "")
    yield from _sections(FleetSection, "fleet")


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The title and class of each table, the outermost first."""
    yield (
        (f"`[{prefix}]`" if prefix and not prefix.startswith("[") else f"`{prefix}`" if prefix else "Top level"),
        model,
    )
    for key, field in model.model_fields.items():
        inner = _inner(field)
        if inner is not None and not _is_row(field):
            dotted = f"{prefix.strip('[]')}.{key}".lstrip(".")
            yield from _sections(inner, f"[[{dotted}]]" if get_origin(field.annotation) is tuple else dotted)


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _is_row(field: FieldInfo) -> bool:
    """Whether a table is told of in one row, since it has the keys of another one."""
    return field.description is not None and get_origin(field.annotation) is not tuple


def _table(title: str, section: type[BaseModel]) -> str:
    rows = [
        f"| `{key}` | {_kind(field)} | {_default(field)} | {field.description} |\n"
        for key, field in section.model_fields.items()
        if _inner(field) is None or get_origin(field.annotation) is tuple or _is_row(field)
    ]
    return f"\n## {title}\n\n{section.__doc__}\n\n| Key | Value | Default | Meaning |\n|---|---|---|---|\n" + "".join(
        rows
    )


def _kind(field: FieldInfo) -> str:
    """What values a field takes, in words."""
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in kinds)
    if get_origin(field.annotation) is tuple:
        return "tables" if _inner(field) is not None else "list of texts"
    if _inner(field) is not None:
        return "table"
    if get_origin(field.annotation) is dict:
        return "table of texts"
    names = {
        bool: "`true` or `false`",
        int: "whole number",
        float: "number",
        str: "text",
        SecretStr: "text",
        Path: "path",
    }
    return names[next(kind for kind in names if kinds[0] is kind or get_args(kinds[0])[:1] == (kind,))] + _bounds(field)


def _bounds(field: FieldInfo) -> str:
    metadata = [*field.metadata, *(m for kind in get_args(field.annotation) for m in getattr(kind, "__metadata__", ()))]
    found = [each for one in metadata for each in (one.metadata if isinstance(one, FieldInfo) else [one])]
    low = next((each.ge for each in found if isinstance(each, annotated_types.Ge)), None)
    above = next((each.gt for each in found if isinstance(each, annotated_types.Gt)), None)
    high = next((each.le for each in found if isinstance(each, annotated_types.Le)), None)
    least = f"from {low}" if low is not None else f"above {above}" if above is not None else ""
    return f", {least}{'' if high is None else f' to {high}'}" if least else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    if isinstance(field.default, tuple) and field.default:
        return f"`{json.dumps(field.default)}`"
    if field.default in (None, (), {}) or isinstance(field.default, BaseModel):
        return "none"
    return f"`{json.dumps(field.default)}`"


def test_the_page_is_that_of_the_settings_classes() -> None:
    assert PAGE.read_text("utf-8") == settings_page(), "write it anew: python -m tests.test_settings_page"


def test_every_setting_says_what_it_is() -> None:
    for title, section in _every():
        assert section.__doc__, title
        for key, field in section.model_fields.items():
            described = field.description or (inner.__doc__ if (inner := _inner(field)) else None)
            assert described, f"{title} {key}"
            assert described.endswith((".", "…")), f"{title} {key}"


if __name__ == "__main__":
    sys.stdout.write(f"{PAGE}: {PAGE.write_text(settings_page(), 'utf-8')} characters\n")
