"""Flat field and white balance, found from empty fields, or from fields between whose cells the glass shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.errors import InputError
from edge.optics.light import refuse_bad_light, thumbnail
from edge.types import Floats, Mask, Pixels
from edge.vision.field_mask import visible_part
from edge.vision.flat_field import apply_gain, flat_gain
from edge.vision.optics_calibration import FlatField, WhiteBalance, utc_now

FRAMES_MIN = 5
"""Empty fields for a flat field: their mean has less noise than the light has slopes."""

MOVED_FRAMES_MIN = 12
"""Fields with cells for a flat field: each place must have shown glass several times."""

WORKING_PX = 320
"""Longest side at which fields are compared: some 5 px for a red cell, at any usual magnification."""

SMOOTH_PX = 8
"""Standard deviation of the smoothing with which unevenness is told: cells and noise are finer than light."""

CLOSING_PX = 81
"""Larger, at that side, than any cell and most groups of them."""

SEEN_MIN = 0.1
"""Share of the frame that all pictures must show."""

GRID = 32
"""Columns or rows of the longer side of the stored grid: light changes slowly."""

OFF_GLASS = 0.06
"""What is darker or brighter than its surroundings by more than this share is no bare glass."""

EMPTY_MAX = 0.01
"""A field with less of it off the glass is empty."""

STAYING_MAX = 0.01
"""Share of the found light that may look like cells or dirt: more has stayed in place in all pictures."""

DIMMEST_MIN = 0.25
"""Light anywhere in the field, as a part of the field's mean: less cannot be made up for."""

GLASS_MIN = 0.05
"""Share of a picture that must be glass for its colour to be known."""

GLASS_WIDTH = 0.05
"""How far the glass may be from its commonest brightness."""

AGREE = 0.05
"""Pictures whose colours of the glass are farther apart were taken with a changing camera."""

WHITE_GAIN_MAX = 2.5
"""A light so coloured leaves too few grey levels in its weakest channel."""


@dataclass(frozen=True, slots=True)
class Unevenness:
    """How far the light strays over the field: the middle 96 % of its places, part of the mean.

    before: as it is. after: corrected, on pictures that had no part in the correction.
    """

    before: float
    after: float


def find_flat_field(frames: Sequence[Pixels]) -> FlatField:
    """Find the light of empty or moved fields, uint8 (H, W, 3) of one size.

    At each place it is a high percentile over the frames, each first brought to the same brightness, for cells only
    ever take light away; then it is averaged down to the grid. Raises InputError with the reason.
    """
    if len(frames) < FRAMES_MIN:
        raise InputError(f"{len(frames)} pictures were given; a flat field needs at least {FRAMES_MIN} empty fields")
    refuse_bad_light(frames)
    small, seen = _working(frames)
    occupied = _occupied(small, seen)
    if occupied > EMPTY_MAX and len(frames) < MOVED_FRAMES_MIN:
        raise InputError(
            f"{len(frames)} pictures were given, and something lies on {occupied:.0%} of them; fields that are not "
            f"empty are needed {MOVED_FRAMES_MIN} times at least, the slide moved in between. Or give empty fields"
        )
    light = _light(small, seen, occupied)
    staying = _off_glass(light, seen)
    if staying > STAYING_MAX:
        raise InputError(
            f"something stays in place on {staying:.1%} of all {len(frames)} pictures, at most {STAYING_MAX:.0%} is "
            "allowed. Move the slide by whole fields between pictures, choose a thinner part, or give empty fields"
        )
    return FlatField(made_at=utc_now(), frames=len(frames), gain=_grid(light, seen))


def unevenness(frames: Sequence[Pixels]) -> Unevenness:
    """Return how uneven the light of frames, uint8 (H, W, 3), is.

    A correction from every second frame is tried on the others.
    """
    small, seen = _working(frames)
    occupied = _occupied(small, seen)
    grid = np.array(_grid(_light(small[::2], seen, occupied), seen), np.float32)
    light = _light(small[1::2], seen, occupied)
    gain = cv2.resize(grid, light.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return Unevenness(_spread(light, seen), _spread(light * gain, seen))


def _spread(light: Floats, seen: Mask) -> float:
    """Return how far light (h, w, 3) strays, once what is finer than light ever is has been smoothed away."""
    weight = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), SMOOTH_PX)
    smooth = cv2.GaussianBlur(light.mean(axis=2) * seen, (0, 0), SMOOTH_PX) / np.maximum(weight, 1e-3)
    low, high = np.percentile(smooth[seen], (2, 98))
    return float((high - low) / smooth[seen].mean())


def _working(frames: Sequence[Pixels]) -> tuple[Floats, Mask]:
    """Return the frames at working size, float32 (N, h, w, 3), and what of them is seen, bool (h, w)."""
    visible = _visible(frames)
    small = np.stack([thumbnail(pixels, WORKING_PX) for pixels in frames]).astype(np.float32)
    size = small.shape[2], small.shape[1]
    return small, cv2.resize(visible.view(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)


def _occupied(small: Floats, seen: Mask) -> float:
    """Return the share of the usual frame that is not bare glass."""
    return float(np.median([_off_glass(picture, seen) for picture in small]))


def _light(small: Floats, seen: Mask, occupied: float) -> Floats:
    """Return the light (h, w, 3) of frames (N, h, w, 3) of which so much is not glass."""
    level = np.percentile(small[:, seen], 90, axis=1)  # (N, 3)
    share = 50 if occupied <= EMPTY_MAX else 75
    return np.asarray(np.percentile(small / level[:, None, None], share, axis=0), np.float32)


def _grid(light: Floats, seen: Mask) -> tuple[tuple[tuple[float, float, float], ...], ...]:
    """Average the light (h, w, 3) down to the grid, smooth it, and return the gains that even it out."""
    h, w = seen.shape
    size = max(1, round(GRID * w / max(h, w))), max(1, round(GRID * h / max(h, w)))
    weight = cv2.resize(seen.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    grid = cv2.resize(light * seen[..., None], size, interpolation=cv2.INTER_AREA) / np.maximum(weight, 1e-3)[..., None]
    # Outside an eyepiece's disc, and where its rim takes most of a cell of the grid, the nearest seen cell's light.
    unseen = (weight < 0.9).astype(np.uint8)
    _, label = cv2.distanceTransformWithLabels(unseen, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros((label.max() + 1, 3), np.float32)
    of_label[label[unseen == 0]] = grid[unseen == 0]
    even = cv2.GaussianBlur(of_label[label], (3, 3), 0, borderType=cv2.BORDER_REPLICATE)
    relative = even / even[unseen == 0].mean(axis=0)
    if relative.min() < DIMMEST_MIN:
        raise InputError(
            f"the light falls to {relative.min():.0%} of its mean; at least {DIMMEST_MIN:.0%} is needed. Centre the "
            "condenser, open its diaphragm, and look for something in the way"
        )
    gain = np.round(1 / relative.astype(np.float64), 4).tolist()
    return tuple(tuple((red, green, blue) for red, green, blue in row) for row in gain)


def _off_glass(picture: Floats, seen: Mask) -> float:
    """Return the share of a picture, float32 (h, w, 3), whose green is unlike the glass around it."""
    green = cv2.GaussianBlur(picture[..., 1], (0, 0), 0.8) * seen
    # Cells are darker than the glass: a closing fills them, and follows the light's slope. Dark all round, or it would
    # fill the field's own edge too.
    reach = CLOSING_PX
    padded = cv2.copyMakeBorder(green, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    around = closed[reach:-reach, reach:-reach]
    lower = green / np.maximum(around, 1e-6)
    usual = np.percentile(lower[seen], 80)
    return float((np.abs(lower[seen] / usual - 1) > OFF_GLASS).mean())


def _visible(frames: Sequence[Pixels]) -> Mask:
    """Return what all frames show through an eyepiece, bool (H, W); all of it without one."""
    visible = np.ones(frames[0].shape[:2], bool)
    for pixels in frames:
        part = visible_part(pixels)
        visible &= True if part is None else part
    if visible.mean() < SEEN_MIN:
        raise InputError(
            "the pictures show no common part through the eyepiece. Fix the camera to it, and take them again"
        )
    return visible


def find_white_balance(frames: Sequence[Pixels], flat: FlatField | None) -> WhiteBalance:
    """Find what makes the glass grey, from uint8 (H, W, 3).

    Empty fields, or fields with glass between the cells.

    flat: the flat field to apply before, if there is one. The brightest channel keeps its gain of 1, so that what is
    at full scale stays white. Raises InputError with the reason.
    """
    refuse_bad_light(frames)
    colours = []
    for number, pixels in enumerate(frames, start=1):
        even = pixels if flat is None else apply_gain(pixels, flat_gain(flat, pixels.shape[1], pixels.shape[0]))
        colours.append(_glass(even, visible_part(pixels), number))
    shares = np.array([colour / colour.max() for colour in colours])
    apart = float(np.ptp(shares, axis=0).max())
    if apart > AGREE:
        raise InputError(
            f"the colour of the glass differs by {apart:.0%} between the pictures; at most {AGREE:.0%} is allowed. "
            "Switch the camera's automatic white balance off, and take them again"
        )
    gain = 1 / np.median(shares, axis=0)
    gain /= gain.min()
    if gain.max() > WHITE_GAIN_MAX:
        raise InputError(
            f"the light is so coloured that one channel would need {gain.max():.1f} times its value; at most "
            f"{WHITE_GAIN_MAX} is allowed. Set the lamp, or the camera's own white balance, first"
        )
    red, green, blue = (round(float(one), 4) for one in gain)
    return WhiteBalance(made_at=utc_now(), frames=len(frames), gain=(red, green, blue))


def _glass(pixels: Pixels, visible: Mask | None, number: int) -> Floats:
    """Return the colour of the glass, float32 (3,): of the brightest level that much of the picture has."""
    small = thumbnail(pixels, 2 * WORKING_PX).astype(np.float32)
    if visible is None:
        colours = small.reshape(-1, 3)
    else:
        seen = cv2.resize(visible.view(np.uint8), small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        colours = small[cv2.erode(seen, np.ones((9, 9), np.uint8)) > 0]
    green = colours[:, 1]
    level = np.arange(256)
    share = np.array([(np.abs(green - one) <= GLASS_WIDTH * one).mean() for one in level])
    tops = np.flatnonzero((share >= GLASS_MIN) & (share >= np.roll(share, 1)) & (share >= np.roll(share, -1)))
    glass = colours[np.abs(green - level[tops[-1]]) <= GLASS_WIDTH * level[tops[-1]]] if len(tops) else colours[:0]
    if not len(glass) or np.percentile(green, 99) > (1 + 2 * GLASS_WIDTH) * np.median(glass[:, 1]):
        raise InputError(
            f"picture {number} shows no even glass between the cells; at least {GLASS_MIN:.0%} of it must. Give an "
            "empty field or a thinner part of the smear"
        )
    return np.asarray(np.median(glass, axis=0), np.float32)
