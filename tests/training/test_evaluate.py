"""The rules of evaluation, on readings made by hand: what is found, what is missed, and what a threshold allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike

from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.types import CLASSES
from training.data.datasets import LabelledField
from training.evaluate import detection, interventions, sickle_calls
from training.evaluate.predictions import PredictedCells, Prediction

NORMAL, SICKLE, OTHER, WBC, PLATELET, ARTEFACT = range(len(CLASSES))
T = {-1: 0.5, 0: 0.5, 1: 0.5}


def prob(name: int, p: float = 0.9) -> list[float]:
    rest = (1 - p) / (len(CLASSES) - 1)
    return [p if i == name else rest for i in range(len(CLASSES))]


def reading(cells: Sequence[tuple[float, float, int]], side: float = 40, **changes: Any) -> PredictedCells:
    """Make a reading of 640×480 from cells (x, y, class), each a square box round its centre, best score first."""
    at = np.array([c[:2] for c in cells], np.float32).reshape(-1, 2)
    n = len(cells)
    whole = PredictedCells(
        key="set/folder/1.jpg",
        size=(480, 640),
        um_per_px=0.2,
        rejected=None,
        gated=None,
        boxes=np.concatenate([at - side / 2, at + side / 2], 1),
        score=np.linspace(0.9, 0.5, n).astype(np.float32),
        prob=np.array([prob(c[2]) for c in cells], np.float32).reshape(-1, len(CLASSES)),
        border=np.zeros(n, bool),
        kind=np.zeros(n, np.int8),
        novelty=np.ones(n, np.float32),
    )
    return replace(whole, **changes)


def field(
    dataset: str, boxes: ArrayLike | None = None, points: ArrayLike | None = None, **changes: Any
) -> LabelledField:
    b = np.zeros((0, 4), np.float32) if boxes is None else np.asarray(boxes, np.float32).reshape(-1, 4)
    p = np.zeros((0, 3), np.float32) if points is None else np.asarray(points, np.float32).reshape(-1, 3)
    n = len(b)
    whole = LabelledField(
        dataset, Path("folder/1.jpg"), "g0", 0, "positive", b, np.zeros(n, np.int64), np.zeros(n, bool), p
    )
    return replace(whole, **changes)


# --- recall of boxed sickle cells ---------------------------------------------------------------------------------


def found(read: PredictedCells, boxes: ArrayLike, gate: bool = False, **changes: Any) -> tuple[int, int]:
    return sickle_calls.found_boxes(Prediction(field("uganda_scd", boxes, **changes), read), 0.5, gate)


def test_a_box_is_found_by_the_centre_of_a_call_inside_it() -> None:
    assert found(reading([(100, 100, SICKLE)]), [[90, 90, 130, 130]]) == (1, 1)
    assert found(reading([(100, 100, SICKLE)]), [[101, 90, 130, 130]]) == (0, 1)
    assert found(reading([(100, 100, OTHER)]), [[90, 90, 130, 130]]) == (0, 1)


def test_one_call_credits_one_box_and_suffices_for_a_box_of_two_cells() -> None:
    overlapping = [[80, 80, 120, 120], [90, 90, 130, 130]]
    assert found(reading([(100, 100, SICKLE)]), overlapping) == (1, 2)
    assert found(reading([(100, 100, SICKLE), (125, 125, SICKLE)]), overlapping) == (2, 2)
    assert found(reading([(100, 100, SICKLE), (110, 100, SICKLE)]), [[80, 80, 120, 120]]) == (1, 1)


def test_abstained_border_and_undetected_cells_are_missed_and_partial_boxes_ignored() -> None:
    box = [[80, 80, 120, 120]]
    unsure = reading([(100, 100, SICKLE)], prob=np.array([prob(SICKLE, 0.45)], np.float32))
    assert found(unsure, box) == (0, 1)
    assert found(reading([(100, 100, SICKLE)], border=np.array([True])), box) == (0, 1)
    assert found(reading([]), box) == (0, 1)
    assert found(reading([(100, 100, SICKLE)]), box, partial=np.array([True])) == (0, 0)


def test_a_field_that_the_quality_gate_rejects_is_missed_only_with_the_gate() -> None:
    read, box = reading([(100, 100, SICKLE)], gated="out_of_focus"), [[80, 80, 120, 120]]
    assert found(read, box) == (1, 1)
    assert found(read, box, gate=True) == (0, 1)


# --- false calls --------------------------------------------------------------------------------------------------


def test_the_rate_is_of_red_cells_abstained_ones_with_them_and_nothing_else() -> None:
    cells = [(50.0 * i, 100.0, kind) for i, kind in enumerate([SICKLE, NORMAL, OTHER, WBC, PLATELET, ARTEFACT, SICKLE])]
    read = reading(cells)
    read.prob[1] = prob(NORMAL, 0.3)  # abstained
    read.prob[1, SICKLE], read.prob[1, WBC] = 0.29, 0.2
    read.border[6] = True
    assert sickle_calls.calls(Prediction(field("uganda_scd"), read), 0.5) == (1, 3)


def test_calls_in_no_box_are_counted_against_all_whole_red_cells() -> None:
    cells = [(100, 100, SICKLE), (200, 100, SICKLE), (300, 100, SICKLE), (400, 100, SICKLE), (500, 100, NORMAL)]
    boxes = [[80, 80, 120, 120], [180, 80, 220, 120]]
    labelled = field("uganda_scd", boxes, partial=np.array([False, True]))
    figure = sickle_calls.unboxed_calls([Prediction(labelled, reading(cells, border=np.arange(5) == 3))], T)
    assert figure.counted == "1 of 4"
    assert sickle_calls.unboxed_calls([Prediction(field("uganda_scd"), reading(cells))], T).counted == "4 of 5"


def test_pooled_and_worst_tenth_of_the_groups() -> None:
    seen = []
    for i in range(20):
        called = 2 if i == 7 else 0
        cells = [(30.0 * j, 100.0, SICKLE if j < called else NORMAL) for j in range(10)]
        seen.append(Prediction(field("uganda_scd", group=f"g{i}", label="negative"), reading(cells)))
    rates = sickle_calls.false_calls(seen, T)
    assert rates["pooled"].value == pytest.approx(2 / 200)
    assert rates["worst_tenth"].value == pytest.approx(2 / 20)
    assert rates["worst_tenth"].counted == "2 of 20 in 2 of 20 groups"


def _negatives(sickle_probabilities: list[float]) -> list[Prediction]:
    cells = [(30.0 * i, 100.0, NORMAL) for i in range(len(sickle_probabilities))]
    read = reading(cells)
    for row, p in zip(read.prob, sickle_probabilities, strict=True):
        row[:] = (1 - p) / 5
        row[NORMAL], row[SICKLE] = (1 - p) * 0.96, p
    return [Prediction(field("uganda_scd", label="negative"), read)]


def test_the_threshold_is_the_smallest_that_keeps_the_rate() -> None:
    p = [0.001 * i for i in range(1000)]
    negatives = _negatives(p)
    threshold = sickle_calls.lowest_threshold(negatives, [], 0.01)
    called, cells = sickle_calls.calls(negatives[0], threshold)
    assert (called, cells) == (10, 1000)
    assert sickle_calls.calls(negatives[0], threshold - 2e-6)[0] == 11


def test_the_threshold_also_keeps_the_rate_on_normal_cells_of_the_other_set() -> None:
    negatives = _negatives([0.1] * 10)
    at = [(30.0 * i + 20, 100.0, NORMAL) for i in range(20)]
    read = reading(at, side=20)
    read.prob[3] = prob(SICKLE, 0.8)
    chula = Prediction(field("chula_rbc12", points=np.array([(x, y, 0) for x, y, _ in at])), read)
    assert sickle_calls.lowest_threshold(negatives, [chula], 0.0) == pytest.approx(0.8, abs=1e-5)
    assert sickle_calls.normal_calls([chula], {0: 0.81}).counted == "0 of 20"
    assert sickle_calls.normal_calls([chula], {0: 0.79}).counted == "1 of 20"


def test_a_mimic_is_counted_in_its_own_class_and_border_cells_in_none() -> None:
    at = [(100, 100, SICKLE), (200, 100, NORMAL), (300, 100, SICKLE)]
    read = reading(at, border=np.array([False, False, True]))
    points = np.array([[102, 100, 9], [200, 103, 0], [300, 100, 9]])
    figures = sickle_calls.mimics([Prediction(field("chula_rbc12", points=points), read)], T)
    assert figures["schistocyte"].counted == "1 of 1"
    assert figures["normal"].counted == "0 of 1"
    assert set(figures) == {"schistocyte", "normal"}


# --- cells found and counted --------------------------------------------------------------------------------------


def test_detection_matches_each_kind_one_to_one_and_leaves_the_border_out_beside() -> None:
    boxes = np.array([[80, 80, 120, 120], [110, 80, 150, 120], [0, 200, 30, 240], [300, 300, 360, 360]])
    labelled = field("txl_pbc", boxes, kinds=np.array([0, 0, 0, 1]), partial=np.zeros(4, bool))
    cells = [(100, 100, NORMAL), (101, 100, OTHER), (15, 220, NORMAL), (330, 330, WBC), (500, 400, NORMAL)]
    read = reading(cells, border=np.array([False, False, True, False, False]))
    figures = detection.detection([Prediction(labelled, read)], 0.5)
    # The second red cell has only the twin of the first; the cut one is a hit; the last is nothing's.
    assert figures["f1_rbc"].counted == "2 hits, 4 found, 3 labelled"
    assert figures["f1_rbc_interior"].counted == "1 hits, 3 found, 2 labelled"
    assert figures["f1_wbc"].value == 0.0  # 40 px of 60: IoU 0.44
    assert figures["recall_touching"].counted == "1 of 2"


def test_an_abstained_cell_is_still_a_detected_red_cell() -> None:
    read = reading([(100, 100, NORMAL)])
    read.prob[0] = [0.2, 0.52, 0.05, 0.23, 0, 0]
    labelled = field("txl_pbc", [[80, 80, 120, 120]])
    assert detection.detection([Prediction(labelled, read)], 0.6)["f1_rbc"].value == 1.0


def test_counts_leave_out_the_rim_uncategorised_cells_and_badly_labelled_fields() -> None:
    points = np.array([[100, 100, 0], [200, 100, 9], [300, 100, 10], [10, 100, 0], [400, 100, 0]])
    cells = [(102, 100, NORMAL), (200, 110, OTHER), (300, 100, OTHER), (10, 100, NORMAL), (500, 300, NORMAL)]
    seen = Prediction(field("chula_rbc12", points=points), reading(cells))
    poorly = Prediction(field("chula_rbc12", points=points, fraction_unlabelled=0.4, group="g1"), reading([]))
    figures = detection.counts([seen, poorly], T)
    assert figures["precision"].value == pytest.approx(2 / 3)
    assert figures["recall"].value == pytest.approx(2 / 3)
    assert figures["count_error"].value == pytest.approx(0.0)
    assert figures["precision"].counted == "1 fields of 1 series"


def test_a_pair_across_the_20_pixel_line_is_no_error() -> None:
    points = np.array([[19, 100, 0], [21, 200, 0]])
    read = reading([(22, 100, NORMAL), (18, 200, NORMAL), (300, 300, NORMAL)])
    with_third = np.concatenate([points, [[300, 300, 0]]])
    figures = detection.counts([Prediction(field("chula_rbc12", points=with_third), read)], T)
    assert (figures["precision"].value, figures["recall"].value, figures["count_error"].value) == (1.0, 1.0, 0.0)


# --- fields -------------------------------------------------------------------------------------------------------


def test_the_field_score_is_that_of_scan_and_one_picture_of_a_group_counts() -> None:
    sick = reading([(100, 100, SICKLE), (200, 100, NORMAL), (300, 100, NORMAL)])
    well = reading([(100, 100, NORMAL), (200, 100, NORMAL)])
    seen = [
        Prediction(field("uganda_scd", group="a"), replace(sick, key="1")),
        Prediction(field("uganda_scd", group="a"), replace(well, key="2")),
        Prediction(field("uganda_scd", group="b", label="negative"), replace(well, key="3")),
    ]
    figure = sickle_calls.field_auc(seen, T, dict.fromkeys(T, (1.0, 0.0)))
    assert figure.value == 1.0
    assert figure.counted == "1 positive, 1 negative groups"
    # It is of what is told: where nothing is told to be a sickle cell, no field has a score.
    assert sickle_calls.score(seen[0], 0.5, (1.0, 0.0)) > 100 * sickle_calls.score(seen[0], 0.5, (1.0, -8.0))


def test_a_reading_survives_its_line_of_json() -> None:
    read = reading([(100.25, 90, SICKLE), (33, 44, WBC)], border=np.array([True, False]), gated="crowded")
    back = PredictedCells.from_json(read.to_json())
    assert (back.key, back.size, back.um_per_px, back.gated) == (read.key, read.size, read.um_per_px, "crowded")
    for name in ("boxes", "score", "prob", "border"):
        np.testing.assert_allclose(getattr(back, name), getattr(read, name), atol=1e-5)
    assert len(PredictedCells.from_json(reading([]).to_json()).prob) == 0


# --- changed pictures ---------------------------------------------------------------------------------------------


SLIDE = Slide(SlideSpec(seed=3, pair_share=0.0, um_per_px=0.2, sickle_fraction=0.5))


def test_painting_over_takes_the_boxed_cells_away_and_leaves_the_others() -> None:
    pixels, truth = SLIDE.render(0), [c for c in SLIDE.truth(0) if c.fully_visible]
    gone = [c for c in truth if c.class_name == "sickle"]
    boxes = np.array([c.box for c in gone], np.float32)
    painted = interventions.painted_over(pixels, boxes, np.random.default_rng(0))
    dark = interventions.foreground(pixels)

    def covered(cell: object) -> float:
        x0, y0, x1, y1 = (int(v) for v in cell.box)  # type: ignore[attr-defined]
        part = dark[y0:y1, x0:x1]
        limit = np.percentile(pixels[..., 1][~dark], 2)
        return float((painted[y0:y1, x0:x1, 1][part] < limit).mean())

    assert np.mean([covered(c) for c in gone]) < 0.1
    assert np.mean([covered(c) for c in truth if c.class_name == "normal"]) > 0.75


def test_a_cell_that_is_cut_out_and_put_back_is_the_same_cell() -> None:
    pixels = SLIDE.render(0)
    look = interventions.appearance_of(pixels, 0.2)
    cells = [c for c in SLIDE.truth(0) if c.fully_visible and c.class_name == "sickle"]
    sprites = [interventions.sprite_of(pixels, np.array(c.box, np.float32), look) for c in cells]
    free = [s for s in sprites if s is not None]
    assert len(free) >= len(cells) // 2
    bare = np.full((200, 200, 3), look.glass, np.uint8)
    put = interventions.pasted(bare, [(interventions.sized(free[0], 0.2), (50, 60))], look)
    h, w = free[0].absorbance.shape[:2]
    assert (put[:50] == bare[:50]).all()
    assert put[60 : 60 + h, 50 : 50 + w, 1].min() < look.glass[1] * 0.9
    assert interventions.sized(free[0], 0.1).shape[0] == pytest.approx(2 * h, abs=1)


def test_specks_at_a_cell_too_pale_to_be_told_from_the_glass_are_no_cell() -> None:
    pixels = np.full((120, 120, 3), 220, np.uint8)
    cv2.ellipse(pixels, (60, 60), (20, 8), 0, 0, 360, (212, 212, 212), -1)
    for corner in ((42, 53), (78, 67)):
        cv2.circle(pixels, corner, 2, (40, 40, 90), -1)
    box = np.array([38, 48, 82, 72], np.float32)
    assert interventions.sprite_of(pixels, box, interventions.appearance_of(pixels, 0.2)) is None
    painted = interventions.painted_over(pixels, box[None], np.random.default_rng(0))
    assert painted[52:68, 44:76].mean() > 218


def test_the_look_of_another_field_is_taken_on() -> None:
    pixels = SLIDE.render(0)
    mine = interventions.appearance_of(pixels, 0.2)
    glass, stain = mine.glass * np.float32(0.8), mine.stain * np.float32(1.5)
    other = replace(mine, glass=glass, stain=stain, focus=mine.focus * 0.6, noise=mine.noise + 3)
    now = interventions.appearance_of(interventions.with_look(pixels, mine, other, np.random.default_rng(0)), 0.2)
    assert now.glass == pytest.approx(other.glass, rel=0.05)
    assert now.stain == pytest.approx(other.stain, rel=0.15)
    assert now.focus < 0.85 * mine.focus
    assert now.noise > mine.noise + 1.5


def test_grey_pictures_have_no_colour_and_the_wanted_histogram() -> None:
    pixels = SLIDE.render(0)
    wanted = interventions.grey_histogram(Slide(SlideSpec(seed=9, exposure=0.7)).render(0))
    grey = interventions.grey_matched(pixels, wanted)
    assert (grey[..., 0] == grey[..., 2]).all()
    levels = np.arange(256)
    assert float(interventions.grey_histogram(grey) @ levels) == pytest.approx(float(wanted @ levels), abs=3)
