"""Cells moved to the glass of another field, so that neither the cells around one nor the glass tell what it is."""

from __future__ import annotations

import cv2
import numpy as np

from edge.types import Floats, Pixels

AREA_PX = (120, 2600)
"""Canonical pixels that a free cell covers; a red cell of 7.5 µm covers 700."""

FEATHER_PX = 1.0
"""Width of the soft edge of a cell that is cut out."""


def cut_out(patch: Pixels) -> Floats | None:
    """Return the absorbance (side, side, 3) of the cell in the middle of a patch, 0 round it.

    None if it is not free.

    patch: uint8 (side, side, 3). Absorbance is over that of the glass in the patch (Beer–Lambert).
    """
    green = cv2.GaussianBlur(patch[:, :, 1], (0, 0), 1.0)
    _, dark = cv2.threshold(green, 0, 1, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    outline = _free_outline(dark)
    bare = patch[cv2.dilate(dark, np.ones((5, 5), np.uint8)) == 0]
    if outline is None or len(bare) < AREA_PX[0]:
        return None
    cell = cv2.drawContours(np.zeros_like(dark), [outline], 0, 1, -1)
    grown = cv2.dilate(cell, np.ones((3, 3), np.uint8)).astype(np.float32)
    soft = cv2.GaussianBlur(grown, (0, 0), FEATHER_PX)[:, :, None]
    glass = np.maximum(np.median(bare, axis=0), 1)
    absorbance: Floats = (-np.log(np.maximum(patch, 1) / glass) * soft).astype(np.float32)
    return absorbance


def _free_outline(dark: np.ndarray) -> np.ndarray | None:
    """Return the outline that holds the middle of a mask, unless it reaches the edge."""
    side = dark.shape[0]
    outlines, _ = cv2.findContours(dark, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        if cv2.pointPolygonTest(outline, (side / 2, side / 2), True) > -3:
            free = outline.min() > 1 and outline.max() < side - 2
            return outline if free and AREA_PX[0] < cv2.contourArea(outline) < AREA_PX[1] else None
    return None


def transplanted(patch: Pixels, ground: Pixels, strength: float) -> Pixels:
    """Put the cell in the middle of a patch on another one's glass, `strength` times as dark.

    One not free stays.
    """
    absorbance = cut_out(patch)
    if absorbance is None:
        return patch
    there: Pixels = np.clip(ground * np.exp(-strength * absorbance), 0, 255).astype(np.uint8)
    return there
