"""Pictures of what a calibration changes: before on the left, after on the right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.errors import InputError
from edge.optics.micrometer import Lines
from edge.system.atomic_files import aside, move, storage_errors
from edge.types import Pixels

WIDTH_PX = 640
"""Of each of the two pictures."""

CAPTION_PX = 28

STRETCH = 8
"""How much unevenness of the light is exaggerated, so that the eye can see it."""

ORANGE = (230, 120, 0)

Row = tuple[str, Pixels, str, Pixels]
"""Caption and picture before, caption and picture after."""


def write_picture(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as one PNG, whole or not at all.

    Raises InputError for another suffix, StorageError.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"--show is {path}; expected a name that ends in .png")
    with aside(path.absolute().parent) as folder:
        with storage_errors(path):
            (folder / path.name).write_bytes(encoded(rows, ".png"))
        move(folder / path.name, path.absolute())


def encoded(rows: Sequence[Row], suffix: str, narrow: bool = False) -> bytes:
    """Return the rows as one picture, in the format of a file name's suffix.

    narrow: before above after, for a phone; else beside it.
    """
    join = np.vstack if narrow else np.hstack
    drawn = [join([_captioned(before, one), _captioned(after, two)]) for before, one, after, two in rows]
    picture = cv2.cvtColor(np.vstack(drawn), cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(suffix, picture)[1].tobytes())


def _captioned(caption: str, pixels: Pixels) -> Pixels:
    height = max(1, round(pixels.shape[0] * WIDTH_PX / pixels.shape[1]))
    sized = cv2.resize(pixels, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    strip = np.full((CAPTION_PX, WIDTH_PX, 3), 255, np.uint8)
    cv2.putText(strip, caption, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(np.vstack([strip, sized]), np.uint8)


def exaggerated(pixels: Pixels) -> Pixels:
    """Return a picture whose differences from its usual brightness are STRETCH times as large."""
    smooth = cv2.GaussianBlur(pixels, (0, 0), max(1.0, max(pixels.shape[:2]) / 100)).astype(np.float32)
    stretched = 128 + STRETCH * (smooth - np.median(smooth, axis=(0, 1)))
    return np.asarray(np.clip(stretched, 0, 255), np.uint8)


def with_lines(pixels: Pixels, lines: Lines) -> Pixels:
    """Return the picture with the found lines drawn over it."""
    drawn: Pixels = pixels.copy()
    along = math.radians(lines.angle_deg)
    step = np.array([math.cos(along), math.sin(along)])
    reach = np.array([-step[1], step[0]]) * max(pixels.shape[:2])
    for offset in lines.offsets_px:
        middle = np.array(lines.centre) + offset * step
        ends = [tuple(np.round(end).astype(int).tolist()) for end in (middle - reach, middle + reach)]
        cv2.line(drawn, ends[0], ends[1], ORANGE, max(1, round(max(pixels.shape) / 900)), cv2.LINE_AA)
    return drawn
