"""Whether a frame is worth reading: each check measures one value, compares it with one limit, and names the reason.

The limits in `edge.config.model.QualityConfig` come from real fields: `python -m benchmarks.quality_limits`.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config.model import QualityConfig
from edge.types import KINDS, Cells, Field, Mask, Pixels, Reason, Rejection
from edge.vision.scale import RED_CELL_PX, mode_of, sizes_of

SIDE_MIN_PX = 32
"""A smaller side than this, in pixels of the given image or in canonical ones, holds no cell to read."""

SAMPLES = 192
"""Light is measured on about so many pixels a side: a percentile needs no more."""

COLOUR_MIN = 3.0
"""A picture with less colour, in grey levels between its channels, that shows no red cells is no stained smear: of
3,427 pictures of stained smears the palest has 5.7.
"""

WINDOW_PX = 384
"""Edges are measured in the middle of the field: its focus is much the same next to it."""

FINE_PX, COARSE_PX = 1.0, 2.5
"""Standard deviations of the two blurs whose edges are compared, in canonical pixels: 0.25 and 0.6 µm."""

EDGES_MIN = 0.35
"""Fainter edges than this, in grey levels a pixel, show nothing that could be sharp or not."""

RIM_PX = 15
"""The rim of the eyepiece's disc is the sharpest edge of the picture, and says nothing of the slide."""

STACKED_OVER = 0.3
"""Boxes of cells side by side share less than this of the smaller, also where they touch at an angle."""

RBC, WBC = KINDS.index("rbc"), KINDS.index("wbc")

SIZED_CELLS, FEW_SIZED = 20, 8
"""From so many whole cells on a field shows their size; from so few where nearly all are much too large or small.

Of 8 to 16 cells drawn from 491 real fields three quarters exceed SAMPLE_OFF_MAX the same way in 0.1 to 0.4 %; where the
magnification is 1.9 times another, in 99.8 %, 1.5 times, in 82 % (docs/decisions/0066).
"""

SHAPED_CELLS = 20
"""Fewer whole red cells than this do not show whether pixels are square."""

SQUARE_OFF_MAX = 0.04
"""Elongation along a side of the picture, ln(width ÷ height), that four fifths of the cells may exceed the same way.

Of 2,802 real fields 3 exceed it; of 40 stretched by 4:3 36 do or are refused, of 40 by 6:5 25.
"""

CERTAIN_CELLS, CERTAIN_MIN = 20, 0.25
"""From so many red cells on their median score must lie so far on the way from the detector's threshold to 1.

Grass, grained paper, coins and tissue lie below 0.25. Of 1,312 real fields that pass the other checks 2 do, one of them
by a hair.
"""

STACKED_CELLS = 40
"""Fewer red cells than this do not show how they lie."""


def size(shape: tuple[int, ...], limits: QualityConfig) -> Rejection | None:
    """Refuse a picture that has no room for a cell, or too many pixels.

    More than a device should be asked to hold.

    shape: height and width, of the given image and once more of what it becomes at the canonical scale.
    """
    h, w = shape[:2]
    if min(h, w) < SIDE_MIN_PX:
        return Rejection(Reason.TOO_SMALL, float(min(h, w)), float(SIDE_MIN_PX))
    if h * w / 1e6 > limits.megapixels_max:
        return Rejection(Reason.TOO_LARGE, h * w / 1e6, limits.megapixels_max)
    return None


def light(pixels: Pixels, visible: Mask | None) -> tuple[float, float]:
    """Return brightness and clipping of the slide in uint8 (H, W, 3), each 0–1.

    Brightness is the 95th percentile of the brightest channel: the light through bare glass. Clipping is the share of
    the slide with all three channels at full scale.
    """
    step = max(1, max(pixels.shape[:2]) // SAMPLES)
    thin = pixels[::step, ::step]
    thin = thin.reshape(-1, 3) if visible is None else thin[visible[::step, ::step]]
    red, green, blue = thin.T
    brightest, darkest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return float(np.percentile(brightest, 95)) / 255, float((darkest >= 253).mean())


def colour(pixels: Pixels) -> float:
    """Return how far the channels of uint8 (H, W, 3) lie apart, in grey levels, on average."""
    step = max(1, max(pixels.shape[:2]) // SAMPLES)
    thin = pixels[::step, ::step]
    return float(np.mean(thin.max(2) - thin.min(2)))


def exposure(pixels: Pixels, visible: Mask | None, limits: QualityConfig) -> Rejection | None:
    """Refuse a slide whose background is dark, or so bright that nearly all of it is clipped."""
    brightness, clipped = light(pixels, visible)
    if brightness < limits.brightness_min:
        return Rejection(Reason.UNDER_EXPOSED, brightness, limits.brightness_min)
    if clipped > limits.clipped_max:
        return Rejection(Reason.OVER_EXPOSED, clipped, limits.clipped_max)
    return None


def edges(field: Field) -> tuple[float, float, float]:
    """Return the strength, focus and motion of a field's edges.

    Strength is in grey levels a pixel.

    The structure tensor (Bigün & Granlund 1987) of the picture at a fine scale is held against that at a coarse one:
    the generalised eigenvalues say how much steeper edges are on the fine scale, in the sharpest direction and in the
    bluntest. Focus is the former's root, 1 where there is no fine detail at all; motion is 1 − bluntest ÷ sharpest:
    0 where all directions are as sharp. Stain strength and the direction in which cells happen to lie cancel.
    """
    h, w = field.pixels.shape[:2]
    y, x = max(0, (h - WINDOW_PX) // 2), max(0, (w - WINDOW_PX) // 2)
    window = np.s_[y : y + WINDOW_PX, x : x + WINDOW_PX]
    grey = cv2.cvtColor(field.pixels[window], cv2.COLOR_RGB2GRAY).astype(np.float32)
    mask: NDArray[Any] | None = None
    if field.visible is not None:
        mask = cv2.erode(field.visible[window].astype(np.uint8), np.ones((RIM_PX, RIM_PX), np.uint8))
        if not mask.any():
            return 0.0, 1.0, 0.0
    fine, coarse = (_structure(cv2.GaussianBlur(grey, (0, 0), sigma), mask) for sigma in (FINE_PX, COARSE_PX))
    strength = float(np.sqrt(np.trace(coarse)))
    ratios = np.sort(np.linalg.eigvals(np.linalg.solve(coarse + 1e-6 * np.eye(2), fine)).real)
    bluntest, sharpest = ratios.clip(1e-9)
    return strength, float(np.sqrt(sharpest)), float(1 - bluntest / sharpest)


def _structure(grey: NDArray[Any], mask: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return the covariance (2, 2) of the picture's slopes; a slope of the light across the field is left out."""
    dx, dy = (cv2.Sobel(grey, cv2.CV_32F, *along, scale=1 / 8) for along in ((1, 0), (0, 1)))
    (mean_x, std_x), (mean_y, std_y) = (np.ravel(cv2.meanStdDev(slope, mask=mask)) for slope in (dx, dy))
    xy = cv2.mean(cv2.multiply(dx, dy), mask=mask)[0] - mean_x * mean_y
    return np.array([[std_x**2, xy], [xy, std_y**2]])


def sharpness(field: Field, limits: QualityConfig) -> Rejection | None:
    """Refuse a field that is out of focus or smeared by movement.

    Of the slide, during the exposure.

    A field without edges is let pass: the detector will find it empty.
    """
    strength, focus, motion = edges(field)
    if strength < EDGES_MIN:
        return None
    if motion > limits.motion_max:
        return Rejection(Reason.MOTION, motion, limits.motion_max)
    if focus < limits.focus_min:
        return Rejection(Reason.OUT_OF_FOCUS, focus, limits.focus_min)
    return None


def crowding(field: Field, cells: Cells) -> tuple[float, float]:
    """Return whole cells for each mm² of slide, and the share under cells, 0–1.

    What touches the edge may be the edge itself, and does not make a blank field a field of cells. A cell is taken to
    fill the ellipse in its box; what lies under two of them counts once.
    """
    h, w = field.pixels.shape[:2]
    covered = np.zeros((h // 2 + 1, w // 2 + 1), np.uint8)
    for x0, y0, x1, y1 in (cells.boxes / 2).tolist():
        cv2.ellipse(covered, (((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0, y1 - y0), 0.0), 1, -1)
    slide_px = h * w if field.visible is None else int(np.count_nonzero(field.visible))
    per_mm2 = int((~cells.border).sum()) / max(field.area_mm2, 1e-9)
    return per_mm2, min(1.0, 4 * cv2.countNonZero(covered) / max(slide_px, 1))


def stacking(cells: Cells) -> float:
    """Return the share of red cells that lie on another, 0–1.

    Rouleaux, clumps, or too thick a part of the smear.

    Two lie on each other where their boxes share more than STACKED_OVER of the smaller. 0 for a field with fewer than
    STACKED_CELLS red cells.
    """
    boxes = cells.boxes[cells.kind == RBC]
    if len(boxes) < STACKED_CELLS:
        return 0.0
    boxes = boxes[np.argsort(boxes[:, 0])]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    stacked = np.zeros(len(boxes), bool)
    for step in range(1, len(boxes)):
        one, other = boxes[:-step], boxes[step:]
        if (other[:, 0] >= one[:, 2]).all():  # and so it is for all that begin farther to the right
            break
        shared = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
        over = shared.clip(0).prod(1) > STACKED_OVER * np.minimum(area[:-step], area[step:])
        stacked[:-step] |= over
        stacked[step:] |= over
    return float(stacked.mean())


def cell_size(cells: Cells, off_max: float) -> Rejection | None:
    """Refuse a field whose cells have another size than its scale gives red cells.

    It was enlarged, or made smaller. White cells are looked at too: of a field nearly twice enlarged the detector takes
    most red cells for white ones, which are rare on a smear.

    Both the modal and the median cell must say so, for a person may have small and large cells beside each other. Of
    fewer than SIZED_CELLS three quarters must.

    Args:
        cells: of the field, in canonical pixels.
        off_max: by how many times they may be larger or smaller than usual.
    """
    sizes = sizes_of(cells.boxes[np.isin(cells.kind, (RBC, WBC)) & ~cells.border])
    if len(sizes) < FEW_SIZED or math.isinf(off_max):
        return None
    few = len(sizes) < SIZED_CELLS
    says = np.percentile(sizes, (25, 75)).tolist() if few else (mode_of(sizes), float(np.median(sizes)))
    offs = [size / RED_CELL_PX for size in says]
    off = min(offs) if min(offs) > 1 else max(offs) if max(offs) < 1 else 1.0
    if 1 / off_max <= off <= off_max:
        return None
    return Rejection(Reason.MAGNIFICATION, off, off_max if off > 1 else 1 / off_max)


def certainty(cells: Cells, threshold: float) -> Rejection | None:
    """Refuse a field of which hardly any red cell is plain: a texture, not a smear.

    threshold: score from which the detector takes something for a red cell.
    """
    scores = cells.score[cells.kind == RBC]
    if len(scores) < CERTAIN_CELLS:
        return None
    certain = (float(np.median(scores)) - threshold) / (1 - threshold)
    return None if certain >= CERTAIN_MIN else Rejection(Reason.UNFAMILIAR, certain, CERTAIN_MIN)


def square(cells: Cells) -> bool:
    """Tell whether a field's pixels are square.

    Cells lie in all directions, so their boxes are as wide as high.

    A field with fewer than SHAPED_CELLS whole red cells is taken to be.
    """
    boxes = cells.boxes[(cells.kind == RBC) & ~cells.border]
    if len(boxes) < SHAPED_CELLS:
        return True
    across, down = (boxes[:, 2:] - boxes[:, :2]).T
    elongation = np.log(across / down)
    return float(np.percentile(elongation * np.sign(np.median(elongation)), 20)) <= SQUARE_OFF_MAX


def density(field: Field, cells: Cells, limits: QualityConfig) -> Rejection | None:
    """Refuse a field with hardly any cell, too many cells, or stacked cells.

    In a field that is too full cells hide each other.
    """
    per_mm2, covered = crowding(field, cells)
    if per_mm2 < limits.cells_per_mm2_min:
        return Rejection(Reason.EMPTY, per_mm2, limits.cells_per_mm2_min)
    if covered > limits.crowding_max:
        return Rejection(Reason.CROWDED, covered, limits.crowding_max)
    stacked = stacking(cells)
    if stacked > limits.stacked_max:
        return Rejection(Reason.STACKED, stacked, limits.stacked_max)
    return None
