"""Finds where a JPEG grows brighter or darker within a row of its blocks and stays so: damage that no decoder names.

The brightness of each block is written as its difference from the block before. Where bytes are lost or altered and
the codes fall into step again, every later block is off by the same amount.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP_MIN = 8.0
"""Grey levels of a step; of 1,760 real pictures none has one."""

USUAL_TIMES = 8.0
"""By how many times a step is larger than what is usual between the picture's rows of blocks."""

EDGE_SHARE = 0.1
"""So near either side a step within a row cannot be told from a straight edge across the picture."""

OFF_MAX = 0.25
"""The median of each part of a row is so near the step, or none, as a part of the step; most blocks twice as near."""

CLEAR_MIN = 0.7
"""Share of the blocks of a row that must show the step, or none, as their place says."""


def has_block_step(grey: NDArray[np.uint8], block: tuple[int, int]) -> bool:
    """Return whether all blocks from one on are brighter or darker than those before.

    Args:
        grey: uint8 (h, w), a picture at an eighth of its size.
        block: height and width, in its pixels, of what the file writes one after the other.
    """
    rows, columns = grey.shape[0] // block[0], grey.shape[1] // block[1]
    if rows < 8 or columns < 12:
        return False
    cut = grey[: rows * block[0], : columns * block[1]].astype(np.float32)
    change = np.diff(cut.reshape(rows, block[0], columns, block[1]).mean((1, 3)), axis=0)
    steps = np.median(change[:-1] + change[1:], axis=1)  # across the row in which it begins
    usual = float(np.median(np.abs(steps - np.median(steps))))
    candidates = np.nonzero(np.abs(steps) >= max(STEP_MIN, USUAL_TIMES * usual))[0]
    return any(_begins_within(change[i] / steps[i], change[i + 1] / steps[i]) for i in candidates)


def _begins_within(above: Any, below: Any) -> bool:
    """Return whether a step begins in a row: seen above from a column on, and below up to that column.

    Args:
        above: (columns,) change from the row above to this one, as a part of the step.
        below: the same from this row to the next.
    """
    columns = len(above)
    edge = max(4, round(EDGE_SHARE * columns))
    for at in range(edge, columns - edge):
        begun = np.arange(columns) >= at
        off = np.abs(above - begun), np.abs(below - ~begun)
        parts = (above[begun] - 1, above[~begun], below[begun], below[~begun] - 1)
        if all(abs(np.median(part)) < OFF_MAX for part in parts) and all(
            (one < 2 * OFF_MAX).mean() > CLEAR_MIN for one in off
        ):
            return True
    return False
