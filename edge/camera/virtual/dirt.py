"""Dirt in the optics of a rendered slide: it stays in the picture while the slide moves under it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from edge.types import Floats


@dataclass(frozen=True, slots=True)
class Dirt:
    """A speck, or a needle or pointer, that takes light away.

    x, y: its middle as a share of the picture's width and height. length_um, width_um: of an ellipse; turned_deg: from
    x to y. density: optical density in its middle. blur_um: standard deviation of its defocus. first_field: the field
    from which on it is there.
    """

    x: float
    y: float
    length_um: float
    width_um: float
    turned_deg: float = 0.0
    density: float = 0.5
    blur_um: float = 0.3
    first_field: int = 0

    def drawn(self, height: int, width: int, um_per_px: float) -> Floats:
        """Return the optical density that it adds to a picture, float32 (height, width)."""
        plane = np.zeros((height, width), np.float32)
        middle = (self.x * width, self.y * height)
        size = (max(1.0, self.length_um / um_per_px), max(1.0, self.width_um / um_per_px))
        cv2.ellipse(plane, (middle, size, self.turned_deg), self.density, -1, cv2.LINE_AA)
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), max(0.3, self.blur_um / um_per_px)), np.float32)

    @property
    def reach_um(self) -> float:
        """From its middle to its farthest point, with its blur."""
        return math.hypot(self.length_um, self.width_um) / 2 + self.blur_um
