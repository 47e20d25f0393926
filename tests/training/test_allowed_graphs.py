"""What the trainer writes and what the daemon lets in are the same list."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from forewarn.onnx_shapes import RULES
from forewarn_training.graph import build
from forewarn_training.model import NetworkSpec
from forewarn_training.multivariate import Multivariate
from tests.adapters.test_hostile_models import assert_shapes
from tests.training.test_export import SPECS, network_of


def graph_of(spec: NetworkSpec):  # type: ignore[no-untyped-def]  # noqa: ANN201 - onnx's own class
    """The graph of a network, with the outputs that a model of several features has."""
    width, n = spec.n_step * spec.n_feature, spec.n_feature
    together = Multivariate(*(np.ones(shape, np.float32) for shape in ((n,), (n,), (width, n), (n,), (n, n))))
    weights = {name: value.numpy() for name, value in network_of(spec).state_dict().items()}
    return build(spec, weights, {}, together)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_kind_of_network_is_let_in_with_the_shapes_that_onnx_infers(spec: NetworkSpec) -> None:
    assert_shapes(graph_of(spec))


def test_no_operator_is_let_in_that_no_network_has() -> None:
    assert {node.op_type for spec in SPECS for node in graph_of(spec).graph.node} == set(RULES)


def test_no_attribute_is_let_in_that_no_network_has() -> None:
    written = {(n.op_type, a.name) for spec in SPECS for n in graph_of(spec).graph.node for a in n.attribute}
    assert written == {(operation, name) for operation, rule in RULES.items() for name in rule.attributes}
