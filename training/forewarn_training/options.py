"""The options of `forewarn-train`. Imports nothing heavy, so that `--help` is quick."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from forewarn import __version__
from forewarn.core.card import MAX_HORIZON, MAX_STEPS
from forewarn.data_options import add_source
from forewarn_training import descriptions
from forewarn_training.option_types import file_and_column, n_steps, names, number, shares, whole
from forewarn_training.recipes import RECIPES

Command = Callable[[argparse.Namespace], None]


def parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser; `run` of its result is one of `commands`, by name."""
    top = argparse.ArgumentParser(
        prog="forewarn-train",
        description="Train the forecasting models that forewarn runs. Each is one .onnx file.",
        epilog=descriptions.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"forewarn-train {__version__}")
    adder = top.add_subparsers(required=True, metavar="COMMAND")
    for name, (add, text, description) in {
        "fit": (_add_fit, "train a model on past readings", descriptions.FIT),
        "compare": (_add_compare, "train every kind of model on past readings and compare them", descriptions.COMPARE),
        "tune": (_add_tune, "search the settings of a model, then train it", descriptions.TUNE),
        "evaluate": (_add_evaluate, "measure any model on any past readings", descriptions.EVALUATE),
        "tutorial-tasks": (
            _add_tutorial_tasks,
            "forecast what the usual LSTM tutorials do",
            descriptions.TUTORIAL_TASKS,
        ),
        "starter": (_add_starter, "train the model that ships with forewarn", descriptions.STARTER),
    }.items():
        one = adder.add_parser(name, help=text, description=description)
        one.set_defaults(run=commands[name])
        add(one)
    return top


def fill(options: argparse.Namespace) -> None:
    """Give every option that was left open what its recipe has."""
    defaults = RECIPES[options.recipe]
    for name in defaults.__dataclass_fields__:
        if getattr(options, name) is None:
            setattr(options, name, getattr(defaults, name))


def _default(name: str) -> str:
    ours, theirs = (getattr(RECIPES[recipe], name) for recipe in ("differences", "tutorial"))
    return f"{ours:g}; tutorial: {theirs:g}"


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = add_source(parser)
    group.add_argument(
        "--max-gap",
        type=whole(0, 10_000),
        default=3,
        metavar="N",
        help="bridge gaps of up to N missing readings by a straight line; no window reaches over a longer one "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--split",
        type=shares,
        default=(0.6, 0.2),
        metavar="A/B/C",
        help="shares of training, validation and test, in the order of time (default: 60/20/20)",
    )


def _add_model(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """What is written, and what it forecasts."""
    _add_out(parser)
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="the report (default: beside the model)")
    parser.add_argument("--name", help="of the model (default: the file's name)")
    parser.add_argument("--model-version", default="1", metavar="TEXT", help="of the model (default: %(default)s)")
    _add_data(parser)
    group = _add_target(parser)
    group.add_argument(
        "--unit",
        action="append",
        default=[],
        metavar="[NAME=]UNIT",
        help="unit of a feature, of the target where no name is given; alerts show it; may be repeated",
    )
    return group


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="the model to write")


def _add_fit(parser: argparse.ArgumentParser) -> None:
    group = _add_model(parser)
    _add_window(group, None)
    _add_baselines(parser)
    group = parser.add_argument_group("network")
    group.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        default="differences",
        help="differences from the last reading, or the level as the usual LSTM tutorials have it, to see the "
        "difference (default: %(default)s)",
    )
    group.add_argument(
        "--cell",
        choices=("lstm", "gru", "transformer", "linear", "auto"),
        default="lstm",
        help="of the recurrent layers; transformer is an encoder, linear the ridge autoregression; auto is lstm "
        "or linear, whichever is better on the validation part (default: %(default)s)",
    )
    group.add_argument(
        "--start",
        choices=("auto", "starter", "scratch"),
        default="auto",
        help="train on from the shipped model, or from scratch; auto does both and keeps what validates better, "
        "where the shipped model fits: one feature, its window, an lstm (default: %(default)s)",
    )
    _add_time_channels(group)
    group.add_argument(
        "--layers", type=whole(1, 8), default=1, metavar="N", help="recurrent layers (default: %(default)s)"
    )
    group.add_argument(
        "--units", type=whole(1, 1024), metavar="N", help=f"units of each layer (default: {_default('units')})"
    )
    group.add_argument(
        "--dropout",
        type=number(0.0, 0.95),
        metavar="P",
        help=f"share of units dropped while training (default: {_default('dropout')})",
    )
    group = parser.add_argument_group("training")
    _add_training(group)
    group.add_argument(
        "--learning-rate",
        type=number(1e-8, 1.0),
        metavar="X",
        help=f"peak of the cycle (default: {_default('learning_rate')})",
    )
    group.add_argument("--checkpoint", type=Path, metavar="FILE", help="write everything after each epoch")
    group.add_argument("--resume", action="store_true", help="go on from --checkpoint, with the same options and data")


def _add_time_channels(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--time-channels",
        choices=("auto", "yes", "no"),
        default="auto",
        help="time of day and of week (UTC) as inputs; auto trains with and without and keeps what validates better, "
        "where the training part has at least 4 days (default: %(default)s)",
    )


def _add_target(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    group = parser.add_argument_group("what is forecast")
    group.add_argument("--target", metavar="NAME", help="column to forecast (default: the only column of numbers)")
    group.add_argument(
        "--features",
        type=names,
        metavar="A,B,...",
        help="columns to read, the target among them (default: the target alone)",
    )
    return group


def _add_window(group: "argparse._ArgumentGroup", n_step: int | None) -> None:
    """Where `n_step` is None, the recipe decides."""
    _add_horizon(group)
    group.add_argument(
        "--n-step",
        type=whole(1, MAX_STEPS),
        default=n_step,
        metavar="N",
        help=f"readings that a forecast is made from (default: {n_step or _default('n_step')})",
    )


def _add_horizon(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--horizon",
        type=whole(1, MAX_HORIZON),
        default=24,
        metavar="N",
        help="readings ahead that are forecast; alerts use the first (default: %(default)s)",
    )


def _add_training(group: "argparse._ArgumentGroup") -> None:
    _add_epochs(group)
    group.add_argument(
        "--patience",
        type=whole(1, 100_000),
        default=8,
        metavar="N",
        help="stop after N epochs without a better validation error (default: %(default)s); the best weights are kept",
    )
    group.add_argument(
        "--batch-size",
        type=whole(1, 100_000),
        metavar="N",
        help=f"windows in a step (default: {_default('batch_size')})",
    )
    group.add_argument(
        "--seed", type=whole(0, 2**31), default=0, metavar="N", help="of weights and order (default: %(default)s)"
    )
    _add_threads(group)


def _add_epochs(group: "argparse._ActionsContainer") -> None:
    group.add_argument(
        "--epochs", type=whole(1, 100_000), default=30, metavar="N", help="at most (default: %(default)s)"
    )


def _add_threads(group: "argparse._ActionsContainer") -> None:
    group.add_argument(
        "--threads",
        type=whole(1, 256),
        default=1,
        metavar="N",
        help="of torch (default: %(default)s, fastest for small networks)",
    )


def _add_baselines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="measure AutoARIMA, AutoETS and Theta too, every row at at most 500 windows (extra: baselines)",
    )


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
    _add_baselines(parser)


def _add_tune(parser: argparse.ArgumentParser) -> None:
    _add_horizon(_add_model(parser))
    group = parser.add_argument_group("search")
    group.add_argument(
        "--trials", type=whole(1, 100_000), default=30, metavar="N", help="settings to try (default: %(default)s)"
    )
    group.add_argument(
        "--trial-epochs", type=whole(1, 100_000), default=12, metavar="N", help="of each (default: %(default)s)"
    )
    group.add_argument(
        "--study",
        type=Path,
        metavar="FILE",
        help="SQLite file of the trials; the search goes on from it (default: the model's name with .study)",
    )
    group.add_argument(
        "--n-steps", type=n_steps, metavar="A,B,...", help="lengths of a window to try (default: 10,20,30,48,96)"
    )
    _add_time_channels(group)
    _add_training(parser.add_argument_group("training"))
    parser.set_defaults(
        recipe="differences", dropout=0.0, start="scratch", checkpoint=None, resume=False, baselines=False
    )


def _add_compare(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_window(_add_target(parser), 30)
    parser.add_argument(
        "--kinds",
        type=names,
        metavar="A,B,...",
        help="of linear, linear-time, lstm, lstm-time, gru, lstm-2, transformer, tutorial (default: all)",
    )
    _add_repeats(parser, 1)


def _add_repeats(parser: argparse.ArgumentParser, seeds: int) -> None:
    _add_epochs(parser)
    parser.add_argument(
        "--seeds", type=whole(1, 100), default=seeds, metavar="N", help="trainings of each kind (default: %(default)s)"
    )
    _add_threads(parser)


def _add_tutorial_tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--temperature",
        type=file_and_column,
        metavar="FILE.csv[:COLUMN]",
        help="a real hourly temperature in place of the made-up one",
    )
    _add_repeats(parser, 3)


def _add_starter(parser: argparse.ArgumentParser) -> None:
    _add_out(parser)
    parser.add_argument(
        "--seed",
        type=whole(0, 2**31),
        default=0,
        metavar="N",
        help="of series, weights and order (default: %(default)s)",
    )
