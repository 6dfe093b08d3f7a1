"""Finds where a JPEG grows brighter, darker or of another colour and stays so: damage that no decoder names.

Brightness and colour of each block are written as their difference from the block before. Where bytes are lost or
altered and the codes fall into step again, every later block is off by the same amount.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

STEP_MIN = 8.0
"""Grey levels of a step; of 1,760 real pictures none has one."""

COLOUR_STEP_MIN = 4.0
"""The same of a step in colour, which changes little across a smear."""

USUAL_TIMES = 8.0
"""By how many times a step is larger than what is usual between the picture's rows of blocks."""

EDGE_SHARE = 0.1
"""So near either side a step within a row cannot be told from a straight edge across the picture."""

OFF_MAX = 0.25
"""The median of each part of a row is so near the step, or none, as a part of the step; most blocks twice as near."""

STRUCTURE_MIN = 0.5
"""Deviation of a row of blocks on either side of a step, as a part of the usual one: that of a drawn margin is 0."""

CLEAR_MIN = 0.7
"""Share of the blocks of a row that must show the step, or none, as their place says."""


def has_block_step(pixels: NDArray[np.uint8], block: tuple[int, int]) -> bool:
    """Return whether blocks from one on are all brighter, darker or of another colour.

    Args:
        pixels: uint8 (h, w, 3) RGB, a picture at an eighth of its size.
        block: height and width, in its pixels, of what the file writes one after the other.
    """
    brightness, *colour = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb))
    return _has_step(brightness, block, STEP_MIN) or any(_has_step(one, block, COLOUR_STEP_MIN) for one in colour)


def _has_step(plane: Any, block: tuple[int, int], step_min: float) -> bool:
    rows, columns = plane.shape[0] // block[0], plane.shape[1] // block[1]
    if rows < 8 or columns < 12:
        return False
    cut = plane[: rows * block[0], : columns * block[1]].astype(np.float32)
    mean = cut.reshape(rows, block[0], columns, block[1]).mean((1, 3))
    change = np.diff(mean, axis=0)
    steps = np.median(change[:-1] + change[1:], axis=1)  # across the row in which it begins
    usual = float(np.median(np.abs(steps - np.median(steps))))
    candidates = np.nonzero(np.abs(steps) >= max(step_min, USUAL_TIMES * usual))[0]
    structure = mean.std(axis=1)
    shown = structure >= STRUCTURE_MIN * np.median(structure)
    return any(
        _begins_within(change[i] / steps[i], change[i + 1] / steps[i])
        or (shown[i] and shown[i + 1] and _is_step(change[i] / steps[i], change[i + 1] / steps[i], 0))
        for i in candidates
    )


def _begins_within(above: Any, below: Any) -> bool:
    """Return whether a step begins in a row: seen above from a column on, and below up to that column.

    Args:
        above: (columns,) change from the row above to this one, as a part of the step.
        below: the same from this row to the next.
    """
    columns = len(above)
    edge = max(4, round(EDGE_SHARE * columns))
    return any(_is_step(above, below, at) for at in range(edge, columns - edge))


def _is_step(above: Any, below: Any, at: int) -> bool:
    """Return whether a step begins at a column, 0 for a whole row: arguments as of `_begins_within`."""
    begun = np.arange(len(above)) >= at
    off = np.abs(above - begun), np.abs(below - ~begun)
    parts = [part for part in (above[begun] - 1, above[~begun], below[begun], below[~begun] - 1) if len(part)]
    return all(abs(np.median(part)) < OFF_MAX for part in parts) and all(
        bool((one < 2 * OFF_MAX).mean() > CLEAR_MIN) for one in off
    )
