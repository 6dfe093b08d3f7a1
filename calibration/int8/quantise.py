"""A network as a Q/DQ graph of INT8: which layers, and how its numbers are written for TensorRT and for processors.

Both encodings hold the same numbers. The signed one (int8, zero point 0) is TensorRT's; the unsigned one (uint8, zero
point 128) is the one that ONNX Runtime has fast kernels for. Weights use 7 of their 8 bits: without VNNI, processors
add two products of uint8 and int8 in 16 bits, and 255 × (64 + 64) is the most that fits there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from calibration.int8.onnx_graph import Graph, constant, in_order
from edge.errors import ModelError

ZERO = 128
"""Zero point of the unsigned encoding."""

LAYERS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is quantised.

    layers: names of convolutions; joints: additions and resizings between them.
    """

    layers: tuple[str, ...]
    joints: tuple[str, ...]
    tensors: tuple[str, ...]
    """Activations that get a range."""


def layers_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the convolutions that may be quantised.

    All but the first and the heads, in their order.

    The first reads three planes, which costs little and for which ONNX Runtime's fp32 kernel is the faster one; the
    heads are the layers that no other follows.
    """
    graph = Graph(model)
    convolutions = [node for node in graph.nodes if node.op_type == "Conv"]
    return tuple(
        str(n.name) for n in convolutions if _leads(graph, n, forward=True) and _leads(graph, n, forward=False)
    )


def _leads(graph: Graph, node: Any, forward: bool) -> bool:
    """Whether another layer lies behind a node, or before it."""
    waiting, seen = [node], set()
    while waiting:
        one = waiting.pop()
        if forward:
            near = [user for name in one.output for user in graph.users.get(name, [])]
        else:
            near = [graph.maker[name] for name in one.input if name in graph.maker]
        for other in near:
            if other.op_type in LAYERS:
                return True
            if id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
    return False


def planned(model: onnx.ModelProto, keep: Collection[str] = ()) -> Plan:
    """Return what is quantised when the layers `keep` stay in higher precision.

    Raises ModelError for unknown names.
    """
    candidates = layers_of(model)
    unknown = sorted(set(keep) - set(candidates))
    if unknown:
        raise ModelError(f"no layer {', '.join(unknown)} to keep; layers that can be: {', '.join(candidates)}")
    graph = Graph(model)
    layers = tuple(name for name in candidates if name not in keep)
    chosen = [node for node in graph.nodes if node.name in layers]
    eight_bit = {graph.result(node) for node in chosen}
    joints, tensors = [], [str(node.input[0]) for node in chosen] + [graph.result(node) for node in chosen]
    for node in graph.nodes:
        inputs = [name for name in node.input if name in graph.maker and graph.maker[name].op_type != "Constant"]
        if node.op_type in ("Add", "Resize") and any(name in eight_bit for name in inputs):
            joints.append(str(node.name))
            eight_bit.add(graph.result(node))
            tensors += [*inputs, graph.result(node)]
    return Plan(layers, tuple(joints), tuple(dict.fromkeys(tensors)))


def signed(model: onnx.ModelProto, plan: Plan, ranges: TensorsData) -> onnx.ModelProto:
    """Return the Q/DQ graph with int8 activations, for TensorRT; heads and biases stay fp32."""
    quantizer = QDQQuantizer(
        onnx.ModelProto.FromString(model.SerializeToString()),
        per_channel=True,
        reduce_range=True,
        weight_qType=TensorProto.INT8,
        activation_qType=TensorProto.INT8,
        tensors_range=ranges,
        nodes_to_quantize=[*plan.layers, *plan.joints],
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv", "Add", "Resize"],
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": ["Conv", "Add"],  # the tensors of the plan lie behind the ReLU
        },
    )
    for name in plan.tensors:
        quantizer.quantize_activation_tensor(name)
    quantizer.quantize_model()
    quantised: onnx.ModelProto = quantizer.model.model
    _round_biases(quantised, plan)
    in_order(quantised)
    return quantised


def _round_biases(model: onnx.ModelProto, plan: Plan) -> None:
    """Round each bias to a whole number of (input scale × weight scale), so that an int32 says exactly the same."""
    graph = Graph(model)
    for node in graph.nodes:
        if node.name in plan.layers and len(node.input) == 3:
            step = _bias_step(graph, node)
            bias = graph.array(node.input[2])
            constant(model, node.input[2], (np.rint(bias / step) * step).astype(np.float32))


def _bias_step(graph: Graph, node: Any) -> Any:
    pixels, weights = (graph.maker[name] for name in node.input[:2])
    return (graph.array(pixels.input[1]) * graph.array(weights.input[1])).astype(np.float32)


def unsigned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same numbers with uint8 activations.

    Types and zero points rewritten, nothing measured anew.

    A ReLU goes behind its quantisation, where it is a clip at the zero point: rounding keeps the order of numbers, so
    both are the same, and ONNX Runtime then finds convolution and quantisation side by side and joins them. Its upper
    limit, where it has one, is never below what quantisation saturates at. Biases become int32, which the kernel for
    the pair asks for. A Resize becomes repeated pixels.
    """
    twin = onnx.ModelProto.FromString(model.SerializeToString())
    graph = Graph(twin)
    low = constant(twin, "zero_point", np.uint8(ZERO))
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear":
            constant(twin, node.input[2], np.uint8(ZERO))
            relu = graph.maker.get(node.input[0])
            if relu is not None and graph.rectifies(relu) and len(graph.users[relu.output[0]]) == 1:
                answer = node.output[0]
                node.input[0], node.output[0] = relu.input[0], f"{answer}_unclipped"
                twin.graph.node.append(
                    onnx.helper.make_node("Clip", [f"{answer}_unclipped", low], [answer], f"{node.name}_relu")
                )
                twin.graph.node.remove(relu)
        elif node.op_type == "Conv" and len(node.input) == 3:
            _whole_bias(twin, graph, node)
    _repeat_where_resized(twin)
    in_order(twin)
    used = {name for node in twin.graph.node for name in node.input}
    for tensor in list(twin.graph.initializer):
        if tensor.name not in used:  # the fp32 biases
            twin.graph.initializer.remove(tensor)
    return twin


def _whole_bias(model: onnx.ModelProto, graph: Graph, node: Any) -> None:
    makers = [graph.maker.get(name) for name in node.input[:2]]
    if any(maker is None or maker.op_type != "DequantizeLinear" for maker in makers):
        return
    step = _bias_step(graph, node)
    bias = np.rint(graph.array(node.input[2]) / step).astype(np.int32)
    name = f"{node.name}_bias"
    inputs = [
        constant(model, f"{name}_whole", bias),
        constant(model, f"{name}_scale", step),
        constant(model, f"{name}_zero_point", np.zeros(len(bias), np.int32)),
    ]
    model.graph.node.append(onnx.helper.make_node("DequantizeLinear", inputs, [name], f"{name}_dequantised", axis=0))
    node.input[2] = name


def _repeat_where_resized(model: onnx.ModelProto) -> None:
    """Write each enlargement by whole numbers as its pixels repeated, channels last.

    The convolutions around it run with channels last, where ONNX Runtime's Resize of bytes takes longer than they do:
    0.37 ms for 32 planes of 120×160, repeated 0.08 ms.
    """
    graph = Graph(model)
    for node in graph.nodes:
        times_of = _repeats(graph, node)
        if times_of is None:
            continue
        rows, columns = times_of
        before, after = graph.maker[node.input[0]], graph.users[node.output[0]][0]
        part = f"{node.name}_repeated"
        axes = constant(model, f"{part}_axes", np.array([2, 4]))
        times = constant(model, f"{part}_times", np.array([1, 1, rows, 1, columns, 1]))
        grown = constant(model, f"{part}_grown", np.array([1, rows, columns, 1]))
        make = onnx.helper.make_node
        model.graph.node.extend([
            make("Transpose", [before.input[0]], [f"{part}_last"], f"{part}_to_last", perm=[0, 2, 3, 1]),
            make("Unsqueeze", [f"{part}_last", axes], [f"{part}_apart"], f"{part}_unsqueeze"),
            make("Expand", [f"{part}_apart", times], [f"{part}_twice"], f"{part}_expand"),
            make("Shape", [f"{part}_last"], [f"{part}_shape"], f"{part}_shape"),
            make("Mul", [f"{part}_shape", grown], [f"{part}_size"], f"{part}_size"),
            make("Reshape", [f"{part}_twice", f"{part}_size"], [f"{part}_together"], f"{part}_reshape"),
            make("Transpose", [f"{part}_together"], [after.output[0]], f"{part}_to_first", perm=[0, 3, 1, 2]),
        ])  # fmt: skip
        model.graph.node.remove(node)
        model.graph.node.remove(after)


def _repeats(graph: Graph, node: Any) -> tuple[int, int] | None:
    """Return how often a node repeats each row and column of bytes between two quantisations; None if it does not."""
    if node.op_type != "Resize" or len(node.input) != 3 or node.input[2] not in graph.constants:
        return None
    how = {a.name: a.s for a in node.attribute}
    wanted = {"mode": b"nearest", "coordinate_transformation_mode": b"asymmetric", "nearest_mode": b"floor"}
    before, users = graph.maker.get(node.input[0]), graph.users.get(node.output[0], [])
    if before is None or before.op_type != "DequantizeLinear" or [u.op_type for u in users] != ["QuantizeLinear"]:
        return None
    same = graph.array(before.input[1]) == graph.array(users[0].input[1])
    times = graph.array(node.input[2])
    plain = len(times) == 4 and (times == np.rint(times)).all() and (times[:2] == 1).all() and (times >= 1).all()
    if not (plain and same and all(how.get(name) == value for name, value in wanted.items())):
        return None
    return int(times[2]), int(times[3])
