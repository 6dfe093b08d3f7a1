"""Finds the white cell of a picture by the dye of its nucleus, which is the only large thing more blue than red."""

from __future__ import annotations

import cv2
import numpy as np

from edge.types import Pixels

SOFTENED = 1 / 80
"""Blur that closes the gaps between lobes, in widths of the picture."""
REACH = 0.12
"""Half of the side of the box round the nucleus, in widths of the picture: a white cell with some room."""


def white_cell(picture: Pixels) -> tuple[int, int, int, int] | None:
    """Return the box round the largest nucleus of uint8 (H, W, 3), within the picture.

    None where nothing is blue.
    """
    h, w = picture.shape[:2]
    soft = cv2.GaussianBlur(picture, (0, 0), max(0.3, w * SOFTENED))
    dye = cv2.subtract(soft[..., 2], soft[..., 0])
    _, mask = cv2.threshold(dye, 0, 255, cv2.THRESH_OTSU)
    _, _, patches, centres = cv2.connectedComponentsWithStats(mask)
    if len(patches) < 2:
        return None
    x, y = centres[1 + int(np.argmax(patches[1:, cv2.CC_STAT_AREA]))]
    reach = w * REACH
    return max(0, round(x - reach)), max(0, round(y - reach)), min(w, round(x + reach)), min(h, round(y + reach))
