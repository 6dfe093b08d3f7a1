"""Finds what a program or a person drew round a field: margins, windows of a screenshot, the twin of a stereo pair.

A camera's picture has noise everywhere. What is drawn is flat to the last bit, or repeats its edge row by row; and no
two halves of a smear are alike.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import Mask, Pixels

BLOCK_PX = 8
"""Side of the blocks of which each is flat or not."""

FLAT_LEVELS = 1
"""A pixel that differs by no more from its neighbours, in grey levels, is flat."""

FLAT_SHARE = 0.9
"""A block is flat when so many of its pixels are; a letter is no wider than what remains."""

SIDE_MIN = 0.03
"""Drawn parts are broader and higher than this part of the picture's shorter side: glass between cells is not."""

OUTSIDE_MIN = 0.02
"""A smaller part of the picture than this round the field changes nothing."""

NOTCH_MIN = 0.1
"""The same within the rectangle that the field fills, such as a tile that a mosaic lacks."""

CORNERS_MAX = 20
"""Windows, tiles and discs have simpler outlines; bare glass, which some cameras smooth, ends at cells: 29 corners."""

PANEL_FLAT = 0.3
"""Share of flat blocks in a row or column of a panel beside the field; a camera's row has hardly any."""

FIELD_MIN = 0.1
"""The field takes at least this part of the picture; else the flat parts are the picture's own."""

TWIN_PX = 128
"""Longer side of a half, as it is compared with the other."""

TWIN_MIN = 0.6
"""Correlation from which two halves are one place; halves of smears do not reach half of it."""


def field_part(pixels: Pixels) -> Mask | None:
    """Return bool (H, W), True on the field, or None where the picture is all field.

    pixels: uint8 (H, W, 3).
    """
    h, w = pixels.shape[:2]
    green = cv2.extractChannel(pixels, 1)
    flat = _flat_blocks(green)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~_reaching_the_edge(flat)).astype(np.uint8))
    if count < 2:
        return None
    field = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    x, y, across, down = cv2.boundingRect(field)
    whole = np.zeros_like(field)
    whole[y : y + down, x : x + across] = 1
    if whole.mean() <= 1 - OUTSIDE_MIN:
        _trim(whole, flat)
    # Windows and margins end in straight lines; an irregular rim is bare glass.
    missing = (whole.sum() - (field & whole).sum()) / field.size
    field = field & whole if missing >= NOTCH_MIN and _corners(field) <= CORNERS_MAX else whole
    field = cv2.erode(field, np.ones((3, 3), np.uint8), borderValue=1)  # its edge is blurred where it was compressed
    (top, bottom), (left, right) = _repeated(green, 0), _repeated(green, 1)
    if field.all() and not (top or bottom or left or right):
        return None
    mask = cv2.resize(field, (w, h), interpolation=cv2.INTER_NEAREST).view(np.bool_)
    mask[:top], mask[h - bottom :], mask[:, :left], mask[:, w - right :] = False, False, False, False
    share = float(mask.mean())
    return mask if FIELD_MIN <= share <= 1 - OUTSIDE_MIN else None


def one_half(pixels: Pixels, field: Mask | None = None) -> Mask | None:
    """Return bool (H, W), True on the first half of a field whose halves show one place.

    Or on a half of that half, cut the other way; what repeats more often is a pattern and no smear. None for all else.

    Args:
        pixels: uint8 (H, W, 3).
        field: bool (H, W), True on the field; None where all of it is. What is round it would be alike in both halves.
    """
    x, y, w, h = (0, 0, pixels.shape[1], pixels.shape[0]) if field is None else cv2.boundingRect(field.view(np.uint8))
    across, down = w, h
    for _ in range(2):
        small = _shrunk(pixels[y : y + down, x : x + across])
        middle_y, middle_x = small.shape[0] // 2, small.shape[1] // 2
        if across == w and _likeness(small[:, :middle_x], small[:, -middle_x:]) >= TWIN_MIN:
            across //= 2
        elif down == h and _likeness(small[:middle_y], small[-middle_y:]) >= TWIN_MIN:
            down //= 2
        else:
            break
    if (across, down) == (w, h):
        return None
    mask = np.zeros(pixels.shape[:2], np.bool_)
    mask[y : y + down, x : x + across] = True
    return mask


def _flat_blocks(grey: Any) -> Mask:
    """Return bool (h, w) of blocks: those in which hardly a pixel differs from its neighbours."""
    pixel = grey[1:, 1:]
    steps = cv2.max(cv2.absdiff(pixel, grey[:-1, 1:]), cv2.absdiff(pixel, grey[1:, :-1]))
    still = cv2.threshold(steps, FLAT_LEVELS, 255, cv2.THRESH_BINARY_INV)[1]
    flat = cv2.copyMakeBorder(still, 1, 0, 1, 0, cv2.BORDER_REPLICATE)
    size = max(1, grey.shape[1] // BLOCK_PX), max(1, grey.shape[0] // BLOCK_PX)
    return np.asarray(cv2.resize(flat, size, interpolation=cv2.INTER_AREA) >= FLAT_SHARE * 255, np.bool_)


def _reaching_the_edge(flat: Mask) -> Mask:
    """Return the flat blocks that reach the picture's edge, in parts as broad as windows are."""
    side = 2 * max(1, round(SIDE_MIN * min(flat.shape) / 2)) + 1  # odd, so that an opening moves nothing
    # The frame round it is flat too, or a margin narrower than the kernel would be lost.
    framed = cv2.copyMakeBorder(flat.astype(np.uint8), side, side, side, side, cv2.BORDER_CONSTANT, value=1)
    opened: Any = cv2.morphologyEx(framed, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    _, labels = cv2.connectedComponents(opened)
    inside: Mask = (labels == labels[0, 0])[side:-side, side:-side]
    return inside


def _trim(field: Any, flat: Mask) -> None:
    """Take from the sides of a field, blocks in place, what is as flat as a panel with buttons and letters."""
    for turns in range(4):
        rows, still = np.rot90(field, turns), np.rot90(flat, turns)
        for row, of in zip(rows, still, strict=True):
            if row.any():
                if of[row > 0].mean() < PANEL_FLAT:
                    break
                row[:] = 0


def _corners(field: Any) -> int:
    """Return how many corners the outline of a field has, uint8 (h, w) of blocks."""
    outlines, _ = cv2.findContours(field, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return len(cv2.approxPolyDP(max(outlines, key=cv2.contourArea), SIDE_MIN * min(field.shape), True))


def _repeated(grey: Any, axis: int) -> tuple[int, int]:
    """Return how many rows (axis 0) or columns (axis 1) at the start and at the end repeat the one further in."""
    least = int(SIDE_MIN * min(grey.shape))
    near = least + 2
    first, last = (grey[:near], grey[-near:]) if axis == 0 else (grey[:, :near], grey[:, -near:])
    if len(_moving(first, axis)) and len(_moving(last, axis)):  # so it is in nearly every picture
        return 0, 0
    moving, count = _moving(grey, axis), grey.shape[axis] - 1
    if not len(moving):
        return 0, 0
    start, end = int(moving[0]), int(count - 1 - moving[-1])
    return start if start > least else 0, end if end > least else 0


def _moving(grey: Any, axis: int) -> NDArray[np.intp]:
    """Return which rows (axis 0) or columns (axis 1) differ from the next."""
    one, next_ = (grey[:-1], grey[1:]) if axis == 0 else (grey[:, :-1], grey[:, 1:])
    step = cv2.reduce(cv2.absdiff(one, next_), 1 - axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
    return np.nonzero(step > FLAT_LEVELS / 4)[0]


def _shrunk(pixels: Pixels) -> Pixels:
    """Return a picture halved until its halves are hardly larger than they are compared: quicker than in one step."""
    while max(pixels.shape[:2]) >= 4 * TWIN_PX:
        h, w = (side // 2 for side in pixels.shape[:2])
        pixels = np.asarray(cv2.resize(pixels[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA))
    return pixels


def _likeness(first: Pixels, second: Pixels) -> float:
    """Return the highest correlation of the middle of one half with the other, both without their light."""
    ratio = TWIN_PX / max(first.shape[:2])
    size = max(16, round(first.shape[1] * ratio)), max(16, round(first.shape[0] * ratio))
    one, other = (_without_light(cv2.resize(half, size, interpolation=cv2.INTER_AREA)) for half in (first, second))
    y, x = size[1] // 8, size[0] // 8
    middle = np.ascontiguousarray(one[y : size[1] - y, x : size[0] - x])
    if middle.std() < 1 or other.std() < 1:
        return 0.0
    return float(cv2.matchTemplate(other, middle, cv2.TM_CCOEFF_NORMED).max())


def _without_light(picture: Any) -> NDArray[np.float32]:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), TWIN_PX / 16), np.float32)
