"""What a file is decoded to, and how one that cannot be is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.camera.base import RejectedInputError
from edge.types import Pixels, Reason, Rejection

FULL_SHARE = 0.98
"""Share of the samples that a bit depth must hold; the rest may be hot pixels or a burnt-in scale bar."""


@dataclass(frozen=True, slots=True)
class DecodedField:
    """One field of view out of a file.

    Attributes:
        pixels: uint8 (H, W, 3) RGB, upright, read-only.
        name: the file's path, or `path#number` from 0 where a file has several.
        um_per_px: size of a pixel that the file states, None where it states none of a microscope.
        flags: names of `verdict.FLAGS` that say what is to be known of the file.
    """

    pixels: Pixels
    name: str
    um_per_px: float | None = None
    flags: tuple[str, ...] = ()


def unreadable(path: Path, why: str) -> RejectedInputError:
    """Return the error of a file that cannot be read, with the cause in words."""
    return RejectedInputError(f"{path} cannot be read: {why}", str(path), Rejection(Reason.UNREADABLE, 0.0, 1.0))


def check_size(path: Path, width: int, height: int, megapixels_max: float) -> None:
    """Raise RejectedInputError where a picture is larger than the limit."""
    megapixels = width * height / 1e6
    if megapixels > megapixels_max:
        raise RejectedInputError(
            f"{path} has {width}x{height} = {megapixels:.1f} megapixels; the limit is {megapixels_max:g}. "
            "Give a smaller image or raise quality.megapixels_max",
            str(path),
            Rejection(Reason.TOO_LARGE, megapixels, megapixels_max),
        )


def to_8_bit(pixels: NDArray[Any]) -> Pixels:
    """Bring uint8 or uint16 pixels to 8 bits by the depth that they use."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.asarray(np.minimum(pixels >> (depth_bits(pixels) - 8), 255), np.uint8)


def depth_bits(pixels: NDArray[Any]) -> int:
    """Return the depth that uint16 pixels use: the least of 8, 10, 12, 14 and 16 bits.

    A camera of 12 bits writes 0–4095 into a 16-bit file; divided by 256 as OpenCV does, it would be all but black.
    """
    above = [(pixels >> bits).astype(bool).mean() for bits in (8, 10, 12, 14)]
    return next((bits for bits, share in zip((8, 10, 12, 14), above, strict=True) if share <= 1 - FULL_SHARE), 16)
