"""Drawn dirt: on empty ground, where it is an artefact, and beside and across cells, which stay what they are."""

from __future__ import annotations

import numpy as np

from edge.camera.virtual.artefacts import ARTEFACTS, faded
from edge.types import CANONICAL_UM_PER_PX, Floats, Mask, Pixels

ON_GROUND, ON_CELLS = 0.6, 0.15
"""Share of the spots without a cell, and of the cells, that get an artefact."""

THIN = ("needle", "fibre", "streaks")
"""May lie across a cell: none of these hides what the cell is."""

BESIDE_PX = (14, 34)
"""How far from a cell's middle that of any other artefact lies."""

FAINT = (0.3, 0.8)
"""Strength of dirt beside cells, as a part of that on empty ground."""

WIDE = 2
"""A square of dirt is so many times as wide as the picture, so that it can be moved."""


def dirtied(pictures: Pixels, ground: Mask, cell: Mask, rng: np.random.Generator) -> Pixels:
    """Draw artefacts on a share of pictures uint8 (N, side, side, 3).

    Args:
        pictures: are not changed.
        ground: bool (N,), those with nothing in their middle.
        cell: bool (N,), those with a cell there.
        rng: draws.
    """
    out: Pixels = pictures.copy()
    chance = np.where(ground, ON_GROUND, np.where(cell, ON_CELLS, 0))
    for i in np.nonzero(rng.random(len(pictures)) < chance)[0]:
        draw = _on_ground if ground[i] else _beside
        out[i] = _darkened(pictures[i], draw(rng, pictures.shape[1]))
    return out


def scattered(pixels: Pixels, most: int, rng: np.random.Generator) -> Pixels:
    """Draw up to so many artefacts anywhere on a field, uint8 (H, W, 3); its cells stay."""
    out: Pixels = pixels.copy()
    h, w = pixels.shape[:2]
    names = list(ARTEFACTS)
    for _ in range(int(rng.integers(0, most + 1))):
        side = int(rng.integers(60, 160))
        density = faded(ARTEFACTS[names[int(rng.integers(len(names)))]](rng, side, CANONICAL_UM_PER_PX))
        y, x = (int(rng.integers(-side // 2, length - side // 2)) for length in (h, w))
        top, left = max(0, y), max(0, x)
        part = out[top : y + side, left : x + side]
        there = density[top - y : top - y + part.shape[0], left - x : left - x + part.shape[1]]
        part[:] = _darkened(part, there)
    return out


def _on_ground(rng: np.random.Generator, side: int) -> Floats:
    names = list(ARTEFACTS)
    dy, dx = (int(rng.integers(-3, 4)) for _ in range(2))
    return _moved(ARTEFACTS[names[int(rng.integers(len(names)))]](rng, WIDE * side, CANONICAL_UM_PER_PX), dy, dx)


def _beside(rng: np.random.Generator, side: int) -> Floats:
    names = list(ARTEFACTS)
    name = names[int(rng.integers(len(names)))]
    angle, away = rng.uniform(0, 2 * np.pi), float(rng.uniform(*BESIDE_PX))
    if name in THIN:
        away = float(rng.uniform(0, BESIDE_PX[1]))
    density = ARTEFACTS[name](rng, WIDE * side, CANONICAL_UM_PER_PX)
    beside = _moved(density, round(away * np.sin(angle)), round(away * np.cos(angle)))
    return np.asarray(beside * rng.uniform(*FAINT), np.float32)


def _moved(density: Floats, down: int, right: int) -> Floats:
    """Cut the middle half of a square, moved by so many pixels."""
    side = density.shape[0] // WIDE
    top, left = (density.shape[0] - side) // 2 - down, (density.shape[1] - side) // 2 - right
    return density[top : top + side, left : left + side]


def _darkened(pixels: Pixels, density: Floats) -> Pixels:
    """Let light pass through dirt as well (Beer and Lambert)."""
    return np.asarray(np.clip(pixels * np.exp(-density), 0, 255), np.uint8)
