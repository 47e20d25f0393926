"""Runs a model file with onnxruntime; the only module that imports it.

Rules that hold here:

- onnxruntime sees a file only after `onnx_file.py` and `onnx_shapes.py` have found nothing in it but what
  forewarn-train writes: it is C++ that believes its input.
- A model is used only after its card was read, its shapes were found to agree with the card, and its golden sample
  came out as the trainer's framework had computed it.
- Nothing leaves the machine: onnxruntime's own telemetry is switched off.
- One thread on the CPU. Row i of a forecast is the same bits whatever else is in the batch.
"""

import hashlib
import os
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forewarn.core.card import BLOCKS, CARD_KEY, GOLDEN_KEY, GoldenSample, ModelCard
from forewarn.core.clock import CHANNELS, clock
from forewarn.core.ports import Forecast
from forewarn.errors import ModelError
from forewarn.onnx_file import read_graph
from forewarn.onnx_shapes import BATCH, work

# onnxruntime 1.29 and later reports its use to its maker unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

STARTER = Path(str(files("forewarn") / "models" / "starter.onnx"))

# With a 30-step, 50-unit LSTM on one x86-64 core a window took 20.6 µs alone, 7.7 µs in batches of 64 to 256 and
# 11.9 µs in batches of 1024, whose intermediate values leave the cache.
_CHUNK = BATCH
_MAX_FILE_BYTES = 16 * 2**20
_TOLD_MOST = 500  # characters of what a card is refused for
_TEXT_MOST = 200  # characters of a text of the card
_INPUTS = ("window", "spread")
_CLOCK = "clock"  # an input that a model may leave out
_AGAIN = "export it again with forewarn-train"
_SILENT = 4  # onnxruntime's log severity "fatal": it would print to standard error what we tell as a ModelError

Observe = Callable[[int, float], None]


def resolve_model(name: str) -> Path:
    """The path of the model that ships for "starter", else `name` as a path."""
    return STARTER if name == "starter" else Path(name)


def load_model(path: Path, *, observe: Observe | None = None) -> "OnnxForecaster":
    """Load and prove a model.

    Args:
        path: of the `.onnx` file.
        observe: is told the number of windows and the seconds of each inference call.

    Raises:
        ModelError: in one line, what is wrong with the file and what to do.
    """
    content = _read(path)
    try:
        work(read_graph(content))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    opened = _open(path, content)
    for key in (CARD_KEY, GOLDEN_KEY):
        if key not in opened.metadata:
            raise ModelError(f"{path}: has no {key} in its metadata: it is no model of forewarn-train, {_AGAIN}")
    try:
        card = ModelCard.from_json(opened.metadata[CARD_KEY])
        golden = GoldenSample.from_json(opened.metadata[GOLDEN_KEY])
    except ModelError as error:
        raise ModelError(f"{path}: {_one_line(str(error))}") from error
    _check_texts(path, card)
    _check_shapes(path, opened, card)
    forecaster = OnnxForecaster(opened.session, card, hashlib.sha256(content).hexdigest(), path, observe)
    _check_golden(path, forecaster, golden)
    return forecaster


class OnnxForecaster:
    """A proven model; satisfies `core.ports.Forecaster`. Made by `load_model`.

    Attributes:
        card: the contract that the model was exported with.
        sha256: of the file, hexadecimal.
        path: of the file.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, card: ModelCard, sha256: str, path: Path, observe: Observe | None
    ) -> None:
        self.card = card
        self.sha256 = sha256
        self.path = path
        self._session = session
        self._observe = observe
        self._inputs = [i.name for i in session.get_inputs()]

    def forecast(
        self,
        windows: NDArray[np.float32],
        spread: NDArray[np.float32],
        at: NDArray[np.float64] | None = None,
    ) -> Forecast:
        """Forecast from windows `(n, n_step, n_feature)`, spreads `(n,)` and times `(n,)`: see `core.ports.Forecaster`.

        The times may be left out where the model has no clock.

        Raises:
            ValueError: where the shape of the windows is not the card's, or there is not one spread, and for a model
                with a clock one time, for each.
        """
        windows, spread = np.ascontiguousarray(windows, np.float32), np.ascontiguousarray(spread, np.float32)
        n = len(windows)
        if windows.shape[1:] != (self.card.n_step, len(self.card.features)) or spread.shape != (n,):
            raise ValueError(
                f"windows of shape {windows.shape} and spreads of shape {spread.shape} for a model of "
                f"{self.card.n_step} steps"
            )
        given = dict(zip(_INPUTS, (windows, spread), strict=True))
        if _CLOCK in self._inputs:
            if at is None or at.shape != (n,):
                raise ValueError(f"{n} windows and not as many times for a model that has a clock")
            given[_CLOCK] = clock(at)
        outputs = _outputs(self.card)
        out = [np.empty((n, *shape), np.float32) for shape in outputs.values()]
        for start in range(0, n, _CHUNK):
            rows = slice(start, start + _CHUNK)
            began = time.perf_counter()
            found = self._session.run(list(outputs), {name: given[name][rows] for name in self._inputs})
            for kept, values in zip(out, found, strict=True):
                kept[rows] = values
            if self._observe is not None:
                self._observe(len(windows[rows]), time.perf_counter() - began)
        return Forecast(*out)


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            what = "is no file" if path.exists() else "does not exist"
            raise ModelError(f"{path}: {what}: give the path of an .onnx file that forewarn-train wrote, or 'starter'")
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise ModelError(f"{path}: has {size} bytes, at most {_MAX_FILE_BYTES} are read: train a smaller model")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): check the path and its permissions") from error


class _Tensor(NamedTuple):
    """An input or output of a graph; a free dimension is a name or None."""

    name: str
    type: str
    shape: list[int | str | None]


class _Opened(NamedTuple):
    session: onnxruntime.InferenceSession
    metadata: dict[str, str]
    inputs: list[_Tensor]
    outputs: list[_Tensor]


def _open(path: Path, content: bytes) -> _Opened:
    """Let onnxruntime read the file, and ask it everything whose answer may be damaged."""
    onnxruntime.set_default_logger_severity(_SILENT)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _SILENT
    try:
        session = onnxruntime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # else it prints before it tries the same provider again
        )
        inputs = [_Tensor(i.name, i.type, i.shape) for i in session.get_inputs()]
        outputs = [_Tensor(o.name, o.type, o.shape) for o in session.get_outputs()]
        return _Opened(session, session.get_modelmeta().custom_metadata_map, inputs, outputs)
    except Exception as error:  # of many types, and with no common one of its own
        reason = _one_line(" ".join(str(error).split()))[:200]
        raise ModelError(
            f"{path}: onnxruntime cannot load it ({reason}): the file is damaged or no ONNX model, copy it again or "
            f"{_AGAIN}"
        ) from error


def _outputs(card: ModelCard) -> dict[str, list[int]]:
    """The shape of a row of each output, in the order of `Forecast`."""
    outputs = {"forecast": [card.horizon], "block_mean": [len(BLOCKS)], "block_log_scale": [len(BLOCKS)]}
    return outputs | ({"t_squared": [len(card.features)]} if card.multivariate else {})


def _one_line(text: str) -> str:
    """Of what a file says of itself, as much as a log wants."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:_TOLD_MOST])


def _check_texts(path: Path, card: ModelCard) -> None:
    """Texts of the card reach terminals, the log and every alert."""
    named = [text for feature in card.features for text in (feature.name, feature.unit)]
    for text in (card.name, card.version, card.created_at, card.training_data_sha256 or "", *named, *card.metrics):
        if len(text) > _TEXT_MOST or not text.isprintable():
            raise ModelError(
                f"{path}: the model's card has the text {text[:40]!r}…: {_TEXT_MOST} printable characters "
                f"are the most, {_AGAIN}"
            )


def _check_shapes(path: Path, opened: _Opened, card: ModelCard) -> None:
    """Compare the graph's inputs and outputs with what the card promises."""
    inputs: dict[str, list[int]] = {"window": [card.n_step, len(card.features)], "spread": []}
    if any(tensor.name == _CLOCK for tensor in opened.inputs):
        inputs[_CLOCK] = [CHANNELS]
    for kind, found, wanted in (("inputs", opened.inputs, inputs), ("outputs", opened.outputs, _outputs(card))):
        if sorted(tensor.name for tensor in found) != sorted(wanted) or not all(
            tensor.type == "tensor(float)"
            and tensor.shape[1:] == wanted[tensor.name]
            and tensor.shape
            and not isinstance(tensor.shape[0], int)
            for tensor in found
        ):
            told = ", ".join(f"{tensor.name} {tensor.type} {tensor.shape}" for tensor in found)
            promised = ", ".join(f"{name} tensor(float) {['batch', *shape]}" for name, shape in wanted.items())
            raise ModelError(
                f"{path}: its {kind} are {_one_line(told) or 'absent'}, the card says {promised}: {_AGAIN}"
            )


def _check_golden(path: Path, forecaster: OnnxForecaster, golden: GoldenSample) -> None:
    if len(golden.window) > _CHUNK:
        raise ModelError(
            f"{path}: its golden sample has {len(golden.window)} windows, at most {_CHUNK} are run: {_AGAIN}"
        )
    try:
        away = golden.disagreement(*forecaster.forecast(golden.window, golden.spread, golden.at))
    except Exception as error:
        reason = _one_line(" ".join(str(error).split()))[:200]
        raise ModelError(f"{path}: its golden sample cannot be run ({reason}): {_AGAIN}") from error
    if not away <= GoldenSample.TOLERANCE:
        raise ModelError(
            f"{path}: its golden sample comes out {away:.2g} of the scale away from what it should be "
            f"(at most {GoldenSample.TOLERANCE:g}): the file is damaged or this machine computes otherwise, {_AGAIN}"
        )
