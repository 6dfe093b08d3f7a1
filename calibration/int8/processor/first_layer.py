"""The first layer in bytes: 3×3, step 2, on the three planes of a picture.

ONNX Runtime's kernels for bytes are slow on three planes. Here four neighbours of a row become twelve planes of one
position, and one position answers for two: no pixel is moved for it. Weights are rounded by what pictures look like,
one after the other, each taking up what the ones before it have lost (GPTQ: Frantar et al. 2022, arXiv 2210.17323).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.helper import make_node

from calibration.int8.onnx_graph import Graph, attributes, constant
from calibration.int8.processor.whole_bias import whole_bias
from calibration.int8.quantise import WEIGHT_MAX
from edge.types import Floats, Pixels

PLANES, SIDE, STEP = 3, 3, 2
WINDOW = PLANES * SIDE * SIDE
"""Weights of one output."""

GROUP = 4
"""Neighbours of a row in one position: two answers' worth. The sides of a picture are multiples of it."""

DAMPING = 1e-6
"""Of the mean moment, added to each: neighbours are so nearly alike that the moments can hardly be inverted."""

GREY = 128
"""Taken off each pixel inside the networks (`training.fit.networks`): what lies outside a picture is grey."""


def patch_moments(pictures: Sequence[Pixels]) -> Floats:
    """Return the mean products (27, 27) of what the first layer sees in uint8 (h, w, 3)."""
    total, count = np.zeros((WINDOW, WINDOW)), 0
    for picture in pictures:
        values = np.pad(picture.astype(np.float64) - GREY, ((1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(values, (SIDE, SIDE), (0, 1))[::STEP, ::STEP]
        rows = windows.reshape(-1, WINDOW)
        total += rows.T @ rows
        count += len(rows)
    return np.asarray(total / max(1, count))


def rounded_weights(weights: Floats, moments: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Round weights (N, 27) so that answers on pictures change least.

    Returns whole numbers (N, 27) and the step (N,) of each output.
    """
    step = np.abs(weights).max(1) / WEIGHT_MAX
    order = np.argsort(-np.diag(moments))  # the strongest first: the others make up for them
    damped = moments[np.ix_(order, order)] + DAMPING * np.trace(moments) / WINDOW * np.eye(WINDOW)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    wanted = (weights / step[:, None])[:, order].astype(np.float64)
    whole = np.zeros_like(wanted)
    for i in range(WINDOW):
        whole[:, i] = np.clip(np.rint(wanted[:, i]), -WEIGHT_MAX, WEIGHT_MAX)
        wanted[:, i:] -= np.outer((wanted[:, i] - whole[:, i]) / upper[i, i], upper[i, i:])
    back = np.argsort(order)
    return whole[:, back].astype(np.int8), np.asarray(step)


def write_first_layer(model: onnx.ModelProto, moments: Floats) -> None:
    """Let the first layer multiply bytes, where it is of the kind above and answers bytes."""
    graph = Graph(model)
    layer = next((node for node in graph.nodes if node.op_type == "Conv"), None)
    if layer is None or not _fits(model, graph, layer):
        return
    weights, bias = graph.array(layer.input[1]), graph.array(layer.input[2])
    whole, step = rounded_weights(weights.reshape(len(weights), WINDOW), moments)
    quantise = graph.users[layer.output[0]][0]
    answer = quantise.output[0]
    inputs = (
        _pixels(model),
        _weights(model, whole, step),
        whole_bias(model, "first", np.tile(bias, 2), np.tile(step, 2)),
    )
    model.graph.node.append(
        make_node("Conv", inputs, ["first_wide"], "first", kernel_shape=[3, 2], pads=[1, 1, 1, 0], strides=[2, 1])
    )
    quantise.input[0], quantise.output[0] = "first_wide", "first_bytes"
    size = _sides(model, "first_size", np.array([1, 2, 2]), len(weights))
    _reshaped(model, "first_bytes", size, answer)
    model.graph.node.remove(layer)


def _fits(model: onnx.ModelProto, graph: Graph, layer: Any) -> bool:
    """Whether a convolution is 3×3 of step 2, on pixels less grey, and answers a quantisation alone."""
    height, width = (side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim[1:3])
    if height % GROUP or width % GROUP:  # a classifier's crop; a detector's sides are open, and padded
        return False
    how = attributes(layer)
    shape = {"kernel_shape": [SIDE, SIDE], "strides": [STEP, STEP], "pads": [1, 1, 1, 1], "group": 1}
    if any(how.get(name) != value for name, value in shape.items()) or layer.input[1] not in graph.constants:
        return False
    less, users = graph.maker.get(layer.input[0]), graph.users[layer.output[0]]
    if less is None or less.op_type != "Sub" or less.input[1] not in graph.constants or len(layer.input) != 3:
        return False
    grey = graph.array(less.input[1])
    between = [graph.maker.get(less.input[0])]
    between.append(graph.maker.get(between[0].input[0]) if between[0] is not None else None)
    from_pixels = between[1] is not None and between[1].input[0] == model.graph.input[0].name
    kinds = {node.op_type for node in between if node is not None} == {"Cast", "Transpose"}
    return (
        from_pixels and kinds and grey.size == 1 and grey.item() == GREY
        and [node.op_type for node in users] == ["QuantizeLinear"]
    )  # fmt: skip


def _pixels(model: onnx.ModelProto) -> str:
    """Add the picture with four neighbours in one position, as bytes of value − grey; return its name."""
    size = _sides(model, "first_fours", np.array([1, 1, GROUP]), GROUP * PLANES)
    model.graph.node.append(make_node("Reshape", [model.graph.input[0].name, size], ["first_together"]))
    model.graph.node.append(make_node("Transpose", ["first_together"], ["first_planes"], perm=[0, 3, 1, 2]))
    steps = [constant(model, "first_one", np.float32(1)), constant(model, "first_grey", np.uint8(GREY))]
    model.graph.node.append(make_node("DequantizeLinear", ["first_planes", *steps], ["first_pixels"]))
    return "first_pixels"


def _weights(model: onnx.ModelProto, whole: NDArray[np.int8], step: Floats) -> str:
    """Add the weights of two answers a position; return their name."""
    outputs = len(whole)
    apart = whole.reshape(outputs, PLANES, SIDE, SIDE)
    wide = np.zeros((2, outputs, GROUP, PLANES, SIDE, 2), np.int8)  # answer, output, neighbour, plane, row, position
    for answer in range(2):
        for column in range(SIDE):
            position, neighbour = divmod(GROUP + STEP * answer - 1 + column, GROUP)
            wide[answer, :, neighbour, :, :, position] = apart[:, :, :, column]
    inputs = [
        constant(model, "first_weights", wide.reshape(2 * outputs, GROUP * PLANES, SIDE, 2)),
        constant(model, "first_steps", np.tile(step, 2).astype(np.float32)),
        constant(model, "first_zero_points", np.zeros(2 * outputs, np.int8)),
    ]
    model.graph.node.append(make_node("DequantizeLinear", inputs, ["first_dequantised"], axis=0))
    return "first_dequantised"


def _sides(model: onnx.ModelProto, name: str, parts: NDArray[np.int64], last: int) -> str:
    """Add the shape (N, height, width, last) of a picture whose sides are divided by parts; return its name."""
    if not any("first_sides" in node.output for node in model.graph.node):
        ends = [constant(model, f"first_{end}", np.array([value])) for end, value in (("from", 0), ("until", 3))]
        model.graph.node.append(make_node("Shape", [model.graph.input[0].name], ["first_shape"]))
        model.graph.node.append(make_node("Slice", ["first_shape", *ends], ["first_sides"]))
    by, planes = constant(model, f"{name}_by", parts), constant(model, f"{name}_last", np.array([last]))
    model.graph.node.append(make_node("Div", ["first_sides", by], [f"{name}_parts"]))
    model.graph.node.append(make_node("Concat", [f"{name}_parts", planes], [name], axis=0))
    return name


def _reshaped(model: onnx.ModelProto, planes: str, size: str, answer: str) -> None:
    """Add `answer`: planes taken apart into a picture of another size, plane by plane of one position."""
    model.graph.node.extend([
        make_node("Transpose", [planes], [f"{answer}_last"], perm=[0, 2, 3, 1]),
        make_node("Reshape", [f"{answer}_last", size], [f"{answer}_apart"]),
        make_node("Transpose", [f"{answer}_apart"], [answer], perm=[0, 3, 1, 2]),
    ])  # fmt: skip
