"""What is drawn round a field is left out and said; what a camera took is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from edge.camera.frames import stamped
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.config.model import Config, ModelsConfig
from edge.pipeline import Pipeline
from edge.types import FieldReading, Pixels
from edge.vision.halves import one_half
from edge.vision.surroundings import field_part


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with Pipeline(Config(models=ModelsConfig(threads=1))) as opened:
        yield opened


@pytest.fixture(scope="module")
def field() -> Pixels:
    return Slide(SlideSpec(seed=0, width=800, height=500, um_per_px=0.18)).render(0)


def margin(field: Pixels, value: int) -> Pixels:
    return cv2.copyMakeBorder(field, 70, 90, 40, 0, cv2.BORDER_CONSTANT, value=(value,) * 3).astype(np.uint8)


def window(field: Pixels) -> Pixels:
    """Draw a program's window with a panel of buttons."""
    h, w = field.shape[:2]
    drawn = np.full((h + 70, w + 280, 3), 236, np.uint8)
    drawn[40 : 40 + h, 10 : 10 + w] = field
    for i, text in enumerate(("Open", "Measure", "Gain 1.5", "White", "Capture")):
        cv2.rectangle(drawn, (w + 30, 60 + 70 * i), (w + 260, 105 + 70 * i), (110,) * 3, 1)
        cv2.putText(drawn, text, (w + 40, 95 + 70 * i), 0, 0.9, (30, 30, 30), 2, cv2.LINE_AA)
    return drawn


def stereo(field: Pixels) -> Pixels:
    """Show a field to both eyes: moved a little, with each camera's own noise and light."""
    noise = np.random.default_rng(0).normal(0, 3, field.shape)
    other = np.roll(field, 9, axis=1) * 0.92 + noise
    return np.hstack([field, other.clip(0, 255).astype(np.uint8)])


def missing_tile(field: Pixels) -> Pixels:
    h, w = field.shape[:2]
    out: Pixels = field.copy()
    out[: h // 2, : w // 2] = 0
    return out


def compressed(pixels: Pixels) -> Pixels:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def page(field: Pixels, share: float = 1.8) -> Pixels:
    """Fill an upright page with a field: above and below it the same, enlarged and blurred, as telephones do."""
    h, w = field.shape[:2]
    height = round(w * share)
    large = cv2.resize(field, None, fx=height / h, fy=height / h)
    left, top = (large.shape[1] - w) // 2, (height - h) // 2
    out = cv2.GaussianBlur(large[:, left : left + w], (0, 0), height / 40)
    out[top : top + h] = field
    return np.asarray(out, np.uint8)


def vignette(field: Pixels, level: int, softness: float) -> Pixels:
    """Fade a field to one colour outside an ellipse that holds four fifths of it."""
    h, w = field.shape[:2]
    y, x = np.mgrid[:h, :w]
    radius = np.hypot((y - h / 2) / h, (x - w / 2) / w) / np.sqrt(0.8 / np.pi)
    cover = np.clip((radius - 1) / softness + 0.5, 0, 1)[..., None]
    return np.asarray(field * (1 - cover) + level * cover, np.uint8)


DRAWN: dict[str, tuple[Callable[[Pixels], Pixels], float]] = {
    "white margin": (lambda f: margin(f, 255), 1.0),
    "grey margin": (lambda f: margin(f, 128), 1.0),
    "margin as jpeg": (lambda f: compressed(margin(f, 250)), 1.0),
    "edge repeated": (lambda f: cv2.copyMakeBorder(f, 0, 0, 90, 90, cv2.BORDER_REPLICATE).astype(np.uint8), 1.0),
    "window": (window, 1.0),
    "window as jpeg": (lambda f: compressed(window(f)), 1.0),
    "side by side": (lambda f: np.hstack([f, f]), 1.0),
    "stereo pair": (stereo, 1.0),
    "one above the other": (lambda f: np.vstack([f, f]), 1.0),
    "four times": (lambda f: np.tile(f, (2, 2, 1)), 1.0),
    "beside its mirror image": (lambda f: compressed(np.hstack([f, f[:, ::-1]])), 1.0),
    "above its mirror image": (lambda f: np.vstack([f, f[::-1]]), 1.0),
    "beside itself upside down": (lambda f: np.hstack([f, f[::-1, ::-1]]), 1.0),
    "mirrored twice": (lambda f: np.vstack([np.hstack([f, f[:, ::-1]]), np.hstack([f[::-1], f[::-1, ::-1]])]), 1.0),
    "page with a blurred margin": (lambda f: compressed(page(f)), 1.0),
    "missing tile": (missing_tile, 0.75),
}
"""By what is drawn: how, and the part of the field's cells that is still to be seen."""


def read(pipeline: Pipeline, pixels: Pixels) -> FieldReading:
    pipeline.new_sample()
    return pipeline.read(stamped(pixels, 0, "#0"))


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_round_a_field_is_left_out_and_said(name: str, pipeline: Pipeline, field: Pixels) -> None:
    """Kind: pixels that no camera took of the slide, or took twice, counted as slide (0.6.0: twice the cells)."""
    draw, share = DRAWN[name]
    plain, drawn = read(pipeline, field), read(pipeline, draw(field))
    assert plain.flags == ()
    assert plain.rejected is drawn.rejected is None
    assert drawn.flags == ("surroundings",)
    assert len(drawn.boxes) == pytest.approx(share * len(plain.boxes), rel=0.1)
    assert drawn.area_mm2 == pytest.approx(share * plain.area_mm2, rel=0.06)


@pytest.mark.parametrize(("level", "softness"), [(255, 0.1), (255, 0.4), (128, 0.1), (128, 0.4)])
def test_a_vignette_is_said_however_soft(pipeline: Pipeline, field: Pixels, level: int, softness: float) -> None:
    """Kind: a program covers a fifth of the field, whose area is counted as free of cells."""
    drawn = read(pipeline, compressed(vignette(field, level, softness)))
    assert drawn.flags == ("surroundings",)
    assert drawn.area_mm2 < 0.97 * read(pipeline, field).area_mm2


def test_a_round_cell_in_the_middle_does_not_make_halves_of_one_place(field: Pixels) -> None:
    """Kind: half of a field is lost because its halves mirror each other: a white cell, the rim of an eyepiece."""
    h, w = field.shape[:2]
    white_cell = cv2.circle(field.copy(), (w // 2, h // 2), 90, (90, 40, 120), -1)
    assert one_half(np.asarray(white_cell, np.uint8)) is None
    disc = cv2.circle(np.zeros((h, w), np.uint8), (w // 2, h // 2), h // 2 - 9, 1, -1)
    assert one_half(np.asarray(field * disc[..., None], np.uint8), disc.view(np.bool_)) is None


@pytest.mark.parametrize("sides", [(0, 0, 200, 200), (260, 520, 0, 0)])
def test_black_bars_do_not_make_one_place_of_two_halves(
    pipeline: Pipeline, field: Pixels, sides: tuple[int, int, int, int]
) -> None:
    """Kind: half of a field is lost because what surrounds it is alike on both sides."""
    plain = read(pipeline, field)
    barred = read(pipeline, cv2.copyMakeBorder(field, *sides, cv2.BORDER_CONSTANT).astype(np.uint8))
    assert len(barred.boxes) == pytest.approx(len(plain.boxes), rel=0.1)
    assert barred.area_mm2 == pytest.approx(plain.area_mm2, rel=0.06)


def test_cells_at_the_edge_of_what_is_drawn_are_cut_as_at_the_edge_of_the_picture(
    pipeline: Pipeline, field: Pixels
) -> None:
    plain, drawn = read(pipeline, field), read(pipeline, margin(field, 255))
    assert drawn.border == pytest.approx(plain.border, rel=0.25)


def test_bare_glass_an_eyepiece_and_overlapping_views_are_left_alone(field: Pixels) -> None:
    assert field_part(field) is None
    assert one_half(field) is None
    bright = np.minimum(field.astype(np.int16) + 45, 255).astype(np.uint8)  # glass clipped between the cells
    assert field_part(bright) is None
    assert field_part(np.full((300, 400, 3), 200, np.uint8)) is None
    assert one_half(np.full((300, 400, 3), 200, np.uint8)) is None
    assert one_half(np.zeros((40, 33, 3), np.uint8)) is None


def test_glass_that_a_camera_smooths_is_left_alone() -> None:
    """Kind: the slide's own bare glass is taken for a margin, and its area is lost; so were five real fields."""
    taken = Slide(SlideSpec(seed=3, width=480, height=400, um_per_px=0.05)).render(0)
    glass = np.median(taken, axis=(0, 1))
    cells = cv2.absdiff(cv2.GaussianBlur(taken, (0, 0), 2), np.full_like(taken, glass.astype(np.uint8))).max(2) > 14
    wide = cv2.dilate(cells.view(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    grain = np.random.default_rng(3).normal(0, 0.5, (400, 480, 1))
    assert field_part(np.where(wide[..., None], taken, glass + grain).astype(np.uint8)) is None
