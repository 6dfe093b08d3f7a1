"""Finds the bright disc that a phone sees through an eyepiece, so that only the slide is read."""

from __future__ import annotations

import cv2
import numpy as np

from edge.types import Mask, Pixels

WORKING_PX = 160
"""Longest side of the picture in which the disc is looked for; its edge need not be sharper than the slide's."""

BRIGHT = 0.5
"""The slide is at least this bright, as a part of the brightest tenth; what lies outside the disc is darker."""

OUTSIDE_MIN = 0.03
"""A smaller dark part than this of the picture is dirt or a dark cell at the edge, no eyepiece."""


def visible_part(pixels: Pixels) -> Mask | None:
    """Return bool (H, W), True on the slide, or None where the whole picture shows slide.

    The slide is the convex hull of the largest bright region: a disc, or what the frame leaves of one, is convex,
    so dark cells at its rim do not bite into it.
    """
    h, w = pixels.shape[:2]
    ratio = min(1.0, WORKING_PX / max(h, w))
    step = max(1, max(h, w) // (3 * WORKING_PX))  # a third of the pixels each way is enough to average over
    size = max(1, round(w * ratio)), max(1, round(h * ratio))
    small = cv2.resize(pixels[::step, ::step], size, interpolation=cv2.INTER_AREA)
    red, green, blue = cv2.split(small)
    grey = cv2.GaussianBlur(cv2.max(cv2.max(red, green), blue), (0, 0), 1.5)
    bright = (grey >= BRIGHT * np.percentile(grey, 90)).astype(np.uint8)
    corners = bright[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners.sum() > 1:  # an eyepiece darkens the corners
        return None
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bright)
    if count < 2:
        return None
    largest = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    outlines, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(max(outlines, key=cv2.contourArea))
    disc = cv2.fillConvexPoly(np.zeros_like(bright), hull, 1)
    if 1 - disc.mean() < OUTSIDE_MIN or grey[disc == 0].mean() > BRIGHT * grey[disc == 1].mean():
        return None
    disc = cv2.erode(disc, np.ones((3, 3), np.uint8), borderValue=1)  # the rim itself is blurred and coloured
    return cv2.resize(disc, (w, h), interpolation=cv2.INTER_NEAREST).view(np.bool_)
