"""The virtual slide: what it says to be true is what its pixels show, measured by means that know nothing of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from edge.camera.virtual.camera import VirtualCamera
from edge.camera.virtual.layout import CLEAR_UM, SlideSpec, View, VirtualCell
from edge.camera.virtual.slide import STAINS, Slide
from edge.config.model import CameraConfig
from edge.types import CLASSES, Pixels
from tests.edge.camera.camera_parts import frame_of

APART = SlideSpec(pair_share=0.0)


def field(spec: SlideSpec, index: int = 0) -> tuple[Pixels, list[VirtualCell]]:
    slide = Slide(spec)
    return slide.render(index), slide.truth(index)


def darkness(spec: SlideSpec, index: int) -> np.ndarray:
    """Return how much darker a field is in green than the same slide without cells, as optical density."""
    bare = replace(spec, cells_per_mm2=0, white_cells_per_mm2=0, platelets_per_mm2=0)
    light = cv2.GaussianBlur(field(bare)[0][..., 1], (0, 0), 5).astype(float)
    return np.log(light / np.maximum(field(spec, index)[0][..., 1], 1.0))


def blobs(spec: SlideSpec, index: int) -> list[tuple[int, int, int, int, int]]:
    """Return x, y, width, height and area of everything darker than half a red cell's rim."""
    density = darkness(spec, index)
    rim = np.percentile(density[density > 0.1], 70)
    _, _, stats, _ = cv2.connectedComponentsWithStats((density > rim / 2).astype(np.uint8))
    return [tuple(row) for row in stats[1:].tolist() if row[4] * spec.um_per_px**2 > 1]


def overlap(box: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize("um_per_px", [0.1, 0.25])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_true_cell_is_one_blob_in_its_box_and_there_is_no_other(seed: int, um_per_px: float) -> None:
    spec = replace(APART, seed=seed, um_per_px=um_per_px)
    truth = field(spec)[1]
    found = [(x, y, x + w, y + h) for x, y, w, h, _ in blobs(spec, 0)]
    whole = [cell for cell in truth if cell.fully_visible]
    assert whole
    for cell in whole:
        if cell.class_name != "platelet":  # a few pixels wide: its box is a matter of the threshold
            assert max(overlap(cell.box, box) for box in found) > 0.7, cell
    inside = [b for b in found if b[0] > 0 and b[1] > 0 and b[2] < spec.width and b[3] < spec.height]
    assert len(inside) == len(whole)
    assert len(found) == len(truth)


@pytest.mark.parametrize("um_per_px", [0.05, 0.15, 0.25, 0.6])
def test_red_cells_have_their_size_at_any_magnification(um_per_px: float) -> None:
    spec = SlideSpec(um_per_px=um_per_px, sickle_fraction=0, pair_share=0, platelets_per_mm2=0, white_cells_per_mm2=0)
    areas = [
        area
        for index in range(6 if um_per_px < 0.1 else 1)
        for x, y, width, height, area in blobs(spec, index)
        if x > 0 and y > 0 and x + width < spec.width and y + height < spec.height
    ]
    diameters = 2 * np.sqrt(np.array(areas) / np.pi) * um_per_px
    assert np.median(diameters) == pytest.approx(7.5, abs=0.3)


def test_a_known_share_of_the_cells_is_sickled_and_every_class_is_one_of_the_contract() -> None:
    with VirtualCamera.from_spec(SlideSpec(seed=3)) as camera:
        cells = [cell for index in range(60) for cell in camera.truth(index)]
    by_class = Counter(cell.class_name for cell in cells)
    assert set(by_class) == {"normal", "sickle", "other", "wbc", "platelet"} < set(CLASSES)
    red = by_class["normal"] + by_class["sickle"] + by_class["other"]
    assert by_class["sickle"] / red == pytest.approx(0.08, abs=0.015)
    assert {cell.shape for cell in cells} >= {"crescent", "spindle", "oval", "echinocyte", "teardrop"}
    whole = [sum(c.fully_visible and c.class_name in ("normal", "sickle", "other") for c in cells) / 60]
    assert 70 < whole[0] < 110


def test_sickles_are_slender_and_discs_are_round_in_the_pixels() -> None:
    spec = replace(APART, sickle_fraction=0.5)
    truth = field(spec)[1]
    dark = (darkness(spec, 0) > 0.12).astype(np.uint8)
    _, label = cv2.connectedComponents(dark)
    fullness: dict[str, list[float]] = {}
    for cell in truth:
        if cell.fully_visible:
            x0, y0, x1, y1 = (round(value) for value in cell.box)
            mine = np.bincount(label[y0:y1, x0:x1][dark[y0:y1, x0:x1] > 0]).argmax()
            points = cv2.findNonZero((label == mine).astype(np.uint8))
            (_, radius) = cv2.minEnclosingCircle(points)
            fullness.setdefault(cell.class_name, []).append(len(points) / (np.pi * radius**2))
    assert min(fullness["normal"]) > 0.75
    assert max(fullness["sickle"]) < 0.6


def test_discs_are_paler_in_the_middle_than_near_the_rim() -> None:
    pixels, truth = field(replace(APART, sickle_fraction=0))
    green = pixels[..., 1].astype(float)
    paler = []
    for cell in truth:
        if cell.class_name == "normal" and cell.fully_visible:
            x, y = int(cell.x), int(cell.y)
            ring = [green[y, x - 11], green[y, x + 11], green[y - 11, x], green[y + 11, x]]
            paler.append(green[y - 1 : y + 2, x - 1 : x + 2].mean() > np.mean(ring) + 3)
    assert np.mean(paler) > 0.8


@pytest.mark.parametrize("eyepiece", [False, True])
def test_no_cell_grazes_the_edge_so_that_whole_and_cut_are_never_in_doubt(eyepiece: bool) -> None:
    spec = SlideSpec(seed=5, eyepiece=eyepiece)
    clear = CLEAR_UM / spec.um_per_px
    with VirtualCamera.from_spec(spec) as camera:
        cells = [cell for index in range(20) for cell in camera.truth(index)]
    assert any(not cell.fully_visible for cell in cells)
    for cell in cells:
        x0, y0, x1, y1 = cell.box
        gap = min(x0, y0, spec.width - x1, spec.height - y1)
        if eyepiece:
            farthest = np.hypot(abs(cell.x - spec.width / 2), abs(cell.y - spec.height / 2))
            gap = spec.eyepiece_radius_um / spec.um_per_px - farthest - min(x1 - x0, y1 - y0) / 2
        if cell.fully_visible:
            assert gap >= clear * 0.99 - (8 if eyepiece else 0)  # a slender cell reaches less far than half its box
        elif not eyepiece:
            assert gap <= -0.19 * min(x1 - x0, y1 - y0)


def test_the_eyepiece_is_a_bright_disc_on_black() -> None:
    spec = SlideSpec(eyepiece=True, cells_per_mm2=0, platelets_per_mm2=0, white_cells_per_mm2=0)
    pixels, truth = field(spec)
    assert truth == []
    assert pixels[:40, :40].max() < 25
    assert pixels[240, 320].min() > 150
    radius = np.count_nonzero(pixels[240, :, 1] > 100) / 2
    assert radius == pytest.approx(spec.eyepiece_radius_um / spec.um_per_px, abs=4)


def test_pairs_touch_or_overlap_and_overlapping_cells_are_both_in_the_truth() -> None:
    def closest(share: float) -> float:
        cells = [c for c in field(replace(APART, pair_share=share))[1] if c.class_name == "normal"]
        spots = np.array([(c.x, c.y) for c in cells])
        apart = np.hypot(*(spots[:, None] - spots[None]).transpose(2, 0, 1)) + np.eye(len(cells)) * 1e9
        return float(apart.min() * APART.um_per_px)

    assert closest(0.0) > 6.5
    assert closest(0.5) < closest(0.0)


def test_equal_seeds_give_equal_pixels_and_a_field_does_not_depend_on_those_before() -> None:
    spec = SlideSpec(seed=7, width=200, height=150, n_fields=4)
    with VirtualCamera.from_spec(spec) as camera:
        late = [frame_of(camera) for _ in range(4)][3]
    config = CameraConfig(kind="virtual", seed=7, width=200, height=150, frames=4)
    with VirtualCamera(config) as camera:
        again = [frame_of(camera) for _ in range(4)]
    assert (late.pixels == again[3].pixels).all()
    assert (again[0].pixels != again[1].pixels).any()
    assert VirtualCamera.from_spec(spec).truth(3) == camera.truth(3)
    assert VirtualCamera.from_spec(replace(spec, seed=8)).truth(3) != camera.truth(3)


def test_the_frame_tells_the_size_of_its_pixels_and_the_path_has_an_end() -> None:
    with VirtualCamera(CameraConfig(kind="virtual", width=64, height=48)) as camera:
        assert frame_of(camera).um_per_px == 0.25
        assert sum(1 for _ in iter(camera.read, None)) == 59


@pytest.mark.parametrize("stain", STAINS)
def test_every_stain_shows_red_cells_darker_than_the_slide_and_nuclei_darkest(stain: Any) -> None:
    pixels, truth = field(replace(APART, stain=stain, white_cells_per_mm2=400, seed=4))
    grey = pixels.mean(axis=2)

    def darkest(name: str) -> float:
        boxes = [[round(v) for v in c.box] for c in truth if c.class_name == name and c.fully_visible]
        return float(np.median([np.percentile(grey[y0:y1, x0:x1], 10) for x0, y0, x1, y1 in boxes]))

    assert np.percentile(grey, 90) > darkest("normal") + 20
    assert darkest("normal") > darkest("wbc") + 30


def test_faults_can_be_asked_for() -> None:
    def sharpness(pixels: Pixels, across: int, down: int) -> float:
        grey = cv2.GaussianBlur(pixels[..., 1], (0, 0), 1)  # so that edges are measured and not noise
        return float(np.square(cv2.Sobel(grey, cv2.CV_32F, across, down)).mean())

    good, _ = field(APART)
    blurred, _ = field(replace(APART, defocus_um=1.5))
    smeared, _ = field(replace(APART, motion_um=6.0))
    dark, _ = field(replace(APART, exposure=0.15))
    bright, _ = field(replace(APART, exposure=2.5))
    crowded = field(replace(APART, cells_per_mm2=14_000))[1]
    assert sharpness(blurred, 1, 0) < 0.6 * sharpness(good, 1, 0)
    assert sharpness(smeared, 1, 0) < 0.6 * sharpness(good, 1, 0)
    assert sharpness(smeared, 1, 0) < 0.6 * sharpness(smeared, 0, 1)
    assert dark.mean() < 45
    assert (bright == 255).mean() > 0.5
    assert len(crowded) > 160


def test_artefacts_lie_where_the_truth_says_and_leave_the_cells() -> None:
    clean = replace(APART, seed=5, noise=0.0)
    littered = Slide(replace(clean, artefacts_per_field=6))
    kinds = set()
    for index in range(6):
        truth = littered.artefacts(index)
        change = np.abs(littered.render(index).astype(int) - Slide(clean).render(index)).max(axis=2)
        hidden = np.zeros(change.shape, bool)
        for artefact in truth:
            x0, y0, x1, y1 = (int(v) for v in artefact.box)
            assert change[y0:y1, x0:x1].max() > 3
            hidden[y0:y1, x0:x1] = True
            kinds.add(artefact.kind)
        assert hidden.any()
        assert change[~hidden].max() <= 9
        assert littered.truth(index) == Slide(clean).truth(index)
    assert len(kinds) > 5


def test_artefacts_on_a_smear_that_is_seen_again_are_refused() -> None:
    with pytest.raises(ValueError, match="leave out views"):
        SlideSpec(views=(View(0, 0),), artefacts_per_field=1)
