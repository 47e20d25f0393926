"""Writes a network as an ONNX graph, operation by operation.

The graph is built by hand: an exporter's graph changes with its version, and this one has some dozen nodes, opset 17
and IR version 8, so that any onnxruntime since 1.13 reads it. Gate orders differ: torch has i, f, g, o for an LSTM
where ONNX has i, o, f, c, and r, z, n for a GRU where ONNX has z, r, h (with `linear_before_reset`).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from forewarn.core.clock import CHANNELS
from forewarn_training.data import DIFFERENCE_LIMIT, INPUT_LIMIT
from forewarn_training.encoder_graph import encode
from forewarn_training.model import (
    CONTEXT_LIMIT,
    LEVEL_FLOOR,
    LOG_SCALE_BOUNDS,
    N_BLOCK,
    RATIO_FLOOR,
    SCALE_FLOOR,
    SPREAD_FLOOR,
    NetworkSpec,
    before,
)
from forewarn_training.multivariate import LARGEST, Multivariate
from forewarn_training.operations import Graph, Weights

OPSET = 17
IR_VERSION = 8
_LANES = 16  # the most float32 that a processor takes at once
GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


class _Normalised(NamedTuple):
    """Names of what `model.Normalised` has; the scaled inputs have the steps first: (n_step, batch, n_channel).

    `log_block_unit` is the natural logarithm of `block_unit`.
    """

    inputs: str
    context: str | None
    origin: str
    unit: str
    block_unit: str
    log_block_unit: str


def build(
    spec: NetworkSpec, weights: Weights, metadata: Mapping[str, str], together: Multivariate | None = None
) -> onnx.ModelProto:
    """The model with the inputs and outputs that `core.card` names.

    Args:
        spec: of the network.
        weights: its state, by torch's names.
        metadata: entries of the model's metadata.
        together: how the features go together; without it the model does not say.
    """
    graph = Graph()
    normalised = (_levels if spec.level else _differences)(graph, spec, weights)
    hidden = _body(graph, spec, weights, normalised.inputs)
    if normalised.context is not None:
        hidden = graph.add("Concat", [hidden, normalised.context], "joined", axis=1)
    if spec.joint:
        hidden = graph.add("Relu", [_dense(graph, weights, "joint", hidden)], "joint")
    _outputs(graph, spec, _dense(graph, weights, "head", hidden), normalised)
    value = helper.make_tensor_value_info
    outputs = [
        value("forecast", TensorProto.FLOAT, ["batch", spec.horizon]),
        value("block_mean", TensorProto.FLOAT, ["batch", N_BLOCK]),
        value("block_log_scale", TensorProto.FLOAT, ["batch", N_BLOCK]),
    ]
    if together is not None:
        _t_squared(graph, spec, together)
        outputs.append(value("t_squared", TensorProto.FLOAT, ["batch", spec.n_feature]))
    proto = helper.make_graph(
        graph.nodes,
        "forewarn",
        [
            value("window", TensorProto.FLOAT, ["batch", spec.n_step, spec.n_feature]),
            value("spread", TensorProto.FLOAT, ["batch"]),
            *([value("clock", TensorProto.FLOAT, ["batch", CHANNELS])] if spec.clock else []),
        ],
        outputs,
        graph.constants,
    )
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="forewarn-train"
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def _dense(graph: Graph, weights: Weights, name: str, inputs: str) -> str:
    matrix = graph.constant(f"{name}_w", weights[f"{name}.weight"].T)
    bias = graph.constant(f"{name}_b", weights[f"{name}.bias"])
    return graph.add("Gemm", [inputs, matrix, bias], f"{name}_out")


def _outputs(graph: Graph, spec: NetworkSpec, scaled: str, normalised: _Normalised) -> None:
    """Give the scaled outputs their units, as `Network.forward`."""
    names = ("scaled_path", "scaled_mean", "unbounded_log_scale")
    widths = graph.constant("widths", [spec.horizon, N_BLOCK, N_BLOCK], np.int64)
    graph.nodes.append(helper.make_node("Split", [scaled, widths], list(names), name="split", axis=1))
    change = graph.add("Mul", [names[0], normalised.unit], "change")
    graph.add("Add", [normalised.origin, change], "forecast")
    block_change = graph.add("Mul", [names[1], normalised.block_unit], "block_change")
    graph.add("Add", [normalised.origin, block_change], "block_mean")
    bounds = [graph.constant(f"log_scale_bound{i}", bound) for i, bound in enumerate(LOG_SCALE_BOUNDS)]
    log_scale = graph.add("Clip", [names[2], *bounds], "scaled_log_scale")
    graph.add("Add", [log_scale, normalised.log_block_unit], "block_log_scale")


def _t_squared(graph: Graph, spec: NetworkSpec, together: Multivariate) -> None:
    """As `Multivariate.parts`."""
    above = graph.add("Sub", ["window", graph.constant("training_mean", together.mean)], "above_mean")
    scaled = graph.add("Div", [above, graph.constant("training_deviation", together.deviation)], "unbounded_deviation")
    bounded = _bounded(graph, scaled, "standardised", LARGEST)
    shape = graph.constant("standardised_shape", [-1, spec.n_step * spec.n_feature], np.int64)
    flat = graph.add("Reshape", [bounded, shape], "flat_standardised")
    weights, bias = graph.constant("var_w", together.weights), graph.constant("var_b", together.bias)
    error = graph.add("Gemm", [flat, weights, bias], "mean_error")
    weighted = graph.add("MatMul", [error, graph.constant("precision", together.precision)], "weighted_error")
    graph.add("Mul", [error, weighted], "t_squared")


def _differences(graph: Graph, spec: NetworkSpec, weights: Weights) -> _Normalised:
    """As `Network.normalise`.

    Steps come first from the start: onnxruntime sums over the first axis by adding whole rows, so that a window's mean
    is the same bits in any batch. Over the last axis the order of its sum depends on the window's place in memory.
    """
    limit = graph.constant("difference_limit", DIFFERENCE_LIMIT)
    target = graph.constant("target", [spec.target_index], np.int64)
    step_axis = graph.constant("step_axis", [0], np.int64)
    window = graph.add("Transpose", ["window"], "steps", perm=[1, 0, 2])
    last = graph.add("Gather", [window, graph.constant("last_step", [spec.n_step - 1], np.int64)], "last", axis=0)
    difference = graph.add("Sub", [window, last], "unbounded_difference")
    floor = graph.constant("difference_floor", -DIFFERENCE_LIMIT)
    difference = graph.add("Clip", [difference, floor, limit], "difference")
    flat_last = graph.add("Squeeze", [last, step_axis], "flat_last")
    origin = graph.add("Gather", [flat_last, target], "last_target", axis=1)
    if spec.per_window:
        return _by_window(graph, spec, difference, origin)
    scaled = graph.add("Div", [difference, graph.constant("input_scale", weights["input_scale"])], "unbounded_input")
    context = None
    if spec.clock:
        context = graph.add("Mul", ["clock", graph.constant("clock_scale", weights["clock_scale"])], "context")
    return _Normalised(
        _bounded(graph, scaled, "scaled"),
        context,
        origin,
        graph.constant("output_scale", weights["output_scale"][None, :]),
        graph.constant("block_scale", weights["block_scale"][None, :]),
        graph.constant("log_block_scale", np.log(weights["block_scale"])[None, :]),
    )


def _bounded(graph: Graph, scaled: str, name: str, limit: float = INPUT_LIMIT) -> str:
    bounds = [graph.constant(f"{name}_floor", -limit), graph.constant(f"{name}_limit", limit)]
    return graph.add("Clip", [scaled, *bounds], name)


def _by_window(graph: Graph, spec: NetworkSpec, difference: str, origin: str) -> _Normalised:
    """As `model._by_window`."""
    mean = graph.add("ReduceMean", [difference], "mean", axes=[0], keepdims=1)
    centred = graph.add("Sub", [difference, mean], "centred")
    square = graph.add("Mul", [centred, centred], "square")
    variance = graph.add("ReduceMean", [square], "variance", axes=[0], keepdims=0)
    column = graph.add("Unsqueeze", ["spread", graph.constant("column", [1], np.int64)], "spread_column")
    spread = graph.add("Min", [column, "difference_limit"], "bounded_spread")
    share = graph.add("Mul", [spread, graph.constant("spread_floor", SPREAD_FLOOR)], "spread_share")
    variance = graph.add("Add", [variance, graph.add("Mul", [share, share], "least_variance")], "joint_variance")
    level = graph.add("Mul", [graph.add("Abs", [origin], "level"), graph.constant("level_floor", LEVEL_FLOOR)], "rel")
    floor = graph.add("Add", [level, graph.constant("scale_floor", SCALE_FLOOR)], "least_scale")
    scale = graph.add("Add", [graph.add("Sqrt", [variance], "joint_spread"), floor], "scale")
    relative = graph.add("Div", [difference, scale], "relative")
    earlier = graph.add(
        "Gather", [relative, graph.constant("before", before(spec.n_step), np.int64)], "earlier", axis=0
    )
    steps = graph.add("Sub", [relative, earlier], "one_step")
    both = graph.add("Concat", [relative, steps], "unbounded_input", axis=2)
    ratio = graph.add("Div", [scale, graph.add("Add", [spread, floor], "own_spread")], "ratio")
    ratio = graph.add("Add", [ratio, graph.constant("ratio_floor", RATIO_FLOOR)], "floored_ratio")
    log_ratio, log_scale = _logarithms(graph, ratio, scale)
    context = graph.add("Div", [log_ratio, graph.constant("ten", math.log(10))], "decades")
    context = _bounded(graph, context, "context", CONTEXT_LIMIT)
    return _Normalised(_bounded(graph, both, "scaled"), context, origin, scale, scale, log_scale)


def _logarithms(graph: Graph, first: str, second: str) -> tuple[str, str]:
    """Natural logarithms of two columns (batch, 1).

    onnxruntime takes logarithms of 4 to 16 numbers at once and of those left over one by one, which gives other bits.
    Each row is therefore made 16 numbers long, so that none is left over whatever the batch.
    """
    wide = graph.add("Concat", [first, second] * (_LANES // 2), "wide", axis=1)
    names = ["log_ratio", "log_scale", "unused_logarithms"]
    widths = graph.constant("lanes", [1, 1, _LANES - 2], np.int64)
    graph.nodes.append(
        helper.make_node("Split", [graph.add("Log", [wide], "logarithms"), widths], names, name="split_logs", axis=1)
    )
    return names[0], names[1]


def _levels(graph: Graph, spec: NetworkSpec, weights: Weights) -> _Normalised:
    """As `Network.normalise`, for the tutorial's scaling of the level to 0..1."""
    index = spec.target_index
    window = graph.add("Transpose", ["window"], "steps", perm=[1, 0, 2])
    above = graph.add("Sub", [window, graph.constant("input_low", weights["input_low"])], "above_low")
    scaled = graph.add("Div", [above, graph.constant("input_scale", weights["input_scale"])], "unbounded_input")
    graph.constant("step_axis", [0], np.int64)
    unit = graph.constant("unit", weights["input_scale"][None, index : index + 1])
    origin = graph.constant("origin", weights["input_low"][None, index : index + 1])
    log_unit = graph.constant("log_unit", np.log(weights["input_scale"][None, index : index + 1]))
    return _Normalised(_bounded(graph, scaled, "scaled"), None, origin, unit, unit, log_unit)


def _body(graph: Graph, spec: NetworkSpec, weights: Weights, steps: str) -> str:
    if spec.cell == "transformer":
        return encode(graph, spec, weights, steps)
    return _flat(graph, spec, steps) if spec.cell == "linear" else _recurrent(graph, spec, weights, steps)


def _flat(graph: Graph, spec: NetworkSpec, steps: str) -> str:
    """All scaled inputs of a window in one row (batch, n_step * n_feature)."""
    windows = graph.add("Transpose", [steps], "scaled_windows", perm=[1, 0, 2])
    shape = graph.constant("flat_shape", [-1, spec.n_step * spec.n_feature], np.int64)
    return graph.add("Reshape", [windows, shape], "hidden")


def _recurrent(graph: Graph, spec: NetworkSpec, weights: Weights, steps: str) -> str:
    """Stacked layers over `steps` (n_step, batch, channels); the name of the last hidden state (batch, units)."""
    attributes: dict[str, Any] = {"hidden_size": spec.units}
    if spec.cell == "gru":
        attributes["linear_before_reset"] = 1
    axis = graph.constant("direction_axis", [1], np.int64)
    for layer in range(spec.layers):
        inputs = [
            steps,
            graph.constant(f"w{layer}", _reordered(spec, weights[f"recurrent.weight_ih_l{layer}"])[None]),
            graph.constant(f"r{layer}", _reordered(spec, weights[f"recurrent.weight_hh_l{layer}"])[None]),
            graph.constant(
                f"b{layer}",
                np.concatenate([_reordered(spec, weights[f"recurrent.bias_{kind}_l{layer}"]) for kind in ("ih", "hh")])[
                    None
                ],
            ),
        ]
        all_steps, hidden = f"directed{layer}", f"hidden{layer}"
        outputs = [all_steps, ""] if layer + 1 < spec.layers else ["", hidden]
        graph.nodes.append(helper.make_node(spec.cell.upper(), inputs, outputs, name=f"layer{layer}", **attributes))
        if layer + 1 < spec.layers:
            steps = graph.add("Squeeze", [all_steps, axis], f"steps{layer + 1}")
    return graph.add("Squeeze", [hidden, "step_axis"], "hidden")


def _reordered(spec: NetworkSpec, stacked: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of the gates in ONNX's order."""
    gates = np.split(stacked, len(GATES[spec.cell]))
    return np.concatenate([gates[i] for i in GATES[spec.cell]])
