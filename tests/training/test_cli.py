"""`forewarn-train` from its command line: the model, the report, the table, and how it fails."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from forewarn.adapters.onnx_forecaster import load_model
from forewarn.core.card import BLOCKS, Feature
from forewarn_training.cli import main
from tests.training.sensors import MINUTE_S, wave, write_csv

SHARED = Path(__file__).parents[3] / "shared" / "data"
QUICK = ["--epochs", "2", "--units", "4", "--n-step", "8", "--horizon", "3", "--batch-size", "64"]


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Two devices, two features, a few gaps."""
    values = wave(500)
    values[[50, 51, 200, 201, 202, 203, 204, 480]] = np.nan
    return write_csv(tmp_path / "hall.csv", {"north": values, "south": wave(500, 1, level=5.0)})


def initializers(path: Path) -> dict[str, bytes]:
    onnx = pytest.importorskip("onnx")
    return {tensor.name: tensor.raw_data for tensor in onnx.load(path).graph.initializer}


def test_fit_writes_a_model_and_a_report_and_prints_the_table(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "hall.onnx"
    options = ["--features", "temperature,humidity", "--target", "temperature", "--cell", "gru", "--layers", "2"]
    units = ["--unit", "°C", "--unit", "humidity=%", "--name", "hall", "--model-version", "7"]
    assert main(["fit", "--data", str(csv), "--out", str(out), *options, *units, *QUICK]) == 0
    card = load_model(out).card
    assert card.features == (Feature("temperature", "°C"), Feature("humidity", "%"))
    assert (card.name, card.version, card.target, card.unit) == ("hall", "7", "temperature", "°C")
    assert (card.n_step, card.horizon, card.interval_s) == (8, 3, MINUTE_S)
    assert card.training_data_sha256 is not None
    assert card.calibration.threshold_errors is not None
    assert card.calibration.band_95 is not None
    assert card.calibration.band_80 is not None
    assert len(card.calibration.band_80) == 3
    assert card.calibration.band_95[0] > card.calibration.mean_abs_residual > 0  # type: ignore[operator] # it is there
    assert {"test_mae", "test_rmse", "test_mase", "test_mae_persistence"} <= set(card.metrics)
    printed = capsys.readouterr().out
    for word in (
        "model ",
        "persistence",
        "MAE (°C)",
        "RMSE",
        "MASE",
        "One reading ahead",
        "the next 20",
        "95 % bands: lead 1",
    ):
        assert word in printed
    report = (tmp_path / "hall.html").read_text(encoding="utf-8")
    for word in (
        "Loss of each epoch",
        "actual and predicted",
        "Residuals one reading ahead",
        "persistence",
        "Threshold",
    ):
        assert word.lower() in report.lower()
    assert report.count("<svg") == 11
    assert "http" not in report, "the report needs no network"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hall.csv", "hall.html", "hall.onnx"]


def test_the_linear_model_is_written_to_the_same_contract(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "m.onnx"
    command = ["fit", "--data", str(csv), "--target", "temperature", "--out", str(out), *QUICK, "--cell"]
    assert main([*command, "linear"]) == 0
    printed = capsys.readouterr().out
    assert "The linear model is better than persistence" in printed
    assert "trained" not in printed
    model = load_model(out)
    assert (model.card.n_step, model.card.horizon) == (8, 3)
    assert model.card.calibration.threshold_errors is not None
    assert "Loss of each epoch" not in (tmp_path / "m.html").read_text(encoding="utf-8")
    linear = initializers(out)
    assert main([*command, "auto"]) == 0
    assert "was linear, which is what was written" in capsys.readouterr().out
    assert initializers(out) == linear


def test_the_tutorials_recipe_reads_the_level_and_fits_the_contract(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "m.onnx"
    command = ["fit", "--data", str(csv), "--target", "temperature", "--out", str(out), "--recipe", "tutorial"]
    assert main([*command, "--epochs", "1", "--horizon", "2"]) == 0
    model = load_model(out)
    assert (model.card.n_step, model.card.horizon) == (10, 2)
    windows = np.full((2, 10, 1), 20, np.float32)
    windows[1] += 1
    moved = np.diff(model.forecast(windows, np.ones(2, np.float32)).path, axis=0)
    assert not np.allclose(moved, 1, atol=0.05), "a model of differences would move along with the level"
    report = (tmp_path / "m.html").read_text(encoding="utf-8")
    for setting in ("tutorial", "mse"):
        assert setting in report
    assert "The LSTM" in capsys.readouterr().out


def test_compare_prints_a_line_for_each_kind(csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    command = ["compare", "--data", str(csv), "--target", "temperature", "--n-step", "12", "--horizon", "4"]
    assert main([*command, "--epochs", "1", "--seeds", "2"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:5] == ["kind", "lead", "1", "lead", "3"]
    lines = [line.split() for line in table[1:9]]
    kinds = ["linear", "linear-time", "lstm", "lstm-time", "gru", "lstm-2", "transformer", "tutorial"]
    assert [line[0] for line in lines] == kinds
    assert all(float(number) > 0 for line in lines for number in line[1:6])
    assert lines[0][3] == str((12 + 1) * (4 + 2 * len(BLOCKS)))
    assert "2 seed(s)" in table[9]


def test_fit_says_whether_the_network_earns_its_place(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "m.onnx"
    assert main(["fit", "--data", str(csv), "--target", "temperature", "--out", str(out), *QUICK]) == 0
    printed = capsys.readouterr().out
    assert "The LSTM does not earn its place" in printed, "two epochs are not enough"
    assert "blocks of" in printed
    assert "--cell linear" in (tmp_path / "m.html").read_text(encoding="utf-8")
    assert load_model(out).card.metrics["test_mae_ridge"] > 0


def test_evaluate_prints_the_same_errors_as_fit(csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "m.onnx"
    assert main(["fit", "--data", str(csv), "--target", "temperature", "--out", str(out), *QUICK]) == 0
    fitted = capsys.readouterr().out
    assert main(["evaluate", "--model", str(out), "--data", str(csv)]) == 0
    evaluated = capsys.readouterr().out
    table = [line for line in fitted.splitlines() if line.startswith(("model  ", "persistence"))]
    assert [line for line in table if ".onnx" not in line]
    assert all(line in evaluated for line in table if ".onnx" not in line)
    assert "trained on the earlier parts of this very file" in evaluated


def test_evaluate_measures_the_shipped_model_on_any_file(csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--model", "starter", "--data", str(csv), "--target", "temperature"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("starter 2 on temperature")
    assert "very file" not in printed


def test_readings_of_the_test_part_change_neither_weights_nor_scales_nor_calibration(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    values = wave(400)
    changed = values.copy()
    changed[321:] = 1000 + 50 * np.random.default_rng(3).normal(size=79)
    changed[330] = np.nan
    models = []
    for name, readings in (("a", values), ("b", changed)):
        csv = write_csv(tmp_path / f"{name}.csv", {"x": readings})
        out = tmp_path / f"{name}.onnx"
        assert main(["fit", "--data", str(csv), "--target", "temperature", "--out", str(out), *QUICK]) == 0
        models.append(out)
    assert initializers(models[0]) == initializers(models[1])
    first, second = (load_model(path).card for path in models)
    assert first.calibration == second.calibration
    assert first.metrics != second.metrics


def test_fit_keeps_the_better_of_the_shipped_model_trained_on_and_a_training_from_scratch(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from forewarn_training import fit as fitting  # noqa: PLC0415 - needs torch

    out = tmp_path / "m.onnx"
    command = ["fit", "--data", str(csv), "--target", "temperature", "--out", str(out), "--epochs", "1"]
    errors: dict[int, float] = {}
    for favoured, kept in ((16, "the first"), (30, "the second")):
        errors.update({16: 0.8, 30: 0.8, favoured: 0.7})
        monkeypatch.setattr(fitting, "validation_error", lambda network, _: errors[network.spec.n_step])
        assert main([*command, "--horizon", "4"]) == 0
        printed = capsys.readouterr().out
        assert f"{errors[16]:.3f} of persistence's" in printed
        assert f"and {errors[30]:.3f} for the one from scratch: {kept} was kept" in printed
        card = load_model(out).card
        assert (card.n_step, card.horizon) == (favoured, 4)
        table = [line for line in printed.splitlines() if line.startswith(("model  ", "ridge")) and "/" not in line]
        assert main(["evaluate", "--model", str(out), "--data", str(csv)]) == 0
        evaluated = capsys.readouterr().out
        assert len(table) > 2
        assert all(line in evaluated for line in table)


def test_a_training_can_be_told_where_to_start(csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "m.onnx"
    command = ["fit", "--data", str(csv), "--target", "temperature", "--out", str(out), "--epochs", "1", "--start"]
    for start, n_step in (("starter", 16), ("scratch", 30)):
        assert main([*command, start]) == 0
        assert ("started from the shipped model." in capsys.readouterr().out) == (start == "starter")
        assert load_model(out).card.n_step == n_step
        assert f"<td>{start}</td>" in (tmp_path / "m.html").read_text(encoding="utf-8")


def test_a_training_that_is_to_know_the_time_does_not_start_from_the_shipped_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    hourly = write_csv(tmp_path / "hourly.csv", {"x": wave(400)}, interval_s=3600.0)
    command = ["fit", "--data", str(hourly), "--target", "temperature", "--out", str(tmp_path / "m.onnx"), *QUICK]
    assert main([*command, "--time-channels", "yes"]) == 0
    assert "shipped model" not in capsys.readouterr().out
    assert main([*command, "--time-channels", "yes", "--start", "starter"]) == 78
    assert "--time-channels yes asks for another network" in capsys.readouterr().err
    assert main([*command, "--time-channels", "yes", "--recipe", "tutorial"]) == 78
    assert "--recipe tutorial is told no time" in capsys.readouterr().err
    assert main([*command, "--time-channels", "no"]) == 0
    assert "time of day" not in capsys.readouterr().out
    assert main(command) == 0
    assert "with the time of day and of week as inputs and" in capsys.readouterr().out


def test_from_the_shipped_model_a_short_history_is_enough(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    short = write_csv(tmp_path / "short.csv", {"x": wave(100)})
    command = ["fit", "--data", str(short), "--target", "temperature", "--horizon", "2", "--epochs", "1"]
    assert main([*command, "--out", str(tmp_path / "m.onnx"), "--start", "scratch"]) == 78, "20 readings validate"
    assert main([*command, "--out", str(tmp_path / "m.onnx"), "--start", "starter"]) == 0


def test_where_the_shipped_model_does_not_fit_the_training_is_from_scratch(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "m.onnx"
    command = ["fit", "--data", str(csv), "--target", "temperature", "--out", str(out), "--epochs", "1"]
    for options in (["--n-step", "20"], ["--units", "5"], ["--horizon", "25"], ["--cell", "gru"]):
        assert main([*command, *options]) == 0
        assert "shipped model" not in capsys.readouterr().out


@pytest.mark.parametrize(("interval_s", "stops"), [(60.0, 1), (3600.0, 3)])
def test_a_stopped_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval_s: float, stops: int
) -> None:
    """Of hourly readings the time is tried too: a training of its own, stopped in its first epoch."""
    pytest.importorskip("torch")
    from forewarn_training.trainer import Trainer  # noqa: PLC0415 - needs torch

    csv = write_csv(tmp_path / "hall.csv", {"x": wave(400)}, interval_s)
    command = ["fit", "--data", str(csv), "--target", "temperature", *QUICK]
    assert main([*command, "--out", str(tmp_path / "whole.onnx")]) == 0
    command += ["--out", str(tmp_path / "m.onnx"), "--checkpoint", str(tmp_path / "m.pt")]
    save = Trainer.save

    def save_and_stop(self: Trainer, path: Path) -> None:
        save(self, path)
        saved.append(path)
        if len(saved) == stops:
            raise KeyboardInterrupt

    saved: list[Path] = []
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "save", save_and_stop)
        assert main(command) == 1
    assert not (tmp_path / "m.onnx").exists()
    assert main([*command, "--resume"]) == 0
    assert initializers(tmp_path / "m.onnx") == initializers(tmp_path / "whole.onnx")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--data", "none.csv"], 78, "none.csv: cannot be read"),
        (["--target", "Temprature"], 78, "did you mean 'temperature'"),
        (["--out", "no/such/folder/m.onnx"], 78, "its folder does not exist"),
        (["--report", "."], 78, "is a folder"),
        (["--unit", "pressure=Pa"], 78, "--unit names pressure"),
        (["--n-step", "500"], 78, "give more history"),
        (["--cell", "transformer", "--units", "6"], 78, "needs a multiple of 4"),
        (["--recipe", "tutorial", "--cell", "linear"], 78, "leave out one of them"),
        (["--start", "starter"], 78, "--units 4 asks for another network; --n-step 8 asks"),
        (["--start", "starter", "--cell", "gru"], 78, "--cell gru asks"),
        (["--start", "starter", "--recipe", "tutorial"], 78, "--recipe tutorial asks"),
        (["--start", "starter", "--horizon", "25"], 78, "it forecasts 24 readings, not --horizon 25"),
        (["--start", "starter", "--features", "temperature,humidity"], 78, "it reads one feature, not 2"),
        (["--resume"], 78, "--resume needs --checkpoint"),
        (["--resume", "--checkpoint", "none.pt"], 78, "none.pt: cannot be resumed from"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, said: str
) -> None:
    pytest.importorskip("torch")
    base = ["fit", "--data", str(csv), "--out", str(tmp_path / "m.onnx"), "--target", "temperature", *QUICK]
    assert main([*base, *options]) == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nothing"],
        ["fit"],
        ["fit", "--data", "a", "--out", "b", "--n-step", "513"],
        ["fit", "--data", "a", "--out", "b", "--n-step", "many"],
        ["fit", "--data", "a", "--out", "b", "--dropout", "1.5"],
        ["fit", "--data", "a", "--out", "b", "--dropout", "nan"],
        ["fit", "--data", "a", "--out", "b", "--split", "60/40"],
        ["fit", "--data", "a", "--out", "b", "--split", "0/50/50"],
        ["fit", "--data", "a", "--out", "b", "--cell", "rnn"],
    ],
)
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage: forewarn-train" in capsys.readouterr().err


def test_a_model_that_cannot_be_used_exits_with_78(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    assert main(["evaluate", "--model", str(tmp_path / "bad.onnx"), "--data", str(csv)]) == 78
    assert "is damaged or no ONNX model" in capsys.readouterr().err


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy() -> None:
    program = "import sys; from forewarn_training.cli import main\ntry: main(['fit', '--help'])\nfinally: "
    ran = run_python(program + "print({'torch', 'onnx', 'onnxruntime'} & set(sys.modules), file=sys.stderr)")
    assert ran.returncode == 0
    assert ran.stderr.strip() == "set()"
    assert "--horizon" in ran.stdout


def test_where_torch_is_missing_it_says_how_to_install_it(csv: Path, tmp_path: Path) -> None:
    argv = ["fit", "--data", str(csv), "--target", "temperature", "--out", str(tmp_path / "m.onnx")]
    ran = run_python(
        f"import sys; sys.modules['torch'] = None\nfrom forewarn_training.cli import main\nsys.exit(main({argv!r}))"
    )
    assert ran.returncode == 1
    assert "pip install torch --index-url https://download.pytorch.org/whl/cpu" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_where_optuna_is_missing_it_says_how_to_install_it(csv: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    argv = ["tune", "--data", str(csv), "--target", "temperature", "--out", str(tmp_path / "m.onnx")]
    ran = run_python(
        f"import sys; sys.modules['optuna'] = None\nfrom forewarn_training.cli import main\nsys.exit(main({argv!r}))"
    )
    assert ran.returncode == 1
    assert "pip install 'forewarn[tune]'" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("ett/ETTh1.csv", ["--target", "OT", "--unit", "°C", "--epochs", "4"]),
        ("nab/realKnownCause/ambient_temperature_system_failure.csv", ["--epochs", "12"]),
    ],
)
def test_a_model_of_real_readings_beats_persistence(file: str, options: list[str], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "m.onnx"
    assert main(["fit", "--data", str(SHARED / file), "--out", str(out), *options]) == 0
    metrics = load_model(out).card.metrics
    assert metrics["test_mae"] < metrics["test_mae_persistence"]
