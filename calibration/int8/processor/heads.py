"""Heads of 1×1 on bytes: their weights as two bytes each, so that their answers stay those of floating point.

ONNX Runtime would turn the bytes to numbers and the planes round before it could use its fp32 kernel. Two bytes of
seven bits hold a weight to 1/16,000 of the largest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.helper import make_node

from calibration.int8.onnx_graph import Graph, attributes, constant
from calibration.int8.quantise import WEIGHT_MAX


def write_heads(model: onnx.ModelProto) -> None:
    """Let each fp32 convolution of 1×1 multiply the bytes before it, of zero point 0."""
    graph = Graph(model)
    for node in graph.nodes:
        if node.op_type == "Conv" and _fits(graph, node):
            _write(model, graph, node)


def _fits(graph: Graph, node: Any) -> bool:
    how, before = attributes(node), graph.maker.get(node.input[0])
    plain = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0], "group": 1}
    if before is None or before.op_type != "DequantizeLinear" or len(node.input) != 3:
        return False
    if node.input[1] not in graph.constants or any(how.get(name, value) != value for name, value in plain.items()):
        return False
    return int(graph.array(before.input[2])) == 0


def _write(model: onnx.ModelProto, graph: Graph, node: Any) -> None:
    before, name = graph.maker[node.input[0]], node.name
    weights = graph.array(node.input[1]).reshape(len(graph.array(node.input[1])), -1)
    coarse, fine, step = two_bytes(weights)
    outputs, scale = len(weights), float(graph.array(before.input[1]))
    # Sums of the two bytes become the answer: a product with two diagonals.
    together = np.concatenate([np.diag(step), np.diag(step / (2 * WEIGHT_MAX))]) * scale
    both = constant(model, f"{name}_bytes", np.concatenate([coarse, fine]).T.copy())
    sums = constant(model, f"{name}_steps", together.astype(np.float32))
    bias = constant(model, f"{name}_bias", graph.array(node.input[2]).reshape(1, 1, 1, outputs))
    model.graph.node.extend([
        make_node("Transpose", [before.input[0]], [f"{name}_last"], perm=[0, 2, 3, 1]),
        make_node("MatMulInteger", [f"{name}_last", both], [f"{name}_whole"]),
        make_node("Cast", [f"{name}_whole"], [f"{name}_sums"], to=onnx.TensorProto.FLOAT),
        make_node("MatMul", [f"{name}_sums", sums], [f"{name}_product"]),
        make_node("Add", [f"{name}_product", bias], [f"{name}_answers"]),
        make_node("Transpose", [f"{name}_answers"], [node.output[0]], perm=[0, 3, 1, 2]),
    ])  # fmt: skip
    model.graph.node.remove(node)


def two_bytes(weights: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.float64]]:
    """Split weights (N, M) into two whole numbers of seven bits: (coarse + fine / 128) × step.

    Returns coarse and fine (N, M) and the step (N,).
    """
    step = np.maximum(np.abs(weights).max(1), np.finfo(np.float32).tiny).astype(np.float64) / WEIGHT_MAX
    wanted = weights / step[:, None]
    coarse = np.rint(wanted)
    fine = np.rint((wanted - coarse) * 2 * WEIGHT_MAX)
    return coarse.astype(np.int8), fine.astype(np.int8), step
