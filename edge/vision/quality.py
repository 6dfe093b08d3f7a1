"""Whether a frame is worth reading: each check measures one value, compares it with one limit, and names the reason."""

from __future__ import annotations

import cv2
import numpy as np

from edge.config import QualityConfig
from edge.types import Cells, Field, Mask, Pixels, Reason, Rejection

SIDE_MIN_PX = 32
"""A smaller side than this, in pixels of the given image or in canonical ones, holds no cell to read."""


def size(pixels: Pixels, limits: QualityConfig) -> Rejection | None:
    """Refuse a picture in which there is no room for a cell, or with more pixels than a device should be asked to hold."""
    h, w = pixels.shape[:2]
    if min(h, w) < SIDE_MIN_PX:
        return Rejection(Reason.TOO_SMALL, float(min(h, w)), float(SIDE_MIN_PX))
    if h * w / 1e6 > limits.megapixels_max:
        return Rejection(Reason.TOO_LARGE, h * w / 1e6, limits.megapixels_max)
    return None


def exposure(pixels: Pixels, visible: Mask | None, limits: QualityConfig) -> Rejection | None:
    """Refuse a slide whose background is dark, or so bright that nearly all of it is clipped.

    Brightness is the 95th percentile of the brightest channel as a part of full scale: the light through bare glass.
    """
    thin = pixels[::4, ::4] if visible is None else pixels[::4, ::4][visible[::4, ::4]]
    brightness = float(np.percentile(thin.max(axis=-1), 95)) / 255
    if brightness < limits.brightness_min:
        return Rejection(Reason.UNDER_EXPOSED, brightness, limits.brightness_min)
    clipped = float((thin.min(axis=-1) >= 253).mean())
    if clipped > limits.clipped_max:
        return Rejection(Reason.OVER_EXPOSED, clipped, limits.clipped_max)
    return None


def sharpness(field: Field, limits: QualityConfig) -> Rejection | None:
    """Refuse a field that is out of focus, or smeared by movement of the slide during the exposure.

    Focus is the contrast of details of about 0.3 µm as a part of all contrast, so stain strength cancels. Motion is
    1 − λmin/λmax of the structure tensor (Bigün & Granlund 1987): 0 where edges run in all directions, near 1 where
    a smear has left edges in one.
    """
    grey = cv2.cvtColor(field.pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine, coarse = cv2.GaussianBlur(grey, (0, 0), 0.8), cv2.GaussianBlur(grey, (0, 0), 1.8)
    dx, dy = cv2.Sobel(fine, cv2.CV_32F, 1, 0), cv2.Sobel(fine, cv2.CV_32F, 0, 1)
    detail = fine - coarse
    if field.visible is not None:
        # The rim of the disc is the sharpest edge of the picture, and says nothing of the slide.
        slide = cv2.erode(field.visible.astype(np.uint8), np.ones((15, 15))).astype(bool)
        if slide.any():
            coarse, detail, dx, dy = coarse[slide], detail[slide], dx[slide], dy[slide]
    focus = float(detail.std() / (coarse.std() + 1.0))
    if focus < limits.focus_min:
        return Rejection(Reason.OUT_OF_FOCUS, focus, limits.focus_min)
    xx, yy, xy = float((dx * dx).mean()), float((dy * dy).mean()), float((dx * dy).mean())
    middle, apart = (xx + yy) / 2, float(np.hypot((xx - yy) / 2, xy))
    motion = 2 * apart / (middle + apart + 1e-6)
    if motion > limits.motion_max:
        return Rejection(Reason.MOTION, motion, limits.motion_max)
    return None


def density(field: Field, cells: Cells, limits: QualityConfig) -> Rejection | None:
    """Refuse a field with hardly any cell, and one so full that cells hide each other."""
    per_mm2 = len(cells) / max(field.area_mm2, 1e-9)
    if per_mm2 < limits.cells_per_mm2_min:
        return Rejection(Reason.EMPTY, per_mm2, limits.cells_per_mm2_min)
    h, w = field.pixels.shape[:2]
    slide_px = h * w if field.visible is None else int(field.visible.sum())
    covered = np.zeros((h // 4 + 1, w // 4 + 1), bool)
    for x0, y0, x1, y1 in (cells.boxes / 4).astype(int):
        covered[y0 : y1 + 1, x0 : x1 + 1] = True
    crowding = float(covered.sum()) * 4 * 4 / slide_px
    if crowding > limits.crowding_max:
        return Rejection(Reason.CROWDED, crowding, limits.crowding_max)
    return None
