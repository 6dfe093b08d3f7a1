"""A frame on its whole way: every cell accounted for, every fault a counted rejection, one scale for a sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.quality_limits import blurred, brightened
from edge.camera.frames import stamped
from edge.camera.image_files import read_image
from edge.camera.virtual.camera import VirtualCamera
from edge.camera.virtual.layout import SlideSpec, VirtualCell
from edge.camera.virtual.slide import Slide
from edge.camera.virtual.specimen import serpentine
from edge.config.model import Config, ModelsConfig, OpticsConfig, QualityConfig, ScreeningConfig
from edge.pipeline import Pipeline
from edge.screening.cell_registry import MAX_OBSERVATIONS
from edge.screening.tally import Tally
from edge.types import ABSTAINED, CLASSES, RED_CELLS, FieldReading, Floats, Frame, Pixels, Reason
from edge.vision.registration.registrar import Registrar
from edge.vision.scale import CELLS_TO_LOCK, ScaleEstimator
from edge.vision.scale_check import CHECK_EVERY

MODELS = ModelsConfig(threads=1)


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with Pipeline(Config(models=MODELS)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def fresh_sample(pipeline: Pipeline) -> None:
    pipeline.new_sample()


def framed(pixels: Pixels, um_per_px: float | None = 0.25, index: int = 0) -> Frame:
    return stamped(pixels, index, f"#{index}", um_per_px)


def slide(**spec: object) -> Frame:
    frame = VirtualCamera.from_spec(SlideSpec(**spec)).read()  # type: ignore[arg-type]
    assert frame is not None
    return frame


def overlap(a: Floats, b: Floats) -> Any:
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    meet = np.maximum(0.0, high - low).prod(2)
    return meet / ((a[:, 2:] - a[:, :2]).prod(1)[:, None] + (b[:, 2:] - b[:, :2]).prod(1)[None] - meet)


def found_share(reading: FieldReading, truth: list[VirtualCell]) -> float:
    """Share of the wholly visible red cells in whose place the reading has a cell."""
    boxes = [cell.box for cell in truth if cell.fully_visible and cell.class_name in ("normal", "sickle", "other")]
    return float((overlap(np.array(boxes, np.float32), reading.boxes).max(1) > 0.35).mean())


def checked(reading: FieldReading) -> FieldReading:
    """Assert what holds for any reading, and return it."""
    n = len(reading.label)
    assert reading.boxes.shape == (n, 4)
    assert reading.prob.shape == (n, len(CLASSES))
    assert len(reading.score) == n
    assert {reading.boxes.dtype, reading.score.dtype, reading.prob.dtype} == {np.dtype(np.float32)}
    assert sum(reading.counts().values()) == n + reading.border
    assert ((reading.label >= ABSTAINED) & (reading.label < len(CLASSES))).all()
    if reading.rejected is not None:
        assert n == reading.border == reading.area_mm2 == 0
    return reading


def test_a_field_is_read_whole_and_every_cell_is_accounted_for(pipeline: Pipeline) -> None:
    frame = slide(seed=1)
    reading = checked(pipeline.read(frame))
    assert reading.rejected is None
    assert reading.area_mm2 == pytest.approx(640 * 480 * (0.25e-3) ** 2)
    assert (reading.width, reading.height, reading.name) == (640, 480, frame.name)
    stages = ["quality", "optics", "scale", "sharpness", "magnification", "detect", "familiar", "place", "classify"]
    assert list(reading.stage_ms) == stages
    assert reading.border > 0
    assert reading.prob.sum(1) == pytest.approx(1, abs=1e-3)
    assert found_share(reading, Slide(SlideSpec(seed=1)).truth(0)) > 0.9


def test_cells_at_the_border_are_told_apart_from_those_that_are_classified(pipeline: Pipeline) -> None:
    frame = slide(seed=1)
    without = pipeline.read(frame)
    config = Config(models=MODELS, screening=ScreeningConfig(keep_border=True))
    with Pipeline(config) as keeping:
        everything = checked(keeping.read(frame))
    assert everything.border == 0
    assert len(everything.label) == len(without.label) + without.border
    touching = (everything.boxes[:, :2] < 2).any(1) | (everything.boxes[:, 2] > 638) | (everything.boxes[:, 3] > 478)
    assert touching.sum() == without.border


def test_the_same_frame_gives_the_same_reading_and_is_not_written_to(pipeline: Pipeline) -> None:
    frame = slide(seed=2, eyepiece=True)
    assert not frame.pixels.flags.writeable
    before = frame.pixels.copy()
    first, second = pipeline.read(frame), pipeline.read(frame)
    assert np.array_equal(frame.pixels, before)
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.prob, second.prob)


@pytest.mark.parametrize("um_per_px", [0.1, 0.16, 0.4])
def test_boxes_are_in_pixels_of_the_given_image(pipeline: Pipeline, um_per_px: float) -> None:
    spec = SlideSpec(seed=3, width=round(130 / um_per_px), height=round(100 / um_per_px), um_per_px=um_per_px)
    reading = checked(pipeline.read(framed(Slide(spec).render(0), um_per_px)))
    assert found_share(reading, Slide(spec).truth(0)) > 0.85
    assert reading.boxes[:, 2].max() <= spec.width + 1
    assert reading.area_mm2 == pytest.approx(0.130 * 0.100, rel=0.02)


def test_only_the_disc_of_an_eyepiece_is_read_and_its_area_counted(pipeline: Pipeline) -> None:
    spec = SlideSpec(seed=4, width=700, height=600, eyepiece=True)
    wide = np.full((660, 900, 3), 6, np.uint8)
    wide[40:640, 120:820] = Slide(spec).render(0)
    reading = checked(pipeline.read(framed(wide)))
    assert reading.rejected is None
    shift = np.array([120, 40, 120, 40])
    truth = [replace(cell, box=tuple(np.add(cell.box, shift))) for cell in Slide(spec).truth(0)]
    assert found_share(reading, truth) > 0.85
    assert reading.area_mm2 == pytest.approx(np.pi * (spec.eyepiece_radius_um * 1e-3) ** 2, rel=0.08)
    middle = (reading.boxes[:, :2] + reading.boxes[:, 2:]) / 2 - (120 + 350, 40 + 300)
    assert (np.hypot(*middle.T) < spec.eyepiece_radius_um / 0.25).all()
    assert reading.border > 3


def test_a_field_larger_than_the_network_takes_at_once_is_read(pipeline: Pipeline) -> None:
    spec = SlideSpec(seed=5, width=1500, height=500)
    reading = checked(pipeline.read(framed(Slide(spec).render(0))))
    assert found_share(reading, Slide(spec).truth(0)) > 0.9


def plain(shape: tuple[int, int], level: int = 200) -> Pixels:
    """Pixels that take no memory, however many."""
    return np.broadcast_to(np.uint8(level), (*shape, 3))


@pytest.mark.parametrize(
    ("pixels", "um_per_px", "reason"),
    [
        (plain((1, 1)), 0.25, Reason.TOO_SMALL),
        (plain((1, 1)), None, Reason.TOO_SMALL),
        (plain((0, 0)), 0.25, Reason.TOO_SMALL),
        (plain((4000, 20)), None, Reason.TOO_SMALL),
        (plain((200, 200)), 0.02, Reason.TOO_SMALL),
        (plain((10_000, 10_000)), None, Reason.TOO_LARGE),
        (plain((5000, 5000)), 2.0, Reason.TOO_LARGE),
        (plain((480, 640), 0), None, Reason.UNDER_EXPOSED),
        (plain((480, 640), 20), 0.25, Reason.UNDER_EXPOSED),
        (plain((480, 640), 255), None, Reason.OVER_EXPOSED),
        (plain((480, 640)), 0.25, Reason.EMPTY),
        (plain((480, 640)), None, Reason.EMPTY),
    ],
)
def test_a_picture_that_shows_no_slide_is_a_counted_rejection(
    pipeline: Pipeline, pixels: Pixels, um_per_px: float | None, reason: Reason
) -> None:
    rejected = checked(pipeline.read(Frame(pixels, 7, slide().captured_at, 0.0, "x", um_per_px))).rejected
    assert rejected is not None
    assert rejected.reason is reason
    assert rejected.value != rejected.limit


def test_spoiled_frames_are_rejected_and_read_all_the_same_without_the_gate(pipeline: Pipeline) -> None:
    frame = slide(seed=6)
    spoiled = {
        Reason.OUT_OF_FOCUS: blurred(frame.pixels, 4),
        Reason.UNDER_EXPOSED: brightened(frame.pixels, 0.2),
    }
    with Pipeline(Config(models=MODELS, quality=QualityConfig(gate=False))) as lenient:
        for reason, pixels in spoiled.items():
            rejected = checked(pipeline.read(framed(pixels.copy()))).rejected
            assert rejected is not None
            assert rejected.reason is reason
            assert lenient.read(framed(pixels.copy())).rejected is None
        tiny = checked(lenient.read(framed(np.full((8, 8, 3), 200, np.uint8))))
        assert tiny.rejected is not None  # there is nothing to read, gate or no gate


@pytest.mark.parametrize("kind", ["grey", "16 bits", "RGBA"])
def test_grey_and_deep_and_transparent_pictures_are_read(pipeline: Pipeline, tmp_path: Path, kind: str) -> None:
    spec = SlideSpec(seed=7)
    pixels = Slide(spec).render(0)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    as_written = {
        "grey": cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY),
        "16 bits": bgr.astype(np.uint16) * 257,
        "RGBA": np.dstack([bgr, np.full(bgr.shape[:2], 9, np.uint8)]),
    }[kind]
    path = tmp_path / "field.png"
    assert cv2.imwrite(str(path), as_written)
    reading = checked(pipeline.read(framed(read_image(path, 64))))
    assert reading.rejected is None
    if kind == "grey":  # a harder picture, but its cells are there to see
        assert found_share(reading, Slide(spec).truth(0)) > 0.6
    else:
        assert np.array_equal(reading.boxes, pipeline.read(framed(pixels)).boxes)


def test_a_scale_seen_on_many_cells_holds_for_the_sample_and_is_forgotten_after_it(pipeline: Pipeline) -> None:
    first = pipeline.read(framed(Slide(SlideSpec(seed=8)).render(0), None)).scale
    assert first is not None
    assert first.source == "estimated"
    # Cells that look a sixth larger are larger cells, for the microscope is the same.
    larger = Slide(SlideSpec(seed=8, um_per_px=0.21)).render(1)
    held = pipeline.read(framed(larger, None)).scale
    assert held is not None
    assert (held.source, held.um_per_px, held.spread) == ("locked", first.um_per_px, first.spread)
    pipeline.new_sample()
    again = pipeline.read(framed(larger, None)).scale
    assert again is not None
    assert again.source == "estimated"
    assert again.um_per_px / first.um_per_px == pytest.approx(0.21 / 0.25, rel=0.1)


def test_a_scale_seen_on_few_cells_does_not_hold(pipeline: Pipeline) -> None:
    sparse = SlideSpec(seed=9, width=240, height=240, cells_per_mm2=4000)
    assert len(Slide(sparse).truth(0)) < CELLS_TO_LOCK
    few = pipeline.read(framed(Slide(sparse).render(0), None)).scale
    assert few is not None
    later = pipeline.read(framed(Slide(SlideSpec(seed=9)).render(0), None)).scale
    assert later is not None
    assert few.source == later.source == "estimated"


def test_the_camera_knows_better_than_the_configuration_and_both_better_than_an_estimate() -> None:
    pixels = Slide(SlideSpec(seed=10, width=320, height=240)).render(0)
    with Pipeline(Config(models=MODELS, optics=OpticsConfig(um_per_px=0.3))) as pipeline:
        configured, told = pipeline.read(framed(pixels, None)).scale, pipeline.read(framed(pixels, 0.22)).scale
    assert configured is not None
    assert told is not None
    assert (configured.um_per_px, configured.source, configured.spread) == (0.3, "configured", 0.0)
    assert (told.um_per_px, told.source) == (0.22, "configured")


@pytest.mark.parametrize(("um_per_px", "limit"), [(0.1, 1.4), (0.15, 1.4), (0.4, 1 / 1.4)])
def test_fields_of_another_objective_are_refused_until_the_right_one_is_back(um_per_px: float, limit: float) -> None:
    pixels = Slide(SlideSpec(seed=12, width=800, height=640)).render(0)  # of 0.25 µm/px
    with Pipeline(Config(models=MODELS, optics=OpticsConfig(um_per_px=um_per_px))) as pipeline:
        for index in range(12):  # more than are looked at in search of cells enough
            rejected = checked(pipeline.read(framed(pixels, None, index))).rejected
            assert rejected is not None
            assert (rejected.reason, rejected.limit) == (Reason.MAGNIFICATION, limit)
            assert rejected.value == pytest.approx(0.25 / um_per_px, rel=0.2)
        assert checked(pipeline.read(framed(pixels, 0.25, 12))).rejected is None
    ungated = Config(models=MODELS, optics=OpticsConfig(um_per_px=um_per_px), quality=QualityConfig(gate=False))
    with Pipeline(ungated) as pipeline:
        assert pipeline.read(framed(pixels, None)).rejected is None


def test_an_objective_that_is_changed_in_mid_sample_is_noticed() -> None:
    spec = SlideSpec(seed=12, width=640, height=480)
    right, wrong = Slide(spec).render(0), Slide(replace(spec, um_per_px=0.4)).render(0)
    with Pipeline(Config(models=MODELS, optics=OpticsConfig(um_per_px=0.25))) as pipeline:
        assert pipeline.read(framed(right, None)).rejected is None
        rejected = [pipeline.read(framed(wrong, None, 1 + index)).rejected for index in range(CHECK_EVERY)]
    assert rejected[-1] is not None
    assert rejected[-1].reason is Reason.MAGNIFICATION


@pytest.mark.parametrize("um_per_px", [0.15, "auto"])
@pytest.mark.parametrize("shape", [(80, 80), (120, 90)])
def test_a_crop_is_one_cell(um_per_px: float | str, shape: tuple[int, int]) -> None:
    crop = np.random.default_rng(1).integers(120, 230, (*shape, 3)).astype(np.uint8)
    with Pipeline(Config(models=MODELS, optics=OpticsConfig(um_per_px=um_per_px))) as pipeline:  # type: ignore[arg-type]
        reading = checked(pipeline.read_crop(framed(crop, None)))
        assert reading.rejected is None
        assert reading.boxes[0] == pytest.approx([0, 0, shape[1], shape[0]], abs=1.5)
        assert len(reading.label) == 1
        assert reading.border == 0
        tiny = checked(pipeline.read_crop(framed(np.zeros((1, 1, 3), np.uint8), None)))
        assert tiny.rejected is not None
        assert tiny.rejected.reason is Reason.TOO_SMALL


def overlapping(frames: int, overlap: float) -> tuple[VirtualCamera, list[Frame]]:
    """Return a path over one smear, and its frames, lit unevenly and turned a little."""
    spec = SlideSpec(seed=6, n_fields=frames)
    views = [
        replace(view, turned_deg=(-1) ** index * 1.5, light=1.0 - 0.1 * (index % 3))
        for index, view in enumerate(serpentine(spec, overlap))
    ]
    camera = VirtualCamera.from_spec(replace(spec, views=tuple(views)))
    return camera, list(iter(camera.read, None))


def test_on_a_path_that_overlaps_each_cell_counts_once(pipeline: Pipeline) -> None:
    camera, frames = overlapping(5, 0.6)
    pipeline.new_sample(each_cell_once=True)
    tally, separately = Tally(), 0
    for frame in [*frames, *frames[::-1]]:
        reading = checked(pipeline.read(frame))
        assert reading.rejected is None
        tally.add(reading)
        separately += sum(reading.counts()[name] for name in RED_CELLS)
    shown = {
        cell.identity
        for index in range(5)
        for cell in camera.truth(index)
        if cell.fully_visible and cell.class_name in RED_CELLS
    }
    counts = tally.counts()
    assert counts.red_cells == pytest.approx(len(shown), rel=0.06)
    assert separately > 3 * counts.red_cells
    assert counts.islands == 1
    assert counts.fields_repeated >= 4
    assert counts.area_mm2 == pytest.approx(640 * 480 * 0.25e-3**2 * (1 + 4 * 0.4), rel=0.1)


def test_what_the_stage_says_reaches_the_registration_in_micrometres(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[complex | None] = []
    place = Registrar.place

    def noting(self: Registrar, *given: Any) -> Any:
        told.append(given[2])
        return place(self, *given)

    monkeypatch.setattr(Registrar, "place", noting)
    frame = slide(seed=1)
    pipeline.new_sample(each_cell_once=True)
    pipeline.read(frame)
    pipeline.read(replace(frame, stage_px=(100.0, -40.0)))
    assert frame.um_per_px is not None
    assert told == [None, pytest.approx((100 - 40j) * frame.um_per_px)]


def test_a_view_that_stands_still_is_classified_a_few_times_and_then_no_more(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = [0]
    network, answer = type(pipeline.classifier), type(pipeline.classifier).__call__

    def counting(self: Any, pictures: Pixels) -> Any:
        crops[-1] += len(pictures) if self is pipeline.classifier else 0
        return answer(self, pictures)

    monkeypatch.setattr(network, "__call__", counting)
    frame = slide(seed=1)
    pipeline.new_sample(each_cell_once=True)
    readings = []
    for _ in range(MAX_OBSERVATIONS + 2):
        readings.append(pipeline.read(frame))
        crops.append(0)
    tally = Tally()
    for reading in readings:
        tally.add(reading)
    assert np.array_equal(readings[-1].label, readings[0].label)
    assert readings[-1].prob == pytest.approx(readings[0].prob, abs=1e-5)
    assert sum(tally.counts().by_class.values()) == (readings[0].label != ABSTAINED).sum()
    assert tally.counts().fields_repeated == MAX_OBSERVATIONS + 1
    assert crops[-2] < crops[1] / 2


@pytest.mark.parametrize("zoom", [0.5, 0.6, 0.8, 1.25, 1.6])
def test_pictures_of_another_size_in_a_sample_have_a_scale_of_their_own(pipeline: Pipeline, zoom: float) -> None:
    """Kind: what was measured on one optics, used for another (0.6.0: 6 of 374 sickle where 30 of 411 is right)."""
    shown = Slide(SlideSpec(seed=8, width=900, height=600, um_per_px=0.15, n_fields=2))
    first, second = shown.render(0), shown.render(1)
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    other = cv2.resize(second, None, fx=zoom, fy=zoom, interpolation=how).astype(np.uint8)
    assert pipeline.read(framed(first, None)).flags == ()
    right = pipeline.read(framed(second, None, 1))
    assert right.scale is not None
    assert (right.scale.source, right.flags) == ("locked", ())
    reading = checked(pipeline.read(framed(other, None, 2)))
    assert reading.rejected is None
    assert reading.flags == ("scale_changed",)
    assert reading.scale is not None
    assert reading.scale.um_per_px == pytest.approx(right.scale.um_per_px / zoom, rel=0.1)
    assert len(reading.label) == pytest.approx(len(right.label), rel=0.12)
    back = pipeline.read(framed(second, None, 3))
    assert (back.scale, back.flags) == (right.scale, ())


@pytest.mark.parametrize(
    ("um_per_px", "zoom"), [(None, 0.5), (None, 0.65), (None, 1.5), (None, 1.9), (0.15, 0.5), (0.15, 1.9)]
)
def test_a_zoom_that_leaves_the_size_is_refused_at_once(um_per_px: float | None, zoom: float) -> None:
    """The same kind: a digital zoom gives frames of the same size; a set scale was looked at each 50 fields only."""
    shown = Slide(SlideSpec(seed=8, width=900, height=600, um_per_px=0.15, n_fields=2))
    zoomed = Slide(SlideSpec(seed=9, width=900, height=600, um_per_px=0.15 / zoom)).render(0)
    with Pipeline(Config(models=MODELS, optics=OpticsConfig(um_per_px=um_per_px or "auto"))) as pipeline:
        for index in range(2):
            assert pipeline.read(framed(shown.render(index), None, index)).rejected is None
        rejected = checked(pipeline.read(framed(zoomed, None, 2))).rejected
        assert rejected is not None
        assert rejected.reason in (Reason.MAGNIFICATION, Reason.UNFAMILIAR, Reason.OUT_OF_FOCUS)
        assert pipeline.read(framed(shown.render(1), None, 3)).rejected is None


def test_pictures_cut_by_hand_share_the_check_of_their_scale_and_smaller_ones_have_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[tuple[int, ...]] = []
    confirmed = ScaleEstimator.confirmed

    def noting(self: ScaleEstimator, pixels: Pixels, um_per_px: float) -> Any:
        looked.append(pixels.shape[:2])
        return confirmed(self, pixels, um_per_px)

    monkeypatch.setattr(ScaleEstimator, "confirmed", noting)
    shown = Slide(SlideSpec(seed=8, width=900, height=600, um_per_px=0.15, n_fields=7))
    cut = [shown.render(index)[: 600 - 3 * index, : 900 - 5 * index] for index in range(6)]
    cut[3] = np.ascontiguousarray(np.rot90(cut[3]))  # the camera held upright
    smaller = cv2.resize(shown.render(6), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA).astype(np.uint8)
    with Pipeline(Config(models=MODELS, optics=OpticsConfig(um_per_px=0.15))) as pipeline:
        for index, pixels in enumerate([*cut, smaller]):
            pipeline.read(framed(pixels, None, index))
    assert looked == [(600, 900), smaller.shape[:2]]


def test_a_scale_that_the_next_field_contradicts_is_not_held_against_the_sample(pipeline: Pipeline) -> None:
    """Kind: one misread field decides for all (0.6.0: every later field was refused for its magnification)."""
    odd = Slide(SlideSpec(seed=9, width=900, height=600, um_per_px=0.28)).render(0)
    usual = Slide(SlideSpec(seed=8, width=900, height=600, um_per_px=0.15, n_fields=3))
    first = pipeline.read(framed(odd, None, 0))
    readings = [checked(pipeline.read(framed(usual.render(index), None, 1 + index))) for index in range(3)]
    assert first.rejected is None
    assert [reading.rejected for reading in readings] == [None] * 3
    assert readings[0].flags == ("scale_contradicted",)
    scales = [reading.scale for reading in readings]
    assert [scale.source for scale in scales if scale] == ["estimated", "locked", "locked"]
    assert first.scale is not None
    assert [scale.um_per_px / first.scale.um_per_px for scale in scales if scale] == pytest.approx(
        [0.15 / 0.28] * 3, rel=0.1
    )
    refused = checked(pipeline.read(framed(odd, None, 4))).rejected
    assert refused is not None
    assert refused.reason is Reason.MAGNIFICATION


def test_a_refused_field_that_shows_many_cells_is_read_once(pipeline: Pipeline) -> None:
    """Kind: a field that is refused at its own scale is asked for another one, without end."""
    inverted = 255 - Slide(SlideSpec(seed=8, width=900, height=600, um_per_px=0.15)).render(0)
    usual = Slide(SlideSpec(seed=8, width=900, height=600, um_per_px=0.15, n_fields=2))
    for index, pixels in enumerate((inverted, usual.render(0), inverted, usual.render(1))):
        reading = checked(pipeline.read(framed(pixels, None, index)))
        assert (reading.rejected is None) == (index % 2 == 1)
    stacked = Slide(SlideSpec(seed=8, width=900, height=600, cells_per_mm2=30000, pair_share=1.0)).render(0)
    pipeline.new_sample()
    for index in range(3):
        checked(pipeline.read(framed(stacked, None, index)))


@pytest.mark.parametrize(("across", "down"), [(1.0, 1.0), (4 / 3, 1.0), (1.0, 1.4), (0.7, 1.0)])
def test_pixels_that_are_not_square_are_flagged(pipeline: Pipeline, across: float, down: float) -> None:
    """Kind: a picture whose two sides have different scales, so that round cells look elongated."""
    pixels = Slide(SlideSpec(seed=11, width=900, height=600, um_per_px=0.15)).render(0)
    squeezed = cv2.resize(pixels, None, fx=across, fy=down, interpolation=cv2.INTER_AREA).astype(np.uint8)
    reading = checked(pipeline.read(framed(squeezed, None)))
    assert reading.rejected is None
    assert reading.flags == (() if across == down else ("pixels_not_square",))
