"""Finds what a program drew over a field: letters, a watermark, a date, a scale bar.

A lens blurs each edge over some pixels. A drawn stroke changes from one pixel to the next, between two flat sides, and
goes on so along a line. Noise does that at single pixels only.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from edge.types import Mask, Pixels

STEP_MIN = 10
"""Grey levels by which the two sides of a drawn edge differ at least."""

FLAT_RATIO = 0.3
"""On both sides of a drawn edge two pixels differ by no more than this part of its step."""

LINE_MIN_PX = 12
"""Shorter lines of such edges are noise."""

REACH_PX = 5
"""So far round a pixel other pixels of its line are counted; less than LINE_MIN_PX, and a box holds at most 255."""

DRAWN_MIN_PX = 50
"""A picture with so many pixels in such lines has something drawn over it."""

RIM = 0.025
"""So near the rim of an eyepiece, as a part of the picture's shorter side, its own edge is as sharp as a drawn one."""


def drawn_over(pixels: Pixels, visible: Mask | None = None) -> bool:
    """Return whether letters or lines were drawn over a field, however faint.

    Args:
        pixels: uint8 (H, W, 3).
        visible: bool (H, W), True on the slide; None where all of it is slide.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    edges = _drawn_edges(grey, 1)
    if cv2.countNonZero(edges) < LINE_MIN_PX:  # letters have upright strokes
        return False
    edges = cv2.bitwise_or(edges, _drawn_edges(grey, 0))
    if cv2.countNonZero(cv2.bitwise_and(edges, _crowded(edges))) < DRAWN_MIN_PX:
        return False
    if visible is not None:
        rim = 1 + 2 * round(RIM * min(grey.shape))
        inside = cv2.erode(visible.view(np.uint8), np.ones((rim, rim), np.uint8), borderValue=0)
        edges = cv2.bitwise_and(edges, edges, mask=inside)
    _, _, stats, _ = cv2.connectedComponentsWithStats(edges, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return int(areas[areas >= LINE_MIN_PX].sum()) >= DRAWN_MIN_PX


def _drawn_edges(grey: Any, axis: int) -> Any:
    """Return uint8 (H, W), 1 where neighbours differ sharply between flat sides.

    axis: 1 for neighbours in a row, 0 in a column.
    """

    def cut(picture: Any, start: int, end: int) -> Any:
        """Return a part of a picture along the axis; `end` counts from its end."""
        stop = picture.shape[axis] - end
        return picture[start:stop] if axis == 0 else picture[:, start:stop]

    near, far = cv2.absdiff(cut(grey, 1, 0), cut(grey, 0, 1)), cv2.absdiff(cut(grey, 2, 0), cut(grey, 0, 2))
    step = cut(near, 2, 2)
    uneven = cv2.max(
        cv2.max(cut(near, 1, 3), cut(far, 0, 3)),
        cv2.max(cut(near, 3, 1), cut(far, 3, 0)),
    )
    flat = cv2.compare(uneven, cv2.convertScaleAbs(step, alpha=FLAT_RATIO), cv2.CMP_LE)
    edges = cv2.bitwise_and(flat, cv2.threshold(step, STEP_MIN - 1, 1, cv2.THRESH_BINARY)[1])
    before, after = ((3, 2), (0, 0)) if axis == 0 else ((0, 0), (3, 2))
    return cv2.copyMakeBorder(edges, *before, *after, cv2.BORDER_CONSTANT, value=0)


def _crowded(edges: Any) -> Any:
    """Return uint8 (H, W), 255 where the edges near a pixel are as many as a line's: to tell noise without its lines.

    Of a line of LINE_MIN_PX pixels, each touching another, at least REACH_PX + 1 lie within REACH_PX of any of them.
    """
    side = 2 * REACH_PX + 1
    near = cv2.boxFilter(edges, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return cv2.threshold(near, REACH_PX, 255, cv2.THRESH_BINARY)[1]
