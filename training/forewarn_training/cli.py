"""The command line `forewarn-train`.

Rules that hold here:

- torch and onnx are imported only by the command that needs them, so that `--help` is quick and their absence is told.
- Exit codes: 0 done, 1 failed, 2 wrong usage, 78 settings, data or model that cannot be used.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from forewarn.data_options import asked_of, name_of, source_of
from forewarn.errors import DataError, ForewarnError, SettingsError
from forewarn_training.options import fill, parser

if TYPE_CHECKING:
    from forewarn.history import History
    from forewarn_training.evaluate import Evaluation
    from forewarn_training.start import Start

FAILED, UNUSABLE = 1, 78
_MOST_WINDOWS = 50_000  # that the sentences about bands and blocks are measured on
_TRAINING = (
    "Install the CPU build of torch first, then the extra:\n"
    "  pip install torch --index-url https://download.pytorch.org/whl/cpu\n"
    "  pip install 'forewarn[training]'"
)
_EXTRAS = {
    "torch": _TRAINING,
    "onnx": _TRAINING,
    "optuna": "Install the extra that searches:\n  pip install 'forewarn[tune]'",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    arguments = parser(_COMMANDS).parse_args(argv)
    try:
        arguments.run(arguments)
    except ForewarnError as error:
        print(f"forewarn-train: {error}", file=sys.stderr)
        return UNUSABLE
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        print(f"forewarn-train: {error.name} is not installed. {_EXTRAS[error.name]}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"forewarn-train: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(
            "forewarn-train: stopped. A training with --checkpoint goes on with --resume, tune with the same command.",
            file=sys.stderr,
        )
        return FAILED
    return 0


def _fit(options: argparse.Namespace) -> None:
    if options.resume and options.checkpoint is None:
        raise SettingsError("--resume needs --checkpoint FILE, the file to go on from")
    if options.recipe == "tutorial" and options.cell in {"linear", "auto"}:
        raise SettingsError(f"--recipe tutorial is of a network, not of --cell {options.cell}: leave out one of them")
    if options.recipe == "tutorial" and options.time_channels == "yes":
        raise SettingsError("--recipe tutorial is told no time: leave out --time-channels yes")
    history = _history(options)
    options.start = _start(options, len(history.features))
    fill(options)
    _train(options, history)


def _start(options: argparse.Namespace, n_feature: int) -> "Start":
    """What a training starts from, where some of it was left open."""
    if options.start == "scratch":
        return "scratch"
    from forewarn_training.start import obstacles  # noqa: PLC0415 - see the module's first lines
    from forewarn_training.starter import SPEC  # noqa: PLC0415

    given = [f"--{name} {getattr(options, name)}" for name in ("layers", "units", "dropout") if _asks(options, name)]
    given += [f"--n-step {options.n_step}"] if options.n_step not in {None, SPEC.n_step} else []
    given += [f"--cell {options.cell}"] if options.cell not in {"lstm", "auto"} else []
    given += ["--time-channels yes"] if options.time_channels == "yes" else []
    given += ["--recipe tutorial"] if options.recipe == "tutorial" else []
    against = obstacles(n_feature, options.horizon, given)
    if options.start == "starter":
        if against:
            raise SettingsError(f"--start starter: the shipped model cannot be trained on: {'; '.join(against)}")
        options.n_step = SPEC.n_step
    start: Start = "scratch" if against else options.start
    return start


def _asks(options: argparse.Namespace, name: str) -> bool:
    """Whether an option asks for a network that is not the shipped one."""
    from forewarn_training.starter import SPEC  # noqa: PLC0415 - see the module's first lines

    return getattr(options, name) not in {None, getattr(SPEC, name)}


def _train(options: argparse.Namespace, history: "History") -> None:
    """Train what the options say, with nothing left open."""
    _start_torch(options.threads)
    from forewarn_training.data import Cut  # noqa: PLC0415
    from forewarn_training.fit import Plan, fit  # noqa: PLC0415
    from forewarn_training.learner import tutorial  # noqa: PLC0415
    from forewarn_training.trainer import Recipe  # noqa: PLC0415

    recipe = Recipe(
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        patience=options.patience,
        seed=options.seed,
    )
    plan = Plan(
        out=options.out,
        report=options.report or options.out.with_suffix(".html"),
        cut=Cut(options.n_step, options.horizon, options.split, options.max_gap),
        name=options.name or options.out.stem,
        version=options.model_version,
        cell=options.cell,
        layers=options.layers,
        units=options.units,
        dropout=options.dropout,
        start=options.start,
        time_channels="no" if options.recipe == "tutorial" else options.time_channels,
        recipe=tutorial(recipe, options.horizon) if options.recipe == "tutorial" else recipe,
        recipe_name=options.recipe,
        feature_units=_feature_units(options.unit, history.target),
        checkpoint=options.checkpoint,
        resume=options.resume,
        baselines=options.baselines,
    )
    fitted = fit(history, plan)
    if fitted.course.training_loss:
        epochs, best = len(fitted.course.training_loss), fitted.course.best_epoch + 1
        print(f"trained {epochs} epochs, the best was epoch {best}")
    _print_table(fitted.evaluation, fitted.card.unit)
    _print_notes(fitted.choices)
    if options.cell == "auto":
        print(f"On the validation part the better of lstm and linear was {fitted.cell}, which is what was written.")
    print(fitted.sentence)
    _print_notes(fitted.notes)
    known = fitted.card.calibration
    print(
        f"default threshold {known.threshold_errors:g} times a device's own mean |residual|; "
        f"torch and onnxruntime agree to {fitted.parity:.1g} of the target's spread"
    )
    print(f"model  {plan.out}\nreport {plan.report}")


def _start_torch(threads: int) -> None:
    import torch  # noqa: PLC0415 - see the module's first lines

    torch.set_num_threads(threads)


def _history(options: argparse.Namespace) -> "History":
    from forewarn.history import read_history  # noqa: PLC0415 - numpy only when a command runs

    return read_history(source_of(options), **asked_of(options))


def _tune(options: argparse.Namespace) -> None:
    history = _history(options)
    _start_torch(options.threads)
    from forewarn_training.data import Cut  # noqa: PLC0415
    from forewarn_training.fit import check_writable  # noqa: PLC0415
    from forewarn_training.trainer import Recipe  # noqa: PLC0415
    from forewarn_training.tune import N_STEPS, tune  # noqa: PLC0415

    study = options.study or options.out.with_suffix(".study")
    check_writable(options.out, options.report, study)
    options.learning_rate = None
    options.n_step = options.units = None
    fill(options)
    recipe = Recipe(
        epochs=options.trial_epochs, batch_size=options.batch_size, patience=options.patience, seed=options.seed
    )
    cut = Cut(options.n_step, options.horizon, options.split, options.max_gap)
    found = tune(history, cut, study, trials=options.trials, recipe=recipe, n_steps=options.n_steps or N_STEPS)
    best = asdict(found.best)
    as_options = " ".join(
        f"--{name.replace('_', '-')} {value:.6g}" if isinstance(value, float) else f"--{name.replace('_', '-')} {value}"
        for name, value in best.items()
    )
    print(f"{found.trials} trials, {found.pruned} of them pruned; study {study}")
    print(f"best ({found.score:.4f} of persistence's error over the folds): {as_options}")
    for name, value in best.items():
        setattr(options, name, value)
    _train(options, history)


def _compare(options: argparse.Namespace) -> None:
    history = _history(options)
    _start_torch(options.threads)
    from forewarn_training.compare import BATCHES, KINDS, compare  # noqa: PLC0415
    from forewarn_training.data import Cut  # noqa: PLC0415

    names = options.kinds or tuple(KINDS)
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise SettingsError(f"--kinds names {', '.join(unknown)}, there are {', '.join(KINDS)}")
    cut = Cut(options.n_step, options.horizon, options.split, options.max_gap)
    found = compare(history, cut, names, epochs=options.epochs, seeds=options.seeds)
    header = (
        "kind",
        *(f"lead {lead}" for lead in found.leads),
        "weights",
        *(f"µs at {n}" for n in BATCHES),
        "training",
    )
    rows = [
        (
            row.name,
            *(f"{ratio:.3f}" for ratio in row.ratio),
            f"{row.parameters}",
            *(f"{us:.1f}" for us in row.window_us),
            f"{row.training_s:.1f} s",
        )
        for row in found.rows
    ]
    _print_columns(header, rows)
    naive = ", ".join(f"{mae:.4g}" for mae in found.persistence)
    print(
        f"Mean |error| over persistence's (which is {naive}) at each lead, {found.n_window} windows of the test part "
        f"of {history.target} in {name_of(options)}, mean of {options.seeds} seed(s); "
        "below 1 is better than the last reading."
    )


def _feature_units(given: Sequence[str], target: str) -> dict[str, str]:
    """From `NAME=UNIT` or, for the target, `UNIT`."""
    pairs = (text.split("=", 1) if "=" in text else (target, text) for text in given)
    return {name.strip(): unit.strip() for name, unit in pairs}


def _evaluate(options: argparse.Namespace) -> None:
    from forewarn.adapters.onnx_forecaster import load_model, resolve_model  # noqa: PLC0415 - see the first lines
    from forewarn.history import read_for  # noqa: PLC0415
    from forewarn_training.bands import coverage  # noqa: PLC0415
    from forewarn_training.classical import Classical  # noqa: PLC0415
    from forewarn_training.data import Cut, prepare  # noqa: PLC0415
    from forewarn_training.evaluate import RIDGE, about_blocks, evaluate  # noqa: PLC0415
    from forewarn_training.time_channels import choose_ridge  # noqa: PLC0415

    model = load_model(resolve_model(options.model))
    card = model.card
    history = read_for(source_of(options), card, **asked_of(options))
    data = prepare(history, Cut(card.n_step, card.horizon, options.split, options.max_gap))
    baselines = Classical(data) if options.baselines else None
    ridge, _ = choose_ridge(data)
    evaluation = evaluate(model.forecast, data, data.test, {RIDGE: ridge.forecast}, baselines)
    part = data.test
    chosen = part.some(_MOST_WINDOWS)
    said = model.forecast(part.inputs(chosen), part.spreads(chosen), part.ends_at(chosen))
    seen = card.training_data_sha256 == data.sha256
    print(f"{card.name} {card.version} on {history.target} of {name_of(options)}, {evaluation.n_window} windows")
    if seen:
        print("The model was trained on the earlier parts of this very file; use the --split it was trained with.")
    _print_table(evaluation, card.unit)
    within = coverage(part.targets(chosen), said.path, card.calibration)
    _print_notes((about_blocks(said.block_mean, part, chosen), within))


def _tutorial_tasks(options: argparse.Namespace) -> None:
    _start_torch(options.threads)
    from forewarn.history import read_history  # noqa: PLC0415
    from forewarn_training.tutorial_tasks import about, run, table, tasks  # noqa: PLC0415

    file, column = options.temperature or (None, None)
    try:
        chosen = tasks(read_history(file, target=column) if file else None)
    except DataError as error:
        raise DataError(f"{error} (of --temperature the column is what follows the colon: FILE.csv:COLUMN)") from error
    rows = [row for each in run(chosen, epochs=options.epochs, seeds=options.seeds) for row in each]
    _print_columns(*table(rows))
    print(about(rows, options.seeds))


def _starter(options: argparse.Namespace) -> None:
    from forewarn_training.starter import train_starter  # noqa: PLC0415 - see the module's first lines

    train_starter(options.out, seed=options.seed)
    print(f"model  {options.out}")


def _print_table(evaluation: "Evaluation", unit: str) -> None:
    from forewarn_training.report import about_skill, errors_table  # noqa: PLC0415 - see the module's first lines

    header, rows = errors_table(evaluation, unit)
    _print_columns(header, rows)
    print(about_skill(evaluation))
    print(evaluation.verdict())


def _print_notes(notes: Sequence[str]) -> None:
    for note in filter(None, notes):
        print(note)


def _print_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells))


_COMMANDS = {
    "fit": _fit,
    "compare": _compare,
    "tune": _tune,
    "evaluate": _evaluate,
    "tutorial-tasks": _tutorial_tasks,
    "starter": _starter,
}

if __name__ == "__main__":
    sys.exit(main())
