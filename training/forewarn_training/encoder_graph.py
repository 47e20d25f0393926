"""Writes the Transformer encoder of `encoder.py` as ONNX operations of opset 17."""

import math

import numpy as np

from forewarn_training.encoder import HEADS
from forewarn_training.model import NetworkSpec
from forewarn_training.operations import Graph, Weights

_NORM_EPSILON = 1e-5  # of torch's LayerNorm


def encode(graph: Graph, spec: NetworkSpec, weights: Weights, steps: str) -> str:
    """The name of the last step's state (batch, units), from scaled inputs (n_step, batch, n_feature)."""
    windows = graph.add("Transpose", [steps], "scaled_windows", perm=[1, 0, 2])
    position = graph.constant("position", weights["encoder.position"])
    states = graph.add("Add", [_dense(graph, weights, "encoder.enter", windows), position], "states")
    graph.constant("last_state", [spec.n_step - 1], np.int64)
    for i in range(spec.layers):
        states = _layer(graph, spec, weights, f"encoder.layers.{i}", states, last_only=i + 1 == spec.layers)
    flat = graph.add("Squeeze", [states, graph.constant("state_axis", [1], np.int64)], "last_states")
    return _norm(graph, weights, "encoder.norm", flat)


def _layer(graph: Graph, spec: NetworkSpec, weights: Weights, name: str, states: str, *, last_only: bool) -> str:
    normed = asking = _norm(graph, weights, f"{name}.norm_in", states)
    kept = states
    if last_only:
        asking = graph.add("Gather", [normed, "last_state"], f"{name}.asking", axis=1)
        kept = graph.add("Gather", [states, "last_state"], f"{name}.kept", axis=1)
    n_ask, width = 1 if last_only else spec.n_step, spec.units // HEADS
    query = _heads(graph, _dense(graph, weights, f"{name}.query", asking), n_ask, width, (0, 2, 1, 3))
    key = _heads(graph, _dense(graph, weights, f"{name}.key", normed), spec.n_step, width, (0, 2, 3, 1))
    value = _heads(graph, _dense(graph, weights, f"{name}.value", normed), spec.n_step, width, (0, 2, 1, 3))
    scale = graph.constant(f"{name}.scale", math.sqrt(width))
    likeness = graph.add("Div", [graph.add("MatMul", [query, key], f"{name}.product"), scale], f"{name}.likeness")
    weight = graph.add("Softmax", [likeness], f"{name}.weight", axis=-1)
    seen = graph.add("MatMul", [weight, value], f"{name}.seen")
    seen = graph.add("Transpose", [seen], f"{name}.seen_steps", perm=[0, 2, 1, 3])
    shape = graph.constant(f"{name}.seen_shape", [-1, n_ask, spec.units], np.int64)
    merged = _dense(graph, weights, f"{name}.merge", graph.add("Reshape", [seen, shape], f"{name}.seen_flat"))
    kept = graph.add("Add", [kept, merged], f"{name}.attended")
    up = _dense(graph, weights, f"{name}.up", _norm(graph, weights, f"{name}.norm_mid", kept))
    down = _dense(graph, weights, f"{name}.down", graph.add("Relu", [up], f"{name}.relu"))
    return graph.add("Add", [kept, down], f"{name}.out")


def _dense(graph: Graph, weights: Weights, name: str, steps: str) -> str:
    matrix = graph.constant(f"{name}.w", weights[f"{name}.weight"].T)
    product = graph.add("MatMul", [steps, matrix], f"{name}.matmul")
    if f"{name}.bias" not in weights:
        return product
    return graph.add("Add", [product, graph.constant(f"{name}.b", weights[f"{name}.bias"])], f"{name}.dense")


def _heads(graph: Graph, states: str, n_step: int, width: int, order: tuple[int, ...]) -> str:
    shape = graph.constant(f"{states}.shape", [-1, n_step, HEADS, width], np.int64)
    split = graph.add("Reshape", [states, shape], f"{states}.split")
    return graph.add("Transpose", [split], f"{states}.heads", perm=order)


def _norm(graph: Graph, weights: Weights, name: str, states: str) -> str:
    constants = [graph.constant(f"{name}.{kind}", weights[f"{name}.{kind}"]) for kind in ("weight", "bias")]
    return graph.add("LayerNormalization", [states, *constants], f"{name}.out", axis=-1, epsilon=_NORM_EPSILON)
