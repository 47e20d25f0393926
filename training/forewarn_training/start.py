"""Where a training starts: from the weights of the model that ships, or from none.

The network of the shipped model is read back from its file, so that nothing but that file has to be kept.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from forewarn.adapters.onnx_forecaster import STARTER
from forewarn_training.data import Dataset
from forewarn_training.evaluate import over_persistence
from forewarn_training.export import forecast_with_torch
from forewarn_training.graph import GATES
from forewarn_training.model import N_BLOCK, Network
from forewarn_training.starter import SPEC

Start = Literal["auto", "starter", "scratch"]
# The peak of the learning rate, as a share of that of a training from scratch.
RATE = 0.5
# Its blocks move the hidden state too, which those of a training from scratch do not.
BLOCK_WEIGHT = 0.05


def obstacles(n_feature: int, horizon: int, given: Sequence[str]) -> list[str]:
    """Why a training cannot start from the shipped model; empty where it can.

    Args:
        n_feature: of the history.
        horizon: leads to forecast.
        given: options, as they are to be named, that ask for another network.
    """
    found = [f"{option} asks for another network" for option in given]
    if n_feature > 1:
        found.append(f"it reads one feature, not {n_feature}")
    if horizon > SPEC.horizon:
        found.append(f"it forecasts {SPEC.horizon} readings, not --horizon {horizon}")
    return found


def starter_network(horizon: int, path: Path = STARTER) -> Network:
    """The network of the shipped model, with its first `horizon` leads."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    leads = [*range(horizon), *range(SPEC.horizon, SPEC.horizon + 2 * N_BLOCK)]
    of_inputs, of_states = np.split(weights["b0"][0], 2)
    state = {
        "recurrent.weight_ih_l0": _in_torchs_order(weights["w0"][0]),
        "recurrent.weight_hh_l0": _in_torchs_order(weights["r0"][0]),
        "recurrent.bias_ih_l0": _in_torchs_order(of_inputs),
        "recurrent.bias_hh_l0": _in_torchs_order(of_states),
        "joint.weight": weights["joint_w"].T,
        "joint.bias": weights["joint_b"],
        "head.weight": weights["head_w"].T[leads],
        "head.bias": weights["head_b"][leads],
    }
    network = Network(replace(SPEC, horizon=horizon))
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    return network


def _in_torchs_order(stacked: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of the gates in torch's order."""
    gates = np.split(stacked, len(GATES[SPEC.cell]))
    return np.concatenate([gates[i] for i in np.argsort(GATES[SPEC.cell])])


def validation_error(network: Network, data: Dataset) -> float:
    """`evaluate.over_persistence` on the validation part.

    A network of a shorter window is given the last readings of the same windows.
    """
    part = data.validation
    windows = part.inputs()[:, -network.spec.n_step :]
    return over_persistence(forecast_with_torch(network, windows, part.spreads(), part.ends_at()).path, part)
