"""Kind: bytes of a JPEG are lost, all behind them has another brightness or colour, and no decoder says so."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.camera.decode.block_step import has_block_step
from edge.camera.virtual.layout import SlideSpec
from edge.camera.virtual.slide import Slide
from edge.types import Pixels

BLOCKS = (2, 2)


@pytest.fixture(scope="module")
def eighth() -> Pixels:
    """Return a field as the check sees it, at an eighth of its size."""
    field = Slide(SlideSpec(seed=0, width=1280, height=960, um_per_px=0.12)).render(0)
    return np.asarray(cv2.resize(field, (160, 120), interpolation=cv2.INTER_AREA), np.uint8)


def off_from(pixels: Pixels, row: int, column: int, by: tuple[int, int, int]) -> Pixels:
    """Add Y, Cr and Cb to all blocks from one on, in the order in which they are written."""
    high, wide = BLOCKS
    changed = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb).astype(np.int16)
    changed[row * high : (row + 1) * high, column * wide :] += np.array(by, np.int16)
    changed[(row + 1) * high :] += np.array(by, np.int16)
    return np.asarray(cv2.cvtColor(changed.clip(0, 255).astype(np.uint8), cv2.COLOR_YCrCb2RGB), np.uint8)


@pytest.mark.parametrize("by", [(40, 0, 0), (-40, 0, 0), (0, 14, 0), (0, 0, -14)])
@pytest.mark.parametrize("column", [0, 2, 40, 78])
def test_a_step_is_found_wherever_in_a_row_it_begins(eighth: Pixels, by: tuple[int, int, int], column: int) -> None:
    """Where many cells end at one row of blocks it is not: in two of three rows it is."""
    found = [has_block_step(off_from(eighth, row, column, by), BLOCKS) for row in range(5, 55, 2)]
    assert np.mean(found) >= 0.67


def test_what_is_no_damage_is_left_alone(eighth: Pixels) -> None:
    assert not has_block_step(eighth, BLOCKS)
    for level in (0, 128, 255):  # a margin as broad as whole blocks
        framed = eighth.copy()
        framed[:40] = level
        assert not has_block_step(framed, BLOCKS)
    shade = eighth * np.linspace(1, 0.6, len(eighth))[:, None, None]
    assert not has_block_step(np.asarray(shade, np.uint8), BLOCKS)
