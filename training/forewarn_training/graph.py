"""Writes a network as an ONNX graph, operation by operation.

The graph is built by hand: an exporter's graph changes with its version, and this one has a dozen nodes, opset 17 and
IR version 8, so that any onnxruntime since 1.13 reads it. Gate orders differ: torch has i, f, g, o for an LSTM where
ONNX has i, o, f, c, and r, z, n for a GRU where ONNX has z, r, h (with `linear_before_reset`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from forewarn_training.data import DIFFERENCE_LIMIT, INPUT_LIMIT
from forewarn_training.encoder_graph import encode
from forewarn_training.model import LEVEL_FLOOR, SCALE_FLOOR, NetworkSpec
from forewarn_training.operations import Graph, Weights

OPSET = 17
IR_VERSION = 8
_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


def build(spec: NetworkSpec, weights: Weights, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The model with input `window` (batch, n_step, n_feature) and output `forecast` (batch, horizon).

    Args:
        spec: of the network.
        weights: its state, by torch's names.
        metadata: entries of the model's metadata.
    """
    graph = Graph()
    scaled, unit, origin = (_levels if spec.level else _normalisation)(graph, spec, weights)
    hidden = _body(graph, spec, weights, scaled)
    head = [hidden, graph.constant("head_w", weights["head.weight"].T), graph.constant("head_b", weights["head.bias"])]
    change = graph.add("Mul", [graph.add("Gemm", head, "scaled_change"), unit], "change")
    graph.add("Add", [origin, change], "forecast")
    value = helper.make_tensor_value_info
    proto = helper.make_graph(
        graph.nodes,
        "forewarn",
        [value("window", TensorProto.FLOAT, ["batch", spec.n_step, spec.n_feature])],
        [value("forecast", TensorProto.FLOAT, ["batch", spec.horizon])],
        graph.constants,
    )
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="forewarn-train"
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def _normalisation(graph: Graph, spec: NetworkSpec, weights: Weights) -> tuple[str, str, str]:
    """Names of the scaled inputs (n_step, batch, n_feature), of the forecast's unit and of the target's last reading,
    both (batch or 1, horizon or 1), as `Network.normalise`.

    Steps come first from the start: onnxruntime sums over the first axis by adding whole rows, so that a window's mean
    is the same bits in any batch. Over the last axis the order of its sum depends on the window's place in memory.
    """  # noqa: D205 - one sentence
    limit = graph.constant("difference_limit", DIFFERENCE_LIMIT)
    target = graph.constant("target", [spec.target_index], np.int64)
    step_axis = graph.constant("step_axis", [0], np.int64)
    window = graph.add("Transpose", ["window"], "steps", perm=[1, 0, 2])
    last = graph.add("Gather", [window, graph.constant("last_step", [spec.n_step - 1], np.int64)], "last", axis=0)
    difference = graph.add("Sub", [window, last], "unbounded_difference")
    floor = graph.constant("difference_floor", -DIFFERENCE_LIMIT)
    difference = graph.add("Clip", [difference, floor, limit], "difference")
    if spec.per_window:
        mean = graph.add("ReduceMean", [difference], "mean", axes=[0], keepdims=1)
        centred = graph.add("Sub", [difference, mean], "centred")
        square = graph.add("Mul", [centred, centred], "square")
        spread = graph.add("Sqrt", [graph.add("ReduceMean", [square], "variance", axes=[0], keepdims=1)], "spread")
        level = graph.add("Mul", [graph.add("Abs", [last], "level"), graph.constant("level_floor", LEVEL_FLOOR)], "rel")
        least = graph.add("Add", [level, graph.constant("scale_floor", SCALE_FLOOR)], "least_scale")
        scale = graph.add("Add", [spread, least], "scale")
        unit = graph.add("Gather", [graph.add("Squeeze", [scale, step_axis], "flat_scale"), target], "unit", axis=1)
    else:
        scale = graph.constant("input_scale", weights["input_scale"])
        unit = graph.constant("output_scale", weights["output_scale"][None, :])
    scaled = graph.add("Div", [difference, scale], "unbounded_input")
    bounds = [graph.constant("input_floor", -INPUT_LIMIT), graph.constant("input_limit", INPUT_LIMIT)]
    scaled = graph.add("Clip", [scaled, *bounds], "scaled")
    flat_last = graph.add("Squeeze", [last, step_axis], "flat_last")
    return scaled, unit, graph.add("Gather", [flat_last, target], "last_target", axis=1)


def _levels(graph: Graph, spec: NetworkSpec, weights: Weights) -> tuple[str, str, str]:
    """As `_normalisation`, for the tutorial's scaling of the level to 0..1."""
    index = spec.target_index
    window = graph.add("Transpose", ["window"], "steps", perm=[1, 0, 2])
    above = graph.add("Sub", [window, graph.constant("input_low", weights["input_low"])], "above_low")
    scaled = graph.add("Div", [above, graph.constant("input_scale", weights["input_scale"])], "unbounded_input")
    bounds = [graph.constant("input_floor", -INPUT_LIMIT), graph.constant("input_limit", INPUT_LIMIT)]
    scaled = graph.add("Clip", [scaled, *bounds], "scaled")
    graph.constant("step_axis", [0], np.int64)
    unit = graph.constant("unit", weights["input_scale"][None, index : index + 1])
    return scaled, unit, graph.constant("origin", weights["input_low"][None, index : index + 1])


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
    gates = np.split(stacked, len(_GATES[spec.cell]))
    return np.concatenate([gates[i] for i in _GATES[spec.cell]])
