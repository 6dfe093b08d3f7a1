"""Biases as whole numbers of (step of the pixels × step of the weights)."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.helper import make_node

from calibration.int8.onnx_graph import constant


def whole_bias(model: onnx.ModelProto, layer: str, bias: NDArray[Any], step: NDArray[Any]) -> str:
    """Add a layer's bias (N,) as int32 of steps (N,); return the name to read."""
    inputs = [
        constant(model, f"{layer}_bias_whole", np.rint(bias / step).astype(np.int32)),
        constant(model, f"{layer}_bias_scale", step.astype(np.float32)),
        constant(model, f"{layer}_bias_zero_point", np.zeros(len(bias), np.int32)),
    ]
    answer = f"{layer}_bias"
    model.graph.node.append(make_node("DequantizeLinear", inputs, [answer], f"{answer}_dequantised", axis=0))
    return answer
