"""Eight measures of a cell's mask, after the shape features of the literature on erythrocytesIDB."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.types import Floats
from training.bench.datasets.labelled_cell import Sample
from training.data.datasets import DataError

SHAPE = "shape"

MEASURES = ("area", "perimeter", "circularity", "aspect_ratio", "solidity", "extent", "eccentricity", "defect")
"""What `shapes` gives; px, px², or no unit. defect: depth of the deepest dent, in diameters of a circle as large."""


def shapes(samples: Sequence[Sample]) -> Floats:
    """Return MEASURES of each cell's mask, float32 (N, 8).

    Raises DataError for a cell without one.
    """
    return np.array([_measured(s) for s in samples], np.float32)


def _measured(sample: Sample) -> list[float]:
    if sample.mask is None:
        raise DataError(f"{sample.path} has no mask: shapes are measured on sets with masks, such as erythrocytes_idb1")
    mask = cv2.imread(str(sample.mask), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DataError(f"mask {sample.mask} cannot be read as an image")
    contours, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        raise DataError(f"mask {sample.mask} is black: no cell is in it")
    cell = max(contours, key=cv2.contourArea)
    area, perimeter = max(1.0, cv2.contourArea(cell)), cv2.arcLength(cell, True)
    (_, (width, height), _), (_, _, w, h) = cv2.minAreaRect(cell), cv2.boundingRect(cell)
    hull = cv2.convexHull(cell, returnPoints=False)
    defects = cv2.convexityDefects(cell, hull) if len(hull) > 3 else None
    deepest = 0.0 if defects is None else float(defects[..., 3].max()) / 256
    moments = cv2.moments(cell)
    a, b, c = (moments[k] / max(1.0, moments["m00"]) for k in ("mu20", "mu02", "mu11"))
    spread = np.sqrt(((a - b) / 2) ** 2 + c**2)
    long, short = (a + b) / 2 + spread, max(1e-6, (a + b) / 2 - spread)
    return [area, perimeter, 4 * np.pi * area / perimeter**2, max(width, height) / max(1.0, min(width, height)),
            area / max(1.0, cv2.contourArea(cv2.convexHull(cell))), area / (w * h), float(np.sqrt(1 - short / long)),
            deepest / np.sqrt(4 * area / np.pi)]  # fmt: skip
