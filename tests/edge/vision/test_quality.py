"""Each fault of a picture is refused for its own reason, with the value that was measured; a good picture is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality_limits import blurred, brightened, smeared
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.config.model import QualityConfig
from edge.types import Cells, Field, Pixels, Reason
from edge.vision import quality
from edge.vision.field_mask import visible_part
from edge.vision.quality import RBC, WBC
from edge.vision.scale import SAMPLE_OFF_MAX

LIMITS = QualityConfig()


def field_of(pixels: Pixels) -> Field:
    return Field(pixels, visible_part(pixels), (0.0, 0.0), 1.0)


def rendered(**spec: object) -> Field:
    return field_of(Slide(SlideSpec(**spec)).render(0))  # type: ignore[arg-type]


@pytest.mark.parametrize("stain", ["leishman", "field", "wright"])
@pytest.mark.parametrize("eyepiece", [False, True])
def test_a_good_field_passes(stain: str, eyepiece: bool) -> None:
    field = rendered(seed=8, stain=stain, eyepiece=eyepiece, width=640, height=640)
    assert quality.exposure(field.pixels, field.visible, LIMITS) is None
    assert quality.sharpness(field, LIMITS) is None


@pytest.mark.parametrize("eyepiece", [False, True])
@pytest.mark.parametrize(("sigma_px"), [4, 6])
def test_a_field_out_of_focus_is_refused_as_such(eyepiece: bool, sigma_px: float) -> None:
    field = rendered(seed=3, eyepiece=eyepiece, width=640, height=640)
    bad = quality.sharpness(replace(field, pixels=blurred(field.pixels, sigma_px)), LIMITS)
    assert bad is not None
    assert bad.reason is Reason.OUT_OF_FOCUS
    assert 1 <= bad.value < bad.limit == LIMITS.focus_min


@pytest.mark.parametrize("angle", [0.0, 0.5, 0.8, 1.57, 2.6])
@pytest.mark.parametrize("length_px", [14, 28])
def test_a_smeared_field_is_refused_as_such_whatever_the_direction(angle: float, length_px: int) -> None:
    field = rendered(seed=6, width=640, height=480)
    bad = quality.sharpness(replace(field, pixels=smeared(field.pixels, length_px, angle)), LIMITS)
    assert bad is not None
    assert bad.reason is Reason.MOTION
    assert bad.value > bad.limit == LIMITS.motion_max


def test_a_field_out_of_focus_is_not_saved_by_the_noise_of_the_camera() -> None:
    field = rendered(seed=3)
    noise = np.random.default_rng(0).normal(0, 3, field.pixels.shape)
    noisy = np.clip(blurred(field.pixels, 5) + noise, 0, 255).astype(np.uint8)
    bad = quality.sharpness(replace(field, pixels=noisy), LIMITS)
    assert bad is not None
    assert bad.reason is Reason.OUT_OF_FOCUS


def test_light_that_falls_off_to_one_side_is_not_motion() -> None:
    slope = np.linspace(120, 240, 640, dtype=np.float32)[None, :, None]
    empty = field_of(np.broadcast_to(slope, (480, 640, 3)).astype(np.uint8))
    assert quality.edges(empty)[0] < quality.EDGES_MIN
    assert quality.sharpness(empty, LIMITS) is None
    field = rendered(seed=1)
    shaded = replace(field, pixels=(field.pixels * (slope / 240)).astype(np.uint8))
    assert quality.sharpness(shaded, LIMITS) is None


def test_edges_are_measured_however_small_the_field_or_its_disc() -> None:
    pixels = Slide(SlideSpec(seed=1)).render(0)
    none = np.zeros(pixels.shape[:2], bool)
    assert quality.edges(Field(pixels, none, (0.0, 0.0), 1.0)) == (0.0, 1.0, 0.0)
    small = np.ascontiguousarray(pixels[:32, :32])
    assert np.isfinite(quality.edges(Field(small, None, (0.0, 0.0), 1.0))).all()


@pytest.mark.parametrize(
    ("factor", "reason"),
    [(0.2, Reason.UNDER_EXPOSED), (0.8, None), (1.0, None), (4.0, Reason.OVER_EXPOSED)],
)
@pytest.mark.parametrize("eyepiece", [False, True])
def test_a_slide_too_dark_or_too_bright_is_refused_as_such(
    factor: float, reason: Reason | None, eyepiece: bool
) -> None:
    field = rendered(seed=9, eyepiece=eyepiece, width=640, height=640)
    pixels = brightened(field.pixels, factor)
    bad = quality.exposure(pixels, field.visible, LIMITS)
    assert (bad and bad.reason) == reason


def test_the_black_round_the_eyepiece_says_nothing_of_the_exposure() -> None:
    field = rendered(seed=9, eyepiece=True, width=640, height=640)
    assert field.visible is not None
    assert quality.light(field.pixels, field.visible)[0] > 0.7
    covered = np.zeros_like(field.visible)
    covered[300:340, 300:340] = True  # only a fiftieth of the picture shows slide
    assert quality.light(field.pixels, covered)[0] > 0.5


@given(st.integers(1, 400), st.integers(1, 400))
def test_light_is_measured_in_a_picture_of_any_shape(h: int, w: int) -> None:
    brightness, clipped = quality.light(np.full((h, w, 3), (10, 204, 255), np.uint8), None)
    assert brightness == 1
    assert clipped == 0


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((1, 1, 3), Reason.TOO_SMALL), ((31, 4000, 3), Reason.TOO_SMALL), ((32, 32, 3), None),
     ((8000, 8000, 3), None), ((10_000, 10_000, 3), Reason.TOO_LARGE)],
)  # fmt: skip
def test_a_picture_without_room_for_a_cell_or_too_large_to_hold_is_refused(
    shape: tuple[int, ...], reason: Reason | None
) -> None:
    bad = quality.size(shape, LIMITS)
    assert (bad and bad.reason) == reason


def cells_at(boxes: np.ndarray) -> Cells:
    return Cells(boxes.astype(np.float32), np.ones(len(boxes), np.float32), np.zeros(len(boxes), bool),
                 np.zeros(len(boxes), np.int8))  # fmt: skip


def packed(spacing: float, diameter: float = 30.0) -> np.ndarray:
    middle = np.mgrid[20:460:spacing, 20:620:spacing].reshape(2, -1).T[:, ::-1]
    return np.concatenate([middle - diameter / 2, middle + diameter / 2], axis=1)


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        (np.zeros((0, 4)), Reason.EMPTY),
        (packed(30)[:2], Reason.EMPTY),
        (packed(30)[:5], None),
        (packed(60), None),
        (packed(31), None),  # a single layer, cells side by side
        (packed(20), Reason.CROWDED),  # each lies on its neighbours
    ],
)
def test_a_field_with_no_cells_or_cells_on_cells_is_refused_as_such(boxes: np.ndarray, reason: Reason | None) -> None:
    field = Field(np.zeros((480, 640, 3), np.uint8), None, (0.0, 0.0), 1.0)
    bad = quality.density(field, cells_at(boxes), LIMITS)
    assert (bad and bad.reason) == reason
    per_mm2, covered = quality.crowding(field, cells_at(boxes))
    assert per_mm2 == pytest.approx(len(boxes) / 0.0192)
    assert 0 <= covered <= 1


@pytest.mark.parametrize(("score", "threshold", "refused"), [(0.38, 0.2, True), (0.45, 0.2, False), (0.55, 0.45, True)])
def test_a_field_without_plain_red_cells_is_no_smear(score: float, threshold: float, refused: bool) -> None:
    cells = replace(cells_at(packed(60)), score=np.full(len(packed(60)), score, np.float32))
    bad = quality.certainty(cells, threshold)
    assert (bad is not None and bad.reason == Reason.UNFAMILIAR) == refused
    few = Cells(cells.boxes[:19], cells.score[:19], cells.border[:19], cells.kind[:19])
    assert quality.certainty(few, threshold) is None


def cells_of(sides: np.ndarray) -> Cells:
    """Lay square boxes of these sides (N,), in pixels, beside each other."""
    half = sides[:, None] * [-0.5, -0.5, 0.5, 0.5]
    return cells_at(packed(60, diameter=0)[: len(sides)] + half)


@pytest.mark.parametrize("cells", [8, 13, 19, 60])
@pytest.mark.parametrize(("times", "said"), [(1.0, None), (1.15, None), (0.87, None), (1.9, "over"), (0.5, "under")])
def test_few_cells_show_another_magnification_too(cells: int, times: float, said: str | None) -> None:
    """Kind: a digital zoom leaves few cells in the picture, and its field was read as if nothing had happened."""
    sides = 30 * times * np.random.default_rng(cells).normal(1, 0.08, cells)
    bad = quality.cell_size(cells_of(sides), SAMPLE_OFF_MAX)
    assert (bad and ("over" if bad.value > 1 else "under")) == said
    assert quality.cell_size(cells_of(sides[:7]), SAMPLE_OFF_MAX) is None, "too few to say"


def test_a_field_of_white_cells_alone_is_one_of_red_cells_enlarged() -> None:
    """Kind: at nearly twice the magnification the detector takes red cells for white ones, and no size was left."""
    cells = replace(cells_of(np.full(30, 54.0)), kind=np.repeat([WBC, RBC], [20, 10]).astype(np.int8))
    bad = quality.cell_size(cells, SAMPLE_OFF_MAX)
    assert bad is not None
    assert bad.value == pytest.approx(1.8, rel=0.02)
    kinds = np.repeat([WBC, RBC], [3, 27]).astype(np.int8)
    one_in_ten = replace(cells_of(np.where(kinds == WBC, 54.0, 30.0)), kind=kinds)
    assert quality.cell_size(one_in_ten, SAMPLE_OFF_MAX) is None


def test_two_sizes_of_few_cells_are_a_person_and_no_magnification() -> None:
    assert quality.cell_size(cells_of(np.repeat([30.0, 48.0], 6)), SAMPLE_OFF_MAX) is None


def rows_of(pitch: float, apart: float = 60.0) -> np.ndarray:
    """Lay cells of 30 px in rows as in rouleaux, `pitch` px from one to the next."""
    middle = np.mgrid[30:450:apart, 20:620:pitch].reshape(2, -1).T[:, ::-1]
    return np.concatenate([middle - 15, middle + 15], axis=1)


@pytest.mark.parametrize(("pitch", "stacked"), [(9.0, 1.0), (20.0, 1.0), (22.0, 0.0), (31.0, 0.0)])
def test_red_cells_in_rouleaux_are_refused_and_cells_that_touch_are_not(pitch: float, stacked: float) -> None:
    field = Field(np.zeros((480, 640, 3), np.uint8), None, (0.0, 0.0), 1.0)
    cells = cells_at(np.random.default_rng(0).permutation(rows_of(pitch)))
    assert quality.stacking(cells) == stacked
    bad = quality.density(field, cells, LIMITS)
    assert (bad and bad.reason) == (Reason.STACKED if stacked else None)
    white = replace(cells, kind=np.ones(len(cells), np.int8))
    assert quality.density(field, white, LIMITS) is None


def test_a_few_stacked_cells_among_many_that_lie_apart_are_read() -> None:
    field = Field(np.zeros((480, 640, 3), np.uint8), None, (0.0, 0.0), 1.0)
    apart = packed(40)
    cells = cells_at(np.concatenate([apart, apart[:60] + 10]))
    assert quality.stacking(cells) == pytest.approx(120 / (len(apart) + 60), abs=0.02)
    assert quality.density(field, cells, LIMITS) is None
    few = cells_at(rows_of(9.0)[: quality.STACKED_CELLS - 1])
    assert quality.stacking(few) == 0.0


def test_what_touches_the_edge_alone_does_not_make_a_field_of_cells() -> None:
    field = Field(np.zeros((480, 640, 3), np.uint8), None, (0.0, 0.0), 1.0)
    cells = cells_at(packed(60))
    bad = quality.density(field, replace(cells, border=np.ones(len(cells), bool)), LIMITS)
    assert bad is not None
    assert bad.reason is Reason.EMPTY


def test_covered_is_the_area_of_discs_each_place_counted_once() -> None:
    field = Field(np.zeros((480, 640, 3), np.uint8), None, (0.0, 0.0), 1.0)
    boxes = packed(60)
    alone = len(boxes) * np.pi * 15**2 / (480 * 640)
    assert quality.crowding(field, cells_at(boxes))[1] == pytest.approx(alone, rel=0.15)
    twice = quality.crowding(field, cells_at(np.concatenate([boxes, boxes])))[1]
    assert twice == quality.crowding(field, cells_at(boxes))[1]
