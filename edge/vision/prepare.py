"""From a frame to a field at the canonical scale, by the same functions for the device and for calibration."""

from __future__ import annotations

import cv2
import numpy as np

from edge.types import CANONICAL_UM_PER_PX, Field, Mask, Pixels, Scale
from edge.vision.scale import to_canonical


def bounded(pixels: Pixels, visible: Mask | None) -> tuple[Pixels, Mask | None, tuple[int, int]]:
    """Cut picture and mask to the box round what can be seen; returns them and the (x, y) of the box's corner."""
    if visible is None:
        return pixels, None, (0, 0)
    x, y, w, h = cv2.boundingRect(visible.astype(np.uint8))
    return pixels[y : y + h, x : x + w], visible[y : y + h, x : x + w], (x, y)


def canonical_field(slide: Pixels, visible: Mask | None, corner: tuple[int, int], scale: Scale) -> Field:
    """Bring the seen part of a frame to the canonical scale."""
    pixels = to_canonical(slide, scale.um_per_px)
    h, w = pixels.shape[:2]
    mask = None
    if visible is not None:
        mask = cv2.resize(visible.view(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST).view(np.bool_)
    return Field(pixels, mask, (float(corner[0]), float(corner[1])), CANONICAL_UM_PER_PX / scale.um_per_px)
