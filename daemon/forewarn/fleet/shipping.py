"""The models of a fleet job, in its folder: which micro-batch is judged with which.

Rules that hold here:

- A model file is kept under the hash of its content, and never changes.
- The list of generations says from which micro-batch on which files are used. A generation is added while the last
  micro-batch before it ends, and is on the disk before the next one begins; so every worker, whenever it is asked and
  however often a micro-batch is repeated, uses the same models for it.
- A worker loads a generation once.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from forewarn.adapters.onnx_forecaster import resolve_model
from forewarn.errors import ForewarnError
from forewarn.fleet.settings import FleetSettings
from forewarn.monitors import Models, load_models, names_of, signature
from forewarn.wiring import inputs_of

Files = Mapping[str, str]
"""The name of each model in the settings, with the hash of its file."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The models from one micro-batch on."""

    begins: int
    files: Files


class Shipping:
    """The models' folder of one job."""

    def __init__(self, settings: FleetSettings) -> None:
        """Look at the models that the settings name."""
        self._settings = settings
        self._folder = settings.fleet.folder / "models"
        self._list = self._folder / "generations.json"
        self._seen: object = None

    def begin(self, next_batch: int) -> Models:
        """Use the present files from a micro-batch on that has not begun yet, and return what they are.

        Raises:
            ModelError: where one cannot be used.
            ForewarnError: where the folder cannot be written.
        """
        self._seen = signature(self._settings)
        load_models(self._settings, inputs_of(self._settings.inputs))  # says what is wrong with a file by its own name
        try:
            files = {name: self._keep(name) for name in names_of(self._settings)}
            generation = Generation(next_batch, files)
            models = self.load(generation)
            self._note(generation)
        except OSError as error:
            raise ForewarnError(f"{self._folder}: cannot be written ({error.strerror})") from error
        return models

    def changed(self) -> bool:
        """Whether a model file is another one than when it was looked at last."""
        return signature(self._settings) != self._seen

    def at(self, batch: int) -> Generation:
        """The models of a micro-batch.

        Raises:
            ForewarnError: where the list of generations is missing or damaged.
        """
        found = [one for one in _generations(self._list) if one.begins <= batch]
        if not found:
            raise ForewarnError(f"{self._list}: has no models for micro-batch {batch}: {AWAY}")
        return found[-1]

    def load(self, generation: Generation) -> Models:
        """The models of a generation, loaded once in each process.

        Raises:
            ModelError: where a file of them is missing or damaged.
            ForewarnError: where the settings name one that it does not have.
        """
        settings = self._settings
        missing = [name for name in names_of(settings) if name not in generation.files]
        if missing:
            raise ForewarnError(
                f"{self._list}: a micro-batch that was begun before the settings named {', '.join(missing)} is not "
                f"done: run it with the models from before once, or {AWAY}"
            )
        kept = {name: str(self._folder / f"{sha256}.onnx") for name, sha256 in generation.files.items()}
        monitors = tuple(
            one if one.model is None else one.model_copy(update={"model": kept[one.model]}) for one in settings.monitors
        )
        shipped = settings.model_copy(update={"model": kept[settings.model], "monitors": monitors})
        return _load(_Once(shipped.model_dump_json(), shipped))

    def _keep(self, name: str) -> str:
        """Have a copy of a model's file, and return its hash."""
        self._folder.mkdir(parents=True, exist_ok=True)
        content = resolve_model(name).read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        kept = self._folder / f"{sha256}.onnx"
        if not kept.exists():
            _write(kept, content)
        return sha256

    def _note(self, generation: Generation) -> None:
        before = _generations(self._list) if self._list.exists() else []
        if not before or before[-1].files != generation.files:
            after = [*(one for one in before if one.begins < generation.begins), generation]
            _write(self._list, json.dumps([asdict(one) for one in after], indent=1).encode())


AWAY = "move the folder's checkpoint and models away and start again, see docs/fleet.md"


def _write(path: Path, content: bytes) -> None:
    """Put a file there as a whole, on the disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _generations(path: Path) -> list[Generation]:
    try:
        told = json.loads(path.read_bytes())
        return [Generation(int(one["begins"]), {str(k): str(v) for k, v in one["files"].items()}) for one in told]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ForewarnError(f"{path}: cannot be read ({error}): {AWAY}") from error


class _Once(NamedTuple):
    """Settings as the key of what is made of them."""

    text: str
    settings: FleetSettings

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@lru_cache(maxsize=2)  # the present generation, and the one before while a micro-batch is repeated
def _load(shipped: _Once) -> Models:
    return load_models(shipped.settings)
