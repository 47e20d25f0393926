"""Model files made to do harm: each is refused in one line, and onnxruntime never sees it."""

import json
import random
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forewarn.adapters.onnx_forecaster import STARTER, load_model
from forewarn.errors import ModelError
from forewarn.onnx_file import FLOAT, INT64, read_graph
from forewarn.onnx_shapes import BATCH, RULES, work

onnx = pytest.importorskip("onnx")
helper = onnx.helper

MODELS = Path(__file__).parent.parent / "models"
TINY, PAIR = MODELS / "tiny.onnx", MODELS / "pair.onnx"
Change = Callable[[Any], object]


def constant(model: Any, name: str, value: object, kind: type[np.generic] = np.float32) -> str:  # noqa: ANN401 - onnx's own classes
    """Add an initialiser that nothing reads yet."""
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, kind), name))
    return name


def operator(model: Any, kind: str, inputs: list[str], output: str, **attributes: object) -> str:  # noqa: ANN401 - the same
    """Add an operator whose output nothing reads yet."""
    model.graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
    return output


# -- the cases -------------------------------------------------------------------------------------------------------


def external_data(location: str) -> Change:
    def change(model: Any) -> None:  # noqa: ANN401 - the same
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def subgraph(model: Any) -> None:  # noqa: ANN401 - the same
    branch = helper.make_graph([], "b", [], [])
    constant(model, "yes", True, np.bool_)  # noqa: FBT003 - a value
    operator(model, "If", ["yes"], "either", then_branch=branch, else_branch=branch)


def deep(model: Any) -> None:  # noqa: ANN401 - the same
    inner = helper.make_graph([], "g", [], [])
    for _ in range(20):
        inner = helper.make_graph([helper.make_node("If", ["c"], ["d"], then_branch=inner)], "g", [], [])
    operator(model, "If", ["c"], "d", then_branch=inner)


def function(model: Any) -> None:  # noqa: ANN401 - the same
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, model.opset_import))
    operator(model, "Twice", ["window"], "twice", domain="mine")


def doubling(model: Any) -> None:  # noqa: ANN401 - the same
    name = "window"
    for i in range(60):
        name = operator(model, "Concat", [name, name], f"twice{i}", axis=1)


def outer_product(model: Any) -> None:  # noqa: ANN401 - the same
    column = constant(model, "column", np.ones((20_000, 1)))
    row = constant(model, "row", np.ones((1, 20_000)))
    operator(model, "MatMul", [column, row], "square")


def broadcast(model: Any) -> None:  # noqa: ANN401 - the same
    column = constant(model, "column", np.ones((20_000, 1)))
    row = constant(model, "row", np.ones((1, 20_000)))
    operator(model, "Add", [column, row], "square")


def many_large(model: Any) -> None:  # noqa: ANN401 - the same
    name = constant(model, "large", np.ones((1000, 1000)))
    for i in range(600):
        name = operator(model, "Relu", [name], f"relu{i}")


def endless(model: Any) -> None:  # noqa: ANN401 - the same
    name = constant(model, "square", np.ones((1000, 1000)))
    for i in range(200):
        name = operator(model, "MatMul", [name, "square"], f"power{i}")


def gathered(model: Any) -> None:  # noqa: ANN401 - the same
    large = constant(model, "large", np.ones((1, 100_000)))
    zeros = constant(model, "zeros", np.zeros(10_000), np.int64)
    operator(model, "Gather", [large, zeros], "repeated", axis=0)


def declared(dims: list[int]) -> Change:
    def change(model: Any) -> None:  # noqa: ANN401 - the same
        tensor = model.graph.initializer[0]
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return change


def written_as_numbers(model: Any) -> None:  # noqa: ANN401 - the same
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0] * 8)


def of_strings(model: Any) -> None:  # noqa: ANN401 - the same
    model.graph.initializer.append(helper.make_tensor("words", onnx.TensorProto.STRING, [1], [b"a"]))


def attribute(**given: object) -> Change:
    def change(model: Any) -> None:  # noqa: ANN401 - the same
        lstm = next(node for node in model.graph.node if node.op_type == "LSTM")
        for name, value in given.items():
            lstm.attribute.append(helper.make_attribute(name, value))

    return change


def hidden_size(size: int) -> Change:
    def change(model: Any) -> None:  # noqa: ANN401 - the same
        lstm = next(node for node in model.graph.node if node.op_type == "LSTM")
        lstm.attribute[0].i = size

    return change


def shape_of(size: int) -> Change:
    return lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", size)


CASES: dict[str, tuple[Change, str]] = {
    "external data": (external_data("weights.bin"), "data in another file"),
    "external data elsewhere": (external_data("../../../etc/passwd"), "data in another file"),
    "subgraph": (subgraph, "a subgraph|element type 9"),
    "deep": (deep, "a subgraph"),
    "function": (function, "functions of its own|operator mine.Twice"),
    "training": (lambda m: m.training_info.add().SetInParent(), "training information"),
    "sparse": (lambda m: m.graph.sparse_initializer.add().SetInParent(), "sparse initialisers"),
    "quantised": (lambda m: m.graph.quantization_annotation.add().SetInParent(), "field 14 in its graph"),
    "custom domain": (lambda m: setattr(m.graph.node[0], "domain", "com.microsoft"), r"operator com\.microsoft\."),
    "second operator set": (lambda m: m.opset_import.append(helper.make_opsetid("x", 1)), "2 operator sets"),
    "other operator set": (lambda m: setattr(m.opset_import[0], "domain", "ai.onnx.ml"), "operator set 'ai.onnx.ml'"),
    "opset of tomorrow": (lambda m: setattr(m.opset_import[0], "version", 99), "operator set '' 99"),
    "old opset": (lambda m: setattr(m.opset_import[0], "version", 1), "operator set '' 1;"),
    "IR of tomorrow": (lambda m: setattr(m, "ir_version", 99), "IR version 99"),
    "Loop": (lambda m: operator(m, "Loop", ["window"], "a"), "operator Loop"),
    "Constant": (lambda m: operator(m, "Constant", [], "a", value_float=1.0), "operator Constant"),
    "ConstantOfShape": (lambda m: operator(m, "ConstantOfShape", ["last_step"], "a"), "operator ConstantOfShape"),
    "Expand": (lambda m: operator(m, "Expand", ["window", "last_step"], "a"), "operator Expand"),
    "Tile": (lambda m: operator(m, "Tile", ["window", "last_step"], "a"), "operator Tile"),
    "Range": (lambda m: operator(m, "Range", ["a", "b", "c"], "d"), "operator Range"),
    "doubling": (doubling, "makes [0-9]+ numbers"),
    "outer product": (outer_product, "makes 400000000 numbers"),
    "broadcast": (broadcast, "makes 400000000 numbers"),
    "gathered": (gathered, "makes 1000000000 numbers"),
    "many large": (many_large, "makes 1000000 numbers, 5[0-9]{8} with those before it"),
    "endless": (endless, "take [0-9]{12} multiplications"),
    "nodes": (lambda m: [operator(m, "Relu", ["window"], f"r{i}") for i in range(5000)], "50[0-9]{2} operators"),
    "fields": (lambda m: m.graph.initializer[0].dims.extend([1] * 70_000), "more than 65536 fields"),
    "zip bomb": (declared([2**31, 2**31]), "initialiser .* of shape .* in 4 bytes"),
    "shape that overflows": (declared([2**62, 4]), "initialiser .* of shape"),
    "negative shape": (declared([-1, -1]), "initialiser .* of shape"),
    "too few bytes": (lambda m: setattr(m.graph.initializer[0], "raw_data", b"abc"), "in 3 bytes"),
    "many axes": (declared([1] * 9), "initialiser .* of shape"),
    "typed data": (written_as_numbers, "field 4 in its tensor"),
    "strings": (of_strings, "field 6 in its tensor|element type 8"),
    "names that are long": (lambda m: setattr(m.graph.initializer[0], "name", "a" * 300), "a name of 300 bytes"),
    "name for a terminal": (lambda m: setattr(m.graph.node[0], "op_type", "a\x1b[2J\nb"), r"the name 'a\\x1b"),
    "two of a name": (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "two initialisers"),
    "two outputs of a name": (lambda m: m.graph.node.append(m.graph.node[0]), "Transpose with inputs"),
    "unknown attribute": (attribute(activations=["Tanh"]), "field 9 in its attribute"),
    "clip attribute": (attribute(clip=1.0), "LSTM with .*clip"),
    "attribute by reference": (lambda m: setattr(m.graph.node[0].attribute[0], "ref_attr_name", "a"), "field 21"),
    "hidden size": (hidden_size(2**40), "LSTM of shapes"),
    "no hidden size": (hidden_size(0), "LSTM of shapes"),
    "window of a year": (shape_of(2**33), "makes [0-9]+ numbers|LSTM of shapes"),
    "window of nothing": (shape_of(-5), "an input of shape"),
    "out of order": (lambda m: m.graph.node.insert(0, m.graph.node.pop()), "with inputs"),
    "value info": (lambda m: m.graph.value_info.append(m.graph.input[0]), "field 13 in its graph"),
}


def refusal(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of a file, with onnxruntime out of reach."""

    def seen(*_: object, **__: object) -> None:
        pytest.fail("onnxruntime was given the file")

    monkeypatch.setattr("onnxruntime.InferenceSession", seen)
    path = tmp_path / "hostile.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"hostile\.onnx: ") as caught:
        load_model(path)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 600
    return text


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_before_onnxruntime_sees_it(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, told = CASES[case]
    model = onnx.load(TINY)
    change(model)
    text = refusal(tmp_path, model.SerializeToString(), monkeypatch)
    assert re.search(told, text), text
    assert "forewarn-train" in text


def varint(number: int) -> bytes:
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


@pytest.mark.parametrize(
    ("added", "told"),
    [
        (field(7, b""), "two times graph"),
        (b"\x08\x08", "two times ir_version"),
        (field(99, b"x"), "field 99 in its model"),
        (b"\x0b\x0c", "damaged"),  # a group
        (b"\xff" * 11, "damaged"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "damaged"),  # longer than the file
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "damaged"),  # of length -1
        (b"\x3d\x00\x00\x00\x00", "damaged|two times"),  # a graph that is a number
    ],
)
def test_bytes_that_two_readers_could_take_for_different_things_are_refused(
    added: bytes, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert re.search(told, refusal(tmp_path, TINY.read_bytes() + added, monkeypatch))


def test_a_golden_sample_that_would_run_for_hours_is_refused(tmp_path: Path) -> None:
    model = onnx.load(TINY)
    golden = next(entry for entry in model.metadata_props if entry.key == "forewarn.golden")
    raw = json.loads(golden.value)
    golden.value = json.dumps({k: v if k == "scale" else (v * 5000)[:5000] for k, v in raw.items()})
    path = tmp_path / "slow.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"golden sample has 5000 windows, at most 256"):
        load_model(path)


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\u202etxet", "x" * 201])
def test_texts_of_the_card_that_are_no_text_for_a_terminal_are_refused(tmp_path: Path, text: str) -> None:
    for change in ({"name": text}, {"version": text}, {"features": [{"name": "temperature", "unit": text}]}):
        model = onnx.load(TINY)
        card = next(entry for entry in model.metadata_props if entry.key == "forewarn.card")
        card.value = json.dumps({**json.loads(card.value), **change})
        onnx.save(model, tmp_path / "a.onnx")
        with pytest.raises(ModelError, match="the model's card has the text") as caught:
            load_model(tmp_path / "a.onnx")
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"x" * 50_000: 1}, "unknown fields"),
        ({"calibration": {"band_80\u202e": 1}}, r"unexpected keyword argument 'band_80\\u202e'"),
        ({"calibration": {"band_80\x1b[2J\n": 1}}, r"unexpected keyword argument 'band_80\\x1b\[2J\\n'"),
    ],
)
def test_what_is_said_of_a_card_is_one_short_line(tmp_path: Path, change: dict[str, object], told: str) -> None:
    model = onnx.load(TINY)
    card = next(entry for entry in model.metadata_props if entry.key == "forewarn.card")
    card.value = json.dumps({**json.loads(card.value), **change})
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=told) as caught:
        load_model(tmp_path / "a.onnx")
    assert len(str(caught.value)) < 700
    assert str(caught.value).isprintable()


def test_what_onnxruntime_says_of_a_file_is_one_printable_line(tmp_path: Path) -> None:
    model = onnx.load(TINY)
    model.graph.output[0].name = "\x1b[2J\x7f\u202e"
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="onnxruntime cannot load it") as caught:
        load_model(tmp_path / "a.onnx")
    assert str(caught.value).isprintable()


def test_a_hostile_file_does_not_disturb_a_model_that_runs(tmp_path: Path) -> None:
    running = load_model(TINY)
    windows, spread = np.random.default_rng(0).normal(20, 1, (5, 6, 1)).astype(np.float32), np.ones(5, np.float32)
    before = running.forecast(windows, spread)
    path = tmp_path / "hostile.onnx"
    for change, _ in CASES.values():
        model = onnx.load(TINY)
        change(model)
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ModelError):
            load_model(path)
    assert [a.tobytes() for a in running.forecast(windows, spread)] == [a.tobytes() for a in before]


@pytest.mark.parametrize("path", [TINY, PAIR, STARTER], ids=lambda path: path.stem)
def test_what_is_read_is_what_onnx_reads_and_the_shapes_are_those_that_onnx_infers(path: Path) -> None:
    model = onnx.load(path)
    graph = read_graph(path.read_bytes())
    assert [(n.operation, n.inputs, n.outputs) for n in graph.nodes] == [
        (n.op_type, list(n.input), list(n.output)) for n in model.graph.node
    ]
    for tensor in model.graph.initializer:
        ours = graph.constants[tensor.name]
        kind = {FLOAT: np.float32, INT64: np.int64}[ours.kind]
        assert np.array_equal(np.frombuffer(ours.data, kind).reshape(ours.shape), onnx.numpy_helper.to_array(tensor))
    assert_shapes(model)


def assert_shapes(model: Any) -> None:  # noqa: ANN401 - the same
    """The shapes of a batch are those that onnx infers."""
    shapes = work(read_graph(model.SerializeToString()))
    for tensor in model.graph.input:
        tensor.type.tensor_type.shape.dim[0].dim_value = BATCH
    for tensor in model.graph.output:
        tensor.type.tensor_type.shape.dim[0].dim_value = BATCH
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    known = [*inferred.graph.value_info, *inferred.graph.output]
    assert len(known) >= len(model.graph.node)
    for tensor in known:
        assert shapes[tensor.name] == tuple(d.dim_value for d in tensor.type.tensor_type.shape.dim), tensor.name


def test_random_damage_is_refused_or_harmless_and_never_another_error() -> None:
    content, generator = TINY.read_bytes(), random.Random(1)
    for _ in range(3000):
        damaged = bytearray(content)
        for _ in range(generator.choice((1, 1, 2, 8))):
            at = generator.randrange(len(damaged))
            damaged[at] = generator.choice((0, 0x7F, 0x80, 0xFF, damaged[at] ^ 1 << generator.randrange(8)))
        if generator.random() < 0.3:
            del damaged[generator.randrange(len(damaged)) :]
        with suppress(ModelError):
            work(read_graph(bytes(damaged)))


def test_every_operator_has_a_rule_whose_inputs_and_attributes_are_bounded() -> None:
    assert len(RULES) == 24
    assert all(1 <= rule.least <= rule.most <= 64 for rule in RULES.values())
