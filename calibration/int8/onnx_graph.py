"""An ONNX file with a contract, read and written; and small questions about its graph."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge.errors import InputError, ModelError
from edge.runtime.contract import METADATA_KEY, Contract, device_contract

OPSET_MAX, IR_VERSION = 17, 8
"""The newest that ONNX Runtime 1.23, the last for Python 3.10, and TensorRT 8.6 both read."""


class Graph:
    """Who makes and who uses each tensor of a model; made anew when the model has changed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes: list[Any] = list(model.graph.node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.users: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.users.setdefault(name, []).append(node)

    def array(self, name: str) -> NDArray[Any]:
        """Return a constant."""
        found: NDArray[Any] = onnx.numpy_helper.to_array(self.constants[name])
        return found

    def result(self, node: Any) -> str:
        """Return the tensor that a node answers, behind its ReLU where it has one to itself."""
        name: str = node.output[0]
        users = self.users.get(name, [])
        return str(users[0].output[0]) if len(users) == 1 and self.rectifies(users[0]) else name

    def bias_step(self, convolution: Any) -> NDArray[np.float32]:
        """Return the step (N,) of a convolution's bias: of its pixels times of its weights."""
        pixels, weights = (self.maker[name] for name in convolution.input[:2])
        return np.asarray(self.array(pixels.input[1]) * self.array(weights.input[1]), np.float32)

    def rectifies(self, node: Any) -> bool:
        """Whether a node is a ReLU, with or without an upper limit."""
        if node.op_type == "Clip":
            low = node.input[1] if len(node.input) > 1 else ""
            return low in self.constants and not self.array(low).any()
        return bool(node.op_type == "Relu")


def load(path: Path) -> tuple[onnx.ModelProto, Contract]:
    """Read a model and its contract.

    Raises InputError or ModelError that says what is wrong with the file.
    """
    if not path.is_file():
        raise InputError(f"{path} not found. Give an ONNX file written by sicklescope-export")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's, ONNX's and Python's own errors share no base class but this
        raise ModelError(f"{path} is no ONNX file that can be read: {error}. Export it again") from error
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version > OPSET_MAX or model.ir_version > IR_VERSION:
        raise ModelError(
            f"{path} has opset {version}, IR {model.ir_version}; expected at most opset {OPSET_MAX}, IR {IR_VERSION}, "
            "which every supported runtime reads. Export it with sicklescope-export onnx"
        )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{path} is no valid ONNX model: {error}. Export it again") from error
    contract = device_contract({p.key: p.value for p in model.metadata_props}, None, path)
    if contract.precision != "fp32":
        raise ModelError(f"{path} is {contract.precision} already; give the fp32 file that it was made from")
    return model, contract


def with_contract(model: onnx.ModelProto, contract: Contract) -> bytes:
    """Return the file of a model with this contract, its graph's digest filled in.

    Checks the graph first.
    """
    onnx.checker.check_model(model, full_check=True)
    digest = hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()
    written = contract.model_copy(update={"graph_sha256": digest})
    others = {p.key: p.value for p in model.metadata_props}
    onnx.helper.set_model_props(model, {**others, METADATA_KEY: written.model_dump_json()})
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def in_order(model: onnx.ModelProto) -> None:
    """Sort the nodes so that each comes after those it reads from, as ONNX asks."""
    waiting = list(model.graph.node)
    known = {"", *(t.name for t in model.graph.initializer), *(i.name for i in model.graph.input)}
    del model.graph.node[:]
    while waiting:
        ready = [node for node in waiting if all(name in known for name in node.input)]
        if not ready:
            raise ModelError(f"the graph runs in a circle at {waiting[0].name}. Export the model again")
        model.graph.node.extend(ready)
        for node in ready:
            known.update(node.output)
        waiting = [node for node in waiting if not any(node is r for r in ready)]


def attributes(node: Any) -> dict[str, Any]:
    """Return the attributes of a node as plain values, by name."""
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def drop_unused(model: onnx.ModelProto) -> None:
    """Take out the nodes whose answers nobody reads, and then the constants."""
    answers = {output.name for output in model.graph.output}
    while True:
        read = {name for node in model.graph.node for name in node.input} | answers
        dead = [node for node in model.graph.node if read.isdisjoint(node.output)]
        if not dead:
            break
        for node in dead:
            model.graph.node.remove(node)
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in read]:
        model.graph.initializer.remove(tensor)


def constant(model: onnx.ModelProto, name: str, value: NDArray[Any] | np.generic) -> str:
    """Add a constant, or replace the one of that name; returns its name."""
    tensor = onnx.numpy_helper.from_array(np.asarray(value), name)
    for old in model.graph.initializer:
        if old.name == name:
            old.CopyFrom(tensor)
            return name
    model.graph.initializer.append(tensor)
    return name
