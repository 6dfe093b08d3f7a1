"""INT8: two forms of one network, pictures that are chosen, and a gate that refuses what lost cells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from typer.testing import CliRunner

from calibration.cli import app
from calibration.int8 import search as searching
from calibration.int8.agreement import Agreement, InMemoryNetwork, agreement, answers
from calibration.int8.calibration_set import candidates, evaluation_list, spread
from calibration.int8.gate import Limits, Measured, Thresholds, judged, nearest, rechosen
from calibration.int8.gate_list import GatePicture
from calibration.int8.onnx_graph import Graph, constant, load, with_contract
from calibration.int8.paired_predictions import Both, CellPredictions
from calibration.int8.prepared_fields import FieldReader, PictureStatistics
from calibration.int8.procedure import GateError, Int8Options, int8_model
from calibration.int8.processor.first_layer import patch_moments, rounded_weights
from calibration.int8.processor.form import processor_form
from calibration.int8.processor.heads import two_bytes
from calibration.int8.quantise import layers_of, planned, signed
from calibration.int8.ranges import METHODS, found_ranges
from calibration.int8.search import Search
from edge.camera.virtual.camera import VirtualCamera
from edge.config.model import CameraConfig, Config, OpticsConfig, QualityConfig
from edge.errors import InputError, ModelError
from edge.runtime.contract import METADATA_KEY, ROLES, SHIPPED_DIR, Contract
from edge.types import CANONICAL_UM_PER_PX, CLASSES, Pixels, Rejection
from edge.vision.classify import crops
from edge.vision.detect import padded

CHULA_UM_PER_PX = 0.09
"""Near enough for cells to look as they do on a device."""


def shipped(role: str) -> tuple[onnx.ModelProto, Contract]:
    return load(SHIPPED_DIR / f"{role}.onnx")


@pytest.fixture(scope="module")
def slides() -> list[Pixels]:
    with VirtualCamera(CameraConfig(kind="virtual", frames=24, seed=3)) as camera:
        return [frame.pixels for frame in iter(camera.read, None) if frame is not None]


def forms(role: str, batches: list[Pixels]) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return a shipped network in TensorRT's form and in that of processors, all layers in INT8."""
    model, _ = shipped(role)
    plan = planned(model)
    made = signed(model, plan, found_ranges(model, plan.tensors, batches, lambda _: None, ["minmax"])["minmax"])
    return made, processor_form(made, patch_moments([picture for batch in batches for picture in batch]))


@pytest.fixture(scope="module")
def both(slides: list[Pixels]) -> dict[str, tuple[onnx.ModelProto, onnx.ModelProto]]:
    tiles = [field[y : y + 64, x : x + 64] for field in slides[:4] for y in (0, 200) for x in (0, 100, 300)]
    return {"detector": forms("detector", [s[None, :320, :320] for s in slides[:4]]),
            "classifier": forms("classifier", [np.stack(tiles)])}  # fmt: skip


def exact(model: onnx.ModelProto) -> Callable[[Pixels], list[np.ndarray]]:
    """Run a graph as it is written, node by node in fp32: what it means, whatever a processor's kernels do."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"pixels": batch})


# ---- the two encodings


def shipped_forms(role: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return the two forms that are shipped, TensorRT's first."""
    one, other = (onnx.load(str(SHIPPED_DIR / f"{role}.{form}.onnx")) for form in ("int8", "int8.cpu"))
    return one, other


@pytest.mark.timeout(300)
def test_both_forms_see_what_fp32_sees_in_real_fields_and_cells(real_fields: Callable[[str, int], list[Path]]) -> None:
    paths = real_fields("chula_rbc12", 80)
    device = Config(quality=QualityConfig(gate=False), optics=OpticsConfig(um_per_px=CHULA_UM_PER_PX))
    reader = FieldReader(device, *(InMemoryNetwork(*shipped(role)) for role in ROLES))
    prepared = [reader.prepared(path) for path in paths]
    fields = [one.outcome for one in prepared if not isinstance(one.outcome, Rejection)]
    windows = [padded(field.pixels[:240, :240]) for field in fields]
    assert len(windows) >= 50
    cells = np.concatenate([
        crops(one.outcome.pixels, read.cells.boxes[read.whole], 64)
        for one in prepared
        if not isinstance(one.outcome, Rejection) and not isinstance(read := reader.examined(one), Rejection)
    ])  # fmt: skip
    assert len(cells) >= 2000
    for role, pictures in (("detector", windows), ("classifier", list(cells[:2048]))):
        model, contract = shipped(role)
        wanted = answers(InMemoryNetwork(model, contract), pictures)
        found = [
            agreement(contract, wanted, answers(InMemoryNetwork(form, contract), pictures))
            for form in shipped_forms(role)
        ]
        assert found[0].cells > 500
        assert max(one.changed for one in found) <= 0.01, "as the gate allows"
        assert found[1].drift <= 1.1 * found[0].drift, "the form for processors has the finer steps"


@pytest.mark.parametrize("role", ROLES)
def test_the_form_for_processors_has_the_same_weights_and_twice_the_steps_behind_a_relu(
    both: dict[str, tuple[onnx.ModelProto, onnx.ModelProto]], slides: list[Pixels], role: str
) -> None:
    one, other = both[role]
    values = [{t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer} for m in (one, other)]
    quantised = [n for n in one.graph.node if n.op_type == "QuantizeLinear"]
    assert len(quantised) >= {"detector": 19, "classifier": 13}[role]
    steps = []
    for node in quantised:
        assert (values[0][node.input[2]].dtype, int(values[0][node.input[2]])) == (np.int8, 0)
        zero, step = values[1][node.input[2]], values[1][node.input[1]] / values[0][node.input[1]]
        assert zero.dtype == np.uint8
        assert step == pytest.approx({0: 127 / 255, 128: 1.0}[int(zero)])
        steps.append(int(zero))
    assert set(steps) == {0, 128}
    layers = [name for name, array in values[0].items() if array.dtype == np.int8 and array.ndim == 4]
    assert len(layers) >= {"detector": 18, "classifier": 9}[role]
    assert all(np.array_equal(values[0][name], values[1][name]) for name in layers)
    # Bytes with channels last are not resized: it takes longer than the convolutions beside it.
    resized = [sum(node.op_type == "Resize" for node in model.graph.node) for model in (one, other)]
    assert resized == {"detector": [2, 0], "classifier": [0, 0]}[role]
    # All of it multiplies bytes: no convolution is left that reads floating point.
    made = {name: node.op_type for node in other.graph.node for name in node.output}
    assert {made[node.input[0]] for node in other.graph.node if node.op_type == "Conv"} == {"DequantizeLinear"}
    batch = slides[5][None, :256, :256] if role == "detector" else np.stack([s[:64, :64] for s in slides])
    plain = ort.InferenceSession(shipped(role)[0].SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = plain.run(None, {"pixels": batch})[0]
    apart = [np.abs(exact(form)(batch)[0] - wanted).mean() for form in (one, other)]
    assert apart[1] < 1.5 * apart[0], "no farther from fp32 but for what few cells decide"


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 96, 160)])
def test_the_first_layer_in_bytes_answers_as_in_floating_point(slides: list[Pixels], shape: tuple[int, ...]) -> None:
    """Also at the picture's edges, for several pictures, and for sides that differ."""
    model, _ = shipped("detector")
    batch = np.stack([slides[i][: shape[1], : shape[2]] for i in range(shape[0])])
    plan = planned(model)
    ranges = found_ranges(model, plan.tensors, [batch], lambda _: None, ["minmax"])["minmax"]
    made = processor_form(signed(model, plan, ranges), patch_moments(list(batch)))
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    name = Graph(model).result(first)
    wanted, found = (answered(form, tensor, batch) for form, tensor in ((model, name), (made, quantised_twin(made))))
    step = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}[f"{name}_scale"]
    assert wanted.shape == found.shape == (shape[0], 16, shape[1] // 2, shape[2] // 2)
    assert np.abs(wanted - found * step).max() < 2 * step
    assert np.abs(wanted - found * step).mean() < 0.5 * step


def quantised_twin(model: onnx.ModelProto) -> str:
    """Return the bytes that the first layer answers."""
    graph = Graph(model)
    wide = next(node for node in graph.nodes if node.name == "first")
    apart = graph.users[graph.users[wide.output[0]][0].output[0]][0]
    return str(graph.users[graph.users[apart.output[0]][0].output[0]][0].output[0])


def answered(model: onnx.ModelProto, tensor: str, batch: Pixels) -> np.ndarray:
    """Return an inner tensor."""
    seen = onnx.ModelProto.FromString(model.SerializeToString())
    seen.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
    session = ort.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([tensor], {"pixels": batch})[0])


def test_weights_of_the_first_layer_are_rounded_by_what_pictures_show(slides: list[Pixels]) -> None:
    model, _ = shipped("detector")
    weights = Graph(model).array(next(node for node in model.graph.node if node.op_type == "Conv").input[1])
    rows, moments = weights.reshape(len(weights), -1), patch_moments(slides[:4])
    whole, step = rounded_weights(rows, moments)
    nearest = np.rint(rows / step[:, None])
    assert np.abs(whole).max() <= 64

    def lost(rounded: np.ndarray) -> float:
        error = rounded * step[:, None] - rows
        return float(np.einsum("ni,ij,nj->n", error, moments, error).mean())

    assert lost(whole) < 0.1 * lost(nearest)


@pytest.mark.parametrize("how", ["stride", "grey", "fp32 behind it", "side"])
def test_a_first_layer_of_another_kind_is_left_as_it_is(slides: list[Pixels], how: str) -> None:
    """A laboratory's network may begin otherwise, and its form for processors has to say the same."""
    model, _ = shipped("classifier")
    first, second = [node for node in model.graph.node if node.op_type == "Conv"][:2]
    if how == "stride":
        next(a for a in first.attribute if a.name == "strides").ints[:] = [1, 1]
        next(a for a in second.attribute if a.name == "strides").ints[:] = [4, 4]
    if how == "grey":
        less = next(node for node in model.graph.node if node.op_type == "Sub")
        constant(model, less.input[1], np.float32(120))
    side = 62 if how == "side" else 64
    for axis in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        axis.dim_value = side
    batch = np.stack([slide[:side, :side] for slide in slides[:8]])
    plan = planned(model, [second.name] if how == "fp32 behind it" else [])
    ranges = found_ranges(model, plan.tensors, [batch], lambda _: None, ["minmax"])["minmax"]
    made = signed(model, plan, ranges)
    twin = processor_form(made, patch_moments(list(batch)))
    assert not any(node.name == "first" for node in twin.graph.node)
    assert np.abs(exact(made)(batch)[0] - exact(twin)(batch)[0]).max() < 0.05


def test_heads_of_two_bytes_a_weight_answer_as_in_floating_point() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(7, 48)) * np.array([[1e-3], [1], [10], [0], [1], [1], [1]])
    coarse, fine, step = two_bytes(weights)
    assert max(np.abs(coarse).max(), np.abs(fine).max()) <= 64
    held = (coarse + fine / 128.0) * step[:, None]
    assert (np.abs(held - weights) <= np.abs(weights).max(1, keepdims=True) / 16000).all()


@pytest.mark.parametrize("how", ["linear", "half_pixel", "scales 2.5", "sizes"])
def test_what_does_not_just_repeat_pixels_is_left_as_it_is(how: str, slides: list[Pixels]) -> None:
    """A laboratory's network may enlarge otherwise, and its form for processors has to say the same."""
    model = onnx.load(str(SHIPPED_DIR / "detector.int8.onnx"))
    for node in [node for node in model.graph.node if node.op_type == "Resize"]:
        for attribute in node.attribute:
            if attribute.name == "mode" and how == "linear":
                attribute.s = b"linear"
            if attribute.name == "coordinate_transformation_mode" and how in ("linear", "half_pixel"):
                attribute.s = b"half_pixel"
        if how == "sizes":
            node.input[2:] = ["", "some_size"]
        if how == "scales 2.5":
            scales = next(t for t in model.graph.initializer if t.name == node.input[2])
            scales.CopyFrom(onnx.numpy_helper.from_array(np.array([1, 1, 2.5, 2], np.float32), scales.name))
    if how == "sizes":
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 64, 16, 16]), "some_size"))
    batch = slides[5][None, :256, :256]
    twin = processor_form(model, patch_moments(list(batch)))
    assert sum(node.op_type == "Resize" for node in twin.graph.node) == 2
    if how in ("linear", "half_pixel"):
        (peaks, sides), (their_peaks, their_sides) = exact(model)(batch), exact(twin)(batch)
        assert np.abs(sides - their_sides).mean() < 0.05 * np.abs(sides).mean()
        assert np.abs(np.sort(peaks.ravel())[-20:] - np.sort(their_peaks.ravel())[-20:]).max() < 0.05


@pytest.mark.parametrize("role", ROLES)
def test_what_a_device_loads(
    both: dict[str, tuple[onnx.ModelProto, onnx.ModelProto]], tmp_path: Path, role: str
) -> None:
    contract = shipped(role)[1].model_copy(update={"precision": "int8"})
    for number, model in enumerate(both[role]):
        data = with_contract(model, contract)
        read = onnx.load_from_string(data)
        assert (read.ir_version, [(o.domain, o.version) for o in read.opset_import]) == (8, [("", 17)])
        assert [i.type.tensor_type.elem_type for i in read.graph.input] == [onnx.TensorProto.UINT8]
        its = Contract.model_validate_json({p.key: p.value for p in read.metadata_props}[METADATA_KEY])
        assert its.precision == "int8"
        assert its.graph_sha256 == hashlib.sha256(read.graph.SerializeToString(deterministic=True)).hexdigest()
        assert its.graph_sha256 != shipped(role)[1].graph_sha256
        assert with_contract(model, contract) == data, number


@pytest.mark.parametrize("role", ROLES)
def test_no_product_of_eight_bits_can_saturate(
    both: dict[str, tuple[onnx.ModelProto, onnx.ModelProto]], role: str
) -> None:
    # Without VNNI a processor adds two products of uint8 and int8 in 16 bits: 255 × (|a| + |b|) must fit there.
    values = {t.name: onnx.numpy_helper.to_array(t) for t in both[role][1].graph.initializer}
    weights = [value for value in values.values() if value.dtype == np.int8 and value.ndim in (2, 4)]
    heads = {"detector": 1, "classifier": 0}[role]
    assert len(weights) == len(layers_of(shipped(role)[0])) + 1 + heads, "with the first layer"
    assert max(np.abs(value.astype(int)).max() for value in weights) > 60, "the bits there are should be used"
    for value in weights:
        assert 255 * 2 * int(np.abs(value.astype(int)).max()) <= np.iinfo(np.int16).max


def test_this_processor_multiplies_without_saturation() -> None:
    # The worst case of 7 bits: all inputs at 255, all weights at 64; zero point 0, so that the inputs stay large.
    weights = np.full((8, 64, 3, 3), 64, np.int8)
    found = product(np.full((1, 64, 12, 12), 255, np.uint8), weights)
    assert found[0, 0, 6, 6] == 255 * 64 * 64 * 9


def product(pixels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the convolution as QLinearConv computes it, its output scaled to fit uint8, times that scale."""
    scale = np.float32(255 * 64 * 64 * 9 / 200)
    make = onnx.numpy_helper.from_array
    constants = {"s1": np.float32(1), "z": np.uint8(0), "zw": np.int8(0), "so": scale, "w": weights}
    node = onnx.helper.make_node("QLinearConv", ["x", "s1", "z", "w", "s1", "zw", "so", "z"], ["y"], pads=[1] * 4)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "g", [info("x", onnx.TensorProto.UINT8, pixels.shape)], [info("y", onnx.TensorProto.UINT8, None)],
        [make(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": pixels})[0] * scale)


@pytest.mark.parametrize("role", ROLES)
def test_heads_the_first_layer_and_what_is_named_stay_in_higher_precision(role: str, slides: list[Pixels]) -> None:
    model, _ = shipped(role)
    layers = layers_of(model)
    convolutions = [n.name for n in model.graph.node if n.op_type == "Conv"]
    kept = {"detector": [convolutions[0], convolutions[-1]], "classifier": [convolutions[0]]}[role]
    assert [name for name in convolutions if name not in layers] == kept
    plan = planned(model, [layers[2]])
    ranges = found_ranges(model, plan.tensors, [slides[0][None, :64, :64]], lambda _: None, ["minmax"])
    made = signed(model, plan, ranges["minmax"])
    weights = {n.name: n.input[1] for n in made.graph.node if n.op_type == "Conv"}
    plain = {t.name for t in made.graph.initializer}
    assert [name for name in convolutions if weights[name] in plain] == [
        name for name in convolutions if name in (*kept, layers[2])
    ]
    with pytest.raises(ModelError, match="no layer /nowhere to keep; layers that can be: "):
        planned(model, ["/nowhere"])


@pytest.mark.parametrize(("role", "kept"), [("detector", 3), ("classifier", 1)])
def test_auto_keeps_the_worst_layers_until_the_gate_should_pass(
    role: str, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, contract = shipped(role)
    names = layers_of(model)
    alone = {name: 0.001 * (i % 7) for i, name in enumerate(names)}

    def of(self: Search, method: str, keep: list[str] = ()) -> Agreement:  # type: ignore[assignment]
        if len(keep) == len(names) - 1:
            return Agreement(alone[next(name for name in names if name not in keep)], 0.0, 1000)
        return Agreement(0.0125 - 0.0032 * len(keep), 0.0, 1000)

    monkeypatch.setattr(Search, "of", of)
    search = Search(model, contract, {}, [], lambda graph: graph, lambda *_: None)
    layers = search.layers("minmax")
    assert [round(one.changed, 4) for one in layers.values()] == sorted(alone.values(), reverse=True)
    assert search.kept("minmax", layers, 0.01) == tuple(layers)[:kept]
    assert len(search.kept("minmax", layers, -1.0)) == len(names) // 3, "more would not be worth having"


# ---- which pictures


def look(slide: str, colour: float, focus: float = 2.0) -> PictureStatistics:
    return PictureStatistics(Path(f"{slide}{colour}.png"), f"{slide}{colour}", slide, (colour, colour, colour), focus)


def test_any_first_part_of_the_order_is_spread_out() -> None:
    looks = [look("big", 100 + i / 10) for i in range(50)] + [look("small", 160), look("small", 220)]
    order = spread(looks)
    assert sorted(map(str, (o.path for o in order))) == sorted(map(str, (o.path for o in looks)))
    assert [o.slide for o in order[:4]] in (["big", "small"] * 2, ["small", "big"] * 2)
    assert {o.colour[0] for o in order if o.slide == "big"} >= {100.0, 104.9}
    assert {o.colour[0] for o in order[:6] if o.slide == "big"} >= {100.0, 104.9}


def saved(folder: Path, pictures: list[Pixels]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"field{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        assert cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return paths


def test_pictures_of_the_evaluation_list_copies_and_spoiled_files_are_left_out(
    tmp_path: Path, slides: list[Pixels]
) -> None:
    paths = saved(tmp_path / "a", [*slides[:4], slides[0]])
    (tmp_path / "a" / "no.png").write_bytes(b"not a picture")
    listed = tmp_path / "list.txt"
    listed.write_text(f"# comment\n{hashlib.sha256(paths[1].read_bytes()).hexdigest()}  field1.png\n")
    found = candidates([tmp_path], False, evaluation_list(listed), lambda *_: None)
    assert {one.path.name for one in found.looks} == {"field0.png", "field2.png", "field3.png"}
    assert found.left_out == {"on_the_evaluation_list": 1, "the_same_picture_again": 1, "unreadable": 1}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "no.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"no picture to calibrate on \(1 unreadable\)"):
        candidates([tmp_path / "b"], False, frozenset(), lambda *_: None)
    listed.write_text("abc\n")
    with pytest.raises(InputError, match="expected a sha256"):
        evaluation_list(listed)


# ---- the gate


def seen(prob_sickle: list[float]) -> CellPredictions:
    n = len(prob_sickle)
    boxes = np.array([[40 * i, 0, 40 * i + 30, 30] for i in range(n)], np.float32).reshape(-1, 4)
    prob = np.zeros((n, len(CLASSES)), np.float32)
    prob[:, 1], prob[:, 0] = prob_sickle, 1 - np.array(prob_sickle)
    return CellPredictions(boxes, np.full(n, 0.9, np.float32), prob, np.zeros(n, bool))


def row(kind: str, part: str, fp32: list[float], int8: list[float]) -> Both:
    boxes = [(40.0 * i, 0.0, 40.0 * i + 30, 30.0) for i in range(len(fp32))]
    picture = GatePicture.model_validate(
        {"picture": "p", "sha256": "0" * 64, "kind": kind, "part": part, "sickle": boxes if kind == "positive" else [],
         "red_cells": boxes if kind == "unlabelled" else []}
    )  # fmt: skip
    return Both(picture, seen(fp32), seen(int8))


AT = Thresholds(0.25, 0.5, 0.5)
SURE, CLEAR = [0.9] * 100, [0.1] * 1000


def gate(*rows: Both, at: Thresholds = AT, limits: Limits | None = None) -> tuple[str, ...]:
    return judged(rows, AT, at, limits or Limits()).reasons


def test_the_gate_measures_and_refuses() -> None:
    same = [row("positive", "measure", SURE, SURE), row("negative", "measure", CLEAR, CLEAR),
            row("unlabelled", "measure", CLEAR, CLEAR)]  # fmt: skip
    verdict = judged(same, AT, AT, Limits())
    assert verdict.passed
    assert verdict.fp32 == verdict.int8 == Measured(100, 100, 0, 1000, 0, 0, 1.0)
    assert verdict.classes["sickle"] == {"fp32": 100, "int8": 100, "recall": 1.0, "precision": 1.0}
    lost = row("positive", "measure", SURE, [0.1, *SURE[1:]])
    assert gate(lost, *same[1:]) == ("sickle recall falls by 1.00 points; at most 0.5 are allowed",)
    assert gate(lost, *same[1:], limits=Limits(recall=1.0)) == ()
    calls = row("negative", "measure", CLEAR, [0.9, *CLEAR[1:]])
    assert gate(same[0], calls, same[2]) == ("the rate of false calls rises by 0.10 points; at most 0.05 are allowed",)
    fewer = replace(same[2], int8=seen(CLEAR[:980]))
    assert gate(*same[:2], fewer) == ("red-cell F1 falls by 1.01 points; at most 0.5 are allowed",)
    other = row("unlabelled", "measure", CLEAR, [0.9] * 30 + CLEAR[30:])
    assert gate(*same[:2], other) == ("cells that change class: 1.43 points; at most 1 are allowed",)
    assert gate(*same, row("positive", "choose", SURE, CLEAR[:100])) == (), "the part for choosing is not measured"


def test_a_threshold_is_chosen_again_where_it_is_not_measured() -> None:
    contract = shipped("classifier")[1]
    choose = row("negative", "choose", [0.6, 0.7, *CLEAR], [0.45, 0.47, 0.3, *CLEAR[1:]])
    measure = row("negative", "measure", CLEAR, [0.9] * 1000)
    chosen = rechosen([choose, measure], contract, AT)
    assert 0.3 < chosen.sickle <= 0.45
    assert nearest(np.array([0.9, 0.6, 0.2], np.float32), 1, 0.7) == 0.7, "not moved without need"
    assert nearest(np.array([0.9, 0.6, 0.2], np.float32), 1, 0.5) == pytest.approx(0.6, abs=2e-6)
    assert nearest(np.array([0.9, 0.6, 0.2]), 0, 0.5) > 0.9


# ---- the command, from pictures to files


@pytest.fixture(scope="module")
def options(slides: list[Pixels], tmp_path_factory: pytest.TempPathFactory) -> Int8Options:
    folder = tmp_path_factory.mktemp("int8")
    saved(folder / "slides", slides[:20])
    gate_paths = saved(folder / "gate", slides[20:])
    lines = [
        {"picture": f"gate/{path.name}", "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "kind": "unlabelled",
         "part": "choose" if i % 2 else "measure", "um_per_px": CANONICAL_UM_PER_PX}
        for i, path in enumerate(gate_paths)
    ]  # fmt: skip
    (folder / "gate.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    saved(folder / "slides" / "again", slides[20:21])  # on the gate list: never calibrated on
    return Int8Options(
        model=SHIPPED_DIR / "classifier.onnx", pictures=(folder / "slides",), by_folder=True,
        output=folder / "out" / "classifier.int8.onnx", gate=folder / "gate.jsonl", um_per_px=CANONICAL_UM_PER_PX,
        force=True, limits=Limits(changed=20.0),
    )  # fmt: skip


def test_too_few_pictures_are_refused_unless_forced(options: Int8Options) -> None:
    with pytest.raises(InputError, match=r"\d+ cells to calibrate on; at least 2000 are needed"):
        int8_model(replace(options, force=False), lambda *_: None)
    with pytest.raises(InputError, match=r"1\d fields to calibrate on; at least 300 are needed"):
        int8_model(replace(options, model=SHIPPED_DIR / "detector.onnx", force=False), lambda *_: None)
    assert not options.output.parent.exists()


@pytest.mark.timeout(400)  # the whole path, on a machine that may be busy
def test_a_model_is_written_with_its_twin_report_and_manifest(options: Int8Options) -> None:
    written = int8_model(options, lambda *_: None)
    assert "at least 2000 are needed" in (written.warning or "")
    out = options.output.parent
    assert sorted(p.name for p in out.iterdir()) == [
        "classifier.int8.cpu.json", "classifier.int8.cpu.md", "classifier.int8.cpu.onnx", "classifier.int8.json",
        "classifier.int8.manifest.json", "classifier.int8.md", "classifier.int8.onnx",
    ]  # fmt: skip
    for form in ("", ".cpu"):
        report = json.loads((out / f"classifier.int8{form}.json").read_text())
        digest = hashlib.sha256((out / f"classifier.int8{form}.onnx").read_bytes()).hexdigest()
        assert (report["passed"], report["model_sha256"]) == (True, digest)
        hurt = [(one["changed"], one["drift"]) for one in report["layers"].values()]
        assert hurt == sorted(hurt, reverse=True), "what changes most cells comes first"
        assert set(report["methods"]) == set(METHODS)
    manifest = json.loads((out / "classifier.int8.manifest.json").read_text())
    assert manifest["left_out"] == {"on_the_evaluation_list": 1}
    used = {one["sha256"] for one in manifest["pictures"]}
    assert used
    assert not used & {json.loads(line)["sha256"] for line in options.gate.read_text().splitlines()}
    with pytest.raises(ModelError, match="is int8 already; give the fp32 file"):
        load(options.output)


@pytest.mark.timeout(400)
def test_a_network_that_lost_its_cells_is_refused_and_not_written(
    options: Int8Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(*arguments: object) -> onnx.ModelProto:
        made: onnx.ModelProto = signed(*arguments)  # type: ignore[arg-type]
        tensor = next(t for t in made.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.int8), tensor.name))
        return made

    monkeypatch.setattr(searching, "signed", blind)
    with pytest.raises(GateError, match="cells that change class") as refused:
        int8_model(replace(options, output=tmp_path / "c.int8.onnx"), lambda *_: None)
    assert refused.value.exit_code == 9
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".json", ".json", ".md", ".md"]
    assert json.loads((tmp_path / "c.int8.json").read_text())["passed"] is False


# ---- files that are no use


def damaged(tmp_path: Path, how: str) -> Path:
    path = tmp_path / "m.onnx"
    data = (SHIPPED_DIR / "classifier.onnx").read_bytes()
    model = onnx.load_from_string(data)
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
        return path
    if how == "no contract":
        del model.metadata_props[:]
    if how == "opset":
        model.opset_import[0].version = 21
        model.ir_version = 10
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("how", "said"),
    [("cut", "is no ONNX file that can be read"), ("no contract", "carries no contract"),
     ("opset", "has opset 21, IR 10; expected at most opset 17, IR 8")],
)  # fmt: skip
def test_a_model_that_cannot_be_used_is_refused_by_the_command(
    options: Int8Options, tmp_path: Path, how: str, said: str
) -> None:
    arguments = ["int8", str(damaged(tmp_path, how)), "-o", str(tmp_path / "x.onnx"), "--gate", str(options.gate)]
    done = CliRunner().invoke(app, [*arguments, "--images", str(options.pictures[0])])
    assert done.exit_code == 5
    assert said in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_folder_of_other_things_and_a_broken_gate_list_are_refused(options: Int8Options, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    with pytest.raises(InputError, match="has no image or video"):
        int8_model(replace(options, pictures=(tmp_path / "pictures",)), lambda *_: None)
    broken = tmp_path / "gate.jsonl"
    broken.write_text('{"picture": "a.png"}\n')
    with pytest.raises(InputError, match=r"line 1: sha256: Field required"):
        int8_model(replace(options, gate=broken), lambda *_: None)
    broken.write_text(options.gate.read_text().replace('"choose"', '"measure"'))
    with pytest.raises(InputError, match="no picture of part choose"):
        int8_model(replace(options, gate=broken), lambda *_: None)
