"""The nodes and constants of an ONNX graph while it is being written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Weights = Mapping[str, NDArray[np.float32]]


@dataclass
class Graph:
    """Nodes in the order of computing, and what they read beside each other's outputs."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401 - whatever the operation takes
        """Append a node of one output, and give the output's name."""
        self.nodes.append(helper.make_node(operation, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: object, kind: type[np.generic] = np.float32) -> str:
        """Append a constant, and give its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(value, kind)), name))
        return name
