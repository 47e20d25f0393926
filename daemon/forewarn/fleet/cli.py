"""The commands of `forewarn fleet`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from forewarn.data_options import add_columns, asked_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forewarn.fleet.spark.sinks import AlertMessage


def add_fleet(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `fleet` and its commands."""
    parser = commands.add_parser(
        "fleet",
        help="judge a fleet on Apache Spark",
        description="Judge a fleet that one machine is too small for, with the daemon's own engine on Apache Spark.",
    )
    actions = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(actions)
    _add_backfill(actions)
    _add_demo(actions)


def _add_run(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = actions.add_parser("run", help="judge what comes", description="Judge what comes, until SIGTERM.")
    run.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings with [fleet], TOML")
    run.add_argument(
        "--packages", default="", metavar="NAME,…", help="Maven coordinates of connectors, such as Kafka's"
    )
    run.add_argument("--once", action="store_true", help="end once all that is there has been judged")
    run.add_argument("--print", action="store_true", help="print what each alert says")
    run.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> None:
    from forewarn.fleet.settings import load_fleet  # noqa: PLC0415 - --help is quick
    from forewarn.fleet.spark.session import check_installed  # noqa: PLC0415 - the same
    from forewarn.logs import start_logging  # noqa: PLC0415 - the same

    settings = load_fleet(args.config)
    check_installed()
    from forewarn.fleet.spark.stream import Job, stop_on_signals  # noqa: PLC0415 - it imports pyspark

    start_logging(settings.logging.level, settings.logging.format)
    job = Job(
        settings, packages=[name for name in args.packages.split(",") if name], show=_show if args.print else None
    )
    stop_on_signals(job)
    job.run(once=args.once)


def _add_backfill(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "backfill",
        help="judge history",
        description="Judge the past readings of a fleet: scores and alerts as Parquet, and a summary.",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings with [fleet], TOML")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="Parquet files of past readings")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the results, a new one")
    parser.add_argument("--target", metavar="NAME", help="column to judge (default: the only one, or the model's)")
    add_columns(parser)
    parser.set_defaults(command=_backfill)


def _backfill(args: argparse.Namespace) -> None:
    from forewarn.fleet.settings import load_fleet  # noqa: PLC0415 - --help is quick
    from forewarn.fleet.spark.session import check_installed  # noqa: PLC0415 - the same
    from forewarn.history.columns import Choice  # noqa: PLC0415 - the same

    settings = load_fleet(args.config)
    check_installed()
    from forewarn.fleet.spark.backfill import backfill  # noqa: PLC0415 - it imports pyspark

    summary = backfill(settings, args.data, args.out, Choice(**asked_of(args)))
    print("\n".join(summary.lines()))


def _add_demo(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "demo",
        help="see it at work, with a fleet of its own",
        description="A simulated fleet that writes to a landing folder, the job that reads it, and its alerts.",
    )
    parser.add_argument("--devices", type=int, default=2000, metavar="N", help="sensors (%(default)s)")
    parser.add_argument("--duration", type=float, default=180.0, metavar="S", help="seconds it runs (%(default)s)")
    parser.add_argument(
        "--speed", type=float, default=120.0, metavar="N", help="simulated seconds in a second (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of everything random (%(default)s)")
    parser.set_defaults(command=_demo)


def _demo(args: argparse.Namespace) -> None:
    from forewarn.fleet.demo import FleetDemoSpec, demo  # noqa: PLC0415 - --help is quick
    from forewarn.fleet.spark.session import check_installed  # noqa: PLC0415 - the same

    spec = FleetDemoSpec(args.devices, args.duration, args.speed, args.seed)
    check_installed()
    demo(spec)


def _show(alerts: "Sequence[AlertMessage]") -> None:
    from forewarn.fleet.spark.sinks import sentence_of  # noqa: PLC0415 - it imports pyspark

    for alert in alerts:
        print(sentence_of(alert))
    sys.stdout.flush()
