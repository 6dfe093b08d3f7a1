"""Operations on a model file's graph that need no framework: read with clear errors, made fit for TensorRT, halved."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper, version_converter

from edge.errors import ModelError
from edge.runtime.contract import METADATA_KEY, Contract, read_contract

OPSET, IR_VERSION = 17, 8
"""Set outright: the newest that ONNX Runtime 1.23, the last for Python 3.10, and TensorRT 8.6 both read."""

OPSET_HALF_QDQ, IR_HALF_QDQ = 19, 9
"""QuantizeLinear takes half-precision numbers from opset 19 on; TensorRT reads it from 10.0 on."""

FULL_PRECISION = {"Resize": (1, 2)}
"""Inputs, by operator, that stay float32: region and scales of a Resize."""

SMALLEST_STEP = float(np.finfo(np.float16).tiny)
"""Below this a step of quantisation would lose bits in half precision, and with it every value it scales."""


def read(path: Path) -> tuple[onnx.ModelProto, Contract]:
    """Read a model file and its contract.

    Raises ModelError for what is no model, has none, or is too new.
    """
    if not path.is_file():
        raise ModelError(f"{path} not found")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"{path} is no whole ONNX file: {str(error).strip().splitlines()[0]}") from error
    opset = opset_of(model)
    if opset > OPSET_HALF_QDQ:
        raise ModelError(
            f"{path} is of opset {opset}; at most {OPSET_HALF_QDQ} is read on the devices. "
            f"Export it again with sicklescope-export onnx, which writes opset {OPSET}"
        )
    return model, read_contract({entry.key: entry.value for entry in model.metadata_props}, None, path)


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators."""
    return int(next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0))


def graph_sha256(model: onnx.ModelProto) -> str:
    """Return the digest of the graph alone.

    So it can be written into the metadata beside it.
    """
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def seal(model: onnx.ModelProto, contract: Contract, figures: dict[str, str]) -> None:
    """Write the contract, with the digest of the graph, and figures into the metadata."""
    sealed = contract.model_copy(update={"graph_sha256": graph_sha256(model)})
    onnx.helper.set_model_props(model, {METADATA_KEY: sealed.model_dump_json(), **figures})


def cast_first(model: onnx.ModelProto) -> None:
    """Turn the input to floating point before it is transposed.

    TensorRT does nothing else with uint8.

    The answers are the same to the last bit.
    """
    graph = model.graph
    pixels = graph.input[0].name
    nodes = list(graph.node)
    for i, transpose in enumerate(nodes):
        users = [node for node in nodes if transpose.output[0] in node.input]
        if not (transpose.op_type == "Transpose" and transpose.input[0] == pixels and len(users) == 1):
            continue
        cast = users[0]
        if cast.op_type != "Cast":
            continue
        middle, end = f"{pixels}_cast", cast.output[0]
        cast.input[0], cast.output[0] = pixels, middle
        transpose.input[0], transpose.output[0] = middle, end
        nodes.remove(cast)
        nodes.insert(i, cast)
        del graph.node[:]
        graph.node.extend(nodes)
        return


def fold(model: onnx.ModelProto) -> None:
    """Turn Constant nodes into initializers; drop Identity nodes and what nobody reads.

    One way to write a graph.
    """
    graph = model.graph
    kept = []
    answers = {output.name for output in graph.output}
    same: dict[str, str] = {}
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        elif node.op_type == "Identity" and node.output[0] not in answers:
            same[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    read_names = {name for node in kept for name in node.input} | answers
    used = [tensor for tensor in graph.initializer if tensor.name in read_names]
    del graph.initializer[:]
    graph.initializer.extend(used)
    del graph.value_info[:]


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network in half precision.

    Pixels still uint8, answers still float32, ranges of Q/DQ as they were.

    Raises ModelError for a weight that half precision cannot hold. A Q/DQ network becomes opset 19, which has
    half-precision quantisation; others keep theirs.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in half.graph.node):
        half = version_converter.convert_version(half, OPSET_HALF_QDQ)
        half.ir_version = IR_HALF_QDQ
    fold(half)
    graph = half.graph
    kept = {node.input[i] for node in graph.node for i in FULL_PRECISION.get(node.op_type, ()) if i < len(node.input)}
    steps = {node.input[1] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            _halve(tensor, SMALLEST_STEP if tensor.name in steps else 0.0)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    for output in graph.output:
        inside = f"{output.name}_half"
        for node in graph.node:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == output.name:
                        names[i] = inside
        graph.node.append(
            onnx.helper.make_node("Cast", [inside], [output.name], f"{output.name}_cast", to=TensorProto.FLOAT)
        )
    onnx.checker.check_model(half, full_check=True)
    return half


def _halve(tensor: TensorProto, least: float) -> None:
    values = numpy_helper.to_array(tensor)
    if np.abs(values).min(initial=np.inf) < least:
        raise ModelError(f"{tensor.name} quantises in steps of {np.abs(values).min():g}, too small for half precision")
    with np.errstate(over="ignore"):
        small = values.astype(np.float16)
    if not np.isfinite(small).all():
        raise ModelError(f"{tensor.name} holds {np.abs(values).max():g}; half precision ends at 65504. Keep fp32")
    tensor.CopyFrom(numpy_helper.from_array(small, tensor.name))
