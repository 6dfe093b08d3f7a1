"""What the classifier never saw is refused, where the model can tell: a field, a cell, and in the end a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import strange
from benchmarks.realdata import data_folder
from edge.batch.scan import scan
from edge.camera.frames import stamped
from edge.camera.image_files import IMAGE_SUFFIXES
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.config.model import Config, ModelConfig, ModelsConfig, OpticsConfig, QualityConfig
from edge.diagnosis.doctor import examine
from edge.errors import ModelError
from edge.pipeline import Pipeline
from edge.runtime.contract import Contract
from edge.runtime.registry import open_network
from edge.screening.accumulator import Accumulator
from edge.screening.verdict import FLAGS, VerdictRules
from edge.types import ABSTAINED, CANONICAL_UM_PER_PX, CLASSES, FieldReading, Pixels, Reason
from edge.vision import quality
from export.graph import seal

LIMITS = {"novelty_cell": 30.0, "novelty_field": 15.0}
"""In grey levels of blue over red, and 10 more, which is all that the network below looks at."""


def tiny(path: Path, limits: dict[str, float], answers: tuple[str, ...] = ("prob", "novelty")) -> ModelConfig:
    """Write a classifier that calls everything normal, and finds a cell the newer the bluer it is."""
    constants = {
        "none": np.zeros((3, 6), np.float32),
        "normal": np.array([9, 0, 0, 0, 0, 0], np.float32),
        "blue": np.array([[-1], [0], [1]], np.float32),
        "more": np.array([10], np.float32),
        "last": np.array([1]),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["colour", "none", "normal"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["prob"], axis=1),
        helper.make_node("Gemm", ["colour", "blue", "more"], ["column"]),
        helper.make_node("Squeeze", ["column", "last"], ["novelty"]),
    ]
    shapes = {"prob": ["n", 6], "novelty": ["n"]}
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 64, 64, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in answers],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    contract = Contract(
        role="classifier", name="tiny", version="1", classes=CLASSES, um_per_px=0.25, size=64, limit_of_blank=0.01,
        thresholds={"sickle": 0.5, "abstain": 0.3, "second_look": 0.4, **limits}, graph_sha256="",
    )  # fmt: skip
    seal(model, contract, {})
    onnx.save(model, str(path))
    return ModelConfig(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def configured(model: ModelConfig, gate: bool = True) -> Config:
    return Config(
        models=ModelsConfig(runtime="onnxruntime", threads=1, classifier=model),
        optics=OpticsConfig(um_per_px=0.25),
        quality=QualityConfig(gate=gate),
    )


def test_a_texture_in_which_no_cell_is_plain_is_refused() -> None:
    """Kind: on grained paper, as in grass, the detector found 520 faint cells a picture, and a result was reported."""
    with Pipeline(Config(models=ModelsConfig(threads=1))) as pipeline:
        reading = pipeline.read(stamped(strange.paper(np.random.default_rng((18, 1, 5))), 0, ""))
    assert reading.rejected is not None
    assert reading.rejected.reason == Reason.UNFAMILIAR
    assert reading.rejected.limit == quality.CERTAIN_MIN


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return tiny(tmp_path_factory.mktemp("model") / "tiny.onnx", LIMITS)


@pytest.fixture(scope="module")
def pipeline(model: ModelConfig) -> Iterator[Pipeline]:
    with Pipeline(configured(model)) as opened:
        yield opened


FIELD = Slide(SlideSpec(seed=5)).render(0)


def bluer(by: int, width: int | None = None) -> Pixels:
    """Return the field as if stained otherwise: less red, in all of it or on the left."""
    changed = FIELD.astype(int)
    changed[:, :width, 0] -= by
    return changed.clip(0, 255).astype(np.uint8)


def read(pipeline: Pipeline, pixels: Pixels, index: int = 0) -> FieldReading:
    return pipeline.read(stamped(pixels, index, f"#{index}", None))


def test_a_field_whose_cells_are_unlike_the_trainings_is_refused_with_value_and_limit(pipeline: Pipeline) -> None:
    pipeline.new_sample()
    assert read(pipeline, FIELD).rejected is None
    rejected = read(pipeline, bluer(40)).rejected
    assert rejected is not None
    assert (rejected.reason, rejected.limit) == (Reason.UNFAMILIAR, 15.0)
    assert 35 < rejected.value < 45
    assert read(pipeline, bluer(8)).rejected is None


def test_without_the_gate_it_is_read_and_its_strangest_cells_are_not_named(model: ModelConfig) -> None:
    with Pipeline(configured(model, gate=False)) as pipeline:
        usual, strange = read(pipeline, FIELD), read(pipeline, bluer(60))
    assert (usual.label != ABSTAINED).all()
    assert len(strange.label) > 30
    assert (strange.label == ABSTAINED).all()
    assert not strange.prob.any()


def test_in_a_familiar_field_a_strange_cell_is_not_named(pipeline: Pipeline) -> None:
    pipeline.new_sample()
    reading = read(pipeline, bluer(60, width=200))
    assert reading.rejected is None
    middle = (reading.boxes[:, 0] + reading.boxes[:, 2]) / 2
    assert (reading.label[middle < 160] == ABSTAINED).all()
    assert (reading.label[middle > 240] != ABSTAINED).all()


def test_a_refused_field_leaves_no_trace_in_a_sample(pipeline: Pipeline) -> None:
    """Its cells are not taken for known ones when the same place is seen again, as it should be."""
    pipeline.new_sample(each_cell_once=True)
    sample = Accumulator(VerdictRules(500, 1000, None))
    for index, pixels in enumerate((bluer(40), FIELD, bluer(40), FIELD)):
        sample.add(read(pipeline, pixels, index))
    pipeline.new_sample()
    alone = read(pipeline, FIELD)
    assert sample.counts().cells_seen == len(alone.label) + alone.border
    assert sample.counts().rejected["unfamiliar"] == 2
    assert "unfamiliar" not in sample.verdict().flags


def test_a_sample_of_which_most_fields_are_refused_is_withheld_and_says_why(pipeline: Pipeline) -> None:
    pipeline.new_sample()
    sample = Accumulator(VerdictRules(500, 1000, 0.01))
    for pixels in (FIELD, bluer(40), bluer(45)):
        sample.add(read(pipeline, pixels))
    verdict = sample.verdict()
    assert verdict.status == "withheld"
    assert {"unfamiliar", "insufficient"} <= set(verdict.flags)
    assert FLAGS["unfamiliar"] in verdict.text
    assert "Sickle-like cells" not in verdict.text
    assert (verdict.fraction, verdict.low, verdict.fraction_if_all, verdict.above_blank) == (None,) * 4
    assert verdict.red_cells == sample.counts().red_cells > 0


def test_a_scan_records_what_was_refused(model: ModelConfig, tmp_path: Path) -> None:
    for name, pixels in (("usual", FIELD), ("strange", bluer(40)), ("stranger", bluer(50))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels[..., ::-1])
    summary = scan([tmp_path], tmp_path / "out", configured(model), keep_duplicates=True)  # one field in three colours
    assert (summary.rejected["unfamiliar"], summary.verdict.status) == (2, "withheld")
    assert "its cells are unlike those that the model was trained on" in (tmp_path / "out/report.html").read_text()


def test_few_cells_are_judged_one_by_one(pipeline: Pipeline) -> None:
    reading = read(pipeline, bluer(40)[100:196, 100:196])
    assert reading.rejected is None
    assert 0 < len(reading.label) < 8


@pytest.mark.parametrize(
    ("limits", "answers", "complaint"),
    [
        (LIMITS, ("prob",), "answers novelty as well"),
        ({"novelty_cell": 30.0}, ("prob", "novelty"), "sets no threshold novelty_field"),
    ],
)
def test_limits_and_answers_belong_together(
    limits: dict[str, float], answers: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=complaint):
        open_network("classifier", ModelsConfig(classifier=tiny(tmp_path / "tiny.onnx", limits, answers)))


def test_doctor_says_which_model_cannot_tell(model: ModelConfig, tmp_path: Path) -> None:
    blind = tiny(tmp_path / "blind.onnx", {}, ("prob",))
    texts = [
        next(finding.text for finding in examine(configured(given)) if finding.what == "model classifier")
        for given in (model, blind)
    ]
    assert ["cannot refuse" in text for text in texts] == [False, True]


# The shipped networks. How far they reach, and what they read all the same: docs/decisions/0038.


@pytest.fixture(scope="module")
def shipped() -> Iterator[Pipeline]:
    with Pipeline(Config()) as opened:
        yield opened


def refused(pipeline: Pipeline, pictures: list[tuple[Pixels, float]]) -> float:
    """Return the part of pictures, each with its scale, of which no cell is named, whatever the reason."""
    reasons, _ = strange.refusals(pipeline, pictures)
    return 1 - reasons["read"] / len(pictures)


@pytest.mark.parametrize("name", sorted(strange.DRAWN))
def test_what_is_no_smear_is_refused(shipped: Pipeline, name: str) -> None:
    pictures = [(strange.DRAWN[name](np.random.default_rng(seed)), CANONICAL_UM_PER_PX) for seed in range(6)]
    # Flat discs, squares and rings of a red cell's size and in its colours are told by their colours alone. Of walls of
    # bricks as large as red cells one in six is read, each brick as a normal cell (docs/measurements/novelty.md).
    least = {"discs": 0.5, "squares": 0.5, "rings": 0.5, "bricks": 0.8}
    assert refused(shipped, pictures) >= least.get(name, 1.0)


def test_a_rendered_smear_is_read(shipped: Pipeline) -> None:
    slides = [(Slide(SlideSpec(seed=seed)).render(0), CANONICAL_UM_PER_PX) for seed in range(6)]
    assert refused(shipped, slides) == 0


@pytest.mark.timeout(300)
def test_real_smears_are_read_and_not_when_inverted_or_drowned_in_noise(
    shipped: Pipeline, real_fields: Callable[[str, int], list[Path]]
) -> None:
    real_fields("uganda_scd", 1)  # skips where there are none
    smears = strange.smears(shipped, 6)
    rng = np.random.default_rng(0)
    part = {
        name: refused(shipped, [(strange.CHANGED[name](pixels, rng), um_per_px) for pixels, um_per_px in smears])
        for name in ("as taken", "grey", "inverted", "noise of 10 grey levels")
    }
    assert part["as taken"] <= 0.1
    assert part["grey"] <= 0.1, "another camera is no reason"
    assert part["inverted"] >= 0.4
    assert part["noise of 10 grey levels"] >= 0.2  # what is read makes no more false calls by it


@pytest.mark.parametrize(
    ("folder", "cells", "unfamiliar"),
    [
        ("sickle_rbc_xu2017", True, True),
        ("sickle_rbc_xu2017", False, True),
        ("erythrocytes_idb1/color", True, False),
        ("wbc_four_types/Original_Images", False, False),
    ],
)
def test_a_folder_of_another_specimen_is_told_as_a_whole(
    tmp_path: Path, folder: str, cells: bool, unfamiliar: bool
) -> None:
    """Grey, unstained crops (0.6.0: abstained or of unknown scale, one by one); stained ones and fields are read."""
    pictures = sorted(path for path in (data_folder() / folder).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not pictures:
        pytest.skip(f"no pictures in {folder}: set SICKLESCOPE_DATA to the folder of the data sets")
    some = pictures[:: max(1, len(pictures) // (40 if cells else 16))]
    summary = scan(some, tmp_path / "out", Config(models=ModelsConfig(threads=1)), cells=cells)
    assert ("unfamiliar" in summary.verdict.flags) == unfamiliar
    assert (summary.verdict.status == "withheld") == unfamiliar
