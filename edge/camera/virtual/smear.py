"""How the cells of a rendered smear look: outlines in µm, and the light that a cell of such an outline takes away.

Sizes are the textbook's (red cell 7.5 µm, platelet 2–3 µm, neutrophil 12–15 µm); rims, pallor and halo were set by
eye beside photographed smears.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge.types import Floats

Outline = NDArray[np.float64]
"""A closed polygon in µm, float64 (N, 2) as x, y about the cell's centre."""

RED_CELL_UM = 7.5
RED_CELL_SPREAD = 0.06
"""Relative standard deviation of the diameter (a red-cell distribution width is wider, being one of volume)."""

HALO_REACH_UM = 1.5
"""How far outside its outline a cell still changes the light."""

MOTTLING = {"white_cell": 0.13, "platelet": 0.25}
"""Relative unevenness of the stain within a cell, where it is not a red cell's 0.06: chromatin and granules."""

ANGLES = np.linspace(0, 2 * np.pi, 120, endpoint=False)


@dataclass(frozen=True, slots=True)
class Look:
    """How the cells of one slide take light, beside their shape; each slide has its own.

    pallor: how much paler the middle of a disc is, 0–1. rim: how much darker its edge line is. halo: brightness
    around it. blur_um: standard deviation of the optics' and the focus's blur.
    """

    pallor: float
    rim: float
    halo: float
    blur_um: float


def disc(rng: Generator) -> Outline:
    """Draw a normal red cell: round within a few percent."""
    return _polar(_radius(rng) * _wobble(rng, 0.014))


def oval(rng: Generator) -> Outline:
    """Draw a blunt oval, 1.3 to 1.6 times as long as wide."""
    ratio = np.sqrt(rng.uniform(1.3, 1.6))
    return _turned(_polar(_radius(rng) * _wobble(rng, 0.01)) * (ratio, 1 / ratio), rng)


def echinocyte(rng: Generator) -> Outline:
    """Draw a cell with ten to fifteen short spikes all round."""
    spikes = int(rng.integers(10, 16))
    heights = rng.uniform(0.08, 0.15, spikes)[(ANGLES / (2 * np.pi) * spikes).astype(int)]
    return _turned(_polar(_radius(rng) * (0.93 + heights * np.sin(ANGLES * spikes / 2) ** 4)), rng)


def teardrop(rng: Generator) -> Outline:
    """Draw a round cell drawn out into one short, blunt tail."""
    tail = rng.uniform(0.5, 0.75) * np.exp(-(((ANGLES - np.pi) / rng.uniform(0.26, 0.34)) ** 2))
    return _turned(_polar(_radius(rng) * 0.92 * (_wobble(rng, 0.01) + tail)), rng)


def spindle(rng: Generator) -> Outline:
    """Draw a sickle cell that is all but straight, pointed at both ends."""
    return _blade(rng, rng.uniform(9.5, 12.5), rng.uniform(2.6, 3.7), rng.uniform(0.0, 0.5), 1.0)


def crescent(rng: Generator) -> Outline:
    """Draw a sickle cell that is bent into a crescent, pointed at both ends."""
    return _blade(rng, rng.uniform(10.0, 13.0), rng.uniform(2.7, 3.7), rng.uniform(0.6, 1.4), 0.9)


def platelet(rng: Generator) -> Outline:
    """Draw a small uneven blob."""
    return _polar(rng.uniform(1.0, 1.5) * _wobble(rng, 0.07))


def white_cell(rng: Generator) -> Outline:
    """Draw the outline of a neutrophil; its nucleus is `lobes`."""
    return _polar(rng.uniform(5.8, 7.0) * _wobble(rng, 0.02))


SHAPES: dict[str, tuple[str, Callable[[Generator], Outline]]] = {
    "disc": ("normal", disc),
    "spindle": ("sickle", spindle),
    "crescent": ("sickle", crescent),
    "oval": ("other", oval),
    "echinocyte": ("other", echinocyte),
    "teardrop": ("other", teardrop),
    "white_cell": ("wbc", white_cell),
    "platelet": ("platelet", platelet),
}
"""Every shape: the class that it truly is, and what draws its outline."""


def density(shape: str, outline: Outline, look: Look, um_per_px: float, rng: Generator) -> Floats:
    """Return the cell's optical density, float32 (n, n).

    n is odd, with the cell's centre in the middle pixel.

    1 is the slide's stain at the full thickness of a red cell, or of a nucleus for white cells and platelets.
    """
    half = int(np.ceil((np.abs(outline).max() + HALO_REACH_UM) / um_per_px))
    fine = max(2, round(um_per_px / 0.06))  # drawn this much larger and averaged down, for smooth edges
    depth = _depth(outline, half, um_per_px, fine)
    if shape == "white_cell":
        drawn = _white_cell(depth, half, um_per_px, fine, rng)
    elif shape == "platelet":
        drawn = _smooth((depth + 0.4) / 0.8) * rng.uniform(0.3, 0.5)
    else:
        drawn = _red_cell(depth, look, 0.0 if shape in ("spindle", "crescent") else rng.uniform(0.5, 1.3))
    mottled = _mottled(len(drawn), MOTTLING.get(shape, 0.06), um_per_px / fine, rng)
    drawn = drawn * mottled * rng.normal(1.0, 0.06)
    sprite = cv2.resize(drawn, (2 * half + 1, 2 * half + 1), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(sprite, (0, 0), max(0.3, look.blur_um / um_per_px)), np.float32)


def _red_cell(depth: Floats, look: Look, pallor: float) -> Floats:
    """Light taken by a biconcave disc, or by a flat cell where pallor is 0, from the depth in µm below its outline."""
    middle = _smooth((depth - 0.8) / 1.8)
    body = _smooth((depth + 0.3) / 0.6) * (1 - look.pallor * pallor * middle)
    rim = look.rim * np.exp(-(((depth - 0.35) / 0.3) ** 2))
    halo = look.halo * np.exp(-(((depth + 0.55) / 0.35) ** 2))
    return np.asarray(body + rim - halo, np.float32)


def _white_cell(depth: Floats, half: int, um_per_px: float, fine: int, rng: Generator) -> Floats:
    """Pale cytoplasm and a nucleus of two to four lobes on an arc."""
    count = int(rng.integers(2, 5))
    along = np.linspace(-1, 1, count) * (0.5 + 0.25 * count) + rng.uniform(0, 2 * np.pi)
    nucleus = np.zeros_like(depth)
    for angle in along:
        centre = 2.1 * np.array([np.cos(angle), np.sin(angle)])
        lobe = _polar(rng.uniform(2.4, 3.0) * _wobble(rng, 0.04)) + centre
        nucleus = np.maximum(nucleus, _smooth((_depth(lobe, half, um_per_px, fine) + 0.25) / 0.5))
    return np.asarray(0.16 * _smooth((depth + 0.3) / 0.6) + 0.8 * nucleus, np.float32)


def _depth(outline: Outline, half: int, um_per_px: float, fine: int) -> Floats:
    """Depth below the outline in µm, negative outside, float32 (fine·(2·half+1),) * 2."""
    side = fine * (2 * half + 1)
    points = np.round((outline / um_per_px * fine + side / 2 - 0.5) * 16).astype(np.int32)
    inside = np.zeros((side, side), np.uint8)
    cv2.fillPoly(inside, [points], 1, shift=4)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    beyond = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray((within - beyond) * (um_per_px / fine), np.float32)


def _mottled(side: int, contrast: float, um: float, rng: Generator) -> Floats:
    """Unevenness about 1 with patches of about a µm, of the given standard deviation."""
    patches = max(3, round(side * um / 1.2))
    coarse = rng.normal(1.0, contrast, (patches, patches)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def _smooth(x: Floats) -> Floats:
    """Step from 0 at x = 0 to 1 at x = 1 without a kink."""
    t = np.clip(x, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _radius(rng: Generator) -> float:
    return RED_CELL_UM / 2 * float(np.clip(rng.normal(1, RED_CELL_SPREAD), 0.82, 1.18))


def _wobble(rng: Generator, amount: float) -> NDArray[np.float64]:
    """Return a radius about 1 over ANGLES, uneven by the given amount in each of its first harmonics."""
    radius = np.ones_like(ANGLES)
    for harmonic in (2, 3, 4, 5):
        radius += rng.normal(0, amount * 2 / harmonic) * np.cos(harmonic * ANGLES + rng.uniform(0, 2 * np.pi))
    return radius


def _polar(radius: NDArray[np.float64]) -> Outline:
    return np.stack([radius * np.cos(ANGLES), radius * np.sin(ANGLES)], axis=1)


def _turned(outline: Outline, rng: Generator) -> Outline:
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(outline @ np.array([[cos, sin], [-sin, cos]]))


def _blade(rng: Generator, length: float, width: float, bend: float, fullness: float) -> Outline:
    """Draw a pointed blade on an arc of the given length, turning by `bend` radians to either side of its middle."""
    t = np.linspace(-1, 1, 61)
    heading = bend * t
    middle = np.stack([np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))], axis=1) * length / len(t)
    skew = rng.uniform(-0.15, 0.15)  # thickest a little off the middle
    half_width = width / 2 * (1 - t**2) ** fullness * (1 + skew * t)
    normal = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    outline = np.concatenate([middle + normal * half_width[:, None], (middle - normal * half_width[:, None])[::-1]])
    return _turned(outline - (outline.max(axis=0) + outline.min(axis=0)) / 2, rng)
