"""The options that say where past readings come from, of `forewarn` and `forewarn-train` alike."""

import argparse
import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forewarn.adapters.prometheus import RangeQuery
    from forewarn.history import Asked

_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_FILES = "CSV, Parquet or an export of InfluxDB, or a folder of them"


def add_source(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """Files, or a Prometheus; with the columns of both, in a group to which more may be added."""
    group = parser.add_argument_group("data")
    where = group.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", type=Path, metavar="FILE", help=f"the past readings: {_FILES}")
    where.add_argument("--prometheus", metavar="URL", help="ask a Prometheus instead, such as http://127.0.0.1:9090")
    group.add_argument("--query", metavar="EXPR", help="with --prometheus: PromQL, the series to read")
    group.add_argument(
        "--from", dest="from_at", type=_moment, metavar="TIME", help="the first point, ISO 8601 or epoch seconds"
    )
    group.add_argument("--to", dest="to_at", type=_moment, metavar="TIME", help="no point after it (default: now)")
    group.add_argument("--step", type=_duration, metavar="S", help="between two points: seconds, or 30s, 5m, 1h")
    group.add_argument(
        "--credentials", type=Path, metavar="FILE", help="a line with user:password, or a bearer token, for Prometheus"
    )
    add_columns(group)
    return group


def add_columns(group: "argparse._ActionsContainer") -> None:
    """The names of the columns that are not readings."""
    group.add_argument("--time-column", metavar="NAME", help="column of times (default: found by name or content)")
    group.add_argument(
        "--device-column", metavar="NAME", help="column, tag or label of devices (default: found by name, if any)"
    )
    group.add_argument(
        "--metric-column",
        metavar="NAME",
        help="column, tag or label that says what each number is of, where one does (default: found by name)",
    )


def source_of(args: argparse.Namespace) -> "Path | RangeQuery":
    """Where the readings come from.

    Raises:
        UsageError: where a query lacks something.
    """
    from forewarn.adapters.prometheus import RangeQuery  # noqa: PLC0415 - --help is quick
    from forewarn.errors import UsageError  # noqa: PLC0415 - the same

    needed = {"--query": args.query, "--from": args.from_at, "--step": args.step}
    if args.prometheus is None:
        more = {**needed, "--to": args.to_at, "--credentials": args.credentials}
        given = [option for option, value in more.items() if value is not None]
        if given:
            raise UsageError(f"{given[0]} is of a query: give --prometheus URL in place of --data")
        path: Path = args.data
        return path
    lacking = [option for option, value in needed.items() if value is None]
    if lacking:
        raise UsageError(f"--prometheus needs {' and '.join(lacking)} as well")
    end_at = time.time() if args.to_at is None else args.to_at
    return RangeQuery(args.prometheus, args.query, args.from_at, end_at, args.step, args.credentials)


def asked_of(args: argparse.Namespace) -> "Asked":
    """What the command line says of columns."""
    return {
        "time_column": args.time_column,
        "device_column": args.device_column,
        "metric_column": args.metric_column,
        "features": getattr(args, "features", None),
        "target": args.target,
    }


def name_of(args: argparse.Namespace) -> str:
    """What was read, for a sentence."""
    return str(args.data) if args.prometheus is None else f"{args.query} of {args.prometheus}"


def _moment(text: str) -> float:
    from forewarn.history import parse_time  # noqa: PLC0415 - numpy only where it is needed

    at = parse_time(text)
    if math.isnan(at):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write ISO 8601 or epoch seconds")
    return at


def _duration(text: str) -> float:
    """Seconds of `90`, `1.5` or of one number and unit as Prometheus has them."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|[smhdw])?", text)
    seconds = float(found[1]) * _UNITS_S[found[2] or "s"] if found else 0.0
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write seconds, or 30s, 5m, 1h")
    return seconds
