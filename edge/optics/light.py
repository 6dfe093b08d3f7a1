"""Whether a picture's light can be measured: neither dark nor at full scale."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.errors import InputError
from edge.types import Pixels

DARK_MIN = 0.3
"""Brightness of the background, part of full scale, below which the camera's noise and offset have too much say."""

CLIPPED_MAX = 0.005
"""Share of the pixels that may be at full scale in any channel: there, nobody knows how bright the light was."""


def refuse_bad_light(frames: Sequence[Pixels]) -> None:
    """Raise InputError for frames that are dark or partly at full scale.

    Dark is a dark background.
    """
    for number, pixels in enumerate(frames, start=1):
        small = thumbnail(pixels, 256)
        brightness = float(np.percentile(small.max(axis=2), 95)) / 255
        if brightness < DARK_MIN:
            raise InputError(
                f"picture {number} is too dark: its background is at {brightness:.0%} of full scale; at least "
                f"{DARK_MIN:.0%} is needed. Raise lamp or exposure"
            )
        clipped = float((pixels.max(axis=2) >= 254).mean())
        if clipped > CLIPPED_MAX:
            raise InputError(
                f"picture {number} is saturated: {clipped:.1%} of it is at full scale; at most {CLIPPED_MAX:.1%} is "
                "allowed. Lower lamp or exposure"
            )


def thumbnail(pixels: Pixels, side: int) -> Pixels:
    """Return the picture averaged down to at most that longest side, uint8 (h, w, 3)."""
    h, w = pixels.shape[:2]
    ratio = min(1.0, side / max(h, w))
    size = max(1, round(w * ratio)), max(1, round(h * ratio))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
