"""From TensorRT's INT8 graph to the one for processors: same weights and ranges, finer steps, more of it in bytes.

Activations are uint8. Behind a ReLU all 255 steps lie above zero, where TensorRT's symmetric int8 has 127. The first
layer and the heads, which stay in higher precision for TensorRT, multiply bytes as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.helper import make_node

from calibration.int8.onnx_graph import Graph, attributes, constant, drop_unused, in_order
from calibration.int8.processor.first_layer import write_first_layer
from calibration.int8.processor.heads import write_heads
from calibration.int8.processor.repeated_pixels import repeat_where_resized
from calibration.int8.processor.whole_bias import whole_bias
from edge.types import Floats

ZERO = 128
"""Zero point of an activation that may be negative; that of one behind a ReLU is 0."""

STEPS, STEPS_SIGNED = 255, 127
"""Above zero, of an activation behind a ReLU: here, and in TensorRT's form."""


def processor_form(model: onnx.ModelProto, moments: Floats) -> onnx.ModelProto:
    """Return the form for processors of a Q/DQ graph.

    Args:
        model: with int8 activations, as `quantise.signed` writes it.
        moments: (27, 27), of what the first layer sees: see `first_layer.patch_moments`.
    """
    twin = onnx.ModelProto.FromString(model.SerializeToString())
    _byte_activations(twin)
    _whole_biases(twin)
    write_first_layer(twin, moments)
    write_heads(twin)
    repeat_where_resized(twin)
    _transpose_bytes(twin)
    drop_unused(twin)
    in_order(twin)
    return twin


def _byte_activations(model: onnx.ModelProto) -> None:
    """Write int8 activations as uint8. Quantisation with zero point 0 takes the place of the ReLU before it.

    The ReLU's upper limit, where it has one, is never below what quantisation saturates at.
    """
    graph = Graph(model)
    quantises = [node for node in graph.nodes if node.op_type == "QuantizeLinear"]
    rectified = set()
    for node in quantises:
        relu = graph.maker.get(node.input[0])
        if relu is not None and graph.rectifies(relu) and len(graph.users[relu.output[0]]) == 1:
            rectified.add(node.input[1])
            node.input[0] = relu.input[0]
            model.graph.node.remove(relu)
    for scale, zero in {(node.input[1], node.input[2]) for node in quantises}:
        constant(model, zero, np.uint8(0 if scale in rectified else ZERO))
    for scale in rectified:
        constant(model, scale, np.float32(graph.array(scale) * STEPS_SIGNED / STEPS))


def _whole_biases(model: onnx.ModelProto) -> None:
    """Write each bias between bytes as int32, which ONNX Runtime's kernel asks for."""
    graph = Graph(model)
    for node in graph.nodes:
        if node.op_type != "Conv" or len(node.input) != 3:
            continue
        makers: list[Any] = [graph.maker.get(name) for name in node.input[:2]]
        if all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers):
            node.input[2] = whole_bias(model, node.name, graph.array(node.input[2]), graph.bias_step(node))


def _transpose_bytes(model: onnx.ModelProto) -> None:
    """Transpose the pixels before they become floating point: a quarter of the memory, and the same answers."""
    graph = Graph(model)
    pixels = model.graph.input[0].name
    for cast in graph.users.get(pixels, []):
        users = graph.users.get(cast.output[0], [])
        if cast.op_type != "Cast" or [node.op_type for node in users] != ["Transpose"]:
            continue
        transpose, between = users[0], f"{pixels}_planes"
        order, to = attributes(transpose)["perm"], attributes(cast)["to"]
        model.graph.node.extend([
            make_node("Transpose", [pixels], [between], f"{transpose.name}_of_bytes", perm=order),
            make_node("Cast", [between], [transpose.output[0]], f"{cast.name}_of_planes", to=to),
        ])  # fmt: skip
        model.graph.node.remove(cast)
        model.graph.node.remove(transpose)
