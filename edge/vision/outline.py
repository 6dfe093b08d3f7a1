"""Outlines that follow the cells: to be drawn for people, never measured by."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import Exclusion, Floats, Pixels

COLOURS: dict[str, tuple[int, int, int]] = {
    "normal": (0, 158, 115),
    "sickle": (213, 94, 0),
    "other": (240, 228, 66),
    "wbc": (0, 114, 178),
    "platelet": (86, 180, 233),
    "artefact": (120, 120, 120),
    Exclusion.ABSTAINED.value: (255, 255, 255),
}
"""RGB of each class, and of a cell that the classifier would not name, told apart by colour-blind people too.

Okabe and Ito, Color Universal Design (2008).
"""

MARGIN_PX = 2
"""So much beyond a box a cell's outline is looked for."""

SHARE_MIN = 0.25
"""What is darker than the background in a box is taken for its cell from this part of the box on."""

SMOOTH_PX = 0.8
"""An outline may leave the edge by this: a third of the lines to draw, and no steps of single pixels."""

Contour = NDArray[np.int32]


def outlines(pixels: Pixels, boxes: Floats) -> list[Contour]:
    """Return a closed outline (M, 1, 2), x and y in pixels, for each box of a field.

    A cell is what is darker than the background in green light, which haemoglobin and its stains absorb (threshold:
    N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62–66). Where that shows no cell the outline is the box's ellipse.

    Args:
        pixels: uint8 (H, W, 3) RGB.
        boxes: (N, 4) x0, y0, x1, y1 in pixels.
    """
    green = cv2.blur(cv2.extractChannel(pixels, 1), (3, 3))
    level, _ = cv2.threshold(np.ascontiguousarray(green[::2, ::2]), 0, 255, cv2.THRESH_OTSU)
    below = np.asarray(green <= level).view(np.uint8)
    dark = cv2.dilate(below, np.ones((3, 3), np.uint8))  # beside the cell's edge, which people want to see
    height, width = dark.shape
    found = []
    for x0, y0, x1, y1 in boxes.tolist():
        left, top = max(0, int(x0) - MARGIN_PX), max(0, int(y0) - MARGIN_PX)
        right, bottom = min(width, int(x1) + MARGIN_PX + 1), min(height, int(y1) + MARGIN_PX + 1)
        contours, _ = cv2.findContours(
            dark[top:bottom, left:right], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top)
        )
        best = max(contours, key=cv2.contourArea, default=None)
        if best is None or cv2.contourArea(best) < SHARE_MIN * (x1 - x0) * (y1 - y0):
            axes = (max(1, round((x1 - x0) / 2)), max(1, round((y1 - y0) / 2)))
            middle = (round((x0 + x1) / 2), round((y0 + y1) / 2))
            best = np.reshape(cv2.ellipse2Poly(middle, axes, 0, 0, 360, 15), (-1, 1, 2))
        found.append(np.asarray(cv2.approxPolyDP(best, SMOOTH_PX, True), np.int32))
    return found
