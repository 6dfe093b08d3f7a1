"""NVIDIA's own parser and builder, which need no GPU with TensorRT-RTX, take every model file there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.config.model import TensorRtConfig
from edge.errors import EngineError, ModelError
from edge.runtime.contract import METADATA_KEY, SHIPPED_DIR, Contract
from edge.runtime.tensorrt.engine_builder import PROFILES, Built, Profile, build
from export.graph import halved, read
from export.half import MADE_FROM, write_half

trt = pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is for x86-64 Linux only")

AMPERE_AND_ADA = ("SM86", "SM89")

SHIPPED = [path for path in sorted(SHIPPED_DIR.glob("*.onnx")) if not path.name.endswith(".cpu.onnx")]
"""Every file for TensorRT; those named .cpu are ONNX Runtime's own encoding."""


def built(data: bytes, profile: Profile, precision: Any = "auto", **more: Any) -> Built:
    settings = more.pop("settings", TensorRtConfig(optimization_level=0))
    return build(trt, "model.onnx", data, profile, precision, settings, targets=AMPERE_AND_ADA, **more)


def quantised(bias: float = 0.0) -> onnx.ModelProto:
    """Make a small Q/DQ network as ours: uint8 NHWC in, a convolution with per-channel weights, float32 out."""
    rng = np.random.default_rng(0)

    def constant(name: str, array: Any) -> TensorProto:
        return numpy_helper.from_array(np.asarray(array), name)

    weights = rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
    initializers = [
        constant("scale", np.float32(1 / 127)), constant("zero", np.int8(0)), constant("weights", weights),
        constant("weight_scale", np.full(8, 0.01, np.float32)), constant("weight_zero", np.zeros(8, np.int8)),
        constant("bias", np.full(8, bias, np.float32)), constant("full", np.float32(255)),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["planes", "full"], ["scaled"]),
        helper.make_node("QuantizeLinear", ["scaled", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("DequantizeLinear", ["weights", "weight_scale", "weight_zero"], ["w"], axis=0),
        helper.make_node("Conv", ["dq", "w", "bias"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["prob"]),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "h", "w", 3])
    prob = helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["n", 8])
    graph = helper.make_graph(nodes, "small", [pixels], [prob], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def transposed_first() -> onnx.ModelProto:
    """Return the same network as PyTorch writes it: uint8 is transposed, then cast."""
    model = quantised()
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    cast, transpose = nodes[:2]
    transpose.input[0], transpose.output[0] = "pixels", "turned"
    cast.input[0], cast.output[0] = "turned", "planes"
    del model.graph.node[:]
    model.graph.node.extend([transpose, cast, *nodes[2:]])
    return model


def no_word_of_quantisation(made: Built, *known: str) -> None:
    words = ("quanti", "scale", "int8", "calibrat", "dynamic range")
    assert not [t for t in made.warnings if any(word in t.lower() for word in words) and not t.endswith(known)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_file_builds_for_ampere_and_ada(path: Path) -> None:
    _, contract = read(path)
    precision = next((name for name in ("int8", "fp16") if f".{name}" in path.name), "fp32")
    made = built(path.read_bytes(), PROFILES[contract.role], precision)
    assert len(made.engine) > 10_000
    no_word_of_quantisation(made)


SMALL = Profile((1, 16, 16, 3), (1, 64, 64, 3), (4, 128, 128, 3))


def test_a_quantised_network_builds_as_int8_without_a_warning() -> None:
    made = built(quantised().SerializeToString(), SMALL)
    assert made.precision == "int8"
    no_word_of_quantisation(made)


def test_a_quantised_network_with_the_rest_in_half_precision_builds_too() -> None:
    made = built(halved(quantised()).SerializeToString(), SMALL)
    assert made.precision == "int8"
    # ONNX wants the steps in half precision where the numbers are; TensorRT computes with them in full, and says so.
    no_word_of_quantisation(made, "activation scales to fp32.", "weight scales to fp32.")


@pytest.mark.parametrize("role", ["detector", "classifier"])
def test_the_half_twin_that_is_shipped_was_made_of_the_file_beside_it(role: str, tmp_path: Path) -> None:
    _, contract = read(SHIPPED_DIR / f"{role}.onnx")
    model, twin = read(SHIPPED_DIR / f"{role}.fp16.onnx")
    assert {entry.key: entry.value for entry in model.metadata_props}[MADE_FROM] == contract.graph_sha256
    assert twin.model_copy(update={"graph_sha256": ""}) == contract.model_copy(update={"graph_sha256": ""})
    write_half(SHIPPED_DIR / f"{role}.onnx", tmp_path / "again.onnx")
    assert read(tmp_path / "again.onnx")[1] == twin


def test_pixels_that_are_transposed_before_they_are_cast_are_refused_with_tensorrts_words() -> None:
    """TensorRT does nothing with uint8 but cast it; the files shipped before 0.2 could not be built."""
    model = transposed_first()
    with pytest.raises(ModelError, match=r"model.onnx cannot be read by TensorRT.*UInt8.*Export it again"):
        built(model.SerializeToString(), SMALL)


def test_the_export_casts_first_and_answers_the_same(tmp_path: Path) -> None:
    import onnxruntime as ort

    from export.graph import cast_first

    model = transposed_first()
    before = model.SerializeToString()
    cast_first(model)
    onnx.checker.check_model(model, full_check=True)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3)).astype(np.uint8)
    answers = [
        ort.InferenceSession(data).run(None, {"pixels": pixels})[0] for data in (before, model.SerializeToString())
    ]
    assert np.array_equal(*answers)
    built(model.SerializeToString(), SMALL)


def test_the_precision_is_that_of_the_file_or_it_is_refused() -> None:
    data = (SHIPPED_DIR / "classifier.onnx").read_bytes()
    for wanted, how in (("fp16", "sicklescope-export fp16"), ("int8", "sicklescope-calibrate int8")):
        with pytest.raises(ModelError, match=f"is fp32; models.precision is {wanted}.*{how}"):
            built(data, PROFILES["classifier"], wanted)


def test_settings_reach_the_builder_and_progress_is_told() -> None:
    said: list[str] = []
    settings = TensorRtConfig(optimization_level=1, workspace_mb=64)
    built(quantised().SerializeToString(), SMALL, settings=settings, progress=said.append)
    assert len(said) > 1


def test_a_gpu_that_the_release_does_not_know_is_named() -> None:
    with pytest.raises(EngineError, match="cannot build for SM52"):
        build(trt, "model.onnx", quantised().SerializeToString(), SMALL, "auto", TensorRtConfig(), targets=("SM52",))


@pytest.mark.parametrize("data", [b"", b"no model", None], ids=["empty", "text", "cut short"])
def test_a_corrupt_file_is_refused(data: bytes | None, tmp_path: Path) -> None:
    data = (SHIPPED_DIR / "classifier.onnx").read_bytes()[:50_000] if data is None else data
    with pytest.raises(ModelError, match=r"cannot be read by TensorRT|takes nothing"):
        built(data, SMALL)
    path = tmp_path / "broken.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"is no whole ONNX file|carries no contract"):
        read(path)


def test_a_file_without_contract_or_of_a_newer_opset_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(quantised(), str(path))
    with pytest.raises(ModelError, match="carries no contract"):
        read(path)
    model = onnx.load(str(SHIPPED_DIR / "classifier.onnx"))
    model.opset_import[0].version = 23
    model.ir_version = 11
    onnx.save(model, str(path))
    with pytest.raises(ModelError, match=r"opset 23; at most 19.*writes opset 17|is no whole ONNX file"):
        read(path)


def test_a_weight_that_half_precision_cannot_hold_is_refused() -> None:
    with pytest.raises(ModelError, match="bias holds 70000; half precision ends at 65504"):
        halved(quantised(bias=70000.0))
    model = quantised()
    step = next(tensor for tensor in model.graph.initializer if tensor.name == "weight_scale")
    step.CopyFrom(numpy_helper.from_array(np.full(8, 1e-6, np.float32), "weight_scale"))
    with pytest.raises(ModelError, match="weight_scale quantises in steps of 1e-06, too small"):
        halved(model)


def test_the_commands_write_a_half_twin_and_an_engine_for_another_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from export.cli import app

    monkeypatch.chdir(tmp_path)
    source, half, engine = SHIPPED_DIR / "classifier.onnx", tmp_path / "half.onnx", tmp_path / "half.engine"
    result = CliRunner().invoke(app, ["fp16", str(source), "-o", str(half)])
    assert result.exit_code == 0, result.output
    text = next(p.value for p in onnx.load(str(half)).metadata_props if p.key == METADATA_KEY)
    assert Contract.model_validate_json(text).role == "classifier"
    result = CliRunner().invoke(app, ["engine", str(half), "--target", "SM86", "-o", str(engine)])
    assert result.exit_code == 0, result.output
    assert "not tried" in result.output
    assert engine.stat().st_size > 10_000
    result = CliRunner().invoke(app, ["engine", str(tmp_path / "none.onnx"), "--target", "SM86", "-o", str(engine)])
    assert result.exit_code == 5
    assert "not found" in result.output
