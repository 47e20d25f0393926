"""The `forewarn` command. Exit codes: 0 done, 1 failed, 2 usage, 78 bad settings or model (EX_CONFIG of sysexits.h)."""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from forewarn import __version__
from forewarn.core.rules import MAX_SENSITIVITY, MIN_SENSITIVITY, Rules
from forewarn.data_options import add_columns, add_source, asked_of, source_of
from forewarn.errors import ForewarnError, ModelError, SettingsError, UsageError
from forewarn.fleet.cli import add_fleet
from forewarn.simulate import USUAL_FAULTS, Fault, Simulation

if TYPE_CHECKING:
    from forewarn.adapters.mqtt.session import Broker
    from forewarn.history import History

EX_FAILED, EX_USAGE, EX_CONFIG = 1, 2, 78

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = _parser().parse_args(argv)
    try:
        return int(args.command(args) or 0)
    except ForewarnError as error:
        print(f"forewarn: {error}", file=sys.stderr)
        if isinstance(error, UsageError):
            return EX_USAGE
        return EX_CONFIG if isinstance(error, SettingsError | ModelError) else EX_FAILED
    except KeyboardInterrupt:
        return EX_FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forewarn",
        description="Forecasts the next reading of every MQTT sensor and tells when one is not what it should be.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 78 settings or model cannot be used.",
    )
    parser.add_argument("--version", action="version", version=f"forewarn {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_check(commands)
    _add_explain(commands)
    _add_discover(commands)
    _add_health(commands)
    _add_backtest(commands)
    _add_model(commands)
    _add_simulate(commands)
    _add_replay(commands)
    _add_demo(commands)
    add_fleet(commands)
    _add_hash_password(commands)
    return parser


def _add_run(commands: Commands) -> None:
    parser = commands.add_parser("run", help="run the daemon", description="Run the daemon until SIGTERM.")
    _add_settings(parser)
    parser.set_defaults(command=_run)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings, TOML")


def _run(args: argparse.Namespace) -> None:
    from forewarn.logs import start_logging  # noqa: PLC0415 - --help need not load onnxruntime
    from forewarn.service import Daemon  # noqa: PLC0415 - the same
    from forewarn.settings import load  # noqa: PLC0415 - the same

    settings = load(args.config).settings
    start_logging(settings.logging.level, settings.logging.format)
    Daemon(settings, lambda: load(args.config).settings).run()


def _add_check(commands: Commands) -> None:
    parser = commands.add_parser(
        "check",
        help="validate settings and model",
        description="Validate settings and model, and print the effective settings and where each value came from.",
    )
    _add_settings(parser)
    parser.add_argument("--connect", action="store_true", help="log in to the broker as well")
    parser.set_defaults(command=_check)


def _check(args: argparse.Namespace) -> None:
    from forewarn.check import check  # noqa: PLC0415 - --help need not load onnxruntime

    for line in check(args.config, connect=args.connect):
        print(line)


def _add_explain(commands: Commands) -> None:
    parser = commands.add_parser(
        "explain",
        help="show how one message becomes readings",
        description="Show step by step how one message becomes readings, or why not. Exits with 1 where it does not.",
    )
    _add_settings(parser)
    parser.add_argument("--retained", action="store_true", help="as if the broker had kept the message")
    parser.add_argument("topic", metavar="TOPIC", help="of the message")
    parser.add_argument("payload", metavar="PAYLOAD", help="of the message; `-` reads it from standard input, as it is")
    parser.set_defaults(command=_explain)


def _explain(args: argparse.Namespace) -> int:
    from forewarn.explain import explain  # noqa: PLC0415 - --help need not load onnxruntime

    payload = sys.stdin.buffer.read() if args.payload == "-" else os.fsencode(args.payload)
    steps = explain(args.config, args.topic, payload, retained=args.retained, now=time.time())
    found = False
    for is_reading, line in steps:
        print(line)
        found |= is_reading
    return 0 if found else EX_FAILED


def _add_discover(commands: Commands) -> None:
    parser = commands.add_parser(
        "discover",
        help="propose settings for what a broker has",
        description="Listen on a broker and write settings for what came: which dialects, devices and metrics.",
    )
    parser.add_argument(
        "--connect", nargs="?", const="", metavar="HOST[:PORT]", help="of the broker (default: 127.0.0.1:1883)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings whose [mqtt] to use, for TLS and password"
    )
    parser.add_argument("--seconds", type=_positive, default=60.0, metavar="S", help="to listen (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write them (default: standard output)")
    parser.set_defaults(command=_discover)


def _discover(args: argparse.Namespace) -> None:
    from forewarn.listen import listen  # noqa: PLC0415 - --help need not load paho
    from forewarn.settings import load  # noqa: PLC0415 - the same

    mqtt = load(args.config).settings.mqtt
    if args.connect:
        host, _, port = args.connect.rpartition(":") if ":" in args.connect else (args.connect, "", "1883")
        if not port.isdecimal():
            raise UsageError(f"--connect {args.connect}: give HOST or HOST:PORT")
        mqtt = mqtt.model_copy(update={"host": host, "port": int(port)})
    text = listen(mqtt, args.seconds)
    if args.out is None:
        print(text, end="")
        return
    try:
        with args.out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SettingsError(f"{args.out}: cannot be written ({error.strerror}): give another --out") from error
    print(f"written to {args.out}; now: forewarn check --config {args.out} --connect")


def _add_health(commands: Commands) -> None:
    parser = commands.add_parser(
        "health",
        help="ask the running daemon how it is",
        description="Ask the daemon that runs on this machine with these settings how it is; exit 0 if it is well.",
    )
    _add_settings(parser)
    parser.set_defaults(command=_health)


def _health(args: argparse.Namespace) -> None:
    from forewarn.health import check_health  # noqa: PLC0415 - --help is quick
    from forewarn.settings import load  # noqa: PLC0415 - the same

    print(check_health(load(args.config).settings.metrics))


def _add_backtest(commands: Commands) -> None:
    parser = commands.add_parser(
        "backtest",
        help="judge history",
        description="Judge past readings with the daemon's own engine: which alerts would there have been?",
    )
    parser.add_argument(
        "--model",
        metavar="M",
        help="model file, or `starter` for the one that ships (default: the one that judges these devices by --config)",
    )
    group = add_source(parser)
    group.add_argument("--target", metavar="NAME", help="column to judge (default: the only one, or the model's)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings whose thresholds are to be used")
    parser.add_argument("--sensitivity", type=_positive, metavar="X", help="expected alerts per device and month")
    parser.add_argument(
        "--probation",
        type=_probation,
        default=0.0,
        metavar="N|FRACTION",
        help="readings of each device at the start that do not count, or their share (750 at most) where it is below 1",
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help="windows in which something happened, JSON or CSV")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a row of scores for each row of the history, CSV")
    parser.add_argument("--report", type=Path, metavar="FILE", help="what to decide with, one HTML file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="the course of every series, one HTML file")
    parser.set_defaults(command=_backtest)


def _backtest(args: argparse.Namespace) -> None:
    from forewarn.adapters.onnx_forecaster import load_model, resolve_model  # noqa: PLC0415 - --help is quick
    from forewarn.backtest import backtest  # noqa: PLC0415 - the same
    from forewarn.findings import hold_against  # noqa: PLC0415 - the same
    from forewarn.history import read_for  # noqa: PLC0415 - the same
    from forewarn.labels import read_labels  # noqa: PLC0415 - the same
    from forewarn.monitors import load_models, of_file  # noqa: PLC0415 - the same
    from forewarn.report.page import render  # noqa: PLC0415 - the same
    from forewarn.report.plot import plot  # noqa: PLC0415 - the same
    from forewarn.report.used import used  # noqa: PLC0415 - the same
    from forewarn.settings import load  # noqa: PLC0415 - the same

    loaded = load(args.config)
    history = None
    if args.model is None:
        models = load_models(loaded.settings)
        history = read_for(source_of(args), models.simplest.card, **asked_of(args))
        forecaster, settings = of_file(loaded.settings, models, history.device, history.target)
        loaded = replace(loaded, settings=settings)
    else:
        forecaster = load_model(resolve_model(args.model))
    rules = _with_sensitivity(loaded.settings.rules(), args.sensitivity)
    card = forecaster.card
    if history is None or len(card.features) > 1:
        history = read_for(source_of(args), card, **asked_of(args))
    windows = read_labels(args.labels, history) if args.labels else None
    unit = loaded.settings.units.get(history.target, card.unit)
    result = backtest(forecaster, rules, history, unit=unit, probation=args.probation, progress=True)
    labelled = None if windows is None else hold_against(result, windows)
    shown = ("query", "sensitivity", "probation", "labels")
    given = {f"--{name}": str(getattr(args, name)) for name in shown if getattr(args, name)}
    _write(args.out, result.write_csv)
    _write(
        args.report,
        lambda path: path.write_text(render(result, used(result, forecaster, loaded, given), labelled), "utf-8"),
    )
    _write(args.plot, lambda path: path.write_text(plot(result, labelled), "utf-8"))
    print(result.summary())
    if labelled:
        print(labelled.summary())


def _with_sensitivity(rules: Rules, sensitivity: float | None) -> Rules:
    if sensitivity is None:
        return rules
    if rules.detector != "tail":
        raise UsageError(f'--sensitivity {sensitivity:g}: detector = "{rules.detector}" has a threshold instead')
    if not MIN_SENSITIVITY <= sensitivity <= MAX_SENSITIVITY:
        raise UsageError(f"--sensitivity {sensitivity:g}: {MIN_SENSITIVITY:g} to {MAX_SENSITIVITY:g} is possible")
    return replace(rules, sensitivity=sensitivity)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError
    return number


def _names(text: str) -> list[str]:
    return text.split(",")


def _probation(text: str) -> float:
    """A share below 1, else a whole number of readings."""
    number = float(text)
    if not (number >= 0 and (number < 1 or number.is_integer())):
        raise ValueError
    return number


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


def _add_simulate(commands: Commands) -> None:
    parser = commands.add_parser(
        "simulate",
        help="make a fleet of sensors with known faults",
        description="Simulate a fleet of temperature sensors with known faults, to a CSV file or to a broker.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="FILE", help="write `timestamp,device,temperature`, CSV")
    where.add_argument("--broker", metavar="HOST[:PORT]", help="publish to a broker instead, as if live")
    _add_config(where)
    parser.add_argument("--truth", type=Path, metavar="FILE", help="write the faults that were injected, CSV")
    _add_fleet(parser, n_device=12)
    parser.add_argument(
        "--cadence", type=float, default=60.0, metavar="S", help="seconds between readings (%(default)s)"
    )
    parser.add_argument("--duration", type=float, default=86_400.0, metavar="S", help="simulated seconds (%(default)s)")
    parser.add_argument(
        "--fault-every",
        type=float,
        default=21_600.0,
        metavar="S",
        help="mean simulated seconds between two faults of a sensor (%(default)s)",
    )
    parser.add_argument(
        "--warm-up", type=float, default=7_200.0, metavar="S", help="seconds without faults at the start (%(default)s)"
    )
    _add_publishing(parser)
    parser.set_defaults(command=_simulate)


def _simulate(args: argparse.Namespace) -> None:
    from forewarn.simulate import FleetSpec, simulate  # noqa: PLC0415 - --help is quick

    simulation = simulate(
        FleetSpec(
            n_device=args.devices,
            seed=args.seed,
            cadence_s=args.cadence,
            duration_s=args.duration,
            faults=_faults(args.faults),
            fault_every_s=args.fault_every,
            warm_up_s=args.warm_up,
        )
    )
    _write(args.truth, simulation.write_truth)
    _write(args.out, simulation.write_csv)
    print(f"{len(simulation)} readings of {len(simulation.devices)} devices, {len(simulation.labels)} faults")
    if args.broker or args.config:
        _publish(simulation, args)


def _add_replay(commands: Commands) -> None:
    parser = commands.add_parser(
        "replay",
        help="send history to a broker as if live",
        description="Send past readings to a broker, in its order and at a chosen pace, as if it came now.",
    )
    parser.add_argument("data", type=Path, metavar="FILE", help="history: CSV, Parquet or an export of InfluxDB")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--broker", default="127.0.0.1:1883", metavar="HOST[:PORT]", help="where to (%(default)s)")
    _add_config(where)
    add_columns(parser)
    parser.add_argument(
        "--features", type=_names, metavar="NAME,…", help="columns to send, several in one JSON message"
    )
    parser.add_argument("--target", metavar="NAME", help="the column that names the metric in the topic")
    _add_publishing(parser)
    parser.set_defaults(command=_replay)


def _replay(args: argparse.Namespace) -> None:
    from forewarn.history import read_history  # noqa: PLC0415 - --help is quick

    history = read_history(args.data, **asked_of(args))
    _publish(history, args)


def _add_demo(commands: Commands) -> None:
    parser = commands.add_parser(
        "demo",
        help="see it at work, with a broker and a fleet of its own",
        description="An embedded broker, a simulated fleet with faults, the daemon, and a view of what it says.",
    )
    parser.add_argument("--duration", type=float, metavar="S", help="end by itself after so many seconds")
    _add_fleet(parser, n_device=12)
    parser.add_argument(
        "--speed", type=float, default=300.0, metavar="N", help="simulated seconds in a second (%(default)s)"
    )
    parser.set_defaults(command=_demo)


def _demo(args: argparse.Namespace) -> None:
    from forewarn.demo.show import DemoSpec, demo  # noqa: PLC0415 - needs more than the base install

    demo(DemoSpec(args.duration, args.devices, args.seed, _faults(args.faults), args.speed), sys.stdout)


def _add_hash_password(commands: Commands) -> None:
    parser = commands.add_parser(
        "hash-password",
        help="make metrics.password_hash",
        description="Read a password from standard input and print its hash, for metrics.password_hash.",
    )
    parser.set_defaults(command=_hash_password)


def _hash_password(_: argparse.Namespace) -> None:
    from forewarn.passwords import MOST_PASSWORD, PasswordHash  # noqa: PLC0415 - --help is quick

    password = getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not 1 <= len(password.encode()) <= MOST_PASSWORD:
        raise UsageError(f"a password has 1 to {MOST_PASSWORD} bytes: give it on standard input")
    print(PasswordHash.of(password))


def _add_fleet(parser: argparse.ArgumentParser, n_device: int) -> None:
    parser.add_argument("--devices", type=int, default=n_device, metavar="N", help="sensors (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of everything random (%(default)s)")
    parser.add_argument("--faults", metavar="KIND,…", help=f"{', '.join(Fault)}, or none (default: the first five)")


def _faults(text: str | None) -> tuple[Fault, ...]:
    if text is None:
        return USUAL_FAULTS
    try:
        return tuple(Fault(kind.strip()) for kind in text.split(",")) if text != "none" else ()
    except ValueError as error:
        raise UsageError(f"--faults {text}: {error}; there are {', '.join(Fault)}, or none") from None


def _add_publishing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topic", default="sensors/{device}/{metric}", help="topic of each reading (%(default)s)")
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="N",
        help="seconds of the readings in a second; 0 does not look at their times (%(default)s)",
    )
    parser.add_argument(
        "--rate", type=float, default=2000.0, metavar="N", help="readings a second at most (%(default)s)"
    )
    parser.add_argument("--restamp", action="store_true", help="shift the times so that the last reading is of now")
    parser.add_argument("--plain", action="store_true", help="bare numbers instead of JSON with value and time")


def _add_config(where: "argparse._MutuallyExclusiveGroup") -> None:
    text = "publish to the broker of a settings file's [mqtt], with its TLS, user and credentials"
    where.add_argument("--config", type=Path, metavar="FILE", help=text)


def _broker(args: argparse.Namespace) -> "Broker":
    from forewarn.adapters.mqtt.session import Broker  # noqa: PLC0415 - --help is quick
    from forewarn.settings import load  # noqa: PLC0415 - the same
    from forewarn.wiring import broker_of  # noqa: PLC0415 - the same

    if args.config:
        return broker_of(load(args.config).settings.mqtt)
    host, _, port = args.broker.rpartition(":") if ":" in args.broker else (args.broker, "", "1883")
    if not port.isdecimal():
        raise UsageError(f"--broker {args.broker}: give HOST or HOST:PORT")
    return Broker(host, int(port))


def _publish(source: "History | Simulation", args: argparse.Namespace) -> None:
    from forewarn.adapters.mqtt.client import MqttClient  # noqa: PLC0415 - --help is quick
    from forewarn.replay import Pace, replay  # noqa: PLC0415 - the same

    broker = _broker(args)
    with MqttClient(broker) as client:
        sent = replay(source, client, Pace(args.speed, args.restamp, args.rate), topic=args.topic, plain=args.plain)
    print(f"{sent} readings sent to {broker}")


def _write(path: Path | None, write: Callable[[Path], object]) -> None:
    if path is None:
        return
    try:
        write(path)
    except OSError as error:
        raise ForewarnError(f"{path}: cannot be written ({error.strerror})") from error
