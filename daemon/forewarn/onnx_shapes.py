"""What a model's graph would take to run: the shape of every value of it, worked out before anything is computed.

Rules that hold here:

- An operator is allowed where it has a rule below: those that forewarn-train writes, with the inputs and attributes
  that it writes. None of them reads a file, loops, or makes a shape out of numbers that are computed.
- Shapes are those of a batch of `BATCH` windows, so every one is known and can be held against the limits.

Shapes follow the ONNX operator specification, operator sets 13 to 17.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from forewarn.onnx_file import INT64, Node, OnnxGraph, Tensor, refused

BATCH = 256
MAX_NODES = 2048
MAX_NUMBERS = 2**26
"""In one value, for a batch: 256 MiB."""
MAX_ALL_NUMBERS = 2**29
MAX_WORK = 2**37
"""Multiplications and additions for a batch: some ten seconds of a slow core."""

Shape = tuple[int, ...]


class _Call(NamedTuple):
    """A node with the shapes of its inputs, () for one left out."""

    node: Node
    shapes: list[Shape]
    constants: dict[str, Tensor]

    def whole(self, place: int) -> list[int]:
        """The numbers of an input that has to be a constant of whole numbers."""
        tensor = self.constants[self.node.inputs[place]]
        if tensor.kind != INT64 or len(tensor.shape) != 1:
            raise ValueError("whole numbers are needed")
        return [int(n) for n in np.frombuffer(tensor.data, "<i8")]

    def axis(self, axis: int, rank: int) -> int:
        """An axis, counted from the front."""
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} of {rank}")
        return axis % rank


def work(graph: OnnxGraph) -> dict[str, Shape]:
    """The shape of every value for a batch of `BATCH` windows.

    Raises:
        ModelError: in one line, what is not allowed or beyond the limits.
    """
    if len(graph.nodes) > MAX_NODES:
        raise refused(f"{len(graph.nodes)} operators")
    shapes = {name: tensor.shape for name, tensor in graph.constants.items()}
    shapes |= {name: tuple(BATCH if n is None else n for n in shape) for name, shape in graph.inputs.items()}
    total = worked = 0
    for node in graph.nodes:
        call, results = _apply(node, shapes, graph.constants)
        for name, shape in zip(node.outputs, results, strict=False):
            numbers = math.prod(shape)
            total += numbers
            if numbers > MAX_NUMBERS or total > MAX_ALL_NUMBERS:
                raise refused(f"{node.operation} {name!r} makes {numbers} numbers, {total} with those before it")
            if name:
                shapes[name] = shape
        worked += math.prod(results[0]) * _depth(call)
        if worked > MAX_WORK:
            raise refused(f"{node.operation} and those before it take {worked} multiplications")
    return shapes


def _apply(node: Node, shapes: dict[str, Shape], constants: dict[str, Tensor]) -> tuple[_Call, list[Shape]]:
    rule = RULES.get(node.operation)
    if rule is None:
        raise refused(f"operator {node.operation}")
    unknown = [name for name in node.inputs if name and name not in shapes]
    if (
        unknown
        or not rule.least <= len(node.inputs) <= rule.most
        or not set(node.attributes) <= rule.attributes
        or any(name in shapes for name in node.outputs)
        or not 1 <= len(node.outputs) <= 64
    ):
        told = f"inputs {node.inputs}, outputs {node.outputs}, attributes {sorted(node.attributes)}"
        raise refused(f"{node.operation} with {told:.200}")
    call = _Call(node, [shapes.get(name, ()) for name in node.inputs], constants)
    try:
        results = rule.shapes(call)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise refused(f"{node.operation} of shapes {call.shapes!s:.120} ({error!r:.80})") from None
    if len(node.outputs) > len(results):
        raise refused(f"{node.operation} with {len(node.outputs)} outputs")
    return call, results


def _depth(call: _Call) -> int:
    """How many multiplications a number of the first output takes."""
    operation = call.node.operation
    if operation in ("MatMul", "Gemm"):
        return call.shapes[0][-1]
    if operation in ("LSTM", "GRU"):
        return _GATES[operation] * (call.shapes[1][2] + call.shapes[2][2])
    return 1


# -- the rules -------------------------------------------------------------------------------------------------------


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    return tuple(np.broadcast_shapes(*shapes))


def _elementwise(call: _Call) -> list[Shape]:
    return [_broadcast(call.shapes)]


def _same(call: _Call) -> list[Shape]:
    """Of the first input, with which the others have to go."""
    if _broadcast(call.shapes) != call.shapes[0]:
        raise ValueError("parameters")
    return [call.shapes[0]]


def _concat(call: _Call) -> list[Shape]:
    first = call.shapes[0]
    axis = call.axis(call.node.attributes["axis"], len(first))
    if any(s[:axis] + s[axis + 1 :] != first[:axis] + first[axis + 1 :] or len(s) != len(first) for s in call.shapes):
        raise ValueError("shapes differ")
    return [(*first[:axis], sum(s[axis] for s in call.shapes), *first[axis + 1 :])]


def _gather(call: _Call) -> list[Shape]:
    data, indices = call.shapes
    axis = call.axis(call.node.attributes.get("axis", 0), len(data))
    return [(*data[:axis], *indices, *data[axis + 1 :])]


def _matmul(call: _Call) -> list[Shape]:
    left, right = call.shapes
    if min(len(left), len(right)) < 2 or left[-1] != right[-2]:
        raise ValueError("shapes differ")
    return [(*_broadcast([left[:-2], right[:-2]]), left[-2], right[-1])]


def _gemm(call: _Call) -> list[Shape]:
    (rows, inner), (again, columns) = call.shapes[:2]
    if inner != again or _broadcast([(rows, columns), *call.shapes[2:]]) != (rows, columns):
        raise ValueError("shapes differ")
    return [(rows, columns)]


def _recurrent(call: _Call) -> list[Shape]:
    steps, batch, width = call.shapes[0]
    units, gates = call.node.attributes["hidden_size"], _GATES[call.node.operation]
    wanted = [(1, gates * units, width), (1, gates * units, units), (1, 2 * gates * units)]
    if call.shapes[1:] != wanted or units < 1:
        raise ValueError("weights")
    last = (1, batch, units)
    return [(steps, 1, batch, units), last, *([last] if gates == 4 else [])]


def _reduce_mean(call: _Call) -> list[Shape]:
    (shape,) = call.shapes
    axes = {call.axis(axis, len(shape)) for axis in call.node.attributes["axes"]}
    keep = call.node.attributes.get("keepdims", 1)
    return [tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)]


def _reshape(call: _Call) -> list[Shape]:
    wanted = call.whole(1)
    free = [i for i, n in enumerate(wanted) if n == -1]
    rest = math.prod(n for n in wanted if n != -1)
    numbers = math.prod(call.shapes[0])
    if len(free) > 1 or len(wanted) > 6 or any(n < 1 and n != -1 for n in wanted) or numbers % rest:
        raise ValueError("new shape")
    shape = tuple(numbers // rest if n == -1 else n for n in wanted)
    if math.prod(shape) != numbers:
        raise ValueError("new shape")
    return [shape]


def _split(call: _Call) -> list[Shape]:
    shape = call.shapes[0]
    axis, sizes = call.axis(call.node.attributes["axis"], len(shape)), call.whole(1)
    if sum(sizes) != shape[axis] or min(sizes) < 0 or len(sizes) != len(call.node.outputs):
        raise ValueError("sizes")
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _squeeze(call: _Call) -> list[Shape]:
    shape = call.shapes[0]
    axes = {call.axis(axis, len(shape)) for axis in call.whole(1)}
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError("an axis longer than 1")
    return [tuple(n for i, n in enumerate(shape) if i not in axes)]


def _transpose(call: _Call) -> list[Shape]:
    (shape,), order = call.shapes, call.node.attributes["perm"]
    if sorted(order) != list(range(len(shape))):
        raise ValueError("order")
    return [tuple(shape[i] for i in order)]


def _unsqueeze(call: _Call) -> list[Shape]:
    shape, axes = list(call.shapes[0]), call.whole(1)
    rank = len(shape) + len(axes)
    for axis in sorted(call.axis(axis, rank) for axis in axes):
        shape.insert(axis, 1)
    if rank > 6 or len(shape) != rank:
        raise ValueError("axes")
    return [tuple(shape)]


class _Rule(NamedTuple):
    shapes: Callable[[_Call], list[Shape]]
    least: int
    most: int
    attributes: frozenset[str] = frozenset()


_GATES = {"LSTM": 4, "GRU": 3}
RULES = {
    **dict.fromkeys(("Abs", "Log", "Relu", "Sqrt"), _Rule(_same, 1, 1)),
    **dict.fromkeys(("Add", "Div", "Min", "Mul", "Sub"), _Rule(_elementwise, 2, 2)),
    "Clip": _Rule(_same, 1, 3),
    "Concat": _Rule(_concat, 1, 64, frozenset({"axis"})),
    "GRU": _Rule(_recurrent, 4, 4, frozenset({"hidden_size", "linear_before_reset"})),
    "Gather": _Rule(_gather, 2, 2, frozenset({"axis"})),
    "Gemm": _Rule(_gemm, 2, 3),
    "LSTM": _Rule(_recurrent, 4, 4, frozenset({"hidden_size"})),
    "LayerNormalization": _Rule(_same, 2, 3, frozenset({"axis", "epsilon"})),
    "MatMul": _Rule(_matmul, 2, 2),
    "ReduceMean": _Rule(_reduce_mean, 1, 1, frozenset({"axes", "keepdims"})),
    "Reshape": _Rule(_reshape, 2, 2),
    "Softmax": _Rule(_same, 1, 1, frozenset({"axis"})),
    "Split": _Rule(_split, 2, 2, frozenset({"axis"})),
    "Squeeze": _Rule(_squeeze, 2, 2),
    "Transpose": _Rule(_transpose, 1, 1, frozenset({"perm"})),
    "Unsqueeze": _Rule(_unsqueeze, 2, 2),
}
