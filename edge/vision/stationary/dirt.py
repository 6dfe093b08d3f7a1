"""Finds dirt in the optics, and pointers, while a sample is read: what does not move where the cells do.

Two kinds of evidence: boxes that come back at one place of the frame over views of different places of the slide, and
places that are dark in all of them. Once found, dirt is masked in the frame, and what was counted there is named.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.types import CELLS_KEPT, Field, Floats, Frame, Mask, Masked, Numbers, Placement
from edge.vision.stationary.dark_map import GRID_UM, Dark, DarkMap
from edge.vision.stationary.tracks import Boxes, Complexes, Recurring, Tracks

MOVED_UM = 10.0
"""A view counts when its middle lies so far on the slide from that of each one that counted."""

STAYED_UM = 3.0
"""A cell that was seen farther than this from where it was seen first moves with the slide, and is no dirt."""

LONG_UM, ON_IT_UM = 15.0, 1.5
"""On a longer faint part a cell lies where its middle is inside, on a shorter one where middle is as near to middle."""

BOTH = 1.0
"""Where boxes come back on a dark part with so much evidence, so much less is asked of both: two kinds rarely agree."""

SIDES = (("upper left", "top", "upper right"), ("left", "middle", "right"), ("lower left", "bottom", "lower right"))
"""What the ninths of a frame are called."""


@dataclass(slots=True)
class _Frames:
    """What is known of frames of one size."""

    shape: tuple[int, int]
    dark: DarkMap
    mask: Mask
    places: dict[int, list[complex]]
    """Middles of the views that counted, x + iy in µm, by island."""

    def reaches(self, at: Complexes) -> Mask:
        """Return which places (N,) lie on the mask or beside it.

        at: x + iy in pixels of the frame; NaN is no place.
        """
        h, w = self.mask.shape
        side = 2 * round(ON_IT_UM / GRID_UM) + 1
        near = cv2.dilate(self.mask.view(np.uint8), np.ones((side, side), np.uint8)).view(np.bool_)
        on_map = np.nan_to_num(at, nan=-1.0) / self.dark.step_px
        row, column = np.floor(on_map.imag).astype(int), np.floor(on_map.real).astype(int)
        inside = (row >= 0) & (column >= 0) & (row < h) & (column < w)
        return np.asarray(inside & near[row.clip(0, h - 1), column.clip(0, w - 1)], np.bool_)

    def elsewhere(self, placed: Placement) -> bool:
        """Return whether a frame shows a place that no view showed that counted; it counts then."""
        middle = complex(placed.x_um, placed.y_um)
        counted = self.places.setdefault(placed.island, [])
        if any(abs(middle - one) < MOVED_UM for one in counted):
            return False
        counted.append(middle)
        return True


class StationaryDirt:
    """Follows the frames of one sample that were placed."""

    def __init__(self) -> None:
        self._tracks = Tracks()
        # By number modulo CELLS_KEPT: where a cell was seen first and last; NaN: nowhere.
        self._first = np.empty(CELLS_KEPT, np.complex64)
        self._last = np.empty(CELLS_KEPT, np.complex64)
        self._moved = np.empty(CELLS_KEPT, np.bool_)
        self.clear()

    def clear(self) -> None:
        """Begin a sample: dirt is proved anew."""
        self._first[:] = self._last[:] = np.nan
        self._moved[:] = False
        self._frames: _Frames | None = None
        self._views = 0

    def hidden(self, field: Field, frame: Frame) -> Field:
        """Return a field without the part that dirt hides."""
        known = self._frames
        if known is None or known.shape != frame.pixels.shape[:2] or not known.mask.any():
            return field
        h, w = field.pixels.shape[:2]
        to_map = _to_map(field.zoom, field.origin, known.dark.step_px)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        dirt = cv2.warpAffine(known.mask.astype(np.uint8), to_map, (w, h), flags=flags).view(np.bool_)
        visible = ~dirt if field.visible is None else field.visible & ~dirt
        return Field(field.pixels, visible, field.origin, field.zoom)

    def hidden_part(self, frame: Frame) -> Mask | None:
        """Return bool (H, W): what is masked of frames of this size; None where nothing is."""
        known = self._frames
        if known is None or known.shape != frame.pixels.shape[:2] or not known.mask.any():
            return None
        h, w = known.shape
        to_map = _to_map(1.0, (0.0, 0.0), known.dark.step_px)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(known.mask.astype(np.uint8), to_map, (w, h), flags=flags).view(np.bool_)

    def masked(self) -> Masked | None:
        """Return how much of the frame is masked, and where; None where nothing is."""
        known = self._frames
        if known is None or not known.mask.any():
            return None
        h, w = known.mask.shape
        _, labels = cv2.connectedComponents(known.mask.astype(np.uint8))
        found = {}
        for label in range(1, int(labels.max()) + 1):
            y, x = (float(part.mean()) for part in np.nonzero(labels == label))
            found[SIDES[min(2, int(3 * y / h))][min(2, int(3 * x / w))]] = True
        return Masked(float(known.mask.mean()), ", ".join(found))

    def update(self, frame: Frame, field: Field, placed: Placement, boxes: Floats, whole: NDArray[np.bool_]) -> Numbers:
        """Take in a placed frame.

        Args:
            frame: as it was read.
            field: the part of it that shows the slide, with what dirt hides of it: a masked part stays in evidence, so
                that what of the dirt is not masked yet is found beside it.
            placed: where it lies, with the numbers of its N cells.
            boxes: float32 (N, 4), in pixels of the frame.
            whole: (N,), which are not cut: all boxes that a rim cuts are alike, and no evidence.

        Returns:
            The numbers of the cells of the sample that prove to be dirt now.
        """
        known, found = self._of(frame, field), Boxes.of(boxes)
        self._remember(placed, found, field.um_per_px)
        masked_before = int(known.mask.sum())
        if known.elsewhere(placed):
            self._add(known, frame, field, found[whole & self._may_be(placed.ids)])
        numbers = np.unique(placed.ids[placed.ids >= 0])
        if int(known.mask.sum()) > masked_before:
            given = placed.numbered_before + placed.found
            numbers = np.arange(max(0, given - CELLS_KEPT), given)
        return self._on_dirt(known, numbers)

    def _add(self, known: _Frames, frame: Frame, field: Field, boxes: Boxes) -> None:
        """Take in a view that counts, with the boxes that may be dirt."""
        number, self._views = self._views, self._views + 1
        known.dark.add(number, frame.pixels, field)
        seen = float(known.dark.seen(field).sum()) * known.dark.step_px**2
        self._prove(known, self._tracks.add(number, boxes, field.um_per_px, max(seen, 1.0)))

    def _may_be(self, ids: Numbers) -> Mask:
        """Return which of N cells may be dirt: those that were never seen elsewhere."""
        return np.asarray((ids < 0) | ~self._moved[ids % CELLS_KEPT], np.bool_)

    def _of(self, frame: Frame, field: Field) -> _Frames:
        """Return what is known of frames of this size; another size is other optics."""
        shape = frame.pixels.shape[0], frame.pixels.shape[1]
        if self._frames is None or self._frames.shape != shape:
            dark = DarkMap(shape, field.um_per_px)
            self._frames = _Frames(shape, dark, np.zeros(dark.shape, np.bool_), {})
            self._tracks.clear()
            self._first[:] = self._last[:] = np.nan
        return self._frames

    def _remember(self, placed: Placement, found: Boxes, um_per_px: float) -> None:
        """Note where cells are seen first, and which are seen elsewhere later."""
        new = placed.ids[placed.ids >= placed.numbered_before] % CELLS_KEPT
        self._first[new] = self._last[new] = np.nan
        self._moved[new] = False
        numbered = np.nonzero(placed.ids >= 0)[0]
        at, where = placed.ids[numbered] % CELLS_KEPT, found.at[numbered]
        unknown = np.isnan(self._first[at])
        self._first[at[unknown]] = where[unknown]
        self._last[at] = where
        self._moved[at] |= np.abs(self._first[at] - where) * um_per_px > STAYED_UM
        for kept, dropped in placed.joined:
            apart = np.abs(self._first[kept % CELLS_KEPT] - self._first[dropped % CELLS_KEPT]) * um_per_px
            self._moved[kept % CELLS_KEPT] |= self._moved[dropped % CELLS_KEPT] or bool(apart > STAYED_UM)

    def _prove(self, known: _Frames, sure: list[Recurring]) -> None:
        """Mask what is dirt by its darkness, and the places where boxes surely come back."""
        fresh = np.zeros(known.mask.shape, np.bool_)
        for part in known.dark.parts(known.mask, faint=False):
            if self._sure(known, part):
                fresh[part.where] = True
        counted = self._first[~np.isnan(self._first) & ~self._moved] / known.dark.step_px
        for part in known.dark.parts(known.mask, faint=True):
            if _found_on(part, counted) and self._sure(known, part):
                fresh[part.where] = True
        fresh &= ~known.mask
        for one in sure:
            fresh |= self._extent(known, one)
        known.mask |= fresh

    def _on_dirt(self, known: _Frames, numbers: Numbers) -> Numbers:
        """Return which cells (N,) lay on the mask or beside it and never elsewhere, each of them once."""
        if not known.mask.any():
            return np.zeros(0, np.int64)
        at = numbers % CELLS_KEPT
        # What is found now here, now there along a needle seems to move, yet was seen nowhere but on it.
        on_it = known.reaches(self._first[at]) & (~self._moved[at] | known.reaches(self._last[at]))
        self._first[at[on_it]] = np.nan
        return numbers[on_it]

    def _sure(self, known: _Frames, part: Dark) -> bool:
        """Whether a dark part is dirt, also by the boxes that came back on it."""
        step_px = known.dark.step_px
        lacking = known.dark.sure - part.evidence
        boxes = self._tracks.evidence_at(part.middle * step_px, ON_IT_UM * step_px)
        return boxes >= (lacking if boxes < BOTH else lacking - BOTH)

    def _extent(self, known: _Frames, one: Recurring) -> Mask:
        """Return the mask of a place: its box, and what is always dark and hangs together with it."""
        x0, y0, x1, y1 = (side / known.dark.step_px for side in one.box)
        drawn = np.zeros(known.mask.shape, np.uint8)
        middle, size = ((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5), (max(1.0, x1 - x0), max(1.0, y1 - y0))
        cv2.ellipse(drawn, (middle, size, 0.0), 1, -1)
        box = drawn.view(np.bool_)
        _, labels = cv2.connectedComponents(known.dark.always_dark(one.first_view).astype(np.uint8))
        touched = np.unique(labels[box])
        return np.asarray(box | np.isin(labels, touched[touched > 0]), np.bool_)


def _to_map(px: float, origin: tuple[float, float], step_px: int) -> Floats:
    """Return the transform (2, 3) of the middles of pixels, `px` of the frame wide, to those of the map."""
    scale = px / step_px
    x, y = ((corner + px / 2) / step_px - 0.5 for corner in origin)
    return np.array([[scale, 0, x], [0, scale, y]], np.float32)


def _found_on(part: Dark, counted: Complexes) -> bool:
    """Whether something was counted on a faint part: middles (N,) on the map."""
    rows, columns = part.where
    if part.length_um > LONG_UM:
        inside = np.zeros((int(rows.max()) + 2, int(columns.max()) + 2), np.bool_)
        inside[rows, columns] = True
        h, w = inside.shape
        return bool(inside[counted.imag.astype(int).clip(0, h - 1), counted.real.astype(int).clip(0, w - 1)].any())
    return bool((np.abs(counted - part.middle) <= ON_IT_UM).any())
