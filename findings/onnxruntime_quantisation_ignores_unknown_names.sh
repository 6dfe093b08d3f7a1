#!/usr/bin/env bash
# onnxruntime 1.32.0, quantize_static: a name that no node has is ignored.
#
# Expected: an error for a node to exclude, a node to quantise or an operator type that the network does not have.
# Seen: no error, no warning. A misspelt node to exclude is quantised like the others. A misspelt node to quantise, or
# operator type, gives back the network in floating point, without a single QuantizeLinear, as the result.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip --quiet --disable-pip-version-check install onnxruntime==1.32.0 onnx==1.23.2 "numpy<3"
cat > net.py <<'PY'
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader

RNG = np.random.default_rng(0)


class Pictures(CalibrationDataReader):
    def __init__(self) -> None:
        self.left = iter([{"x": RNG.random((1, 3, 16, 16), dtype=np.float32)} for _ in range(8)])

    def get_next(self):
        return next(self.left, None)


def two_convolutions(bias: float) -> onnx.ModelProto:
    """Make convolution `first`, ReLU, convolution `second`; `bias` is that of the first."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "w2"], ["y"], name="second"),
    ]
    weights = [
        numpy_helper.from_array(RNG.normal(size=(4, 3, 3, 3)).astype(np.float32), "w1"),
        numpy_helper.from_array(np.full(4, bias, np.float32), "b1"),
        numpy_helper.from_array(np.ones((2, 4, 1, 1), np.float32), "w2"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", c, 16, 16]) for name, c in (("x", 3), ("y", 2))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model
PY
env/bin/python - <<'PY' 2>&1 | grep -v WARNING
import onnx
from net import Pictures, two_convolutions
from onnxruntime.quantization import quantize_static

onnx.save(two_convolutions(0.0), "float.onnx")


def quantised(**options) -> int:
    quantize_static("float.onnx", "int8.onnx", Pictures(), **options)
    return sum(node.op_type == "QuantizeLinear" for node in onnx.load("int8.onnx").graph.node)


whole, excluded = quantised(), quantised(nodes_to_exclude=["first"])
print("QuantizeLinear nodes, all quantised:", whole, " with `first` excluded:", excluded)
seen = {
    "nodes_to_exclude": quantised(nodes_to_exclude=["frist"]),
    "nodes_to_quantize": quantised(nodes_to_quantize=["frist"]),
    "op_types_to_quantize": quantised(op_types_to_quantize=["Konv"]),
}
print("with a misspelt name:", seen)
assert excluded < whole
assert seen == {"nodes_to_exclude": whole, "nodes_to_quantize": 0, "op_types_to_quantize": 0}, "changed"
PY
