"""Finds what a program or a person drew round a field: margins, a vignette, windows of a screenshot.

A camera's picture has noise everywhere, and loses focus gradually. What is drawn is flat to the last bit, repeats its
edge row by row, or is blurred up to a line.
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

FADED_LEVELS = 3
"""The corners that a vignette drew are alike, and flat, to so many grey levels."""

FADED_MIN = 0.04
"""They are as broad as this part of the picture's shorter side at least."""

BLURRED = 0.5
"""A row of a blurred margin changes from pixel to pixel by less than this part of what is usual in the picture."""

BLURRED_BOUND = 12
"""A pixel's change counts up to so many grey levels, or one white cell would be the only sharp part of a picture."""

BLURRED_EVEN = 0.8
"""The narrower margin of the two is at least so broad, as a part of the other."""

BLURRED_STEP = 2.5
"""The first rows of the field change by so many times more than the margin's last: focus is lost gradually."""


def field_part(pixels: Pixels) -> Mask | None:
    """Return bool (H, W), True on the field, or None where the picture is all field.

    pixels: uint8 (H, W, 3).
    """
    h, w = pixels.shape[:2]
    green = cv2.extractChannel(pixels, 1)
    steps = _steps(green)
    flat = _flat_blocks(steps, (h, w))
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
    field[_faded(green, flat)] = 0
    field = cv2.erode(field, np.ones((3, 3), np.uint8), borderValue=1)  # its edge is blurred where it was compressed
    top, bottom = np.maximum(_repeated(green, 0), _blurred(steps, 0)).tolist()
    left, right = np.maximum(_repeated(green, 1), _blurred(steps, 1)).tolist()
    if field.all() and not (top or bottom or left or right):
        return None
    mask = cv2.resize(field, (w, h), interpolation=cv2.INTER_NEAREST).view(np.bool_)
    mask[:top], mask[h - bottom :], mask[:, :left], mask[:, w - right :] = False, False, False, False
    share = float(mask.mean())
    return mask if FIELD_MIN <= share <= 1 - OUTSIDE_MIN else None


def _steps(grey: Any) -> Any:
    """Return uint8 (H - 1, W - 1): by how much a pixel differs from those left of it and above it."""
    pixel = grey[1:, 1:]
    return cv2.max(cv2.absdiff(pixel, grey[:-1, 1:]), cv2.absdiff(pixel, grey[1:, :-1]))


def _flat_blocks(steps: Any, shape: tuple[int, int]) -> Mask:
    """Return bool (h, w) of the blocks of a picture of this shape: those in which hardly a pixel differs."""
    still = cv2.threshold(steps, FLAT_LEVELS, 255, cv2.THRESH_BINARY_INV)[1]
    flat = cv2.copyMakeBorder(still, 1, 0, 1, 0, cv2.BORDER_REPLICATE)
    size = max(1, shape[1] // BLOCK_PX), max(1, shape[0] // BLOCK_PX)
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


def _blurred(steps: Any, axis: int) -> tuple[int, int]:
    """Return how many rows (axis 0) or columns (axis 1) at the start and at the end are a blurred margin.

    Some programs fill what a picture leaves of a page with the same picture, enlarged and blurred. At one side alone,
    or much broader there, it is bare glass.
    """
    least = max(2, round(SIDE_MIN * min(steps.shape) / BLOCK_PX))
    single = cv2.reduce(np.minimum(steps, BLURRED_BOUND), 1 - axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
    blocks = single[: len(single) // BLOCK_PX * BLOCK_PX].reshape(-1, BLOCK_PX)
    change = np.median(blocks, axis=1)  # compression leaves lines between its blocks
    sharp = change > BLURRED * np.median(change[len(change) // 4 : -(len(change) // 4) or None])

    def margin(change: Any, sharp: Any) -> int:
        """Return how many blocks long the margin at the start is."""
        first = int(np.argmax(sharp))
        if first < least or not sharp.any():
            return 0
        within, beyond = change[: max(1, first - 1)].max(), np.median(change[first + 1 : first + 1 + least])
        return first if beyond >= BLURRED_STEP * within else 0

    start, end = margin(change, sharp), margin(change[::-1], sharp[::-1])
    if min(start, end) < BLURRED_EVEN * max(start, end):
        return 0, 0
    return start * BLOCK_PX, (end * BLOCK_PX + len(single) % BLOCK_PX) if end else 0


def _faded(grey: Any, flat: Mask) -> Mask:
    """Return bool (h, w), True on the blocks that a vignette covers whole: flat, and of one colour in each corner."""
    level: Any = cv2.resize(grey, flat.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.int16)
    side = max(2, round(FADED_MIN * min(flat.shape)))
    start, end = slice(side), slice(-side, None)
    corners = [np.s_[y, x] for y in (start, end) for x in (start, end)]
    levels = np.array([level[corner] for corner in corners])
    if not all(flat[corner].all() for corner in corners) or np.ptp(levels) > FADED_LEVELS:
        return np.zeros_like(flat)
    alike = flat & (np.abs(level - np.median(levels)) <= FADED_LEVELS)
    _, labels = cv2.connectedComponents(alike.view(np.uint8))
    return np.isin(labels, labels[[0, 0, -1, -1], [0, -1, 0, -1]])
