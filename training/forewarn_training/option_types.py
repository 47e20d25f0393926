"""What the options of `forewarn-train` take: each reads a text, or says what it should have been."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from forewarn.core.card import MAX_STEPS


def whole(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number of a range."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return number

    return parse


def number(least: float, most: float) -> Callable[[str], float]:
    """Reads a number of a range."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:g}")
        return number

    return parse


def names(text: str) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def n_steps(text: str) -> tuple[int, ...]:
    """Lengths of a window between commas."""
    return tuple(map(whole(1, MAX_STEPS), names(text)))


def shares(text: str) -> tuple[float, float]:
    """Shares of training and validation from `A/B/C`."""
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) != 3 or not all(0 < part < math.inf for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no split: write three shares such as 60/20/20")
    return parts[0] / sum(parts), parts[1] / sum(parts)


def file_and_column(text: str) -> tuple[Path, str | None]:
    """A file and, after the last colon of what is no file itself, the name of a column."""
    file, colon, column = text.rpartition(":")
    return (Path(file), column) if file and colon and column and not Path(text).exists() else (Path(text), None)
