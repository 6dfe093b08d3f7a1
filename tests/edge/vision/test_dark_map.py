"""What is dark in every view: in dense fields few views must do, and shadows without a cell's size are let be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.types import Field, Mask, Pixels
from edge.vision.stationary.dark_map import Dark, DarkMap
from edge.vision.stationary.dirt import _found_on

SPECK, UM = (50, 40), 1.0
NOTHING = np.zeros((120, 160), np.bool_)
FIELD = Field(np.zeros((480, 640, 3), np.uint8), None, (0.0, 0.0), 0.25)


def view(rng: np.random.Generator, cells: int, depth: float, radius: int) -> Pixels:
    """Draw a view of 160×120 µm: cells at random places under a speck or shadow that takes away `depth`."""
    light = np.full((120, 160), 220.0)
    for x, y in rng.uniform(0, (160, 120), (cells, 2)).round().astype(int).tolist():
        cv2.circle(light, (x, y), 4, float(rng.uniform(110, 160)), -1, cv2.LINE_AA)
    shade = cv2.circle(np.ones((120, 160)), SPECK, radius, 1 - depth, -1, cv2.LINE_AA)
    grey = np.clip(light * shade + rng.normal(0, 1, light.shape), 0, 255)
    return np.repeat(grey[:, :, None], 3, 2).astype(np.uint8)


def sure(dark: DarkMap, masked: Mask, faint: bool) -> list[Dark]:
    """Return the parts that are dirt without a box."""
    return [part for part in dark.parts(masked, faint=faint) if part.evidence >= dark.sure]


def dark_after(views: int, cells: int, depth: float, radius: int = 3) -> tuple[DarkMap, bool, bool]:
    """Return the map after so many views, and whether the speck is plainly and faintly dirt."""
    rng = np.random.default_rng(7)
    dark = DarkMap((120, 160), UM)
    for number in range(views):
        dark.add(number, view(rng, cells, depth, radius), FIELD)
    found = []
    for faint in (False, True):
        parts = sure(dark, NOTHING, faint)
        found.append(any(bool(((part.where[0] == SPECK[1]) & (part.where[1] == SPECK[0])).any()) for part in parts))
        elsewhere = [part for part in parts if np.hypot(part.where[1] - SPECK[0], part.where[0] - SPECK[1]).min() > 12]
        assert not elsewhere
    return dark, found[0], found[1]


@pytest.mark.parametrize("cells", [60, 170])
def test_a_speck_is_dirt_after_nine_views_of_sparse_and_of_dense_fields(cells: int) -> None:
    assert dark_after(9, cells, 0.4)[1:] == (True, True)
    assert dark_after(9, cells, 0.0)[1:] == (False, False)


def test_a_faint_speck_is_dirt_where_something_was_counted_on_it() -> None:
    dark, plain, faint = dark_after(9, 60, 0.09)
    assert (plain, faint) == (False, True)
    part = sure(dark, NOTHING, True)[0]
    middle = SPECK[0] + 0.5 + 1j * (SPECK[1] + 0.5)
    assert _found_on(part, np.array([middle + 0.5], np.complex64))
    assert not _found_on(part, np.array([middle + 4], np.complex64))
    assert not _found_on(part, np.zeros(0, np.complex64))


def test_a_wide_faint_shadow_is_let_be() -> None:
    assert dark_after(9, 60, 0.09, radius=9)[1:] == (False, False)


@pytest.mark.parametrize("faint", [False, True])
def test_the_rest_of_a_speck_that_is_masked_in_part_is_found(faint: bool) -> None:
    dark, *_ = dark_after(9, 60, 0.4, radius=5)
    half = NOTHING.copy()
    half[:, : SPECK[0]] = True
    parts = [part for part in sure(dark, half, faint) if abs(part.where[0] - SPECK[1]).max() < 9]
    assert parts
    assert all(part.where[1].min() >= SPECK[0] for part in parts)


def test_the_mask_of_a_needle_does_not_grow_by_cells_that_lie_beside_it_by_chance() -> None:
    """Kind: each place beside it is dark in five views of a long sample one day, and the needle lent it its proof."""
    rng, dark, mask = np.random.default_rng(7), DarkMap((120, 160), UM), NOTHING.copy()
    needle = cv2.line(np.ones((120, 160)), SPECK, (110, 40), 0.6, 3, cv2.LINE_AA)
    found = []
    for number in range(30):
        pixels = (view(rng, 170, 0.0, 0) * needle[:, :, None]).astype(np.uint8)
        dark.add(number, pixels, FIELD)
        for part in sure(dark, mask, False):
            mask[part.where] = True
        found.append(int(mask[25:56, 40:120].sum()))
    assert mask[39:42, 50:111].mean() > 0.9
    assert found[4] == found[-1]
