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
    edges = _drawn_edges(grey)
    if cv2.countNonZero(edges) < LINE_MIN_PX:  # letters have upright strokes
        return False
    edges = cv2.bitwise_or(edges, cv2.transpose(_drawn_edges(cv2.transpose(grey))))
    if visible is not None:
        rim = 1 + 2 * round(RIM * min(grey.shape))
        inside = cv2.erode(visible.view(np.uint8), np.ones((rim, rim), np.uint8), borderValue=0)
        edges = cv2.bitwise_and(edges, edges, mask=inside)
    _, _, stats, _ = cv2.connectedComponentsWithStats(edges, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return int(areas[areas >= LINE_MIN_PX].sum()) >= DRAWN_MIN_PX


def _drawn_edges(grey: Any) -> Any:
    """Return uint8 (H, W), 255 where neighbours in a row differ sharply, between flat sides."""
    width = grey.shape[1]
    near, far = cv2.absdiff(grey[:, 1:], grey[:, :-1]), cv2.absdiff(grey[:, 2:], grey[:, :-2])
    step = near[:, 2 : width - 3]
    uneven = cv2.max(
        cv2.max(near[:, 1 : width - 4], far[:, : width - 5]), cv2.max(near[:, 3 : width - 2], far[:, 3 : width - 2])
    )
    flat = cv2.compare(uneven, cv2.convertScaleAbs(step, alpha=FLAT_RATIO), cv2.CMP_LE)
    edges = cv2.bitwise_and(flat, cv2.threshold(step, STEP_MIN - 1, 255, cv2.THRESH_BINARY)[1])
    return cv2.copyMakeBorder(edges, 0, 0, 3, 2, cv2.BORDER_CONSTANT, value=0)
