"""The options of `forewarn-train`. Imports nothing heavy, so that `--help` is quick."""

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from forewarn import __version__
from forewarn.core.card import MAX_HORIZON, MAX_STEPS

Command = Callable[[argparse.Namespace], None]

_EXAMPLES = """examples:
  forewarn-train fit --data freezer.csv --out freezer.onnx
  forewarn-train fit --data ETTh1.csv --target OT --unit °C --out ett.onnx
  forewarn-train fit --data hall.csv --device-column sensor --features temperature,humidity --target temperature \\
      --unit temperature=°C --unit humidity=% --cell gru --out hall.onnx
  forewarn-train evaluate --model freezer.onnx --data freezer.csv
"""


def parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser; `run` of its result is one of `commands`, by name."""
    top = argparse.ArgumentParser(
        prog="forewarn-train",
        description="Train the forecasting models that forewarn runs. Each is one .onnx file.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"forewarn-train {__version__}")
    adder = top.add_subparsers(required=True, metavar="COMMAND")
    for name, (add, text, description) in {
        "fit": (_add_fit, "train a model on a CSV file of past readings", _FIT),
        "evaluate": (_add_evaluate, "measure any model on any CSV file", _EVALUATE),
        "starter": (_add_starter, "train the model that ships with forewarn", _STARTER),
    }.items():
        one = adder.add_parser(name, help=text, description=description)
        one.set_defaults(run=commands[name])
        add(one)
    return top


_FIT = (
    "Train a model on past readings and write it as one .onnx file, with a report beside it. The CSV has a header "
    "line, a column of times (ISO 8601, or epoch seconds or milliseconds), one or several columns of numbers, and a "
    "column that names the device where there are several. The earliest 60 % of each device's readings train the "
    "model, the next 20 % stop the training and calibrate the alert threshold, the last 20 % measure it."
)
_EVALUATE = (
    "Print the mean absolute error (MAE), root mean square error (RMSE), scaled error (MASE) and skill of a model, of "
    "persistence (the next reading is the last one), of seasonal naive (it is what it was a day before) and of a ridge "
    "autoregression fitted to the first 60 %, on the last 20 % of each device's readings: the part that fit does not "
    "train on."
)
_STARTER = "Train the model that ships with forewarn, on made-up series only. Takes a few minutes."


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument("--data", type=Path, required=True, metavar="FILE.csv", help="the past readings")
    group.add_argument("--time-column", metavar="NAME", help="column of times (default: found by name or content)")
    group.add_argument(
        "--device-column", metavar="NAME", help="column of device names (default: found by name, if any)"
    )
    group.add_argument(
        "--max-gap",
        type=_whole(0, 10_000),
        default=3,
        metavar="N",
        help="bridge gaps of up to N missing readings by a straight line; no window reaches over a longer one "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--split",
        type=_shares,
        default=(0.6, 0.2),
        metavar="A/B/C",
        help="shares of training, validation and test, in the order of time (default: 60/20/20)",
    )


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="the model to write")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="the report (default: beside the model)")
    parser.add_argument("--name", help="of the model (default: the file's name)")
    parser.add_argument("--model-version", default="1", metavar="TEXT", help="of the model (default: %(default)s)")
    _add_data(parser)
    group = parser.add_argument_group("what is forecast")
    group.add_argument("--target", metavar="NAME", help="column to forecast (default: the only column of numbers)")
    group.add_argument(
        "--features",
        type=_names,
        metavar="A,B,...",
        help="columns to read, the target among them (default: the target alone)",
    )
    group.add_argument(
        "--unit",
        action="append",
        default=[],
        metavar="[NAME=]UNIT",
        help="unit of a feature, of the target where no name is given; alerts show it; may be repeated",
    )
    group.add_argument(
        "--n-step",
        type=_whole(1, MAX_STEPS),
        default=30,
        metavar="N",
        help="readings that a forecast is made from (default: %(default)s)",
    )
    group.add_argument(
        "--horizon",
        type=_whole(1, MAX_HORIZON),
        default=24,
        metavar="N",
        help="readings ahead that are forecast; alerts use the first (default: %(default)s)",
    )
    group = parser.add_argument_group("network")
    group.add_argument(
        "--cell",
        choices=("lstm", "gru", "linear", "auto"),
        default="lstm",
        help="of the recurrent layers; linear is the ridge autoregression, without any; auto is lstm or linear, "
        "whichever is better on the validation part (default: %(default)s)",
    )
    group.add_argument(
        "--layers", type=_whole(1, 8), default=1, metavar="N", help="recurrent layers (default: %(default)s)"
    )
    group.add_argument(
        "--units", type=_whole(1, 1024), default=32, metavar="N", help="units of each layer (default: %(default)s)"
    )
    group.add_argument(
        "--dropout",
        type=_number(0.0, 0.95),
        default=0.0,
        metavar="P",
        help="share of units dropped while training (default: %(default)s)",
    )
    _add_training(parser.add_argument_group("training"))


def _add_training(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--epochs", type=_whole(1, 100_000), default=30, metavar="N", help="at most (default: %(default)s)"
    )
    group.add_argument(
        "--patience",
        type=_whole(1, 100_000),
        default=8,
        metavar="N",
        help="stop after N epochs without a better validation error (default: %(default)s); the best weights are kept",
    )
    group.add_argument(
        "--batch-size",
        type=_whole(1, 100_000),
        default=128,
        metavar="N",
        help="windows in a step (default: %(default)s)",
    )
    group.add_argument(
        "--learning-rate",
        type=_number(1e-8, 1.0),
        default=2e-3,
        metavar="X",
        help="peak of the cycle (default: %(default)s)",
    )
    group.add_argument(
        "--seed", type=_whole(0, 2**31), default=0, metavar="N", help="of weights and order (default: %(default)s)"
    )
    group.add_argument(
        "--threads",
        type=_whole(1, 256),
        default=1,
        metavar="N",
        help="of torch (default: %(default)s, fastest for small networks)",
    )
    group.add_argument("--checkpoint", type=Path, metavar="FILE", help="write everything after each epoch")
    group.add_argument("--resume", action="store_true", help="go on from --checkpoint, with the same options and data")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        metavar="FILE.onnx",
        help="the model, or 'starter' for the one that ships with forewarn",
    )
    _add_data(parser)
    parser.add_argument(
        "--target",
        metavar="NAME",
        help="column to measure on, for a model of one feature (default: "
        "the model's target where the file has it, else the only column of numbers)",
    )


def _add_starter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="the model to write")
    parser.add_argument(
        "--seed",
        type=_whole(0, 2**31),
        default=0,
        metavar="N",
        help="of series, weights and order (default: %(default)s)",
    )


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return number

    return parse


def _number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:g}")
        return number

    return parse


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _shares(text: str) -> tuple[float, float]:
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) != 3 or not all(0 < part < math.inf for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no split: write three shares such as 60/20/20")
    return parts[0] / sum(parts), parts[1] / sum(parts)
