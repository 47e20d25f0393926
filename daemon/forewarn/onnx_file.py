"""Reads the graph of an `.onnx` file, a protobuf message, without believing any of it.

Rules that hold here:

- What is not in `_LAYOUT` is refused: external data, functions, subgraphs, training information, sparse or quantised
  tensors, and whatever later versions of the format add.
- A field that may come once comes once: protobuf would let the last win or join them, and two readers could differ.
- Memory is bounded by the file, time by the file and `_MOST_FIELDS`; nesting by `_LAYOUT`, which does not recur.

Field numbers and wire types are those of onnx.proto (IR version 8) and of https://protobuf.dev/programming-guides/encoding.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from forewarn.errors import ModelError

FLOAT, INT64 = 1, 7
"""The element types that a tensor may have."""

IR_VERSIONS, OPSETS = range(7, 9), range(13, 18)
_ADVICE = "export it again with forewarn-train"
_MOST_FIELDS = 65_536
_MOST_NAME = 256  # bytes
_MOST_AXES = 6
_BYTES = {FLOAT: 4, INT64: 8}
_OF_TYPE = {1: "f", 2: "i", 7: "ints"}  # which field an attribute of a type has
# Name and kind of each field by its number, repeated ones as a list. Kinds: int (varint), float (fixed32), bytes, or
# another message.
_LAYOUT: Mapping[str, Mapping[int, tuple[str, Any]]] = {
    "model": {
        1: ("ir_version", int),
        2: ("producer_name", bytes),
        3: ("producer_version", bytes),
        4: ("domain", bytes),
        5: ("model_version", int),
        6: ("doc_string", bytes),
        7: ("graph", "graph"),
        8: ("opset_import", ["opset"]),
        14: ("metadata_props", ["entry"]),
    },
    "opset": {1: ("domain", bytes), 2: ("version", int)},
    "entry": {1: ("key", bytes), 2: ("value", bytes)},
    "graph": {
        1: ("node", ["node"]),
        2: ("name", bytes),
        5: ("initializer", ["tensor"]),
        10: ("doc_string", bytes),
        11: ("input", ["value"]),
        12: ("output", ["value"]),
    },
    "node": {
        1: ("input", [bytes]),
        2: ("output", [bytes]),
        3: ("name", bytes),
        4: ("op_type", bytes),
        5: ("attribute", ["attribute"]),
        6: ("doc_string", bytes),
        7: ("domain", bytes),
    },
    "attribute": {1: ("name", bytes), 2: ("f", float), 3: ("i", int), 8: ("ints", [int]), 20: ("type", int)},
    "tensor": {1: ("dims", [int]), 2: ("data_type", int), 8: ("name", bytes), 9: ("raw_data", bytes)},
    "value": {1: ("name", bytes), 2: ("type", "type"), 3: ("doc_string", bytes)},
    "type": {1: ("tensor_type", "tensor_type")},
    "tensor_type": {1: ("elem_type", int), 2: ("shape", "shape")},
    "shape": {1: ("dim", ["dim"])},
    "dim": {1: ("dim_value", int), 2: ("dim_param", bytes)},
}
_REFUSED = {
    ("model", 20): "training information",
    ("model", 25): "functions of its own",
    ("graph", 15): "sparse initialisers",
    ("attribute", 5): "a tensor in an attribute",
    ("attribute", 6): "a subgraph",
    ("attribute", 11): "subgraphs",
    ("tensor", 13): "data in another file",
    ("tensor", 14): "data in another file",
}


class Tensor(NamedTuple):
    """A constant: its shape, element type and little-endian bytes."""

    shape: tuple[int, ...]
    kind: int
    data: memoryview


class Node(NamedTuple):
    """An operation; the name "" stands for an input or output that is left out."""

    operation: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class OnnxGraph(NamedTuple):
    """What a file computes. In a shape None is a free dimension."""

    nodes: list[Node]
    constants: dict[str, Tensor]
    inputs: dict[str, tuple[int | None, ...]]


def refused(what: str) -> ModelError:
    """The refusal of a model in which there is what no model of ours has."""
    return ModelError(f"is refused: {what}; {_ADVICE}")


def read_graph(content: bytes) -> OnnxGraph:
    """The graph of a file.

    Raises:
        ModelError: in one line, what is damaged or not allowed.
    """
    try:
        model = _Reader().message("model", memoryview(content))
        opsets = [(_text(one.get("domain", b"")), one.get("version")) for one in model.get("opset_import", [])]
        if model.get("ir_version") not in IR_VERSIONS or len(opsets) != 1:
            raise refused(f"IR version {model.get('ir_version')} with {len(opsets)} operator sets")
        domain, version = opsets[0]
        if domain not in ("", "ai.onnx") or version not in OPSETS:
            raise refused(f"operator set {domain!r} {version}")
        return _graph(model["graph"])
    except (IndexError, KeyError, UnicodeDecodeError):
        raise ModelError(f"is damaged or no ONNX model: copy it again or {_ADVICE}") from None


class _Reader:
    """Reads messages until too many fields have come."""

    def __init__(self) -> None:
        self._left = _MOST_FIELDS

    def message(self, kind: str, data: memoryview) -> dict[str, Any]:
        """The fields of a message by name."""
        found: dict[str, Any] = {}
        for number, wire, value in self._fields(data):
            if number not in _LAYOUT[kind]:
                raise refused(_REFUSED.get((kind, number), f"field {number} in its {kind}"))
            name, wanted = _LAYOUT[kind][number]
            one = wanted[0] if isinstance(wanted, list) else wanted
            if isinstance(wanted, list):
                found.setdefault(name, []).extend(self._values(one, wire, value))
            elif name in found:
                raise refused(f"two times {name} in its {kind}")
            else:
                (found[name],) = self._values(one, wire, value, packed=False)
        return found

    def _values(self, kind: Any, wire: int, value: Any, *, packed: bool = True) -> list[Any]:  # noqa: ANN401 - a field has one of many types
        if kind is int and wire == 2 and packed:
            return list(self._packed(value))
        if wire != {int: 0, float: 5}.get(kind, 2):
            raise IndexError("wire type")
        return [self.message(kind, value) if isinstance(kind, str) else value]

    def _packed(self, data: memoryview) -> Iterator[int]:
        at = 0
        while at < len(data):
            self._count()
            value, at = _varint(data, at)
            yield value

    def _fields(self, data: memoryview) -> Iterator[tuple[int, int, Any]]:
        """Number, wire type and value of each field."""
        at = 0
        while at < len(data):
            self._count()
            tag, at = _varint(data, at)
            wire, size = tag & 7, 0
            if wire == 0:
                value, at = _varint(data, at)
                yield tag >> 3, wire, value
                continue
            if wire == 2:
                size, at = _varint(data, at)
            elif wire == 5:
                size = 4
            if wire not in (2, 5) or not 0 <= size <= len(data) - at:
                raise IndexError("length")
            yield tag >> 3, wire, data[at : at + size]
            at += size

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise refused(f"more than {_MOST_FIELDS} fields")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of 64 bits in two's complement, and where it ends."""
    value = 0
    for i in range(10):
        byte = data[at + i]
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            value &= 2**64 - 1
            return (value - 2**64 if value >> 63 else value), at + i + 1
    raise IndexError("number")


def _text(data: bytes | memoryview) -> str:
    if len(data) > _MOST_NAME:
        raise refused(f"a name of {len(data)} bytes")
    text = bytes(data).decode()
    if not text.isprintable():
        raise refused(f"the name {text!r:.80}")
    return text


def _graph(raw: dict[str, Any]) -> OnnxGraph:
    constants: dict[str, Tensor] = {}
    for one in raw.get("initializer", []):
        name = _text(one["name"])
        if name in constants:
            raise refused(f"two initialisers {name!r}")
        constants[name] = _tensor(name, one)
    inputs = {_text(one["name"]): _shape(one["type"]["tensor_type"]["shape"]) for one in raw.get("input", [])}
    return OnnxGraph([_node(one) for one in raw.get("node", [])], constants, inputs)


def _tensor(name: str, raw: dict[str, Any]) -> Tensor:
    shape, kind = tuple(raw.get("dims", [])), raw["data_type"]
    data = raw.get("raw_data", memoryview(b""))
    if kind not in _BYTES:
        raise refused(f"initialiser {name!r} of element type {kind}")
    if len(shape) > _MOST_AXES or any(n < 0 for n in shape) or math.prod(shape) * _BYTES[kind] != len(data):
        raise refused(f"initialiser {name!r} of shape {list(shape)!s:.80} in {len(data)} bytes")
    return Tensor(shape, kind, data)


def _shape(raw: dict[str, Any]) -> tuple[int | None, ...]:
    axes = tuple(one.get("dim_value") for one in raw.get("dim", []))
    if len(axes) > _MOST_AXES or any(n is not None and n < 1 for n in axes):
        raise refused(f"an input of shape {list(axes)!s:.80}")
    return axes


def _node(raw: dict[str, Any]) -> Node:
    operation, domain = _text(raw["op_type"]), _text(raw.get("domain", b""))
    if domain not in ("", "ai.onnx"):
        raise refused(f"operator {domain}.{operation}")
    attributes: dict[str, Any] = {}
    for one in raw.get("attribute", []):
        name, kind = _text(one["name"]), _OF_TYPE.get(one.get("type"), "")
        if kind not in one or len(one) != 3 or name in attributes:
            raise refused(f"attribute {name!r} of type {one.get('type')}")
        attributes[name] = one[kind]
    names = [[_text(name) for name in raw.get(side, [])] for side in ("input", "output")]
    return Node(operation, names[0], names[1], attributes)
