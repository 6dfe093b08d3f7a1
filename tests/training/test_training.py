"""Training: that the networks learn what they are shown, that a run is whole or absent, and what bad data gets."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.training.training_parts import lay_out, one_thread, rendered  # noqa: F401  one_thread is a fixture
from training.data.fields import centres, holds

torch = pytest.importorskip("torch", reason="torch not installed (make test-training)")

from edge.errors import StorageError  # noqa: E402
from edge.system.progress_bars import quiet  # noqa: E402
from edge.types import CLASSES, RED_CELLS  # noqa: E402
from edge.vision.detect import decoded  # noqa: E402
from training.cli import app  # noqa: E402
from training.data import crops  # noqa: E402
from training.data.augment import mirrored_near, stain, turned  # noqa: E402
from training.data.datasets import (  # noqa: E402
    UNBOXED,
    DataError,
    LabelledField,
    read_chula,
    read_txl,
    read_uganda,
    uganda_fields,
)
from training.data.fields import TrainingField, scaled_by_labels, taught_by_detector  # noqa: E402
from training.data.transplant import transplanted  # noqa: E402
from training.evaluate import shortcut_tests  # noqa: E402
from training.evaluate.interventions import foreground  # noqa: E402
from training.evaluate.novelty_limits import Limits  # noqa: E402
from training.evaluate.predict import FieldReader, Picture, as_taken, read_fields  # noqa: E402
from training.evaluate.predictions import PredictedCells, Prediction  # noqa: E402
from training.fit import classifier, detector, recipe  # noqa: E402
from training.fit.networks import STRIDE, Classifier, ClassifierGraph, Detector, normalised  # noqa: E402
from training.fit.novelty_statistics import fit_novelty  # noqa: E402
from training.fit.torch_network import TorchNetwork  # noqa: E402
from training.run_folder import TRAINED_ON, RunDir, save_weights  # noqa: E402

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

REAL = Path(os.environ.get("SICKLESCOPE_DATA", "../shared/data"))
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason="no real images: set SICKLESCOPE_DATA")
TINY = ["--steps-fold", "4", "--steps", "4", "--steps-rounded", "4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("data"))


@pytest.fixture
def copied(data: Path, tmp_path: Path) -> Path:
    """Return a data folder of the test's own, to damage."""
    return Path(shutil.copytree(data, tmp_path / "data"))


def run(root: Path, *arguments: object) -> Result:
    """Run a command on small sets, whose pictures are not those of the answers by eye."""
    with pytest.MonkeyPatch.context() as patch:
        for name, columns in (("datasets.UNBOXED", "picture,x,y,sickle"), ("answers.FILE", "set,picture,x,y,answer")):
            empty = root.parent / f"{name}.csv"
            empty.write_text(columns + "\n")
            patch.setattr(f"training.data.{name}", empty)
        return CliRunner().invoke(app, [str(a) for a in arguments], env={"SICKLESCOPE_DATA": str(root)})


def shown(result: Result) -> str:
    """Everything printed, as one line: messages are wrapped."""
    return " ".join(result.output.split())


# --- the whole way --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Return a run of a few steps, measured."""
    out = tmp_path_factory.mktemp("run")
    patch = pytest.MonkeyPatch()
    patch.setattr(recipe, "SLIDES", 1)
    for arguments in (["detector", "--out", out, "--steps-base", "4", *TINY],
                      ["classifier", "--out", out, "--steps-last", "4", *TINY],
                      ["evaluate", out, "--no-transfer", "--look", out / "looks.md"]):  # fmt: skip
        result = run(data, *arguments)
        assert result.exit_code == 0, result.output
    patch.undo()
    return RunDir(out)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_run_makes_every_network_and_what_export_reads(finished: RunDir) -> None:
    for path in (finished.base, finished.taught, *finished.shipped(), *finished.for_fold(0), *finished.for_fold(3)):
        assert path.stat().st_size > 0
    for role in ("detector", "classifier"):
        contract = json.loads((finished.release / f"{role}.json").read_text())
        samples = np.load(finished.release / f"{role}.npy")
        answer = torch.jit.load(str(finished.release / f"{role}.pt"))(torch.from_numpy(samples))
        assert contract["role"] == role
        assert len(answer[0] if isinstance(answer, tuple) else answer) == len(samples)
    assert (
        contract["thresholds"]["sickle"]
        == json.loads((finished.path / "evaluation.json").read_text())["thresholds"]["shipped"]
    )


def test_what_is_measured_is_written_with_its_interval_and_command(finished: RunDir) -> None:
    content = json.loads((finished.path / "evaluation.json").read_text())
    figures = content["figures"]
    boxes = len((Path(finished.path) / "readings" / "fold0.jsonl").read_text().splitlines()) - 1
    assert boxes == 6  # a positive, a negative and one of each other set
    assert figures["sickle"]["recall"]["counted"].startswith("0 of ")
    assert set(content["thresholds"]) == {"0", "1", "2", "3", "shipped"}
    assert figures["look"]["recall_elongated"]["counted"].endswith("of 1")
    page = finished.path / "accuracy.md"
    assert run(finished.path, "report", finished.path, "--page", page).exit_code == 0
    assert (
        f"| recall | 0.000 | 0.000 to 0.000 | ≥ 0.92 | {figures['sickle']['recall']['counted']} |" in page.read_text()
    )
    assert "sicklescope-train evaluate" in page.read_text()
    assert "ece_above_0.05" in figures["calibration"]
    sets = ("krd_wbc", "chula_diseases", "chula_unlabelled")
    assert set(figures["sickle_free"]) == {f"{what}_{name}" for what in ("false_calls", "abstained") for name in sets}
    assert "Sets without sickle cells and labels" in page.read_text()
    assert "abstention" in figures
    # One group a fold and label makes no sample of ten; the contract's limit of blank is that of single groups.
    assert list(figures["in_silico"]) == ["limit_of_blank_of_single_groups"]
    assert (
        json.loads((finished.release / "classifier.json").read_text())["limit_of_blank"]
        == content["limit_of_blank"]
        == figures["in_silico"]["limit_of_blank_of_single_groups"]["value"]
    )
    looks = (finished.path / "looks.md").read_text()
    assert looks.count("\n| 20") == 1
    assert looks.count("; recall elongated in grey") == 1


def test_a_look_with_a_threshold_that_is_not_the_frozen_one_is_refused(data: Path, tmp_path: Path) -> None:
    result = run(data, "evaluate", tmp_path, "--fields", "2", "--look", tmp_path / "looks.md")
    assert result.exit_code == 2
    assert not (tmp_path / "looks.md").exists()


def test_a_fold_is_judged_by_networks_that_have_not_seen_it(finished: RunDir) -> None:
    for fold in range(4):
        name = f"without{fold}"
        assert [p.name for p in finished.for_fold(fold)] == [f"detector-{name}.pt", f"classifier-{name}.pt"]
        assert set(TRAINED_ON[name]) == {0, 1, 2, 3} - {fold}


def test_the_same_command_again_makes_nothing_again(finished: RunDir, data: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.path.glob("*.pt")}
    read = {p: p.stat().st_mtime_ns for p in finished.readings.iterdir()}
    assert run(data, "detector", "--out", finished.path).exit_code == 0
    assert run(data, "classifier", "--out", finished.path).exit_code == 0
    assert run(data, "evaluate", finished.path, "--no-transfer").exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert {p: p.stat().st_mtime_ns for p in read} == read


def test_readings_of_other_weights_are_not_taken_for_these(data: Path, tmp_path: Path) -> None:
    fields, out, heads = read_txl(data, "val")[:1], RunDir(tmp_path), set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_weights(Detector(), out.detector("all"))
        save_weights(Classifier(), out.classifier("all"))
        read_fields(out.shipped(), fields, out.readings / "one.jsonl")
        heads.add((out.readings / "one.jsonl").read_text().splitlines()[0])
    assert len(heads) == 2


# --- changed pictures, read by eyes that see a sickle cell wherever something dark lies in a box ---------------------


def eyes(
    weights: object, fields: list[LabelledField], cache: Path, progress: object, picture: Picture = as_taken
) -> list[Prediction]:
    seen = []
    for field in fields:
        pixels = picture(field)
        dark = foreground(pixels)
        there = [b for b in field.boxes if dark[int(b[1]) : int(b[3]), int(b[0]) : int(b[2])].mean() > 0.15]
        there += [np.array([x - 12, y - 12, x + 12, y + 12]) for x, y, _ in field.points]
        n = len(there)
        prob = np.full((n, len(CLASSES)), 0.02, np.float32)
        prob[:, CLASSES.index("normal" if len(field.points) else "sickle")] = 0.9
        boxes, key = np.array(there, np.float32).reshape(-1, 4), f"{field.path.parent.name}/{field.path.name}"
        size = pixels.shape[0], pixels.shape[1]
        reading = PredictedCells(key, size, 0.25, None, None, boxes, np.ones(n, np.float32), prob, np.zeros(n, bool),
                          np.zeros(n, np.int8), np.ones(n, np.float32))  # fmt: skip
        seen.append(Prediction(field, reading))
    return seen


def test_changed_pictures_hold_what_they_say(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcut_tests, "read_fields", eyes)
    thresholds = dict.fromkeys(range(4), 0.5)
    changed = shortcut_tests.Changed(RunDir(tmp_path), dict.fromkeys(range(4), Limits(2.0, 2.0)))
    uganda, chula = (eyes(None, fields, tmp_path, quiet) for fields in (read_uganda(data), read_chula(data)))

    scores = shortcut_tests.field_scores(changed, uganda, thresholds, dict.fromkeys(range(4), (1.0, 0.0)))
    assert scores["auc_colour"].value == 1.0
    assert scores["auc_grey_matched"].value == 1.0
    assert scores["auc_sickle_cells_painted_over"].value < 0.8

    pasted = shortcut_tests.pasted_cells(changed, uganda, thresholds)
    assert pasted["pasted_found"].value > 0.9
    assert pasted["pasted_found_in_their_own_field"].value == 1.0
    assert int(pasted["pasted_found"].counted.split()[-1]) >= 4

    looks = shortcut_tests.exchanged_looks(changed, uganda, chula, thresholds)
    assert looks["recall_as_taken"].value == 1.0
    assert looks["recall_lost"].value < 0.1
    assert looks["normal_calls_with_uganda_look"].value == 0.0


# --- what is learnt -------------------------------------------------------------------------------------------------


def test_targets_say_where_the_boxes_are() -> None:
    boxes = np.array([[20, 30, 52, 60], [100, 100, 130, 132], [200, 10, 230, 40]], np.float32)
    kinds = np.array([0, 1, 2])
    heat, _, sides, _ = detector.targets(boxes, kinds, np.zeros((0, 4), np.float32))
    peaks = np.where(heat == 1.0, heat, 0)
    found, _, kind = decoded(peaks, sides, (detector.CROP, detector.CROP), 0.5)
    order = np.argsort(kind)
    assert kind[order].tolist() == [0, 1, 2]
    np.testing.assert_allclose(found[order], boxes, atol=0.01)


def test_a_doubtful_box_carries_no_loss_unless_a_cell_lies_there() -> None:
    ignore = np.array([[100, 100, 130, 130]], np.float32)
    _, certain, _, _ = detector.targets(np.zeros((0, 4), np.float32), np.zeros(0, int), ignore)
    assert certain[115 // STRIDE, 115 // STRIDE] == 0
    assert certain[10, 10] == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_cut_crop_and_its_boxes_stay_together(seed: int) -> None:
    pixels = np.full((400, 400, 3), 60, np.uint8)
    boxes = np.array([[150, 180, 190, 200], [230, 260, 250, 300]], np.float32)
    for x0, y0, x1, y1 in boxes.astype(int):
        pixels[y0:y1, x0:x1] = 250
    field = TrainingField(_field("a.png"), pixels, boxes, np.array([0, 0]), np.zeros((0, 4), np.float32), 1.0)
    crop, found, kinds, _ = detector.cut(field, np.random.default_rng(seed), 256)
    assert len(found) == len(kinds)
    for x0, y0, x1, y1 in np.rint(found).astype(int):
        assert crop[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].min() > 180
    # 60 is the slide; 0, 128 and 230 lie beyond it. A box of which hardly anything is seen may be left out.
    bright = (crop[..., 0] > 240).sum()
    assert bright == pytest.approx(sum((b[2] - b[0]) * (b[3] - b[1]) for b in found), rel=0.15, abs=400)


def test_the_detector_learns_and_the_same_seed_learns_the_same(data: Path) -> None:
    fields = [scaled_by_labels(f) for f in read_txl(data, "train")]
    losses: list[float] = []
    net = detector.train([fields], [4], 16, 0, progress=lambda step, loss: losses.append(loss))
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    again: list[float] = []
    detector.train([fields], [4], 4, 0, progress=lambda step, loss: again.append(loss))
    assert again[0] == pytest.approx(losses[0], rel=1e-4)
    assert not net.training


def test_the_classifier_learns_from_labels_that_leave_classes_open(data: Path) -> None:
    taught = [_complete(f) for f in [*read_uganda(data), *read_chula(data)]]
    cells = crops.of_fields([*(scaled_by_labels(f) for f in read_txl(data, "train")), *taught], seed=0)
    elsewhere = ("rendered", "artefact")
    assert set(np.unique(cells.stream)) == {i for i, name in enumerate(crops.STREAMS) if name not in elsewhere}
    losses: list[float] = []
    net = classifier.train(cells, 24, 0, progress=lambda step, loss: losses.append(loss))
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    prob = classifier.probabilities(net, cells.patches[:5, 16:80, 16:80])
    assert prob.shape == (5, len(CLASSES))
    assert prob.sum(1) == pytest.approx(np.ones(5), abs=1e-4)


def test_a_free_cell_moves_to_another_glass_and_leaves_its_neighbours_behind() -> None:
    patch = np.full((96, 96, 3), 220, np.uint8)
    cv2.circle(patch, (48, 48), 14, (180, 90, 120), -1)
    cv2.circle(patch, (10, 10), 14, (180, 90, 120), -1)
    moved = transplanted(patch, np.full((96, 96, 3), 110, np.uint8), 1.0)
    assert moved[48, 48] == pytest.approx([90, 45, 60], abs=3)
    assert (moved[:30, :30] == 110).all()
    cv2.line(patch, (10, 10), (48, 48), (180, 90, 120), 12)  # now the two touch: what is whose cannot be told
    assert (transplanted(patch, np.zeros_like(patch), 1.0) == patch).all()


def test_what_was_never_seen_is_novel_and_what_was_is_not(data: Path) -> None:
    found = crops.of_fields([scaled_by_labels(f) for f in read_txl(data, "train")], seed=0)
    cells = crops.middles(found.patches)
    torch.manual_seed(0)
    net = Classifier()
    fit_novelty(net, cells[::2], found.field[::2], found.field[::2] % 2)
    graph = ClassifierGraph(net, 1.0).eval()
    with torch.inference_mode():
        usual = graph(torch.from_numpy(cells[1::2]))[1].numpy()
        noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3)).astype(np.uint8))
        strange = graph(noise)[1].numpy()
    assert strange.min() > np.percentile(usual, 95)


def test_usual_cells_are_some_of_each_field_and_neither_drawn_nor_of_the_ground(data: Path) -> None:
    fields = [scaled_by_labels(f) for f in read_txl(data, "train")]
    cells = crops.joined([crops.of_fields(fields, seed=0), crops.of_slides(1, fields=1)])
    rows = recipe.usual_cells(cells, seed=0)
    names = np.array(crops.STREAMS)[cells.stream[rows]]
    assert set(names) == {"txl"}
    field, count = np.unique(cells.field[rows], return_counts=True)
    assert len(field) == len(fields)
    assert count.max() <= recipe.USUAL
    assert len(set(rows.tolist())) == len(rows)


def test_a_measure_counts_by_how_far_fields_lie_apart_not_cells() -> None:
    """Two slides, each of one colour: within a slide all is alike, and still the other slide is no stranger."""
    rng = np.random.default_rng(0)
    colour = np.repeat(rng.integers(90, 170, (40, 1, 1, 3)), 8, axis=0)
    pictures = np.clip(colour + rng.normal(0, 2, (320, 64, 64, 3)), 0, 255).astype(np.uint8)
    field = np.repeat(np.arange(40), 8)
    torch.manual_seed(0)
    net = Classifier()
    fit_novelty(net, pictures, field, field % 4)
    with torch.inference_mode():
        measured = net.measured(normalised(torch.from_numpy(pictures)))
        apart = {name: usual(measured[name]).numpy() for name, usual in net.usual.items()}
    medians = np.array([np.median(apart["colours"][field == f]) for f in range(40)])
    assert 0.6 < np.quantile(medians, 0.98) <= 1, "most slides are usual, the farthest by little"


def test_a_fold_left_out_is_left_out(data: Path) -> None:
    cells = crops.of_fields([_complete(f) for f in read_uganda(data)], seed=0)
    assert set(cells.fold.tolist()) == {0, 1, 2, 3}
    assert set(cells.within((0, 1)).fold.tolist()) == {0, 1}


def test_only_boxed_cells_teach_sickle_and_no_cell_of_a_negative_field_does(data: Path) -> None:
    cells = crops.of_fields([_complete(f) for f in read_uganda(data)], seed=0)
    sickle = CLASSES.index("sickle")
    names = np.array(crops.STREAMS)[cells.stream]
    assert cells.may[names == "sickle"].sum(1).max() == 1
    assert cells.may[names == "sickle", sickle].all()
    assert not cells.may[names == "negative", sickle].any()
    red = cells.may[:, CLASSES.index("normal")] > 0
    assert set(cells.may[(names == "unboxed") & red, sickle].tolist()) == {np.float32(crops.UNBOXED_SICKLE)}
    other = cells.may[(names == "negative") & red, CLASSES.index("other")]
    assert set(other.tolist()) == {np.float32(crops.HEALTHY_OTHER)}


def test_drawn_cells_teach_what_they_were_drawn_as_and_most_in_the_last_steps() -> None:
    cells = crops.of_slides(1, fields=1)
    counted = {name: int(cells.may[:, CLASSES.index(name)].sum()) for name in RED_CELLS}
    assert cells.may.sum() == len(cells.may) == sum(counted.values())
    assert 0.2 < counted["sickle"] / len(cells.may) < 0.6
    assert set(cells.fold.tolist()) == {-1}
    assert 0 < crops.SHARES["rendered"] < crops.SHARES_LAST["rendered"]
    assert sum(crops.SHARES.values()) == sum(crops.SHARES_LAST.values())
    first = classifier.train(cells, 4, 0, shares=crops.SHARES_LAST, exchange=classifier.EXCHANGE_LAST)
    went_on = classifier.train(cells, 4, 1, 1e-9, first, crops.SHARES_LAST)
    anew = classifier.train(cells, 4, 1, 1e-9, None, crops.SHARES_LAST)
    assert torch.allclose(went_on.head.weight, first.head.weight, atol=1e-5)
    assert not torch.allclose(anew.head.weight, first.head.weight, atol=1e-2)


def test_what_was_barely_taken_for_a_cell_is_no_sickle_cell_where_there_is_none(data: Path) -> None:
    doubtful = np.array([[100, 100, 130, 130]], np.float32)
    fields = [replace(_complete(f), boxes=doubtful[:0], kinds=np.zeros(0, int), ignore=doubtful)
              for f in [*read_uganda(data), *read_chula(data)]]  # fmt: skip
    sickle, red = CLASSES.index("sickle"), [CLASSES.index(name) for name in RED_CELLS]
    for field in fields:
        cells = crops.of_fields([field], seed=0)
        taught = cells.may[cells.stream != crops.STREAMS.index("background")]
        assert (taught[:, sickle] <= crops.UNBOXED_SICKLE).all()
        assert (taught.max(1) == 1).all()
        if field.source.label == "negative":
            assert len(taught) == 1
            assert not taught[:, sickle].any()
        elif field.source.dataset == "chula_rbc12":
            labelled = holds(doubtful, field.source.points[:, :2] / field.zoom).any()
            assert len(taught) == (0 if labelled else 1)
            assert not taught[:, red].any()
        else:
            boxed = holds(field.source.boxes / field.zoom, centres(doubtful)).any()
            assert len(taught) == (0 if boxed else 1)


def test_a_cell_in_no_box_teaches_what_was_seen_of_it_by_eye(data: Path) -> None:
    sickle = CLASSES.index("sickle")
    positive = next(f for f in read_uganda(data) if len(f.boxes))
    near, far = [100, 100, 120, 120], [104, 104, 140, 140]  # the point lies in both, and in the middle of the first
    boxes = np.array([near, far, [200, 100, 220, 120], [300, 100, 320, 120]], np.float32)
    doubtful = np.array([[100, 200, 120, 220], [200, 200, 220, 220], [300, 200, 320, 220]], np.float32)
    zoom = 0.5  # pixels of the file for one of those that the boxes are in
    looked_at = np.array([[110, 110, 0], [210, 110, 1], [310, 110, 0], [110, 210, 0], [210, 210, 1]], np.float32)
    whole = np.array([[295, 95, 325, 125]], np.float32)  # has a box after all
    source = replace(positive, boxes=whole * zoom, kinds=np.zeros(1, int), partial=np.zeros(1, bool),
                     unboxed=looked_at * np.array([zoom, zoom, 1], np.float32))  # fmt: skip
    field = replace(_complete(positive), source=source, zoom=zoom, boxes=boxes, kinds=np.zeros(4, int),
                    ignore=doubtful, pixels=np.full((240, 340, 3), 200, np.uint8))  # fmt: skip
    cells = crops.of_fields([field], seed=0)
    may = {name: cells.may[cells.stream == i, sickle].tolist() for i, name in enumerate(crops.STREAMS)}
    assert may["sickle"] == [1]
    assert may["negative"] == [0, 0]
    assert may["unboxed"] == [np.float32(crops.UNBOXED_SICKLE), 1, np.float32(crops.UNBOXED_SICKLE)]
    assert (cells.weight[cells.stream == crops.STREAMS.index("negative")] == crops.DOUBTFUL_OFTEN).all()


def test_what_was_seen_by_eye_lies_in_positive_fields_and_in_no_box(
    real_fields: Callable[[str, int], list[Path]],
) -> None:
    """A cell with a box would teach against its label, and one of a picture that is not there would teach nothing."""
    fields = uganda_fields(real_fields("uganda_scd", 1)[0].parents[1])
    answers = np.concatenate([f.unboxed[:, 2] for f in fields])
    assert ((answers == 0).sum(), (answers == 1).sum()) == (831, 873)
    first = UNBOXED.read_text().splitlines()[1:841]
    assert sum(line.endswith(",no") for line in first) == 391, "the first 840 taught the networks of 0.5.0 and 0.6.0"
    for f in fields:
        assert f.label == "positive" or not len(f.unboxed)
        assert not holds(f.boxes, f.unboxed[:, :2]).any()


@pytest.mark.parametrize("line", ["0123456789abcdef,1,2,yes", "0123456789abcdef,1,,no", "0123456789abcdef,1,nan,no"])
def test_an_answer_that_is_none_is_named(
    line: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seen.csv").write_text(f"picture,x,y,sickle\n0123456789abcdef,3,4,no\n{line}\n")
    monkeypatch.setattr("training.data.datasets.UNBOXED", tmp_path / "seen.csv")
    with pytest.raises(
        DataError, match=rf"seen\.csv holds '{line}': expected a picture, two numbers, and no or perhaps"
    ):
        read_uganda(data)


def test_a_cell_in_a_box_that_is_cut_may_be_anything(data: Path) -> None:
    sickle = CLASSES.index("sickle")
    positive = next(f for f in read_uganda(data) if len(f.boxes))
    whole = _complete(replace(positive, partial=np.zeros(len(positive.boxes), bool)))
    cut = replace(whole, source=replace(positive, partial=np.ones(len(positive.boxes), bool)))
    names = [crops.STREAMS[i] for i in crops.of_fields([whole], seed=0).stream]
    assert names.count("sickle") > 0
    cells = crops.of_fields([cut], seed=0)
    assert "sickle" not in [crops.STREAMS[i] for i in cells.stream]
    assert (cells.may[:, sickle] == 1).sum() == names.count("sickle")


def test_a_cell_shown_alone_is_mirrored_round_itself_and_the_others_stay() -> None:
    x = torch.arange(4 * 3 * 64 * 64, dtype=torch.float32).reshape(4, 3, 64, 64)
    assert torch.equal(mirrored_near(x, torch.Generator().manual_seed(0), share=0.0), x)
    shown = mirrored_near(x, torch.Generator().manual_seed(0), share=1.0, least_px=10, most_px=10)
    assert torch.equal(shown[:, :, 10:-10, 10:-10], x[:, :, 10:-10, 10:-10])
    assert torch.equal(shown[:, :, 10:-10, :10], x[:, :, 10:-10, 11:21].flip(3))


def test_some_cells_are_taught_as_if_they_were_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = crops.of_fields([_complete(f) for f in read_uganda(data)], seed=0)
    rows = np.arange(64) % len(cells.patches)
    planes = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(classifier, "MIRRORED", share)
        planes[share] = classifier.batch_of(cells, rows, seed=0).x
    assert not torch.equal(planes[0.0], planes[1.0])


def test_ovals_are_drawn_from_cells_that_are_not_sickle_and_teach_other(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "OVAL_SHARE", 1.0)
    cells = crops.of_fields([_complete(f) for f in read_uganda(data)], seed=0)
    rows = np.arange(len(cells.patches))
    may = classifier.batch_of(cells, rows, seed=0).may
    names = np.array(crops.STREAMS)[cells.stream]
    other = CLASSES.index("other")
    red = cells.may[:, CLASSES.index("normal")] > 0
    drawn = may.numpy()[(names == "negative") & red]
    assert drawn[:, other].all()
    assert drawn.sum() == len(drawn)
    kept = names != "negative"
    assert (may.numpy()[kept] == cells.may[kept]).all()


def test_a_squeezed_disc_is_that_many_times_longer_than_wide() -> None:
    disc = np.zeros((96, 96), np.float32)
    cv2.circle(disc, (48, 48), 14, 1.0, -1)
    x = torch.from_numpy(disc)[None, None].expand(1, 3, 96, 96)
    oval = turned(x, 64, torch.Generator().manual_seed(0), torch.tensor([2.0]), scale=0.0, shift_px=0.0)
    contours, _ = cv2.findContours(
        (oval[0, 0].numpy() > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    _, sides, _ = cv2.fitEllipse(contours[0])
    assert max(sides) / min(sides) == pytest.approx(2.0, rel=0.1)


def test_another_stain_keeps_the_cell_and_changes_what_it_is_seen_in() -> None:
    cell = torch.full((64, 3, 64, 64), 0.85)
    cell[:, :, 20:44, 20:44] = 0.6
    seen = stain(cell, torch.Generator().manual_seed(0))
    glass, red_cell = seen[:, :, 4, 4].mean(1), seen[:, :, 32, 32].mean(1)
    assert (red_cell < glass - 0.01).float().mean() > 0.95
    assert glass.std() > 0.08
    assert (glass - red_cell).std() > 0.05


def test_a_loose_box_round_two_cells_stays_two_cells(tmp_path: Path, data: Path) -> None:
    source = read_uganda(data)[0]
    box = np.array([[50, 50, 120, 90]], np.float32)
    field = LabelledField("uganda_scd", source.path, "g", 0, "positive", box, np.zeros(1, int), np.zeros(1, bool),
                          np.zeros((0, 3), np.float32))  # fmt: skip

    def two(pixels: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = np.array([[52, 52, 80, 88], [85, 52, 118, 88], [150, 150, 180, 180]], np.float32)
        return found, np.array([0.9, 0.8, 0.3], np.float32), np.zeros(3, int)

    def one(pixels: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return tuple(part[:1] for part in two(pixels))  # type: ignore[return-value]

    assert len(taught_by_detector(field, 1.0, two).boxes) == 2
    assert taught_by_detector(field, 1.0, two).ignore.tolist() == [[150, 150, 180, 180]]
    assert taught_by_detector(field, 1.0, one).boxes.tolist() == box.tolist()


def _field(name: str) -> LabelledField:
    none = np.zeros((0, 4), np.float32)
    return LabelledField(
        "txl_pbc", Path(name), name, -1, "train", none, np.zeros(0, int), np.zeros(0, bool), none[:, :3]
    )


def _complete(field: LabelledField) -> TrainingField:
    """Complete a rendered field's labels by its truth, in place of a detector."""
    seed = int(field.path.stem) + (30 if field.dataset == "chula_rbc12" else 0)
    pixels, cells = rendered(seed, sickle_fraction=0.4 if field.label == "positive" else 0.0)
    h, w = pixels.shape[:2]
    cells = [c for c in cells if 0 < c.x < w and 0 < c.y < h]
    boxes = np.clip(np.array([c.box for c in cells], np.float32), 0, (w, h, w, h)).astype(np.float32)
    kinds = np.array([{"wbc": 1, "platelet": 2}.get(c.class_name, 0) for c in cells])
    return taught_by_detector(field, 1.0, lambda pixels: (boxes, np.ones(len(boxes), np.float32), kinds))


# --- real images ----------------------------------------------------------------------------------------------------


@needs_data
def test_a_few_steps_on_real_fields(tmp_path: Path) -> None:
    fields = [scaled_by_labels(f) for f in read_txl(REAL, "val")[:6]]
    sizes = [np.median(np.sqrt((f.boxes[:, 2:] - f.boxes[:, :2]).prod(1)[f.kinds == 0])) for f in fields]
    assert 24 < np.median(sizes) < 36  # a red cell of 7.5 µm at the canonical scale is 30
    losses: list[float] = []
    detector.train([fields], [4], 10, 0, progress=lambda step, loss: losses.append(loss))
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


@needs_data
def test_the_real_sets_are_read_as_their_readme_says() -> None:
    uganda, chula = read_uganda(REAL), read_chula(REAL)
    assert len(uganda) == 408
    assert sum(len(f.boxes) for f in uganda) == 1109
    assert sum(f.label == "negative" for f in uganda) == 110
    assert len(chula) == 466
    folds: dict[str, set[int]] = {}
    for f in [*uganda, *chula]:
        folds.setdefault(f"{f.dataset} {f.group}", set()).add(f.fold)
    assert {len(of_group) for of_group in folds.values()} == {1}


# --- bad input ------------------------------------------------------------------------------------------------------


def test_a_missing_data_folder_is_named_with_the_setting(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere", "detector", "--out", tmp_path / "run")
    assert result.exit_code == 3
    assert "nowhere not found. Set SICKLESCOPE_DATA" in shown(result)
    assert not (tmp_path / "run").exists()


def test_a_label_of_a_missing_image_is_named(copied: Path, tmp_path: Path) -> None:
    (copied / "uganda_scd/positive/11.png").unlink()
    with pytest.raises(DataError, match=r"11\.png is named by the labels of uganda_scd but not found"):
        read_uganda(copied)
    (copied / "txl_pbc/images/train/2.png").unlink()
    result = run(copied, "detector", "--out", tmp_path / "run")
    assert result.exit_code == 3
    assert "2.txt labels an image that is not in" in shown(result)


def test_an_unreadable_image_is_named(copied: Path, tmp_path: Path) -> None:
    (copied / "txl_pbc/images/train/1.png").write_bytes(b"not a picture")
    result = run(copied, "detector", "--out", tmp_path / "run")
    assert result.exit_code == 3
    assert "1.png cannot be read as an image" in shown(result)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("txl_pbc/labels/train/0.txt", "1 0.5 0.5 0.1\n", "expected 5 numbers"),
        ("txl_pbc/labels/train/0.txt", "7 0.5 0.5 0.1 0.1\n", "a class other than 0, 1 and 2"),
        ("chula_rbc12/labels/0.txt", "12 x 3\n", "cannot be read"),
        ("chula_rbc12/fields.csv", "path,fold\na.png,0\n", "series_group"),
        ("chula_rbc12/labels/0.txt", "12 3 13\n", "a class other than 0 to 12"),
        ("chula_rbc12/labels/0.txt", "nan 3 1\n", "expected 3 numbers"),
        ("chula_rbc12/fields.csv", "path,series_group,fold,fraction_unlabelled\nimages/0.png,s,0,few\n", "'few' of"),
        ("uganda_scd/fields.csv", "path,label,field_group,fold\npositive/10.png,posi", "line 2 is cut short"),
        ("uganda_scd/fields.csv", "path,label,field_group,fold\npositive/10.png,yes,g,0\n", "'yes'; expected one of"),
        ("uganda_scd/sickle_boxes.csv", "path,x0,y0,x1,y1,partial\ngone.png,1,2,3,4,0\n", "the first gone.png"),
        ("uganda_scd/sickle_boxes.csv", "path,x0,y0,x1,y1,partial\na.png,1,2,x,4,0\n", "x1 'x' of a.png"),
        ("uganda_scd/sickle_boxes.csv", "path,x0,y0,x1,y1,partial\na.png,3,2,1,4,0\n", "no box of a.png"),
    ],
)
def test_damaged_labels_are_named(copied: Path, name: str, text: str, said: str) -> None:
    (copied / name).write_text(text)
    readers: dict[str, Callable[[], object]] = {
        "txl_pbc": lambda: read_txl(copied, "train"),
        "chula_rbc12": lambda: read_chula(copied),
        "uganda_scd": lambda: read_uganda(copied),
    }
    with pytest.raises(DataError, match=said) as caught:
        readers[name.partition("/")[0]]()
    assert name.rpartition("/")[2] in str(caught.value)


def test_an_empty_label_file_is_a_picture_without_cells(copied: Path) -> None:
    (copied / "txl_pbc/labels/train/0.txt").write_text("")
    assert len(read_txl(copied, "train")[0].boxes) == 0


def test_no_weights_says_which_command_makes_them(data: Path, tmp_path: Path) -> None:
    result = run(data, "evaluate", tmp_path / "empty")
    assert result.exit_code == 5
    assert "not found. Train them with: sicklescope-train detector" in shown(result)
    result = run(data, "classifier", "--out", tmp_path / "empty")
    assert result.exit_code == 5
    assert "Run first: sicklescope-train detector" in shown(result)


def test_damaged_weights_are_named(finished: RunDir, data: Path, tmp_path: Path) -> None:
    out = RunDir(Path(shutil.copytree(finished.path, tmp_path / "run")))
    shutil.rmtree(out.readings)
    whole = out.for_fold(0)[0].read_bytes()
    out.for_fold(0)[0].write_bytes(whole[: len(whole) // 2])
    result = run(data, "evaluate", out.path)
    assert result.exit_code == 5
    assert "cannot be read" in shown(result)
    assert out.for_fold(0)[0].name in shown(result)


def test_a_run_folder_that_is_a_file_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    result = run(data, "detector", "--out", tmp_path / "run", "--steps-base", "4", *TINY)
    assert result.exit_code == 7
    assert (tmp_path / "run").read_text() == "mine"


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"detector-base\.pt cannot be written: No space left on device"):
        save_weights(Detector(), RunDir(tmp_path / "run").base)
    assert not (tmp_path / "run").exists()


def test_ctrl_c_leaves_what_is_whole_and_the_next_run_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = detector.train

    def interrupted(*arguments: object, **more: object) -> Detector:
        if (tmp_path / "run/detector-base.pt").exists():
            raise KeyboardInterrupt
        return trained(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(detector, "train", interrupted)
    arguments = ["detector", "--out", tmp_path / "run", "--steps-base", "4", *TINY]
    result = run(data, *arguments)
    assert result.exit_code == 130
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["detector-base.pt", "left-out.json", "taught.jsonl"]
    monkeypatch.undo()
    base = (tmp_path / "run/detector-base.pt").read_bytes()
    assert run(data, *arguments).exit_code == 0
    assert (tmp_path / "run/detector-all.pt").exists()
    assert (tmp_path / "run/detector-base.pt").read_bytes() == base


def test_an_interrupted_reading_leaves_no_cache(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = RunDir(tmp_path)
    save_weights(Detector(), out.detector("all"))
    save_weights(Classifier(), out.classifier("all"))

    def broken(self: FieldReader, key: str, pixels: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FieldReader, "__call__", broken)
    with pytest.raises(KeyboardInterrupt):
        read_fields(out.shipped(), read_txl(data, "val"), out.readings / "val.jsonl")
    assert not out.readings.exists()


def test_a_network_asked_twice_answers_the_same() -> None:
    torch.manual_seed(0)
    network = TorchNetwork(Classifier())
    pictures = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    first = network(pictures)["prob"]
    mixed = network(pictures[[2, 0, 2]])["prob"]
    np.testing.assert_array_equal(mixed, first[[2, 0, 2]])
