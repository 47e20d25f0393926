"""The `forewarn` command. Exit codes: 0 done, 1 failed, 2 usage, 78 bad settings or model (EX_CONFIG of sysexits.h)."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from forewarn import __version__
from forewarn.errors import ForewarnError, ModelError, SettingsError

EX_FAILED, EX_CONFIG = 1, 78

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = _parser().parse_args(argv)
    try:
        return int(args.command(args) or 0)
    except (SettingsError, ModelError) as error:
        print(f"forewarn: {error}", file=sys.stderr)
        return EX_CONFIG
    except ForewarnError as error:
        print(f"forewarn: {error}", file=sys.stderr)
        return EX_FAILED
    except KeyboardInterrupt:
        return EX_FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forewarn",
        description="Forecasts the next reading of every MQTT sensor and tells when a reading is not what it should be.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 78 settings or model cannot be used.",
    )
    parser.add_argument("--version", action="version", version=f"forewarn {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_check(commands)
    _add_backtest(commands)
    _add_model(commands)
    return parser


def _add_run(commands: Commands) -> None:
    parser = commands.add_parser("run", help="run the daemon", description="Run the daemon until SIGTERM.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings, TOML")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> None:
    from forewarn.logs import start_logging  # noqa: PLC0415 - --help need not load onnxruntime
    from forewarn.service import Daemon  # noqa: PLC0415 - the same
    from forewarn.settings import load  # noqa: PLC0415 - the same

    settings = load(args.config).settings
    start_logging(settings.logging.level)
    Daemon(settings).run()


def _add_check(commands: Commands) -> None:
    parser = commands.add_parser(
        "check",
        help="validate settings and model",
        description="Validate settings and model, and print the effective settings and where each value came from.",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings, TOML")
    parser.add_argument("--connect", action="store_true", help="log in to the broker as well")
    parser.set_defaults(command=_check)


def _check(args: argparse.Namespace) -> None:
    from forewarn.check import check  # noqa: PLC0415 - --help need not load onnxruntime

    for line in check(args.config, connect=args.connect):
        print(line)


def _add_backtest(commands: Commands) -> None:
    parser = commands.add_parser(
        "backtest",
        help="judge a file of history",
        description="Judge a CSV file of history with the daemon's own engine: a row of scores for each row of it.",
    )
    parser.add_argument("--model", required=True, metavar="M", help="model file, or `starter` for the one that ships")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="history, CSV")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="scores, CSV")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings whose thresholds are to be used")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="charts, one HTML file")
    parser.add_argument("--time-column", metavar="NAME", help="column of timestamps (default: found by itself)")
    parser.add_argument("--device-column", metavar="NAME", help="column of device names (default: found by itself)")
    parser.add_argument("--target", metavar="NAME", help="column to judge (default: the only one, or the model's)")
    parser.set_defaults(command=_backtest)


def _backtest(args: argparse.Namespace) -> None:
    from forewarn.adapters.onnx_forecaster import load_model, resolve_model  # noqa: PLC0415 - --help is quick
    from forewarn.backtest import backtest, read_for  # noqa: PLC0415 - the same
    from forewarn.settings import load  # noqa: PLC0415 - the same

    settings = load(args.config).settings
    forecaster = load_model(resolve_model(args.model))
    card = forecaster.card
    history = read_for(
        args.data, card, time_column=args.time_column, device_column=args.device_column, target=args.target
    )
    unit = settings.units.get(history.target, card.unit)
    result = backtest(forecaster, settings.rules(), history, unit=unit, progress=True)
    for path, text in ((args.out, None), (args.plot, result.html)):
        if path is None:
            continue
        try:
            result.write_csv(path) if text is None else path.write_text(text(), "utf-8")
        except OSError as error:
            raise ForewarnError(f"{path}: cannot be written ({error.strerror})") from error
    print(result.summary())


def _add_model(commands: Commands) -> None:
    parser = commands.add_parser("model", help="look at a model file", description="Look at a model file.")
    actions = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    show = actions.add_parser("show", help="print the model card", description="Check a model and print its card.")
    show.add_argument("model", metavar="FILE", help="model file, or `starter` for the one that ships")
    show.add_argument("--json", action="store_true", help="as JSON")
    show.set_defaults(command=_show)


def _show(args: argparse.Namespace) -> None:
    from forewarn.adapters.onnx_forecaster import load_model, resolve_model  # noqa: PLC0415 - --help is quick
    from forewarn.check import card_lines  # noqa: PLC0415 - the same

    forecaster = load_model(resolve_model(args.model))
    if args.json:
        print(json.dumps({**asdict(forecaster.card), "sha256": forecaster.sha256}, indent=2, ensure_ascii=False))
    else:
        print("\n".join(card_lines(forecaster.card, forecaster.sha256)))
