"""What lies on a smear, or in the optics, and is no cell: drawn as optical density, so that it darkens what lies below.

Sizes and strengths were set by eye beside photographed smears.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge.types import Floats

Plane = NDArray[np.float32]
Coordinates = NDArray[Any]

SQUARE_UM = 32.0
"""Side of the square about an artefact's middle that it is drawn in."""

FADE_PX = 12
"""Width of its soft edge."""

SHOWS = 0.03
"""Density from which an artefact is seen."""

STAIN = np.array([0.5, 1.0, 0.4], np.float32)
"""Density of precipitated stain in red, green and blue; dirt and ink are grey."""


def needle(rng: Generator, side: int, um_per_px: float) -> Floats:
    """Draw a straight sliver of dirt, 6 to 25 µm long, pointed at its ends."""
    length, width = rng.uniform(6, 25) / um_per_px, rng.uniform(0.4, 1.5) / um_per_px
    along, across = _turned(side, rng)
    taper = np.clip(1 - (2 * along / length) ** 2, 0, 1)
    return _grey(_edge(width / 2 * np.sqrt(taper) - np.abs(across)) * (taper > 0), rng.uniform(0.6, 1.8))


def fibre(rng: Generator, side: int, um_per_px: float) -> Floats:
    """Draw a thread that bends across the picture."""
    points = np.cumsum(rng.normal(0, 1, (6, 2)), axis=0)
    steps = np.linspace(0, 1, 60)
    at = np.stack([np.polyval(np.polyfit(np.linspace(0, 1, 6), p, 3), steps) for p in points.T], axis=1)
    at = (at - at.mean(0)) / np.abs(at - at.mean(0)).max() * side * rng.uniform(0.4, 0.7) + side / 2
    thick = max(1, round(rng.uniform(0.4, 1.4) / um_per_px))
    return _grey(_line(side, at, thick), rng.uniform(0.3, 1.2))


def streaks(rng: Generator, side: int, um_per_px: float) -> Floats:
    """Draw ridges of dried plasma, side by side, pale."""
    along, across = _turned(side, rng)
    period = rng.uniform(2.0, 6.0) / um_per_px
    bend = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), side / 8)
    bend *= period * rng.uniform(0.2, 0.8) / max(1e-6, bend.std())
    ridge = np.sin((across + bend) * 2 * np.pi / period) + 0.5 * np.sin(
        (along * 0.3 + across * 1.7) * 2 * np.pi / period
    )
    tint = np.ones(3) + rng.normal(0, 0.15, 3)
    return np.asarray(ridge[..., None] * tint * rng.uniform(0.03, 0.14), np.float32)


def precipitate(rng: Generator, side: int, um_per_px: float) -> Floats:
    """Draw a heap of stain grains."""
    plane = np.zeros((side, side), np.float32)
    spread = rng.uniform(0.5, 3.5) / um_per_px
    for x, y in rng.normal(side / 2, spread, (int(rng.integers(4, 40)), 2)):
        radius = max(1, round(rng.uniform(0.15, 0.7) / um_per_px))
        cv2.circle(plane, (round(x), round(y)), radius, float(rng.uniform(0.4, 1.0)), -1, cv2.LINE_AA)
    soft = cv2.GaussianBlur(plane, (0, 0), max(0.4, 0.12 / um_per_px))
    return np.asarray(soft[..., None] * STAIN * rng.uniform(0.7, 2.0), np.float32)


def bubble(rng: Generator, side: int, um_per_px: float) -> Floats:
    """Draw a drop: bright within, with a dark line round it."""
    radius = rng.uniform(0.8, 6.0) / um_per_px
    apart = _apart(side, rng, 0.15)
    line = np.exp(-(((apart - radius) / (rng.uniform(0.2, 0.6) / um_per_px)) ** 2))
    return _grey(line * rng.uniform(0.4, 1.5) - _edge(radius - apart) * rng.uniform(0.05, 0.3), 1.0)


def ring(rng: Generator, side: int, um_per_px: float) -> Floats:
    """Draw part of the eyepiece's edge, or of a ring in it."""
    radius = rng.uniform(30, 120) / um_per_px
    angle = rng.uniform(0, 2 * np.pi)
    x, y = _grid(side)
    apart = np.hypot(x - radius * np.cos(angle), y - radius * np.sin(angle)) - radius
    width = rng.uniform(0.5, 3.0) / um_per_px
    if rng.random() < 0.5:
        return _grey(1 / (1 + np.exp(-apart / width)), rng.uniform(0.6, 3.0))
    return _grey(np.exp(-((apart / width) ** 2)), rng.uniform(0.2, 1.0))


def pointer(rng: Generator, side: int, um_per_px: float) -> Floats:
    """Draw the eyepiece's pointer, black, with its tip near the middle."""
    along, across = _turned(side, rng)
    tip = rng.uniform(-4, 4) / um_per_px
    slope, least = rng.uniform(0.02, 0.15), rng.uniform(0.3, 1.2) / um_per_px
    inside = _edge(least + slope * (along - tip) - np.abs(across)) * (along > tip)
    blur = max(0.3, rng.uniform(0.1, 0.8) / um_per_px)
    return _grey(cv2.GaussianBlur(inside, (0, 0), blur), rng.uniform(1.2, 3.5))


def scale_bar(rng: Generator, side: int, um_per_px: float) -> Floats:
    """Draw a burnt-in bar with its length in words, dark or bright."""
    plane = np.zeros((side, side), np.uint8)  # OpenCV writes letters into bytes only
    y, half = round(side / 2 + rng.uniform(-2, 2)), round(rng.uniform(2.5, 15) / um_per_px)
    cv2.rectangle(plane, (side // 2 - half, y), (side // 2 + half, y + max(1, round(0.4 / um_per_px))), 1, -1)
    cv2.putText(plane, f"{int(rng.integers(2, 21))} um", (side // 4, y - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1, 1)
    return _grey(plane, float(rng.choice([-1.5, 3.0])))


def pen(rng: Generator, side: int, um_per_px: float) -> Floats:
    """Draw the edge of a pen mark, out of focus."""
    _, across = _turned(side, rng)
    width = rng.uniform(4, 20) / um_per_px
    inside = 1 / (1 + np.exp((np.abs(across) - width) / (rng.uniform(1.0, 3.0) / um_per_px)))
    ink = rng.uniform(0.5, 2.0, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0.8, 2.0))
    return np.asarray(inside[..., None] * ink, np.float32)


def ghost(rng: Generator, side: int, um_per_px: float) -> Floats:
    """Draw a cell's shadow far out of focus, paler than any cell."""
    radius = rng.uniform(2.0, 5.0) / um_per_px
    soft = 1 / (1 + np.exp((_apart(side, rng, 0.3) - radius) / (rng.uniform(0.6, 1.6) / um_per_px)))
    return np.asarray(soft[..., None] * STAIN * rng.uniform(0.03, 0.16), np.float32)


ARTEFACTS: dict[str, Callable[[Generator, int, float], Floats]] = {
    draw.__name__: draw
    for draw in (needle, fibre, streaks, precipitate, bubble, ring, pointer, scale_bar, pen, ghost)
}  # fmt: skip
"""Each draws optical density float32 (side, side, 3) about the middle of a square; negative where it is brighter."""


@dataclass(frozen=True, slots=True)
class VirtualArtefact:
    """One artefact of a field: what drew it, and the box x0, y0, x1, y1 in image pixels."""

    kind: str
    box: tuple[float, float, float, float]


def faded(density: Floats) -> Floats:
    """Let a square of density end softly, so that its edge is none of a picture's."""
    at = np.arange(len(density))
    soft = np.clip(np.minimum(at, len(density) - 1 - at) / FADE_PX, 0, 1)
    return np.asarray(density * (soft[:, None] * soft[None, :])[..., None], np.float32)


def lie_on(plane: Floats, number: int, um_per_px: float, rng: Generator) -> list[VirtualArtefact]:
    """Add so many artefacts to a plane of density, float32 (H, W, 3); returns those that show."""
    h, w = plane.shape[:2]
    side, shown = round(SQUARE_UM / um_per_px), []
    for _ in range(number):
        kind = list(ARTEFACTS)[int(rng.integers(len(ARTEFACTS)))]
        density = faded(ARTEFACTS[kind](rng, side, um_per_px))
        top, left = (int(rng.integers(-side // 2, length - side // 2)) for length in (h, w))
        there = density[max(0, -top) : h - top, max(0, -left) : w - left]
        plane[max(0, top) : top + side, max(0, left) : left + side] += there
        y, x = np.nonzero(np.abs(there).max(2) >= SHOWS)
        if len(y):
            corner = max(0, left), max(0, top)
            (x0, x1), (y0, y1) = ((a.min() + low, a.max() + 1 + low) for a, low in zip((x, y), corner, strict=True))
            shown.append(VirtualArtefact(kind, (float(x0), float(y0), float(x1), float(y1))))
    return shown


def _grid(side: int) -> tuple[Coordinates, Coordinates]:
    at = np.arange(side, dtype=np.float64) - (side - 1) / 2
    return at[None, :], at[:, None]


def _turned(side: int, rng: Generator) -> tuple[Coordinates, Coordinates]:
    """Return coordinates along and across a random direction, in pixels from the middle."""
    x, y = _grid(side)
    angle = rng.uniform(0, 2 * np.pi)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _apart(side: int, rng: Generator, uneven: float) -> NDArray[np.float64]:
    """Return the distance from the middle, in an ellipse's measure."""
    along, across = _turned(side, rng)
    ratio = 1 + rng.uniform(0, uneven)
    return np.hypot(along / ratio, across * ratio)


def _edge(inside_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 inside and 0 outside, with an edge of one pixel."""
    return np.clip(inside_px + 0.5, 0, 1)


def _line(side: int, points: NDArray[np.float64], thick: int) -> Plane:
    plane = np.zeros((side, side), np.float32)
    cv2.polylines(plane, [np.rint(points).astype(np.int32)], False, 1.0, thick, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), 0.6), np.float32)


def _grey(plane: np.ndarray, strength: float) -> Floats:
    return np.asarray(np.repeat(plane[..., None] * strength, 3, axis=2), np.float32)
