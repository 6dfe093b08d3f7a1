"""What the tests of optics share: a stage micrometer drawn with a known pixel size, and empty fields of known light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.types import Pixels


def micrometer(
    um_per_px: float,
    angle_deg: float,
    *,
    division_um: float = 10.0,
    width: int = 960,
    height: int = 720,
    line_um: float = 2.0,
    bright_lines: bool = False,
    noise: float = 2.0,
    seed: int = 0,
) -> Pixels:
    """Draw a ruler: 100 divisions, each fifth and tenth line longer, numbers, uneven light, dirt and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y = (x - width / 2) * um_per_px, (y - height / 2) * um_per_px
    angle = np.radians(angle_deg)
    shift = rng.uniform(0, division_um)
    across = x * np.cos(angle) + y * np.sin(angle) + shift
    along = -x * np.sin(angle) + y * np.cos(angle)
    number = np.round(across / division_um)
    length = np.where(number % 10 == 0, 0.9, np.where(number % 5 == 0, 0.7, 0.5)) * height * um_per_px / 2
    soft = max(um_per_px, 0.3)
    line = np.clip(0.5 - (np.abs(across - number * division_um) - line_um / 2) / soft, 0, 1)
    line *= np.clip(0.5 + (length - np.abs(along)) / soft, 0, 1) * (np.abs(number) <= 50)
    picture = 215 * (1 - 0.15 * (x**2 + y**2) / np.hypot(x.max(), y.max()) ** 2) * (1 - 0.8 * line)
    marks = np.zeros((height, width), np.uint8)
    for text in ("0", "10", "20"):
        place = rng.integers(0, width - 60), rng.integers(60, height)
        cv2.putText(marks, text, tuple(map(int, place)), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 160, 3)
    for _ in range(12):
        cv2.circle(marks, (int(rng.integers(width)), int(rng.integers(height))), int(rng.integers(2, 9)), 120, -1)
    picture *= 1 - marks / 255
    picture = cv2.GaussianBlur(picture + rng.normal(0, noise, picture.shape), (0, 0), 0.7)
    grey = np.clip(255 - picture if bright_lines else picture, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def write(folder: Path, pictures: list[Pixels], name: str = "field") -> Path:
    """Write pictures as PNG and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pictures):
        assert cv2.imwrite(str(folder / f"{name}{index}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder


BARE: dict[str, Any] = {"cells_per_mm2": 0.0, "white_cells_per_mm2": 0.0, "platelets_per_mm2": 0.0}
"""A slide without cells."""


def fields(count: int, *, first: int = 0, light: float = 0.0, **spec: object) -> list[Pixels]:
    """Render fields of a slide; `light` adds a fall of the light to one corner of so much, beside the slide's own."""
    slide = Slide(SlideSpec(**{"seed": 3, "stain": "leishman", **spec}))  # type: ignore[arg-type]
    height, width = slide.spec.height, slide.spec.width
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    fall = (1 - light * (x**2 + y) / 2)[..., None]
    return [np.round(slide.render(first + i) * fall).astype(np.uint8) for i in range(count)]


def unevenness(picture: Pixels) -> float:
    """Return how far the glass's brightness strays over an empty field: standard deviation, part of the mean."""
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 8).mean(axis=2)
    return float(smooth.std() / smooth.mean())
