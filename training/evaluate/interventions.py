"""Changes of whole fields that ask what a network has learnt: another set's look, no colour, no sickle cells, or more.

All take and return pictures uint8 (H, W, 3) RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.types import CANONICAL_UM_PER_PX, Floats, Mask, Pixels
from edge.vision.field_mask import visible_part
from edge.vision.scale import to_canonical

# --- colour ---------------------------------------------------------------------------------------------------------


def grey_histogram(pixels: Pixels) -> Floats:
    """Return the distribution (256,) of the grey values of what can be seen of the slide.

    Sums to 1.
    """
    grey, visible = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), visible_part(pixels)
    counts = np.bincount(grey[visible] if visible is not None else grey.ravel(), minlength=256)
    return np.asarray(counts / counts.sum(), np.float32)


def grey_matched(pixels: Pixels, histogram: Floats) -> Pixels:
    """Take the colour away and give the grey values of the slide a given distribution."""
    mine, wanted = np.cumsum(grey_histogram(pixels)), np.cumsum(histogram)
    table = np.interp(mine, wanted, np.arange(256)).astype(np.uint8)
    plain, visible = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8), visible_part(pixels)
    grey = table[plain] if visible is None else np.where(visible, table[plain], plain)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def slide_part(pixels: Pixels) -> Mask:
    """Return bool (H, W), True on the slide and away from the eyepiece's rim.

    The rim is dark and blurred.
    """
    visible = visible_part(pixels)
    if visible is None:
        return np.ones(pixels.shape[:2], bool)
    rim = max(3, min(pixels.shape[:2]) // 30)
    return cv2.erode(visible.astype(np.uint8), np.ones((rim, rim), np.uint8), borderValue=1) > 0


def foreground(pixels: Pixels, visible: Mask | None = None) -> Mask:
    """Return bool (H, W): cells, which are darker in green than the glass (Otsu 1979)."""
    green = cv2.GaussianBlur(pixels[:, :, 1], (0, 0), 1.0)
    inside = green[visible] if visible is not None and visible.any() else green.ravel()
    limit, _ = cv2.threshold(inside.reshape(1, -1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark: Mask = green <= limit
    return dark if visible is None else dark & visible


# --- the look of another field --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Appearance:
    """What a camera and a stain make of a field.

    glass (3,): colour of bare glass, 0–255; stain (3,): mean absorbance of cells; focus: contrast of fine details as a
    part of all contrast at the canonical scale; noise: standard deviation, grey values; um_per_px: its resolution.
    """

    glass: Floats
    stain: Floats
    focus: float
    noise: float
    um_per_px: float


def appearance_of(pixels: Pixels, um_per_px: float) -> Appearance:
    """Measure the look of a field of known scale."""
    slide = slide_part(pixels)
    cells = foreground(pixels, slide)
    bare = ~cells & slide
    glass = np.median(pixels[bare], axis=0) if bare.any() else np.array([255.0] * 3)
    absorbed = _absorbance(pixels[cells], glass).mean(0) if cells.any() else np.array([0.1] * 3)
    stain = np.maximum(absorbed, 0.01).astype(np.float32)
    return Appearance(glass.astype(np.float32), stain, _focus(pixels, um_per_px, slide), _noise(pixels), um_per_px)


def with_look(pixels: Pixels, mine: Appearance, wanted: Appearance, rng: np.random.Generator) -> Pixels:
    """Give a field the colour, resolution, blur or sharpness, and noise of another.

    What a camera has lost cannot be brought back: a coarser or noisier picture stays so.
    """
    absorbed = _absorbance(pixels, mine.glass) * (wanted.stain / mine.stain)
    changed = np.clip(wanted.glass * np.exp(-absorbed), 0, 255).astype(np.uint8)
    if wanted.um_per_px > mine.um_per_px:
        h, w = pixels.shape[:2]
        ratio = mine.um_per_px / wanted.um_per_px
        small = cv2.resize(changed, (max(1, round(w * ratio)), max(1, round(h * ratio))), interpolation=cv2.INTER_AREA)
        changed = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    changed = _refocused(changed, mine.um_per_px, slide_part(pixels), wanted.focus)
    missing = np.sqrt(max(0.0, wanted.noise**2 - _noise(changed) ** 2))
    noisy = changed + rng.normal(0, missing, changed.shape)
    dark = visible_part(pixels)
    if dark is not None:
        noisy[~dark] = pixels[~dark]  # the rim of the eyepiece has no stain
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _absorbance(pixels: Pixels, glass: np.ndarray) -> np.ndarray:
    return np.asarray(-np.log(np.maximum(pixels, 1) / np.maximum(glass, 1)))


def _focus(pixels: Pixels, um_per_px: float, slide: Mask) -> float:
    grey = cv2.cvtColor(to_canonical(pixels, um_per_px), cv2.COLOR_RGB2GRAY).astype(np.float32)
    h, w = grey.shape
    seen = cv2.resize(slide.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST) > 0
    fine, coarse = cv2.GaussianBlur(grey, (0, 0), 0.8), cv2.GaussianBlur(grey, (0, 0), 1.8)
    return float((fine - coarse)[seen].std() / (coarse[seen].std() + 1.0))


def _noise(pixels: Pixels) -> float:
    """Return the noise's standard deviation (Immerkær 1996, with the median in place of the mean)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    second = cv2.filter2D(pixels[:, :, 1].astype(np.float32), -1, kernel)
    return float(np.median(np.abs(second)) / 0.6745 / 6)


def _refocused(pixels: Pixels, um_per_px: float, slide: Mask, wanted: float) -> Pixels:
    """Blur, or sharpen, until the focus is the wanted one; by halving the interval of strengths."""
    sharper = _focus(pixels, um_per_px, slide) < wanted
    sigma = CANONICAL_UM_PER_PX / um_per_px

    def changed(strength: float) -> Pixels:
        if not sharper:
            return cv2.GaussianBlur(pixels, (0, 0), max(0.05, strength * sigma)).astype(np.uint8)
        soft = cv2.GaussianBlur(pixels, (0, 0), sigma)
        return cv2.addWeighted(pixels, 1 + strength, soft, -strength, 0).astype(np.uint8)

    low, high = 0.0, 2.5
    for _ in range(6):
        middle = (low + high) / 2
        enough = (_focus(changed(middle), um_per_px, slide) < wanted) != sharper
        low, high = (low, middle) if enough else (middle, high)
    return changed((low + high) / 2)


# --- cells taken out and put in -------------------------------------------------------------------------------------

FEATHER_PX = 1.5
"""Width of the soft edge of a change, in pixels of the file."""

CUT_MIN = 0.5
"""The cell of a box has been found if one part of what was is so long, as a part of the box: of a cell too pale for its
surroundings only specks beside it are. A look at what 0.4.0 was asked to find, 270 cells, showed some 60 of them."""


def _around(box: Floats, shape: tuple[int, ...], grow: float) -> tuple[slice, slice]:
    """Return rows and columns of a box grown by a part of its sides, cut by the picture."""
    x0, y0, x1, y1 = (float(v) for v in box)
    dx, dy = (x1 - x0) * grow, (y1 - y0) * grow
    return (slice(max(0, int(y0 - dy)), min(shape[0], int(y1 + dy) + 1)),
            slice(max(0, int(x0 - dx)), min(shape[1], int(x1 + dx) + 1)))  # fmt: skip


def _within(box: Floats, shape: tuple[int, ...], where: tuple[slice, slice], grow: float) -> Mask:
    """Return which pixels of the part `where` of a picture lie in a box grown by a part of its sides."""
    inside = np.zeros(shape[:2], bool)
    inside[_around(box, shape, grow)] = True
    part: Mask = inside[where]
    return part


def cell_in(pixels: Pixels, box: Floats) -> tuple[Mask, bool, tuple[slice, slice]]:
    """Return what of the surroundings of a box is its cells.

    A mask, whether they lie free in it, and where it lies.

    Cells that reach far out of the box touch others: of them only what lies inside the box is taken.
    """
    where = _around(box, pixels.shape, 0.6)
    dark = foreground(pixels[where])
    inside = _within(box, pixels.shape, where, 0.08)
    _, labels = cv2.connectedComponents(dark.astype(np.uint8))
    chosen, free = np.zeros_like(dark), True
    for i in np.unique(labels[dark & inside]):
        part = labels == i
        share = (part & inside).sum() / part.sum()
        if share >= 0.9:
            chosen |= part
        elif share >= 0.3:
            chosen, free = chosen | (part & inside), False
    return chosen, free and bool(chosen.any()), where


def _is_cut(cells: Mask, box: Floats) -> bool:
    _, _, parts, _ = cv2.connectedComponentsWithStats(cells.astype(np.uint8))
    sides = parts[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]  # the first part is what is no cell
    return bool(sides.max(initial=0) >= CUT_MIN * (box[2:] - box[:2]).max())


def painted_over(pixels: Pixels, boxes: Floats, rng: np.random.Generator) -> Pixels:
    """Cover the cells in boxes (N, 4) with the glass around them.

    Where none can be told from it, the whole box.
    """
    out: Pixels = pixels.copy()
    for box in boxes:
        cells, _, where = cell_in(pixels, box)
        bare = pixels[where][~foreground(pixels[where])]
        if not len(bare):
            continue
        if not _is_cut(cells, box):
            cells |= _within(box, pixels.shape, where, 0)
        grown = cv2.dilate(cells.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(np.float32)
        alpha = cv2.GaussianBlur(grown, (0, 0), FEATHER_PX)[:, :, None]
        glass = np.median(bare, axis=0) + rng.normal(0, max(0.5, _noise(pixels)), out[where].shape)
        out[where] = np.clip(out[where] * (1 - alpha) + glass * alpha, 0, 255).astype(np.uint8)
    return out


@dataclass(frozen=True, slots=True)
class Sprite:
    """A cell cut free.

    Absorbance (h, w, 3), 0 where it ends, and the um_per_px that it was taken at.
    """

    absorbance: Floats
    um_per_px: float


def sprite_of(pixels: Pixels, box: Floats, look: Appearance) -> Sprite | None:
    """Cut out the cell in a box; None where it touches others, or cannot be told from the glass."""
    cells, free, where = cell_in(pixels, box)
    bare = pixels[where][~foreground(pixels[where])]
    if not free or not len(bare) or not _is_cut(cells, box):
        return None
    alpha = cv2.GaussianBlur(
        cv2.dilate(cells.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32), (0, 0), 1.0
    )
    absorbed = _absorbance(pixels[where], np.median(bare, axis=0)) / look.stain
    ys, xs = np.nonzero(alpha > 0.02)
    tight = slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1)
    return Sprite((absorbed * alpha[:, :, None])[tight].astype(np.float32), look.um_per_px)


def sized(sprite: Sprite, um_per_px: float) -> Floats:
    """Return the sprite's absorbance at another scale, (h, w, 3)."""
    ratio = sprite.um_per_px / um_per_px
    h, w = sprite.absorbance.shape[:2]
    how = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    size = max(1, round(w * ratio)), max(1, round(h * ratio))
    return cv2.resize(sprite.absorbance, size, interpolation=how).astype(np.float32)


def pasted(pixels: Pixels, cells: Sequence[tuple[Floats, tuple[int, int]]], look: Appearance) -> Pixels:
    """Put cells into a field at positions (x, y) of their first pixel.

    Cells are absorbance (h, w, 3) in units of the stain.
    """
    out = pixels.astype(np.float32)
    for absorbance, (x, y) in cells:
        h, w = absorbance.shape[:2]
        out[y : y + h, x : x + w] *= np.exp(-absorbance * look.stain)
    return np.clip(out, 0, 255).astype(np.uint8)
