"""Files of a landing folder: who puts messages there, and how a file gets its name only once it is whole."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Landed(NamedTuple):
    """One message; `received_at` in UTC epoch seconds."""

    topic: str
    payload: str
    received_at: float


def put(folder: Path, name: str, messages: Iterable[Landed]) -> None:
    """Put messages there as JSON lines. What reads the folder leaves files alone whose names begin with a dot."""
    draft = folder / f".{name}"
    with draft.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(one._asdict(), ensure_ascii=False)}\n" for one in messages)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / name)
