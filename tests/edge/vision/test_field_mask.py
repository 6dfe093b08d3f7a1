"""The bright disc of an eyepiece is found where there is one, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.types import Mask, Pixels
from edge.vision.field_mask import visible_part


def seen_through(pixels: Pixels, x: float, y: float, radius: float, outside: int = 8) -> tuple[Pixels, Mask]:
    """Black out what lies outside a disc; returns the disc too."""
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    disc = np.hypot(columns - x, rows - y) < radius
    return np.where(disc[..., None], pixels, outside).astype(np.uint8), disc


@pytest.fixture(scope="module")
def slide() -> Pixels:
    return Slide(SlideSpec(seed=7, width=900, height=700)).render(0)


@pytest.mark.parametrize(
    ("x", "y", "radius"),
    [(450, 350, 330), (450, 350, 420), (300, 330, 250), (200, 350, 380), (700, 250, 330), (450, 350, 160)],
    ids=["whole", "cut above and below", "off centre", "cut at the left", "cut at a corner", "small"],
)
def test_a_disc_is_found_wherever_it_lies(slide: Pixels, x: float, y: float, radius: float) -> None:
    picture, disc = seen_through(slide, x, y, radius)
    visible = visible_part(picture)
    assert visible is not None
    assert visible.shape == disc.shape
    assert visible.dtype == bool
    assert (visible & disc).sum() / (visible | disc).sum() > 0.93
    assert (visible & ~disc).sum() / disc.sum() < 0.01  # none of the black counts as slide


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stain", ["leishman", "field", "wright"])
def test_a_field_that_fills_the_picture_is_all_slide(seed: int, stain: str) -> None:
    assert visible_part(Slide(SlideSpec(seed=seed, stain=stain)).render(0)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [0, 40, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (2, 700), (64, 64), (480, 640)])
def test_a_plain_picture_has_no_disc(shape: tuple[int, int], level: int) -> None:
    assert visible_part(np.full((*shape, 3), level, np.uint8)) is None


def test_dark_cells_at_the_rim_do_not_bite_into_the_disc(slide: Pixels) -> None:
    picture, disc = seen_through(slide, 450, 350, 300)
    for angle in np.linspace(0, 2 * np.pi, 9):
        x, y = int(450 + 285 * np.cos(angle)), int(350 + 285 * np.sin(angle))
        picture[y - 14 : y + 14, x - 14 : x + 14] = (70, 20, 90)
    visible = visible_part(picture)
    assert visible is not None
    assert (visible & disc).sum() / (visible | disc).sum() > 0.9
