"""A network as TensorRT's Q/DQ graph of INT8: which layers, with int8 activations of zero point 0.

`processor_form` rewrites it for processors. Weights use 7 of their 8 bits: without VNNI, processors add two products of
uint8 and int8 in 16 bits, and 255 × (64 + 64) is the most that fits there.
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

LAYERS = ("Conv", "Gemm", "MatMul")

WEIGHT_MAX = 64
"""Largest whole weight of seven bits."""


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

    The first reads three planes, which costs little; the heads are the layers that no other follows.
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
            step = graph.bias_step(node)
            bias = graph.array(node.input[2])
            constant(model, node.input[2], (np.rint(bias / step) * step).astype(np.float32))
