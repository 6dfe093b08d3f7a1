"""Finds the second view of a place: a stereo pair, or a picture beside itself, however it is turned or mirrored.

No two halves of a smear are alike.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import Mask, Pixels

TWIN_PX = 128
"""Longer side of a half, as it is compared with the other."""

TWIN_MIN = 0.6
"""Correlation from which two halves are one place; halves of smears do not reach half of it."""

TURNED_MIN = 0.93
"""The same for a half that was turned or mirrored: 0.98 at least; a round cell across the middle reaches 0.85."""

BOUND = 2.5
"""What stands out most is bounded, in usual deviations."""

TURNED_MOVE = 0.02
"""A half that a program turned or mirrored lies where the other does, but for this part of its longer side."""


COARSE, COARSE_MIN = 0.5, 0.45
"""At this part of the size halves are compared first, which are a quarter of the pixels; unlike there, they are not
one place."""


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
        part = np.s_[y : y + down, x : x + across]
        axis = _one_place(pixels[part], None if field is None else field[part], across == w, down == h)
        if axis is None:
            break
        across, down = (across // 2, down) if axis == 1 else (across, down // 2)
    if (across, down) == (w, h):
        return None
    mask = np.zeros(pixels.shape[:2], np.bool_)
    mask[y : y + down, x : x + across] = True
    return mask


def _shrunk(pixels: Pixels) -> Pixels:
    """Return a picture halved until its halves are hardly larger than they are compared: quicker than in one step."""
    while max(pixels.shape[:2]) >= 4 * TWIN_PX:
        h, w = (side // 2 for side in pixels.shape[:2])
        pixels = np.asarray(cv2.resize(pixels[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA))
    return pixels


def _detail(pixels: Pixels, field: Mask | None, ratio: float) -> NDArray[np.float32]:
    """Return what varies by single cells, float32 (h, w), what stands out most bounded, and 0 beside the field.

    ratio: by which it is smaller than halves are compared at last.
    """
    small = cv2.cvtColor(_shrunk(pixels), cv2.COLOR_RGB2GRAY)
    zoom = ratio * 2 * TWIN_PX / max(small.shape)
    size = max(32, round(small.shape[1] * zoom)), max(32, round(small.shape[0] * zoom))
    grey = cv2.resize(small, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    sigma = ratio * TWIN_PX / 16
    if field is None:
        detail = grey - cv2.GaussianBlur(grey, (0, 0), sigma)
        usual = float(np.median(np.abs(detail)))
    else:  # the rim of an eyepiece is the same in both halves
        inside = cv2.resize(field.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        rim = np.ones((5, 5) if ratio == 1 else (3, 3), np.uint8)
        seen = cv2.erode(inside, rim, borderValue=1).astype(np.float32)
        share = np.maximum(cv2.GaussianBlur(seen, (0, 0), sigma), 1e-3)
        detail = (grey - cv2.GaussianBlur(grey * seen, (0, 0), sigma) / share) * seen
        usual = float(np.median(np.abs(detail[seen > 0]))) if seen.any() else 0.0
    bound = BOUND * 1.4826 * usual
    return np.asarray(np.clip(detail, -bound, bound), np.float32)


def _one_place(pixels: Pixels, field: Mask | None, across: bool, down: bool) -> int | None:
    """Return the axis of a picture whose halves show one place; None where they do not.

    across, down: whether it is cut so.
    """
    axes = [axis for axis, cut in ((1, across), (0, down)) if cut]
    for ratio, least in ((COARSE, COARSE_MIN), (1.0, TWIN_MIN)):
        detail = _detail(pixels, field, ratio)
        axes = [axis for axis in axes if _likeness(*_cut(detail, axis), ratio) >= least]
        if not axes:
            return None
    return axes[0]


def _cut(detail: NDArray[np.float32], axis: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return both halves of a picture cut across (axis 1) or down (axis 0)."""
    middle = detail.shape[axis] // 2
    return (detail[:, :middle], detail[:, -middle:]) if axis == 1 else (detail[:middle], detail[-middle:])


def _likeness(one: NDArray[Any], other: NDArray[Any], ratio: float) -> float:
    """Return the highest correlation of the middle of one half with the other.

    With the other's turned and mirrored views too, whose correlation counts for less. ratio: by which both are smaller.
    """
    h, w = one.shape
    y, x = h // 8, w // 8
    middle = np.ascontiguousarray(one[y : h - y, x : w - x])
    if middle.std() < 1 or other.std() < 1:
        return 0.0
    move = max(1, round(TURNED_MOVE * TWIN_PX * ratio))
    near = np.s_[y - move : h - y + move, x - move : w - x + move]
    return max(
        _highest(other, middle), *(_highest(view[near], middle) * TWIN_MIN / TURNED_MIN for view in _turned(other))
    )


def _highest(picture: NDArray[Any], part: NDArray[Any]) -> float:
    return float(cv2.matchTemplate(picture, part, cv2.TM_CCOEFF_NORMED).max())


def _turned(picture: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the other views of a picture that have its shape: mirrored and turned by half, a square by quarters."""
    turns = range(4) if picture.shape[0] == picture.shape[1] else (0, 2)
    views = [np.rot90(view, turn) for view in (picture, picture[::-1]) for turn in turns]
    return [np.ascontiguousarray(view) for view in views[1:]]
