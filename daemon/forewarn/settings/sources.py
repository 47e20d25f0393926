"""Where settings come from, and what is said of one that cannot be used.

Rules that hold here:

- Whatever stands in a file, a variable or a credential, nothing but SettingsError is raised.
- A problem is one printable line that names its source and its key. A value that may be a secret is never shown.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import pydantic_settings
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource

from forewarn.errors import SettingsError

ENV_PREFIX = "FOREWARN_"
DELIMITER = "__"
# Where a password may be, be it by mistake.
_HIDDEN = {"mqtt", "mqtt.host", "mqtt.password", "metrics", "metrics.password_hash"}
_CREDENTIAL_MOST = 65_536  # bytes
_FILE = "_file"  # ends the name of a setting whose credential is that file itself
_LINE_MOST = 500  # characters of one problem
_WANTED = {
    "tuple_type": "a list is needed; of tables, each begins with the name in double brackets",
    "dict_type": "a table is needed",
    "model_type": "a table is needed",
}


# -- reading ---------------------------------------------------------------------------------------------------------


def read_sources(schema: type[BaseSettings], path: Path | None) -> dict[str, dict[str, Any]]:
    """What each source gives, as nested tables by the source's name, the strongest source last.

    Args:
        schema: the settings that there are.
        path: the TOML file; None for no file.

    Raises:
        SettingsError: naming the source, the key and what to do.
    """
    return {
        "defaults" if path is None else str(path): {} if path is None else _file(schema, path),
        "environment": _environment(schema),
        "credentials": _credentials(schema),
    }


def merged(sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All sources as one: tables are joined key by key, anything else is replaced by what comes later."""
    whole: dict[str, Any] = {}
    for source in sources:
        for key, value in source.items():
            both = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
            whole[key] = merged([whole[key], value]) if both else value
    return whole


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted keys and values."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _file(schema: type[BaseSettings], path: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise _error(f"{path}: cannot be read ({error.strerror}): give the settings file with --config") from None
    except (ValueError, RecursionError) as error:
        raise _error(f"{path}: is no TOML: {error}") from None
    for key in given:
        if key.startswith("_"):  # pydantic-settings would take it for an argument of its own
            raise _error(f"{path}: {_unknown(schema, [key])}")
    return given


def _environment(schema: type[BaseSettings]) -> dict[str, Any]:
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX):
            problem = _unknown(schema, name[len(ENV_PREFIX) :].lower().split(DELIMITER))
            if problem:
                raise _error(f"environment variable {name}: {problem}")
    try:
        return EnvSettingsSource(schema)()
    except (pydantic_settings.SettingsError, RecursionError) as error:
        field = re.search(r'field "(\w+)"', str(error))
        name = f"{ENV_PREFIX}{field[1].upper() if field else ''}…"
        raise _error(f"environment: {name}: is no JSON, as which a variable gives a whole table or list") from None


def _credentials(schema: type[BaseSettings]) -> dict[str, Any]:
    """The files of the credentials directory that are named after a setting; others are no concern of ours."""
    found: dict[str, Any] = {}
    for path in _credential_files():
        place = path.name.lower().split(DELIMITER)
        meant = re.split(r"[^a-z0-9]+", path.name.lower())
        if place != meant and _unknown(schema, meant) is None:
            raise _error(f"credential {path}: did you mean {DELIMITER.join(meant)}?")
        if place[0] not in schema.model_fields:
            continue
        problem = _unknown(schema, place)
        if problem:
            raise _error(f"credential {path}: {problem}")
        section = found
        for level in place[:-1]:
            section = section.setdefault(level, {})
        section[place[-1]] = str(path) if place[-1].endswith(_FILE) else _credential(path)
    return found


def _credential_files() -> list[Path]:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return []
    try:
        return sorted(Path(directory).iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _error(f"credentials directory {directory}: cannot be read ({error.strerror})") from None


def _credential(path: Path) -> str:
    try:
        if path.stat().st_size > _CREDENTIAL_MOST:
            raise _error(f"credential {path}: is longer than {_CREDENTIAL_MOST} bytes")
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise _error(f"credential {path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise _error(f"credential {path}: is no UTF-8 text") from None


# -- telling ---------------------------------------------------------------------------------------------------------


def problems(error: ValidationError, schema: type[BaseSettings], origins: Mapping[str, str]) -> str:
    """A line for each thing that is wrong.

    Args:
        error: what pydantic said of the merged sources.
        schema: the settings that there are.
        origins: the name of the source by dotted key.
    """
    return "\n".join(_one_line(_problem(each, schema, origins)) for each in error.errors())


def _problem(error: Any, schema: type[BaseSettings], origins: Mapping[str, str]) -> str:  # noqa: ANN401 - ErrorDetails
    place = ".".join(str(part) for part in error["loc"])
    near = {name for key, name in origins.items() if f"{place}.".startswith(f"{key}.") or key.startswith(f"{place}.")}
    where = " and ".join(sorted(near))
    kind = error["type"]
    if kind == "extra_forbidden":
        section = _section(schema, error["loc"][:-1])
        return f"{where}: there is no setting {place}{_nearest(str(error['loc'][-1]), section)}"
    if kind == "missing":
        return f"{where}: {place} is needed"
    message = _WANTED.get(kind, error["msg"].removeprefix("Value error, "))
    value = error["input"]
    shown = kind != "value_error" and place not in _HIDDEN and isinstance(value, str | int | float)
    return f"{where}: {place}: {message}" + (f" (it is {value!r:.60})" if shown else "")


def _section(schema: type[BaseModel], place: Sequence[str | int]) -> type[BaseModel]:
    """The settings class that has the keys at a place."""
    section = schema
    for part in place:
        if isinstance(part, str) and part in section.model_fields:
            section = _tables(section, part) or schema
    return section


def _tables(section: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The settings class of the table, or list of tables, that a key stands for."""
    annotation = section.model_fields[key].annotation
    inner = [annotation, *get_args(annotation)]
    return next((t for t in inner if isinstance(t, type) and issubclass(t, BaseModel)), None)


def _unknown(schema: type[BaseModel], place: Sequence[str]) -> str | None:
    """What is wrong with the place of one value, such as `("mqtt", "host")`; None where there is such a setting."""
    section: type[BaseModel] | None = schema
    for i, part in enumerate(place):
        if section is None:
            return f"there is no setting {'.'.join(place)}: {'.'.join(place[:i])} is one value"
        if part not in section.model_fields:
            return f"there is no setting {'.'.join(place)}{_nearest(part, section)}"
        kind = get_origin(section.model_fields[part].annotation)
        if kind is dict:
            return None
        section = None if kind is tuple else _tables(section, part)
    return None


def _nearest(name: str, section: type[BaseModel]) -> str:
    known = list(section.model_fields)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _one_line(text: str) -> str:
    """Without anything that a terminal or a log would take for more than text."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:_LINE_MOST])
    return shown if len(text) <= _LINE_MOST else f"{shown}…"


def _error(text: str) -> SettingsError:
    return SettingsError(_one_line(text))
